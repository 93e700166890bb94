"""A way to look at the residual stream while a model runs, without touching the code of any mixer."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from zoo.contract import Mixed
from zoo.model.backbone import Layer
from zoo.model.hooks import hook_write
from zoo.model.parts import Part, Stack, parts_of_layer


@dataclass(frozen=True)
class Traffic:
    """What one part read from the stream and wrote to it in one forward pass.

    Attributes:
        part: e.g. ``"0.correlation"`` or ``"0.channel"``.
        stream: the stream when the layer began, ``(b, t, d)``.
        read: what the part saw: the stream after the host's norm, ``(b, t, d)``.
        write: what it gave back, before the host scaled and added it, ``(b, t, d)``.
        write_scale: what the host multiplied the write by.
    """

    part: str
    stream: Tensor
    read: Tensor
    write: Tensor
    write_scale: float

    @property
    def norms(self) -> dict[str, Tensor]:
        """Euclidean norms per token, ``(b, t)`` each: of the stream, the read, and the write as it was added."""
        norms = {name: torch.linalg.vector_norm(getattr(self, name), dim=-1) for name in ("stream", "read", "write")}
        return norms | {"write": norms["write"] * self.write_scale}


@dataclass
class StreamLog:
    """The traffic of the last forward pass, in the order in which the parts wrote."""

    traffic: list[Traffic] = field(default_factory=list)

    def __getitem__(self, part: str) -> Traffic:
        for traffic in self.traffic:
            if traffic.part == part:
                return traffic
        raise KeyError(f"no part is named {part!r}; there are: {', '.join(t.part for t in self.traffic)}")


@contextmanager
def watch_stream(model: Stack) -> Iterator[StreamLog]:
    """Capture what each part of the model reads and writes, as detached tensors.

    Works on an eager model, for whole sequences (``model(tokens)``, not ``model.step``):

        with zoo.watch_stream(model) as log:
            model(tokens)
        log["0.correlation"].norms["write"].mean()
    """
    log = StreamLog()
    hooks: list[Any] = [model.register_forward_pre_hook(lambda _module, _args: log.traffic.clear())]
    for index, layer in enumerate(cast(Iterable[Layer], model.layers)):
        hooks += _watch_layer(model, layer, parts_of_layer(index, layer), log)
    try:
        yield log
    finally:
        for hook in hooks:
            hook.remove()


def _watch_layer(model: Stack, layer: Layer, parts: Sequence[Part], log: StreamLog) -> list[Any]:
    entering: dict[str, Tensor] = {}

    def enter(_layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        entering["stream"] = args[0].detach()

    def record(part: Part) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...], written: Tensor | Mixed) -> None:
            write = Mixed.of(written, module).out.detach()
            log.traffic.append(Traffic(part.name, entering["stream"], args[0].detach(), write, layer.write_scale))

        return hook

    hooks = [hook_write(model, part, record(part)) for part in parts]
    return [layer.register_forward_pre_hook(enter), *hooks]
