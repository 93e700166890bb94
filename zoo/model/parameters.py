"""The parameters of a model: how many there are, and how they are drawn anew."""

from collections.abc import Iterator

from torch import nn

from zoo.plugin.isolation import seed_torch


def count_parameters(module: nn.Module) -> int:
    """How many numbers are trained; tied ones count once."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def count_active_parameters(module: nn.Module) -> int:
    """How many of them take part in the computation of one token; less than all in a sparse mixture of experts.

    A module that uses only some of its parameters says how many in its attribute ``active_parameters``.
    """
    idle = 0
    for part in module.modules():
        active = getattr(part, "active_parameters", None)
        if isinstance(active, int):
            idle += count_parameters(part) - active
    return count_parameters(module) - idle


def reinitialize(module: nn.Module, seed: int) -> None:
    """Draw all parameters anew, e.g. after building on the meta device and ``to_empty``.

    As when it was built, a module has the last word on what it contains: its children are reset before it.
    """
    seed_torch(seed)
    for part in _children_first(module, set()):
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()


def _children_first(module: nn.Module, seen: set[nn.Module]) -> Iterator[nn.Module]:
    """The module and all that it contains, each once, in the order in which building completes them."""
    if module not in seen:
        seen.add(module)
        for child in module.children():
            yield from _children_first(child, seen)
        yield module
