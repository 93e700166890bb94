"""Hands the built-in tasks over to the zoo."""

from zoo import Task, hookimpl


@hookimpl
def zoo_tasks() -> dict[str, type[Task]]:
    """The built-in tasks, by name."""
    return {}
