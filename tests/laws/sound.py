"""Mixers that are unusual and break no law."""

import enum
import math
import pathlib
from collections.abc import Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from zoo import Mixed

from .control import Attending, Control, Projected, counted, lagged, running_mean, scores, wide


class RunningMean(Control):
    """The mean of the reads so far, without an __init__ of its own."""

    def forward(self, x):
        return running_mean(x)


class Identity(Control):
    """Writes what it reads, and owns nothing."""

    def forward(self, x):
        return x


class FixedScale(Control):
    """Writes a half of what it reads, and remembers nothing."""

    def forward(self, x):
        return 0.5 * x

    def step(self, x, state=None):
        return 0.5 * x, None


class LearnedConstant(Control):
    """Writes one learned vector whatever it reads."""

    def __init__(self, dim):
        super().__init__()
        self.constant = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.normal_(self.constant)

    def forward(self, x):
        return self.constant.expand_as(x)


class PerToken(Control):
    """Maps every token by itself."""

    def __init__(self, dim):
        super().__init__()
        self.map = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        return self.map(x)

    def step(self, x, state=None):
        return self.map(x), None


class ShortConvolution(Control):
    """A convolution over four tokens, padded on the left, whose state is the last three reads."""

    def __init__(self, dim):
        super().__init__()
        self.convolution = nn.Conv1d(dim, dim, 4)

    def forward(self, x):
        return self.step(x)[0]

    def step(self, x, state=None):
        past = x.new_zeros(x.shape[0], 3, x.shape[2]) if state is None else state
        reads = torch.cat([past, x], dim=1)
        return self.convolution(reads.transpose(1, 2)).transpose(1, 2), reads[:, x.shape[1] :].clone()


class ComplexRecurrence(Projected):
    """A diagonal recurrence in the complex plane, from parameters that are real."""

    def __init__(self, dim):
        super().__init__(dim)
        self.decay, self.phase = nn.Parameter(torch.empty(dim)), nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.uniform_(self.decay, 0.0, 1.0)
        nn.init.uniform_(self.phase, 0.0, math.pi)

    def forward(self, x):
        return self.step(x)[0]

    def step(self, x, state=None):
        size = (-F.softplus(wide(self.decay))).exp()
        turn = torch.complex(size * wide(self.phase).cos(), size * wide(self.phase).sin())
        hidden = turn.new_zeros(x[:, 0].shape) if state is None else state
        written = []
        for value in wide(self.value(x)).unbind(1):
            hidden = turn * hidden + value
            written.append(hidden.real)
        return self.out(torch.stack(written, dim=1).to(x.dtype)), hidden


class SilentAtFirst(Control):
    """Its last projection starts at zero."""

    def __init__(self, dim):
        super().__init__()
        self.value = nn.Linear(dim, dim)
        self.last = nn.Parameter(torch.empty(dim, dim))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.zeros_(self.last)

    def forward(self, x):
        return F.linear(running_mean(self.value(x)), self.last)


class ManyOptions(Control):
    """A sum of lagged values, by options of every kind.

    Options:
        heads: groups of channels with taps of their own, a divisor of dim.
        kind: "sum" adds the lagged values, "product" multiplies each by its value.
        gated: whether the read gates the write.
        window: the largest lag that counts; None counts all.
        taps: the lags.
        scale: factor on the write.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 2,
        kind: Literal["sum", "product"] = "sum",
        gated: bool = False,
        window: int | None = None,
        taps: tuple[int, ...] = (0, 1, 3),
        scale: float = 0.5,
    ) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise ValueError(f"heads must be a divisor of dim={dim}, not {heads}")
        if window is not None and window < 1:
            raise ValueError(f"window must be 1 or more, or None, not {window}")
        if not taps or min(taps) < 0:
            raise ValueError(f"taps must be one or more lags of 0 or more, not {taps}")
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"scale must be a positive number, not {scale}")
        if window is not None and min(taps) > window:
            raise ValueError(f"taps must have a lag within window={window}, unlike {taps}")
        self.kind, self.taps, self.scale = kind, [tap for tap in taps if window is None or tap <= window], scale
        self.value = nn.Linear(dim, dim)
        self.gate = nn.Linear(dim, dim) if gated else None
        self.weight = nn.Parameter(torch.empty(len(self.taps), heads, 1))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.ones_(self.weight)

    def forward(self, x):
        value = self.value(x)
        mixed = torch.zeros_like(value)
        for weight, tap in zip(self.weight, self.taps, strict=True):
            past = (weight * lagged(value, tap).unflatten(-1, (len(weight), -1))).flatten(2)
            mixed = mixed + (past if self.kind == "sum" else value.tanh() * past)
        return (self.scale * mixed * (1 if self.gate is None else self.gate(x).sigmoid())).to(value.dtype)


class RoutesToOne(Projected):
    """A mixture of four experts of which every token takes one, with losses and metrics."""

    def __init__(self, dim):
        super().__init__(dim)
        self.router = nn.Parameter(torch.empty(4, dim))
        self.experts = nn.Parameter(torch.empty(4, dim, dim))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.normal_(self.router, std=0.5)
        nn.init.normal_(self.experts, std=0.2)

    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):
            logits = F.linear(wide(x), wide(self.router))
        gates = logits.softmax(-1)
        chosen = gates.argmax(-1, keepdim=True) == torch.arange(4, device=x.device)
        share = chosen.to(gates.dtype).mean((0, 1))
        by_expert = torch.einsum("btd,efd->btef", running_mean(self.value(x)), self.experts)
        taken = (by_expert * (gates * chosen).to(by_expert.dtype)[..., None]).sum(-2)
        losses = {
            "balance": 0.01 * 4 * (gates.mean((0, 1)) * share).sum(),
            "z": 1e-3 * logits.logsumexp(-1).square().mean(),
        }
        return Mixed(self.out(taken), losses, {"load": share})


class LearnsByItsLossAlone(Control):
    """Its parameters show in an auxiliary loss, never in a write."""

    def __init__(self, dim):
        super().__init__()
        self.predict = nn.Linear(dim, dim)

    def forward(self, x):
        error = self.predict(x) - lagged(x)
        return Mixed(0.5 * running_mean(x), {"prediction": wide(error).square().mean()})


class DropsOut(Projected):
    """Draws random numbers in training.

    Options:
        rate: the share of channels that is dropped, from 0 to below 1.
    """

    def __init__(self, dim: int, *, rate: float = 0.3) -> None:
        super().__init__(dim)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be from 0 to below 1, not {rate}")
        self.rate = rate

    def mix(self, value):
        return F.dropout(running_mean(value), self.rate, self.training)


class GatedCell(Projected):
    """A recurrent cell with a gate, whose state is a dict with a position beside what is hidden."""

    def __init__(self, dim):
        super().__init__(dim)
        self.gate, self.back = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)

    def forward(self, x):
        return self.step(x)[0]

    def step(self, x, state=None):
        start = torch.zeros(x.shape[0], dtype=torch.int64, device=x.device)
        state = {"hidden": torch.zeros_like(wide(x[:, 0])), "position": start} if state is None else state
        hidden, written = state["hidden"], []
        for value, gate in zip(self.value(x).unbind(1), self.gate(x).sigmoid().unbind(1), strict=True):
            hidden = gate * hidden + (1 - gate) * torch.tanh(wide(value + self.back(hidden.to(x.dtype))))
            written.append(hidden)
        age = state["position"][:, None] + counted(x)
        out = self.out((torch.stack(written, dim=1) * (1 + 1 / age.to(hidden.dtype))[..., None]).to(x.dtype))
        return out, {"hidden": hidden, "position": state["position"] + x.shape[1]}


class LongConvolution(Projected):
    """A long filter applied by Fourier transform, so that every write sees the rounding of every read."""

    def __init__(self, dim):
        super().__init__(dim)
        self.filter = nn.Parameter(torch.empty(64, dim))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.normal_(self.filter, std=0.2)

    def mix(self, value):
        t = value.shape[1]
        spectrum = torch.fft.rfft(wide(value), 2 * t, dim=1) * torch.fft.rfft(wide(self.filter)[:t], 2 * t, dim=0)
        return torch.fft.irfft(spectrum, 2 * t, dim=1)[:, :t].to(value.dtype)


class RunningMaximum(Projected):
    """The largest value so far, channel by channel."""

    def forward(self, x):
        return self.step(x)[0]

    def step(self, x, state=None):
        largest = self.value(x).cummax(1).values
        largest = largest if state is None else torch.maximum(largest, state[:, None])
        return self.out(largest), largest[:, -1].clone()


class FusedAttention(Attending):
    """Attention of several heads by the fused kernel.

    Options:
        heads: how many, a divisor of dim.
    """

    def __init__(self, dim: int, *, heads: int = 2) -> None:
        super().__init__(dim)
        if heads < 1 or dim % heads:
            raise ValueError(f"heads must be a divisor of dim={dim}, not {heads}")
        self.heads = heads

    def attend(self, query, key, value):
        by_head = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in (query, key, value))
        return F.scaled_dot_product_attention(*by_head, is_causal=True).transpose(1, 2).flatten(2)


class NormalisedKeys(Attending):
    """Attention whose queries and keys are normalised, as values are not."""

    def attend(self, query, key, value):
        query, key = (F.normalize(wide(each), dim=-1, eps=1e-3).to(value.dtype) for each in (query, key))
        return self.weights(4 * scores(query, key)).to(value.dtype) @ value


class BothDirections(Projected):
    """The mean of the whole sequence, which is no mixer for a language model."""

    causal = False

    def mix(self, value):
        return wide(value).mean(1, keepdim=True).expand_as(value).to(value.dtype)


class LearnedPositions(Projected):
    """A table of 64 positions, and an error beyond it."""

    def __init__(self, dim):
        super().__init__(dim)
        self.max_length = 64
        self.positions = nn.Parameter(torch.empty(self.max_length, dim))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.normal_(self.positions)

    def mix(self, value):
        if value.shape[1] > self.max_length:
            raise ValueError(f"there are positions for {self.max_length} tokens, not for {value.shape[1]}")
        return running_mean(value) * self.positions[: value.shape[1]]


class FewPositions(LearnedPositions):
    """So short a table that most laws want longer sequences."""

    def __init__(self, dim):
        super().__init__(dim)
        self.max_length = 3
        self.positions = nn.Parameter(torch.empty(self.max_length, dim))
        self.reset_parameters()


class LongLag(Projected):
    """One of its parameters acts on what lies 40 tokens back, and on nothing nearer."""

    def __init__(self, dim):
        super().__init__(dim)
        self.gain = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.ones_(self.gain)

    def mix(self, value):
        return running_mean(value) + self.gain * lagged(value, 40)


class FixedFeatures(Projected):
    """Random features that are drawn once, in a buffer."""

    def __init__(self, dim):
        super().__init__(dim)
        self.register_buffer("features", torch.empty(dim, dim))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.normal_(self.features, std=self.features.shape[0] ** -0.5)

    def mix(self, value):
        return running_mean(F.relu(value @ self.features))


class InChunks(Projected):
    """A mean taken in chunks of four, in memory that is first left unwritten and then filled."""

    def mix(self, value):
        b, t, d = value.shape
        before = torch.empty(b, t // 4 + 1, d, dtype=wide(value).dtype, device=value.device)
        chunks = F.pad(wide(value), (0, 0, 0, -t % 4)).unflatten(1, (-1, 4))
        before[:, :1] = 0
        before[:, 1:] = chunks.sum(2).cumsum(1)[:, : t // 4]
        totals = (chunks.cumsum(2) + before[:, : chunks.shape[1], None]).flatten(1, 2)[:, :t]
        return (totals / counted(value)[:, None]).to(value.dtype)


class Kind(enum.Enum):
    """What a sum is taken of."""

    VALUES = "values"
    SIGNS = "signs"


class RequiredLag(Control):
    """Each token writes the read of so many tokens ago, which the user has to say.

    Options:
        lag: how many, 0 or more.
    """

    def __init__(self, *, lag: int):
        super().__init__()
        if lag < 0:
            raise ValueError(f"lag={lag} should be 0 or more")
        self.lag = lag

    def forward(self, x):
        kept = x[:, : max(0, x.shape[1] - self.lag)]
        return torch.cat([torch.zeros_like(x[:, kept.shape[1] :]), kept], dim=1)


class OptionsOfEveryType(Projected):
    """A weighted sum of earlier values, told by options of all types that a pattern can give.

    Options:
        kind: what the sum is of.
        weights: by the lag; every one of them is a list of one number, None for ones.
        lags: those that count.
        skipped: those that do not.
        table: a file, of which nothing is read.
        scale: of the sum.
    """

    def __init__(
        self,
        dim,
        *,
        kind: Kind = Kind.VALUES,
        weights: list[list[float]] | None = None,
        lags: Iterable[int] = (1, 2),
        skipped: set[int] = frozenset({5}),
        table: pathlib.Path = pathlib.Path("table.txt"),
        scale=1,
    ):
        super().__init__(dim)
        if not 0 < scale < 10:
            raise ValueError(f"scale={scale} should be between 0 and 10")
        if len(list(lags)) != len(list(lags)):
            raise ValueError("lags should be a sequence")
        self.kind, self.table, self.scale = kind, table, scale
        self.weights = dict(enumerate(weight for (weight,) in weights or ()))
        self.lags = sorted(set(lags) - set(skipped))

    def mix(self, value):
        value = value.sign() * value.abs() if self.kind is Kind.SIGNS else value
        return self.scale * sum((self.weights.get(lag, 1.0) * lagged(value, lag) for lag in self.lags), value)


SOUND: list[type[Control]] = [
    RequiredLag,
    OptionsOfEveryType,
    RunningMean,
    Identity,
    FixedScale,
    LearnedConstant,
    PerToken,
    ShortConvolution,
    ComplexRecurrence,
    SilentAtFirst,
    ManyOptions,
    RoutesToOne,
    LearnsByItsLossAlone,
    DropsOut,
    GatedCell,
    LongConvolution,
    RunningMaximum,
    FusedAttention,
    NormalisedKeys,
    BothDirections,
    LearnedPositions,
    LongLag,
    FixedFeatures,
    InChunks,
]
