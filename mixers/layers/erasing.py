"""What mixers that erase have in common: how they are run, and how what reaches a token is shown."""

from torch import Tensor

from mixers.layers.convolved_heads import ConvolvedHeads
from mixers.layers.memory_panels import SHOWN_TOKENS, influence_panel
from mixers.layers.normed_heads import NormedHeads
from zoo import Panel, State, TokenMixer


class Erasing(TokenMixer):
    """Heads with short convolutions, a memory that each token erases and writes to, and normed heads as the write.

    A subclass sets `heads_in` and `heads_out`, and has `_remember`.
    """

    heads_in: ConvolvedHeads
    heads_out: NormedHeads

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        return self._mix(x, {}, documents)[0]

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state holds the memory, ``(b, h, k, v)``, and past inputs of the convolution."""
        return self._mix(x, {} if state is None else state, None)

    def panels(self, x: Tensor) -> list[Panel]:
        """How values reach later tokens through the memory, in the first sequence."""
        x = x[:1, :SHOWN_TOKENS]
        query, key, value, _ = self._heads(x, None, None)
        return [influence_panel(lambda probe: self._remember(x, query, key, probe, None, None)[0], value)]

    def _mix(self, x: Tensor, past: dict[str, Tensor], documents: Tensor | None) -> tuple[Tensor, State]:
        query, key, value, convolution = self._heads(x, past.get("convolution"), documents)
        read, memory = self._remember(x, query, key, value, past.get("memory"), documents)
        return self.heads_out(read, x), {"memory": memory, "convolution": convolution}

    def _heads(
        self, x: Tensor, state: Tensor | None, documents: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries, keys and values, and the state of the convolution."""
        return self.heads_in(x, state, documents)

    def _remember(  # noqa: PLR0917 - what the reads are made into, and what operators take
        self,
        x: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        state: Tensor | None,
        documents: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """What the heads read of their memory, ``(b, t, h, v)``, linear in `value`, and the memory afterwards."""
        raise NotImplementedError
