"""Hooks on one part of a model, which leave the other places of its module alone where it has several."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import nn

from zoo.model.parts import Part, parts_of
from zoo.model.stack import Stack


class Handle(Protocol):
    """What takes a hook away again."""

    def remove(self) -> None:
        """Take it away."""


def hook_read(model: Stack, part: Part, hook: Callable[..., Any]) -> Handle:
    """Call a hook before a part reads: ``register_forward_pre_hook`` for one place of its module.

    Args:
        model: of the part; it runs whole sequences, by its ``forward``.
        part: one of `parts_of` the model.
        hook: as torch wants it.
    """
    return _hook(model, part, hook, part.module.register_forward_pre_hook)


def hook_write(model: Stack, part: Part, hook: Callable[..., Any]) -> Handle:
    """Call a hook after a part has written: ``register_forward_hook`` for one place of its module.

    Args:
        model, part, hook: as of `hook_read`.
    """
    return _hook(model, part, hook, part.module.register_forward_hook)


def _hook(model: Stack, part: Part, hook: Callable[..., Any], register: Callable[..., Handle]) -> Handle:
    places = [other for other in parts_of(model) if other.module is part.module]
    if len(places) == 1:
        return register(hook)
    turns = _Turns(places)
    handles = [register(lambda *given: hook(*given) if turns.next == part.name else None)]
    return _Handles([*handles, *turns.follow(model)])


class _Turns:
    """Which of the places of one module runs it next.

    They take turns in the order of the stream, from the first one at the start of a forward pass on. Each layer starts
    with its own ones again: what is recomputed in the backward pass comes in another order.
    """

    def __init__(self, places: Sequence[Part]) -> None:
        self._places = places
        self._coming = [place.name for place in places]

    @property
    def next(self) -> str:
        """The name of the place."""
        return self._coming[0]

    def follow(self, model: Stack) -> list[Handle]:
        """Keep up with a model, from hooks that come after the one that asks."""

        def begin(layer: int | None) -> Callable[..., None]:
            def hook(*_: Any) -> None:
                own = [place.name for place in self._places if layer in (None, place.layer)]
                self._coming = own or self._coming

            return hook

        def advance(*_: Any) -> None:
            self._coming = self._coming[1:] or self._coming

        layers: Sequence[nn.Module] = [*model.layers]
        handles: list[Handle] = [model.register_forward_pre_hook(begin(None))]
        handles += [layer.register_forward_pre_hook(begin(index)) for index, layer in enumerate(layers)]
        return [*handles, self._places[0].module.register_forward_hook(advance)]


class _Handles:
    def __init__(self, handles: Sequence[Handle]) -> None:
        self._handles = handles

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()
