"""What was measured before a run, kept for the next run of the same model on the same machine."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch

from zoo.data.source import Source
from zoo.errors import ZooError
from zoo.files.atomic import write_atomically
from zoo.files.cache_directory import cache_directory
from zoo.files.environment import cpu_name
from zoo.train.plugins import plugins_of
from zoo.train.settings import Settings

_OF_A_STEP = """
    mixer channel_mixer residual layers dim heads context positions dropout tie_embeddings documents objective
    batch accumulate optimizer ema device precision threads activation_checkpointing
"""


def path_of(what: str, settings: Settings, source: Source) -> Path:
    """Where a measurement is kept: by what was measured, this machine and all that the time of a step depends on."""
    used = {name: getattr(settings, name) for name in _OF_A_STEP.split()}
    # the code of a plugin of one's own may change: what could not be compiled yesterday is tried again
    plugins = plugins_of(settings)
    where = (torch.cuda.get_device_name() if settings.device.startswith("cuda") else cpu_name(), torch.__version__)
    key = hashlib.sha256(json.dumps([used, plugins, where, source.vocab_size]).encode()).hexdigest()[:16]
    return cache_directory() / what / f"{key}.json"


def recall(path: Path, names: set[str]) -> dict[str, float] | None:
    """The figures that were kept there; None unless they are those."""
    try:
        kept = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(kept, dict) or kept.keys() != names:
        return None
    return kept if all(isinstance(value, float) for value in kept.values()) else None


def keep(path: Path, figures: Mapping[str, float]) -> None:
    """Keep figures, where that can be done; else they are measured again."""
    with suppress(OSError, ZooError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(figures))
