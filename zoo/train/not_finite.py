"""Which part of a model made the first number that is not finite: looked for when a step has failed, and only then."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from zoo.contract import Mixed
from zoo.model.backbone import Backbone, ModelOutput
from zoo.model.faults import definition, describe_part
from zoo.model.hooks import hook_read, hook_write
from zoo.model.parts import Part, parts_of
from zoo.model.stack import Stack
from zoo.model.watch import StreamLog, Traffic, watch_stream

_BOTH = ("write", "read")
_SHOWN = 3
"""So many parameters are named."""

Finite = dict[tuple[str, str], bool]
"""Whether the gradient of a part's read or write was finite, by the name of the part and which of the two."""


class Cause(NamedTuple):
    """Where the first number that is not finite comes from.

    Attributes:
        text: a sentence without its full stop.
        part: the name of the part that made it; None where it was none of them.
    """

    text: str
    part: str | None = None


def explain_not_finite(
    model: Backbone, forward: Callable[[], ModelOutput], objective: Callable[[ModelOutput], Tensor]
) -> Cause | None:
    """Run a batch once more, and find where the first number that is not finite comes from.

    Args:
        model: eager, in the mode in which it failed; the gradients of its parameters are lost.
        forward: runs it on the batch.
        objective: what is differentiated.

    Returns:
        None where every number in reach is finite.
    """
    parts = parts_of(model)
    again = torch.random.fork_rng(range(torch.cuda.device_count()))  # the second pass draws what the first one drew
    with again, torch.no_grad(), watch_stream(model) as log:
        output = forward()
    if found := explain_writes(model, log) or _explain_losses(parts, output):
        return found
    model.zero_grad(set_to_none=True)
    with _watched_gradients(model, parts) as finite:
        objective(forward()).backward()
    return _explain_gradients(model, parts, finite)


def explain_writes(model: Stack, log: StreamLog) -> Cause | None:
    """Name the part that wrote the first number that is not finite in a forward pass, if one did."""
    for before, traffic in zip([None, *log.traffic], log.traffic, strict=False):
        if not _is_finite(traffic.stream):
            return Cause(_stream_text(before))
        bad = ~traffic.write.isfinite().all(-1)
        if bad.any():
            part = next(part for part in parts_of(model) if part.name == traffic.part)
            row, token = bad.nonzero()[0].tolist()
            where = f"at token {token} of sequence {row}"
            return Cause(f"The first number that is not finite was written {where} by {_named(part)}", part.name)
    return None


def _stream_text(before: Traffic | None) -> str:
    if before is None:
        return "The embedding of the tokens is not finite"
    return f"The first number that is not finite was made where the stream took the write of part {before.part}"


def _explain_losses(parts: Sequence[Part], output: ModelOutput) -> Cause | None:
    for name, loss in output.losses.items():
        part = next((part for part in parts if name.startswith(f"{part.name}.")), None)
        if part is not None and not _is_finite(loss):
            own = name.removeprefix(f"{part.name}.")
            return Cause(f"The loss {own!r} is {loss.item()}, of {_named(part)}", part.name)
    return None


def _explain_gradients(model: nn.Module, parts: Sequence[Part], finite: Finite) -> Cause | None:
    for part in reversed(parts):  # the backward pass meets the last one first
        places = [other for other in parts if other.module is part.module]
        own = _not_finite_gradients(part.module)
        if len(places) > 1 and not all(finite.get((place.name, which), True) for place in places for which in _BOTH):
            own = []  # a sum over the places, to which one of them may bring what it was given
        came_in, went_out = (finite.get((part.name, which), True) for which in _BOTH)
        if came_in and (own or not went_out):
            of = _listed(own) if own else "what it reads"
            who = _named(*(places if own else [part]))
            return Cause(f"The first gradient that is not finite is that of {of}, of {who}", part.name)
    others = _not_finite_gradients(model)
    return Cause(f"The gradients of {_listed(others)} are not finite, and no part is the first") if others else None


@contextmanager
def _watched_gradients(model: Stack, parts: Sequence[Part]) -> Iterator[Finite]:
    """Note, in the backward pass of the block, whether what goes into each part and what comes out of it is finite."""
    finite: Finite = {}

    def note(name: str, which: str) -> Callable[[Tensor], None]:
        def hook(gradient: Tensor) -> None:
            finite[name, which] = finite.get((name, which), True) and _is_finite(gradient)

        return hook

    def enter(part: Part) -> Any:
        def hook(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            read = args[0].view_as(args[0])  # of its own: parts side by side share one tensor
            if read.requires_grad:
                read.register_hook(note(part.name, "read"))
            return read, *args[1:]

        return hook

    def leave(part: Part) -> Any:
        def hook(module: nn.Module, _args: tuple[Tensor, ...], written: Tensor | Mixed) -> None:
            write = Mixed.of(written, module).out
            if write.requires_grad:
                write.register_hook(note(part.name, "write"))

        return hook

    hooks = [hook_read(model, part, enter(part)) for part in parts]
    hooks += [hook_write(model, part, leave(part)) for part in parts]
    try:
        yield finite
    finally:
        for hook in hooks:
            hook.remove()


def _not_finite_gradients(module: nn.Module) -> list[str]:
    gradients = ((name, parameter.grad) for name, parameter in module.named_parameters())
    return [name for name, gradient in gradients if gradient is not None and not _is_finite(gradient)]


def _is_finite(values: Tensor) -> bool:
    return bool(values.isfinite().all())


def _named(*places: Part) -> str:
    return f"{describe_part(*places)}, in {definition(places[0].module)}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
