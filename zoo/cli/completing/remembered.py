"""The words beside members and flags that are completed: read once from the code that knows them, and remembered."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from zoo.plugin.kinds import KINDS
from zoo.plugin.registry import Registry

_ROOT = Path(__file__).parents[2]
_SOURCES = ("cli/*.py", "train/settings.py", "train/presets/*", "lab/**/*.py", "lab/tiers/*", "testing/**/*.py")


def version_of_sources() -> str:
    """Changes where a file does from which the words and the program are read, e.g. in a checkout."""
    return str(max(path.stat().st_mtime_ns for glob in _SOURCES for path in _ROOT.glob(glob)))


def describe_words(registry: Registry) -> dict[str, dict[str, str]]:
    """The meaning of each word, by what it is, e.g. ``presets``, and by the word."""
    from zoo.cli.runs import ORDERS
    from zoo.lab.bench.models.request import KINDS as COSTS_OF_MODELS
    from zoo.lab.bench.request import KINDS as COSTS
    from zoo.lab.compare.request import Match
    from zoo.lab.evaluation import curves
    from zoo.lab.scale.gpu import GPUS
    from zoo.lab.tier import list_tiers
    from zoo.train.resolve import list_presets
    from zoo.train.settings import Settings

    fields = Settings.model_fields
    return {
        "presets": list_presets(),
        "settings": {name: field.description or "" for name, field in fields.items()},
        **{f"setting {name}": _choices(field.annotation) for name, field in fields.items()},
        "laws": _laws(),
        "kinds": {kind.name: kind.plural for kind in KINDS},
        "tiers": {name: tier.summary for name, tier in list_tiers().items()},
        "match": dict.fromkeys(get_args(Match), ""),
        "costs": {name: str(text) for name, text in COSTS.items()},
        "costs of models": {name: str(text) for name, text in COSTS_OF_MODELS.items()},
        "gpus": {name: gpu.name for name, gpu in GPUS.items()},
        "suites": dict.fromkeys(registry.suites, "the tasks of the suite"),
        "sort": dict.fromkeys(ORDERS, ""),
        "x": dict.fromkeys(curves.X, ""),
        "y": dict.fromkeys(curves.Y, ""),
    }


def _choices(annotation: Any) -> dict[str, str]:
    """The words that a setting takes, where it takes no others."""
    if annotation is bool:
        return {"true": "", "false": ""}
    return dict.fromkeys(get_args(annotation), "") if get_origin(annotation) is Literal else {}


def _laws() -> dict[str, str]:
    """The promise of each law, by ``kind:id``."""
    from zoo.testing.kinds import SUITES

    return {f"{kind}:{law.id}": law.promise for kind, suite in SUITES.items() for law in suite.laws.values()}
