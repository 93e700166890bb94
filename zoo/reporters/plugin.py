"""Hands the built-in reporters over to the zoo."""

from zoo import Reporter, hookimpl
from zoo.reporters.csv import Csv


@hookimpl
def zoo_reporters() -> dict[str, type[Reporter]]:
    """The built-in reporters, by name."""
    return {"csv": Csv}
