"""The spatial gating of gMLP made causal: a learned matrix from earlier positions to later ones."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from mixers.ops.documents import by_document
from zoo import Panel, State, TokenMixer

SHOWN_TOKENS = 64
"""So many rows and columns of the matrix are shown."""


class CausalMLP(TokenMixer):
    """A multi-layer perceptron over positions: one half of the hidden channels gates the other, mixed along time.

        u_t, v_t = gelu(W_in x_t)        s_t = b_t + sum_{s <= t} A[t, s] layernorm(v_s)
        write_t = W_out [ u_t * s_t ]

    A: a learned matrix over positions, shared by all channels and texts, of which the lower triangle counts; b: a
    number a position. At the start A is nearly 0 and b is 1, so that each token is by itself. A shorter text uses the
    leading block.

    Options:
        width: channels of each half; None for dim, which makes ``3 d**2`` parameters beside A.
        context: the longest sequence that it takes, for which A is made.

    Cost: time ``t**2 * width`` beside the projections, and ``context * (context + 1)`` parameters. State: the
    normalised v of all tokens so far, ``t * width`` numbers.

    Raises:
        ValueError: a width or context below 1, a sequence that is longer than the context.

    Source: Liu et al. 2021, "Pay Attention to MLPs", arXiv:2105.08050, with the upper triangle left out.
    """

    paper: ClassVar[str] = "Liu et al. 2021, arXiv:2105.08050"
    no_decay: ClassVar[frozenset[str]] = frozenset({"matrix"})

    def __init__(self, dim: int, *, width: int | None = None, context: int = 256) -> None:
        super().__init__()
        width = dim if width is None else width
        for name, value in {"width": width, "context": context}.items():
            if value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}")
        self.max_length = context
        self.project_in = nn.Linear(dim, 2 * width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.matrix = nn.Parameter(torch.empty(context, context))
        self.bias = nn.Parameter(torch.empty(context))
        self.project_out = nn.Linear(width, dim, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with gates of 1, nearly: a matrix of small numbers, and a bias of 1."""
        nn.init.uniform_(self.matrix, -1e-3, 1e-3)
        nn.init.ones_(self.bias)

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        kept, mixed = self._halves(x)
        if documents is None:
            gate = self._gate(mixed, 0)
        else:
            gate = by_document(lambda own: self._gate(own, 0), documents, mixed)
        return self.project_out(kept * gate)

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state is the normalised half of all tokens so far, ``(b, t, width)``."""
        kept, mixed = self._halves(x)
        seen = mixed if state is None else torch.cat([state, mixed], dim=1)
        return self.project_out(kept * self._gate(seen, seen.shape[1] - x.shape[1])), seen

    def panels(self, x: Tensor) -> list[Panel]:
        """The matrix of the first positions."""
        time = min(x.shape[1], SHOWN_TOKENS)
        reading = "A row is a token: what it takes of the tokens before it and of itself, in every text."
        axes = ("query (token)", "source (token)")
        return [Panel(f"matrix of the first {time} positions", reading, self._matrix(0, time), "weight", axes)]

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The half that is gated, and the normalised half that gates."""
        kept, mixed = gelu(self.project_in(x)).chunk(2, dim=-1)
        # Under autocast the hidden channels are narrower than the norm's weight, which would cost it its fused form.
        return kept, self.norm(mixed.to(self.norm.weight.dtype)).to(kept.dtype)

    def _gate(self, mixed: Tensor, start: int) -> Tensor:
        """The gates of the tokens from `start` on, of the half ``(b, s, width)``."""
        matrix, bias = self._matrix(start, mixed.shape[1]), self.bias[start : mixed.shape[1], None]
        return matrix.to(mixed.dtype) @ mixed + bias.to(mixed.dtype)

    def _matrix(self, start: int, stop: int) -> Tensor:
        """The rows of the tokens from start to stop."""
        context = len(self.matrix)
        if stop > context:
            raise ValueError(f"{stop} tokens are more than its context={context}: build it with a longer one")
        return self.matrix[start:stop, :stop].tril(start)
