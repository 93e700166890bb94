"""One case that a law looks at: a mixer of some sizes and options, and reads for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from zoo.contract import TokenMixer
from zoo.errors import ZooError
from zoo.testing.running import drawn
from zoo.testing.subject import LAYERS, SHAPES, Sizes, Subject
from zoo.testing.whole_model import VOCABULARY


@dataclass(frozen=True)
class Case:
    """A case, described by little enough to be written down.

    Args:
        subject: what is checked.
        sizes: rows, tokens, model width, heads.
        options: those that were drawn.
        seed: of the parameters and the reads.
        cuts: where the pieces of a stream end, ascending, each between 0 and the number of tokens.
    """

    subject: Subject
    sizes: Sizes
    options: Mapping[str, Any]
    seed: int = 0
    cuts: tuple[int, ...] = ()

    def build(self, seed: int | None = None) -> TokenMixer:
        """The mixer as its user would get it: in float32, with the parameters that it starts from."""
        sizes = {"dim": self.sizes.dim, "heads": self.sizes.heads, "layer": self.seed % LAYERS}
        return self.subject.build(self.options, **sizes, seed=self.seed if seed is None else seed)

    def at_layer(self, index: int) -> TokenMixer:
        """The mixer to judge, in another layer of its model."""
        sizes = {"dim": self.sizes.dim, "heads": self.sizes.heads, "layer": index}
        built = self.subject.build(self.options, **sizes, seed=self.seed + index)
        return drawn(built.double(), self.seed + index)

    @cached_property
    def mixer(self) -> TokenMixer:
        """The mixer to judge: in float64, so that no leak hides behind rounding, with noise on its parameters, so that
        none hides behind a zero. A law never changes it.
        """
        return drawn(self.build().double(), self.seed)

    @cached_property
    def builds(self) -> bool:
        """Whether it can be built with these options at these sizes."""
        try:
            with torch.random.fork_rng(devices=[]):
                _ = self.mixer
        except ZooError:
            return False
        return True

    @cached_property
    def runs(self) -> bool:
        """Whether it writes anything to judge."""
        try:
            with torch.random.fork_rng(devices=[]):
                return self.subject.run(self.mixer, self.reads).shape == self.reads.shape
        except Exception:
            return False

    @cached_property
    def reads(self) -> Tensor:
        """``(b, t, d)`` in float64, or tokens ``(b, t)``."""
        return self.longer(self.sizes.time)

    def longer(self, time: int, batch: int | None = None) -> Tensor:
        """Reads of another length, no longer than the mixer takes."""
        time = min(time, getattr(self.mixer, "max_length", None) or time)
        batch = self.sizes.batch if batch is None else batch
        generator = torch.Generator().manual_seed(self.seed)
        if self.subject.whole_model:
            return torch.randint(VOCABULARY, (batch, time), generator=generator)
        return torch.randn(batch, time, self.sizes.dim, generator=generator, dtype=torch.float64)

    @property
    def pieces(self) -> tuple[int, ...]:
        """The cuts that lie within the reads."""
        return tuple(cut for cut in self.cuts if cut < self.reads.shape[1])

    def where(self, reads: Tensor, running: nn.Module | None = None) -> str:
        """The sizes, options and mode in which a law was seen broken."""
        parts = [f"b={reads.shape[0]}", f"t={reads.shape[1]}"]
        if self.subject.takes("heads") and "heads" not in self.subject.given:
            parts.append(f"heads={self.sizes.heads}")
        if self.sizes.dim != SHAPES[0][0]:
            parts.append(f"dim={self.sizes.dim}")
        parts += self.subject.details(self.seed % LAYERS)
        parts += [f"{name}={value!r}" for name, value in self.options.items()]
        if running is not None and running.training:
            parts.append("in training mode")
        return f"({', '.join(parts)})"

    def to_dict(self) -> dict[str, Any]:
        """The case as plain values."""
        batch, time, dim, heads = self.sizes
        sizes = {"b": batch, "t": time, "dim": dim, "heads": heads, "seed": self.seed}
        return {**sizes, "options": dict(self.options), "cuts": list(self.cuts)}
