"""The plugins of this repository, by what they bring: so that an error can say what to install."""

from collections.abc import Mapping

COMMAND = "command"
"""What a command is called beside the names of kinds."""

KNOWN: Mapping[str, Mapping[str, str]] = {
    COMMAND: {"evaluate": "zoo-lm-eval", "export": "zoo-transformers", "import": "zoo-transformers"},
    "corpus": {"hf": "zoo-datasets"},
    "executor": {"dask": "zoo-dask", "ray": "zoo-ray", "slurm": "zoo-slurm"},
    "reporter": {"tensorboard": "zoo-tensorboard", "trackio": "zoo-trackio", "wandb": "zoo-wandb"},
}
"""Distributions, by kind and name."""


def how_to_install(kind: str, name: str) -> str | None:
    """The command that brings something, where a plugin of this repository does; else None."""
    distribution = KNOWN.get(kind, {}).get(name)
    return distribution and f"pip install {distribution}"
