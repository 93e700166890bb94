"""Hands the built-in executors over to the zoo."""

from zoo import Executor, hookimpl
from zoo.executors.processes import Processes


@hookimpl
def zoo_executors() -> dict[str, type[Executor]]:
    """The built-in executors, by name."""
    return {"processes": Processes}
