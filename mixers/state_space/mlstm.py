"""The mLSTM, a matrix memory with an exponential input gate, in the two blocks that xLSTM models have."""

from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from mixers.layers.block_diagonal import BlockDiagonal
from mixers.layers.grouped_norm import GroupedNorm
from mixers.layers.short_conv import ShortConv
from mixers.layers.state_panel import decay_panel
from mixers.ops.activations import at_least_float32
from mixers.ops.mlstm import mlstm
from zoo import Panel, State, TokenMixer

FIRST_FORGET, LAST_FORGET = 3.0, 6.0
"""The biases of the forget gates at the start, spread over the heads."""

SMALL_INPUT = -10.0
"""The bias of the input gates at the start of a post-up block."""

CAP = 15.0
"""No gate of a post-up block lies further from zero."""

BLOCK = 4
"""Channels of a block of the projections in a pre-up block."""


class MLSTM(TokenMixer):
    """A matrix a head that forgets by a sigmoid, writes by an exponential, and is read relative to what was written.

        C_t = sigmoid(f_t) C_{t-1} + exp(i_t) k_t v_t^T        n_t = sigmoid(f_t) n_{t-1} + exp(i_t) k_t
        y_t = C_t^T q_t / max(|<n_t, q_t>|, 1)                 write_t = W_out [ (norm(y_t) + s * c_t) * g_t ]

        pre-up:   u, z = W_in x;  c = silu(conv(u));  q, k = W_q c, W_k c;  v = W_v u;  i, f = W_i, W_f [q, k, v];
                  g = silu(z)
        post-up:  q, k, v = W_q x, W_k x, W_v x;  i, f = 15 tanh(W_i, W_f x / 15);  s = 0;  g = sigmoid(W_g x)

    q is scaled by k**-0.5, k channels a head; the norm is that of a head. i and f are one number a head each, with a
    bias; all is kept in units of exp(m), m a running maximum, so that nothing overflows. pre-up is the block of xLSTM:
    wide inside, W_q, W_k and W_v block-diagonal in blocks of 4. post-up is that of xLSTM 7B: it leaves the width to the
    channel mixer, and q and k have half as many channels as v.

    Options:
        heads: they divide the width.
        block: which of the two.
        expand: channels inside the block a channel of the stream; None for 2 in a pre-up block, 1 in the other.
        kernel_size: taps of the convolution in a pre-up block, up to 8.

    Cost: with width w = expand * d, time ``3 * t * d * w`` for the projections, in a post-up block four times ``t * d *
    w``, and ``t * w * (2 k + 64)`` for the state and the pairs of tokens within chunks of 64. State: ``w * k`` numbers
    for C, k + 1 a head for n and m, and ``(kernel_size - 1) * w`` inputs of the convolution.

    Raises:
        ValueError: heads that do not divide the width, a width that is no multiple of 4, other options that are out of
            their range.

    Source: Beck et al. 2024, arXiv:2405.04517; post-up: Beck et al. 2025, "xLSTM 7B", arXiv:2503.13427.
    """

    paper: ClassVar[str] = "Beck et al. 2024, arXiv:2405.04517"

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        block: Literal["pre-up", "post-up"] = "pre-up",
        expand: int | None = None,
        kernel_size: int = 4,
    ) -> None:
        super().__init__()
        if block not in ("pre-up", "post-up"):
            raise ValueError(f'block must be "pre-up" or "post-up", not {block!r}')
        self.wide = block == "pre-up"
        expand = (2 if self.wide else 1) if expand is None else expand
        if expand < 1:
            raise ValueError(f"expand must be 1 or more, not {expand}")
        width = expand * dim
        _check_width(width, width if self.wide else width // 2, heads, BLOCK if self.wide else 2)
        self.heads = heads
        self.inside = _PreUp(dim, width, kernel_size) if self.wide else _PostUp(dim, width)
        self.project_gates = nn.Linear(3 * width if self.wide else dim, 2 * heads, bias=False)
        self.input_bias = nn.Parameter(torch.empty(heads))
        self.forget_bias = nn.Parameter(torch.empty(heads))
        self.norm = GroupedNorm(width, heads, center=True)
        self.project_out = nn.Linear(width, dim, bias=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Start with gates that depend on the head only: forget gates of 0.95 to 0.998, small input gates."""
        nn.init.zeros_(self.project_gates.weight)
        self.forget_bias.copy_(torch.linspace(FIRST_FORGET, LAST_FORGET, self.heads))
        if self.wide:
            nn.init.normal_(self.input_bias, std=0.1)
        else:
            nn.init.constant_(self.input_bias, SMALL_INPUT)

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        return self._mix(x, {}, documents)[0]

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state holds C ``(b, h, k, v)``, n ``(b, h, k)``, m ``(b, h)``, and past inputs."""
        return self._mix(x, {} if state is None else state, None)

    def _mix(self, x: Tensor, past: dict[str, Tensor], documents: Tensor | None) -> tuple[Tensor, State]:
        inputs = self.inside(x, past.get("convolution"), documents=documents)
        query, key, value = (part.unflatten(-1, (self.heads, -1)) for part in inputs.heads)
        enters, forget = self._gates(inputs.asks)
        memory = (past["matrix"], past["normalizer"], past["maximum"]) if past else None
        query = query * query.shape[-1] ** -0.5
        y, memory = mlstm(query, key, value, enters, forget, memory, documents=documents)
        normed = self.norm(y.flatten(2)).to(y.dtype)
        normed = normed if inputs.around is None else normed + inputs.around
        following = dict(zip(("matrix", "normalizer", "maximum"), memory, strict=True))
        if inputs.convolution is not None:
            following["convolution"] = inputs.convolution
        return self.project_out(normed * inputs.gate), following

    def _gates(self, asks: Tensor) -> tuple[Tensor, Tensor]:
        """Input gates, in logarithms, and forget gates before the sigmoid, ``(b, t, h)`` each."""
        # biases are added in float32: between decays of 0.997 and 0.998, bfloat16 has nothing
        bias = torch.cat([self.input_bias, self.forget_bias])
        gates = at_least_float32(self.project_gates(asks)) + bias
        enters, forget = (gates if self.wide else CAP * (gates / CAP).tanh()).chunk(2, dim=-1)
        return enters, forget

    def panels(self, x: Tensor) -> list[Panel]:
        """What each head keeps of its memory."""
        return [decay_panel(self._gates(self.inside(x[:1]).asks)[1].sigmoid(), of="head")]


class _Inputs(NamedTuple):
    """What a block makes of the reads.

    Args:
        heads: queries, keys and values, ``(b, t, h * k)`` or ``(b, t, h * v)``.
        asks: what the gates of the memory are read from, ``(b, t, ·)``.
        gate: of what is written, ``(b, t, w)``.
        around: what is added to what the memory says.
        convolution: the state of the convolution.
    """

    heads: tuple[Tensor, Tensor, Tensor]
    asks: Tensor
    gate: Tensor
    around: Tensor | None = None
    convolution: Tensor | None = None


class _PreUp(nn.Module):
    def __init__(self, dim: int, width: int, kernel_size: int) -> None:
        super().__init__()
        self.project_in = nn.Linear(dim, 2 * width, bias=False)
        self.convolution = ShortConv(width, kernel_size)
        self.project_query = BlockDiagonal(width, BLOCK)
        self.project_key = BlockDiagonal(width, BLOCK)
        self.project_value = BlockDiagonal(width, BLOCK)
        self.skip = nn.Parameter(torch.empty(width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with the path around the memory open."""
        nn.init.ones_(self.skip)

    def forward(self, x: Tensor, state: Tensor | None = None, *, documents: Tensor | None = None) -> _Inputs:
        inputs, gate = self.project_in(x).chunk(2, dim=-1)
        convolved, state = self.convolution(inputs, state, documents=documents)
        convolved = silu(convolved)
        heads = self.project_query(convolved), self.project_key(convolved), self.project_value(inputs)
        return _Inputs(heads, torch.cat(heads, dim=-1), silu(gate), self.skip * convolved, state)


class _PostUp(nn.Module):
    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.sizes = [width // 2, width // 2, width, width]
        self.project_in = nn.Linear(dim, sum(self.sizes), bias=False)

    def forward(self, x: Tensor, state: Tensor | None = None, *, documents: Tensor | None = None) -> _Inputs:  # noqa: ARG002 - it has no convolution
        query, key, value, gate = self.project_in(x).split(self.sizes, dim=-1)
        return _Inputs((query, key, value), x, gate.sigmoid())


def _check_width(width: int, of_query: int, heads: int, multiple: int) -> None:
    if width % multiple:
        raise ValueError(f"expand * dim must be a multiple of {multiple}, not {width}")
    if heads < 1 or of_query % heads:
        raise ValueError(f"heads must divide the width of queries: with width={of_query}, not {heads}")
