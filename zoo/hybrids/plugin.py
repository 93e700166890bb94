"""Hands the built-in hybrids over to the zoo."""

from zoo import Hybrid, hookimpl
from zoo.hybrids import attention, linear, state_space


@hookimpl
def zoo_hybrids() -> dict[str, type[Hybrid]]:
    """The built-in hybrids, by name."""
    return attention.HYBRIDS | linear.HYBRIDS | state_space.HYBRIDS
