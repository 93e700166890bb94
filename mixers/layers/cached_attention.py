"""What mixers that keep keys and values have in common: how they are run, and how their attention is shown."""

from torch import Tensor, nn

from mixers.ops.attention_bias import causal_weights
from mixers.ops.documents import by_document
from mixers.ops.growing import append, in_own_memory
from zoo import Panel, State, TokenMixer

SHOWN_HEADS, SHOWN_TOKENS = 4, 64
"""So many heads and tokens are shown of an attention matrix."""


class CachedAttention(TokenMixer):
    """A projection of the reads, something causal between its tokens, and a projection of what that says.

    A subclass sets `project_in` and `project_out`, and has `_attend`, which knows nothing of documents.
    """

    project_in: nn.Linear
    project_out: nn.Linear

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        projected = self.project_in(x)
        if documents is None:
            return self.project_out(self._attend(projected, {})[0])
        return self.project_out(by_document(lambda own: self._attend(own, {})[0], documents, projected))

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state holds, by name, what `_attend` keeps of the tokens so far."""
        mixed, following = self._attend(self.project_in(x), {} if state is None else state)
        # In memory of their own: as a view of the projection, the keys would keep the queries alive.
        return self.project_out(mixed), {name: in_own_memory(of) for name, of in following.items()}

    def _attend(self, projected: Tensor, past: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """What the heads say side by side, before the last projection, and the state after these tokens."""
        raise NotImplementedError


def extended(past: dict[str, Tensor], name: str, now: Tensor) -> Tensor:
    """What the state keeps under a name, ``(b, h, s, ...)``, with that of the new tokens behind it."""
    return append(past[name], now) if name in past else now


def tokens_so_far(past: dict[str, Tensor]) -> int:
    """The position of the next token, where the state keeps the keys of all."""
    return past["key"].shape[2] if past else 0


def attention_panel(weights: Tensor) -> Panel:
    """Attention weights of the first heads, ``(h, t, s)``, as a picture."""
    title = f"attention in the first sequence, its first {weights.shape[1]} tokens"
    reading = "A row is a query: its attention weights on itself and the tokens before it."
    axes = ("head", "query (token)", "key (token)")
    return Panel(title, reading, weights[:SHOWN_HEADS], "attention weight", axes)


def softmax_panel(query: Tensor, key: Tensor, *, scale: float, bias: Tensor | None = None) -> Panel:
    """The causal attention of the first sequence, with a bias on its scores, ``(b, h, t, s)``."""
    return attention_panel(causal_weights(query[:1], key[:1], scale=scale, bias=bias)[0])
