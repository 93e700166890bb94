"""Where the settings of a run come from: presets, files, assignments and flags, one over the other."""

import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from zoo.errors import UsageError
from zoo.files.strict_json import from_json
from zoo.plugin.options import did_you_mean
from zoo.train.settings import OF_ADAMW, Settings, modernize, validate

DEFAULT_PRESET = "quick"
TASK_PRESET = "synthetic"
"""Where the settings start from when the data is a task."""


def resolve(
    *,
    preset: str | None = None,
    file: Path | None = None,
    assignments: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings of a run: the preset, over it a file, over it ``key=value`` assignments, over them the flags.

    Where the data is a task and no preset is named, the settings start from those that the task asks for. The
    length of its sequences is the context.

    Raises:
        UsageError: an unknown preset or setting, an unreadable file, a value that is out of range or of a wrong type.
        PluginError: the task's plugin is broken or missing.
    """
    saved = read_file(file) if file is not None else {}
    later = read_assignments(assignments) | {name: value for name, value in (flags or {}).items() if value is not None}
    given = saved | later
    defaults = _defaults(preset, given.get("data"), flags or {})
    settings = validate(modernize(modernize(defaults) | saved) | later)
    if "layers" not in given and settings.layers is not None:
        # the depth of a preset is for patterns that fit into it; a longer one is not cut
        longer = max(settings.layers, _least_layers(settings))
        settings = settings.model_copy(update={"layers": longer})
    return settings


def _least_layers(settings: Settings) -> int:
    from zoo.model.hybrids import write_out  # and with it torch, for which the help does not wait
    from zoo.plugin.registry import get_registry

    pattern, layers = write_out(settings.pattern, None, get_registry())
    return layers or len(pattern.layers())


def _defaults(preset: str | None, data: Any, flags: Mapping[str, Any]) -> dict[str, Any]:
    """What holds where nothing was given. A task has no text: a flag that says how to read one is a mistake."""
    if not isinstance(data, str):
        return load_preset(preset or DEFAULT_PRESET)
    from zoo.data.load import create_task, task_call  # and with it torch, for which the help does not wait

    call = task_call(data)
    if call is None:
        return load_preset(preset or DEFAULT_PRESET)
    if flags.get("documents") is not None:
        raise UsageError(f"the task {call} has sequences of its own and no files: leave out `documents`")
    if flags.get("tokenizer") is not None:
        raise UsageError(f"the task {call} has tokens of its own and no text to cut: leave out `tokenizer`")
    if flags.get("objective") is not None:
        raise UsageError(f"the task {call} has targets of its own: leave out `objective`")
    task = create_task(call)
    if preset is not None:
        return load_preset(preset) | {"context": task.length}
    return load_preset(TASK_PRESET) | {"context": task.length, **task.settings}


def list_presets() -> dict[str, str]:
    """The presets by name, each with the sentence that describes it."""
    folder = resources.files("zoo.train") / "presets"
    names = sorted(path.name.removesuffix(".toml") for path in folder.iterdir() if path.name.endswith(".toml"))
    texts = {name: (folder / f"{name}.toml").read_text(encoding="utf-8") for name in names}
    return {name: text.splitlines()[0].lstrip("# ") for name, text in texts.items()}


def load_preset(name: str) -> dict[str, Any]:
    """The values that a preset sets."""
    presets = list_presets()
    if name not in presets:
        raise UsageError(f"no preset is named {name!r}{did_you_mean(name, presets)}; there are: {', '.join(presets)}")
    text = (resources.files("zoo.train") / "presets" / f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def read_file(path: Path) -> dict[str, Any]:
    """Settings from a TOML file, or from the config.json of a run."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = from_json(text) if path.suffix == ".json" else tomllib.loads(text)
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder; a run's settings are in {path / 'config.json'}") from None
    except OSError as error:
        raise UsageError(f"cannot read the settings file {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not a settings file (TOML, or a run's config.json): {error}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path} is not a settings file: it holds no table of settings")
    return values


def read_assignments(texts: Iterable[str]) -> dict[str, Any]:
    """What ``--set key=value`` sets, by name; a later one wins."""
    return dict(_assignment(text) for text in texts)


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"`assignments`={text!r} should read `assignments`=key=value")
    name = name.strip().replace("-", "_")
    if name in OF_ADAMW:
        call = f"adamw({name}={value.strip()})"
        raise UsageError(f"`assignments`={text}: {name} is an option of the optimizer, write `optimizer`='{call}'")
    return name, _value(value.strip())


def _value(text: str) -> Any:
    """A TOML value; what is no TOML is taken as text, so that ``positions=learned`` needs no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # also of numbers too long, and brackets too deep, to be read
        return text
