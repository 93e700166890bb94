"""RWKV-7: a memory with a decay and an erase rate a channel, and a key for writing that is not the one for erasing."""

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from mixers.layers.convolved_heads import head_sizes
from mixers.layers.memory_panels import SHOWN_TOKENS, erased_panel, influence_panel, kept_panel
from mixers.ops.activations import at_least_float32
from mixers.ops.erase import erase
from mixers.ops.token_shift import token_shift
from mixers.ops.unit_length import unit_length
from zoo import Mixed, Panel, State, TokenMixer

FIRST_VALUE = "rwkv7.first_value"
"""Under this name the first layer hands up its values."""

FASTEST = math.exp(-0.5)
"""The least log decay, with another sign."""

EPSILON = 64e-5
"""Added to the variance of a head: as in GroupNorm, times 64 channels."""

SHORTEST = 1e-24
"""Added to the square of a key's length, so that its gradient stays finite at zero."""


class _Tokens(NamedTuple):
    """What the tokens of a sequence bring, ``(b, t, h, k)`` each, and the first layer's values and gate, ``(b, t, d)``.

    `erasing` is the direction in which the memory is erased, of length 1, and `rate` how much of it.
    """

    query: Tensor
    log_decay: Tensor
    key: Tensor
    value: Tensor
    erasing: Tensor
    rate: Tensor
    first: Tensor
    gate: Tensor


class _LowRank(nn.Module):
    """A function of the token through few channels, ``B f(A x) + bias``."""

    def __init__(
        self, dim: int, rank: int, activation: Callable[[Tensor], Tensor] | None = None, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.down, self.activation = nn.Linear(dim, rank, bias=False), activation
        self.up = nn.Linear(rank, dim, bias=bias)

    @torch.no_grad()
    def start(self, bias: Tensor | None = None) -> None:
        """Begin as the bias: the first factor is zero, the second orthogonal."""
        nn.init.zeros_(self.down.weight)
        nn.init.orthogonal_(self.up.weight, gain=0.1)
        if bias is not None:
            self.up.bias.copy_(bias)

    def forward(self, x: Tensor) -> Tensor:
        low = self.down(x)
        return self.up(low if self.activation is None else self.activation(low))


class RWKV7(TokenMixer):
    """A memory that decays and is erased by channel, whose transition can rotate, and values mixed with the first's.

        S_t = Diag(exp(w_t)) S_{t-1} - (a_t * e_t) (e_t^T S_{t-1}) + k'_t v_t^T              y_t = S_t^T r_t
        w_t = -exp(-1/2) sigmoid(w(x_w))     a_t = sigmoid(a(x_a))     g_t = G_2 sigmoid(G_1 x_g)
        r, k, v = W_r x_r, W_k x_k, W_v x_v;     e = k * K / |k * K|;     k' = k * (1 + (a - 1) * A)
        v <- v + (v_first - v) * sigmoid(v(x_v))     in all layers but the first
        write_t = W_out [ g_t * (groupnorm(y_t) + <r_t, k'_t * B> v_t) ]

    x_i: ``x_t + mu_i * (x_{t-1} - x_t)``, a learned mixture with the token before, one for each of r, w, k, v, a and g;
    S: the memory of a head; w, a, v(...): low-rank functions of the token with a bias; e: the direction in which it is
    erased; v_first: the values of the first such layer, which hands them up. A later layer that finds none takes zeros,
    so that its gate weighs its own values. K, A, B: learned, by channel.

    Options:
        heads: heads, each with a memory of d / heads by d / heads; they divide dim.
        decay_rank: rank of w; None for 2.5 sqrt(dim), rounded to a multiple of 8.
        erase_rank: rank of a; None for the same.
        value_rank: rank of the gate of the values; None for 1.7 sqrt(dim), rounded.
        gate_rank: rank of g; None for 5 sqrt(dim), rounded.
        layer_index: the place in the stack, filled by the host: the first layer has no gate of values, and initial
            decays and mixtures depend on it.
        layers: of the stack, filled by the host.

    Cost: time ``t * (4 d**2 + 2 d * (sum of ranks) + d * (4 d / heads + 128))``, by chunks of 32 tokens. State:
    ``d**2 / heads`` numbers, and the last read, d.

    Raises:
        ValueError: heads that do not divide dim, a rank below 1, a layer_index outside of the layers.

    Source: Peng et al. 2025, "RWKV-7 Goose", arXiv:2503.14456, where heads have 64 channels.
    """

    paper: ClassVar[str] = "Peng et al. 2025, arXiv:2503.14456"
    no_decay: ClassVar[frozenset[str]] = frozenset({"mixtures", "bonus"})

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        decay_rank: int | None = None,
        erase_rank: int | None = None,
        value_rank: int | None = None,
        gate_rank: int | None = None,
        layer_index: int = 0,
        layers: int = 1,
    ) -> None:
        super().__init__()
        _, self.size = head_sizes(dim, heads, None, None)
        if not 0 <= layer_index < layers:
            raise ValueError(f"layer_index must be from 0 to layers - 1, {layers - 1}, not {layer_index}")
        self.heads, self.layer_index, self.layers = heads, layer_index, layers
        self.mixtures = nn.Parameter(torch.empty(6, dim))
        self.receptance, self.key, self.value = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.decay = _LowRank(dim, _rank("decay_rank", decay_rank, 2.5, dim), torch.tanh)
        self.rate = _LowRank(dim, _rank("erase_rank", erase_rank, 2.5, dim))
        rank = _rank("value_rank", value_rank, 1.7, dim)
        self.of_first = _LowRank(dim, rank) if layer_index else None
        self.gate = _LowRank(dim, _rank("gate_rank", gate_rank, 5, dim), torch.sigmoid, bias=False)
        self.erase_scale, self.key_scale = nn.Parameter(torch.empty(dim)), nn.Parameter(torch.empty(dim))
        self.bonus = nn.Parameter(torch.empty(heads, self.size))
        self.norm_gain, self.norm_bias = nn.Parameter(torch.empty(dim)), nn.Parameter(torch.empty(dim))
        self.project_out = nn.Linear(dim, dim, bias=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Start as the paper does: decays from slow to fast over the channels, no write, low ranks at their bias."""
        dim, device = len(self.norm_gain), self.norm_gain.device
        depth = self.layer_index / max(1, self.layers - 1)
        ramp = torch.linspace(0, 1, dim, device=device)
        line = ramp - 0.5
        # Within a head, so that each has slow and fast channels.
        inside = torch.linspace(-1, 1, self.size, device=device) if self.size > 1 else torch.zeros(1, device=device)
        zigzag = (inside * inside.abs()).repeat(self.heads)
        self._reset_mixtures()
        for linear, scale in ((self.receptance, 0.5), (self.key, 0.05), (self.value, 0.5)):
            linear.weight.uniform_(-scale * dim**-0.5, scale * dim**-0.5)
        self.decay.start(-5.5 + 6 * ramp ** (1 + depth**0.3) + 2.5 * zigzag)
        self.rate.start(-0.19 + 0.3 * zigzag + 0.4 * line)
        if self.of_first is not None:
            self.of_first.start(0.73 - 0.4 * line)
        self.gate.start()
        self.erase_scale.copy_(0.71 - 0.1 * line)
        self.key_scale.fill_(1.02)
        self.bonus.fill_(-0.04)
        self.norm_gain.fill_(((self.layer_index + 1) / self.layers) ** 0.7)
        self.norm_bias.zero_()
        self.project_out.weight.zero_()

    def _reset_mixtures(self) -> None:
        dim = len(self.norm_gain)
        channel = torch.arange(dim, device=self.norm_gain.device) / dim
        # By the paper's exponents of r, w, k, v, a and g: upper layers read more of the token itself.
        powers = torch.tensor([0.2, 0.9, 0.7, 0.7, 0.9, 0.2], device=channel.device)[:, None]
        self.mixtures.copy_(1 - channel ** (powers * (1 - self.layer_index / self.layers)))

    def forward(
        self, x: Tensor, *, shared: Mapping[str, Any] | None = None, documents: Tensor | None = None
    ) -> Tensor | Mixed:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        return self._mix(x, {}, shared, documents)[0]

    def step(
        self, x: Tensor, state: State | None = None, *, shared: Mapping[str, Any] | None = None
    ) -> tuple[Tensor | Mixed, State]:
        """Mix the next reads; the state holds the memory, ``(b, h, k, v)``, and the last read, ``(b, d)``."""
        return self._mix(x, {} if state is None else state, shared, None)

    def panels(self, x: Tensor) -> list[Panel]:
        """How values reach later tokens, what each head keeps, and what it erases."""
        tokens = self._tokens(x[:1], token_shift(x[:1])[0], None)
        shown = _Tokens(*(of[:, :SHOWN_TOKENS] for of in tokens))
        return [
            influence_panel(lambda probe: _remember(shown._replace(value=probe))[0], shown.value),
            kept_panel(tokens.log_decay),
            erased_panel((tokens.rate * tokens.erasing.square()).sum(-1)),
        ]

    def _mix(
        self, x: Tensor, past: dict[str, Tensor], shared: Mapping[str, Any] | None, documents: Tensor | None
    ) -> tuple[Tensor | Mixed, State]:
        before, last = token_shift(x, past.get("last"), documents=documents)
        first = None if shared is None else shared.get(FIRST_VALUE)
        tokens = self._tokens(x, before, first)
        y, memory = _remember(tokens, past.get("memory"), documents)
        written = self.project_out(self._normed(y, tokens) * tokens.gate)
        state = {"memory": memory, "last": last}
        return (written if first is not None else Mixed(written, shared={FIRST_VALUE: tokens.first})), state

    def _tokens(self, x: Tensor, before: Tensor, first: Tensor | None) -> _Tokens:
        change = before - x
        reads = [x + change * mixture for mixture in self.mixtures.to(x.dtype)]
        query, key, own = self.receptance(reads[0]), self.key(reads[2]), self.value(reads[3])
        log_decay = -FASTEST * at_least_float32(self.decay(reads[1])).sigmoid()
        rate = at_least_float32(self.rate(reads[4])).sigmoid()
        value = own
        if self.of_first is not None:
            other = torch.zeros_like(own) if first is None else first
            value = own + (other - own) * self.of_first(reads[3]).sigmoid()
        erasing = unit_length(self._by_head(key * self.erase_scale), epsilon=SHORTEST)
        key = key * (1 + (rate - 1) * self.key_scale)
        query, log_decay, key, value, rate = map(self._by_head, (query, log_decay, key, value, rate))
        return _Tokens(query, log_decay, key, value, erasing, rate, own, self.gate(reads[5]))

    def _normed(self, y: Tensor, tokens: _Tokens) -> Tensor:
        """What is read of the memory, normalised by head, and the token's own value, ``(b, t, d)``."""
        normed = layer_norm(at_least_float32(y), (self.size,), eps=EPSILON).flatten(2)
        weight = (tokens.query * tokens.key * self.bonus).sum(-1, keepdim=True)
        out = normed * self.norm_gain + self.norm_bias + (weight * tokens.value).flatten(2)
        return out.to(y.dtype)

    def _by_head(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.size))


def _remember(tokens: _Tokens, state: Tensor | None = None, documents: Tensor | None = None) -> tuple[Tensor, Tensor]:
    query, log_decay, key, value, erasing, rate, _, _ = tokens
    b = erasing * rate
    return erase(query, -erasing, b, value, log_decay, state, key=key, floor=-FASTEST, documents=documents)


def _rank(name: str, given: int | None, factor: float, dim: int) -> int:
    """The rank that was chosen, or that of the paper, which rounds to 32: small models would be nothing else."""
    if given is not None and given < 1:
        raise ValueError(f"{name} must be 1 or more, not {given}")
    return max(8, 8 * round(factor * dim**0.5 / 8)) if given is None else given
