"""A way to look at the residual stream while a model runs, without touching the code of any mixer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zoo.model.stack import Stack
from zoo.residual import Stream


@dataclass(frozen=True)
class Traffic:
    """What one part read from the stream and wrote to it in one forward pass.

    Attributes:
        part: e.g. ``"0.correlation"`` or ``"0.channel"``.
        stream: the stream that it wrote to, ``(b, t, d)``; of a residual scheme with several streams, what it shows.
        read: what the part saw: what the scheme read from the stream, ``(b, t, d)``.
        write: what it returned, before dropout and before the scheme wrote it, ``(b, t, d)``.
        added: what that adds to the stream, ``(b, t, d)``; with `pre-norm` the write, scaled.
    """

    part: str
    stream: Tensor
    read: Tensor
    write: Tensor
    added: Tensor

    @property
    def norms(self) -> dict[str, Tensor]:
        """Euclidean norms per token, ``(b, t)`` each: of the stream, the read, and the write as it was added."""
        of = {"stream": self.stream, "read": self.read, "write": self.added}
        return {name: torch.linalg.vector_norm(values, dim=-1) for name, values in of.items()}


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

    def record(site: int, label: str, stream: Stream, read: Tensor, write: Tensor) -> None:
        residual, name = model.residual, f"{model.layer_of(site)}.{label}"
        with torch.no_grad():
            shown, added = residual.show(stream).detach(), residual.added(stream, site, write).detach()
        log.traffic.append(Traffic(name, shown, read.detach(), write.detach(), added))

    hook = model.register_forward_pre_hook(lambda _module, _args: log.traffic.clear())
    model.listeners.append(record)
    try:
        yield log
    finally:
        model.listeners.remove(record)
        hook.remove()
