"""The laws themselves on trial: mixers that break one are caught, unusual ones that break none are left alone."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from zoo import Mixed, TokenMixer
from zoo.errors import UsageError
from zoo.testing.forward_laws import places
from zoo.testing.laws import LAWS, check_round_trip, laws_of
from zoo.testing.running import drawn
from zoo.testing.streaming_laws import check_streaming
from zoo.testing.violation import LawViolation

DIM = 8


def reads(b=2, t=7):
    return torch.randn(b, t, DIM, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def counted_mean(x):
    return x.cumsum(1) / torch.arange(1, x.shape[1] + 1).to(x)[:, None]


class WiderWrite(TokenMixer):
    def forward(self, x):
        return torch.cat([x, x], dim=-1)


class DropsLastToken(TokenMixer):
    def forward(self, x):
        return x[:, :-1]


class SinglePrecision(TokenMixer):
    def forward(self, x):
        return x.float()


class SpreadOfOneToken(TokenMixer):
    causal = False

    def forward(self, x):
        return x / (x - x.mean(1, keepdim=True)).norm(dim=1, keepdim=True)


class LossPerRow(TokenMixer):
    def forward(self, x):
        return Mixed(x, losses={"size": x.square().mean((1, 2))})


class MetricWithGraph(TokenMixer):
    def __init__(self, dim):
        super().__init__()
        self.out = nn.Linear(dim, dim)

    def forward(self, x):
        out = self.out(x)
        return Mixed(out, metrics={"size": out.abs().mean()})


class StepForgetsFirst(TokenMixer):
    def forward(self, x):
        return x

    def step(self, x, state=None):
        return x[:, :1], x


class ScalesReadsInPlace(TokenMixer):
    def forward(self, x):
        return x.mul_(2)


class Accumulates(TokenMixer):
    """Remembers the last reads it ever saw, which no state holds."""

    def __init__(self):
        super().__init__()
        self.last = None

    def forward(self, x):
        before, self.last = self.last, x.mean()
        return x if before is None else x + before


class BatchNormalised(TokenMixer):
    """Leaks across rows and time, in training mode only."""

    def __init__(self, dim):
        super().__init__()
        self.norm = nn.BatchNorm1d(dim, track_running_stats=False)

    def forward(self, x):
        return self.norm(x.transpose(1, 2)).transpose(1, 2) if self.training else x


class CountsCalls(TokenMixer):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.calls += 1
        return x


class LeakByOne(TokenMixer):
    def forward(self, x):
        return x + F.pad(x[:, 1:], (0, 0, 0, 1))


class FaintLeak(TokenMixer):
    def forward(self, x):
        return x + 1e-6 * x.flip(1).cumsum(1).flip(1)


class SymmetricConvolution(TokenMixer):
    def __init__(self, dim):
        super().__init__()
        self.convolution = nn.Conv1d(dim, dim, 3, padding=1)

    def forward(self, x):
        return self.convolution(x.transpose(1, 2)).transpose(1, 2)


class RanksTokens(TokenMixer):
    """Chooses the loudest tokens of the whole sequence: a leak without a gradient."""

    def forward(self, x):
        loud = x.norm(dim=-1)
        return x * (loud >= loud.median(1, keepdim=True).values)[..., None]


class LeakOfPairs(TokenMixer):
    """Sees the future only where two of its reads are large."""

    def forward(self, x):
        large = (x.abs().amax(-1) > 15).sum(1)
        return x + (large >= 2).to(x)[:, None, None]


class LeakInChunk(TokenMixer):
    def forward(self, x):
        return torch.cat([chunk.mean(1, keepdim=True).expand_as(chunk) for chunk in x.split(32, dim=1)], dim=1)


class CountsFromEnd(TokenMixer):
    def forward(self, x):
        return x * torch.arange(x.shape[1], 0, -1).to(x)[:, None]


class DividesByLength(TokenMixer):
    def forward(self, x):
        return x.cumsum(1) / x.shape[1]


class CentresBatch(TokenMixer):
    def forward(self, x):
        return x - x.mean(0)


class NumbersRows(TokenMixer):
    def forward(self, x):
        return x * torch.arange(x.shape[0]).to(x)[:, None, None]


class RowsCompete(TokenMixer):
    """A capacity for the batch: a token is written if it is among the loudest of all rows."""

    def forward(self, x):
        loud = x.norm(dim=-1)
        return x * (loud >= loud.quantile(0.5))[..., None]


class RestartsPosition(TokenMixer):
    def forward(self, x):
        return x + torch.arange(x.shape[1]).to(x)[:, None]

    def step(self, x, state=None):
        return self(x), ()


class OnlyTokenByToken(TokenMixer):
    """Streams single tokens rightly, and longer pieces as if they were one."""

    def forward(self, x):
        return x.cumsum(1)

    def step(self, x, state=None):
        total = x.sum(1) if state is None else state + x.sum(1)
        return total[:, None].expand_as(x), total


class ForgetsOldReads(TokenMixer):
    def forward(self, x):
        return x.cumsum(1)

    def step(self, x, state=None):
        kept = x if state is None else torch.cat([state, x], dim=1)
        return self(kept)[:, -x.shape[1] :], kept[:, -4:]


class CacheInModule(TokenMixer):
    def __init__(self):
        super().__init__()
        self.total = None

    def forward(self, x):
        return x.cumsum(1)

    def step(self, x, state=None):
        self.total = torch.zeros_like(x[:, 0]) if state is None else self.total
        written = self.total[:, None] + x.cumsum(1)
        self.total = written[:, -1]
        return written, (torch.zeros(x.shape[0]),)


class StateInPlace(TokenMixer):
    def forward(self, x):
        return x.cumsum(1)

    def step(self, x, state=None):
        state = torch.zeros_like(x[:, 0]) if state is None else state
        written = state[:, None] + x.cumsum(1)
        state.copy_(written[:, -1])
        return written, state


class PositionAsNumber(TokenMixer):
    def forward(self, x):
        return x + torch.arange(x.shape[1]).to(x)[:, None]

    def step(self, x, state=None):
        start = state or 0
        return self(x) + start, start + x.shape[1]


class TimeBeforeBatch(TokenMixer):
    def forward(self, x):
        return x.cumsum(1)

    def step(self, x, state=None):
        kept = x if state is None else torch.cat([state.transpose(0, 1), x], dim=1)
        return self(kept)[:, -x.shape[1] :], kept.transpose(0, 1)


class DetachedBranch(TokenMixer):
    def __init__(self, dim):
        super().__init__()
        self.gate, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, x):
        return self.gate(x).sigmoid().detach() * self.value(x)


class UnusedParameter(TokenMixer):
    def __init__(self, dim):
        super().__init__()
        self.out, self.spare = nn.Linear(dim, dim), nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        return self.out(x)


class DetachedReads(TokenMixer):
    def __init__(self, dim):
        super().__init__()
        self.out = nn.Linear(dim, dim)

    def forward(self, x):
        return self.out(x.detach())


class GradientOfRootAtZero(TokenMixer):
    def __init__(self, dim):
        super().__init__()
        self.out = nn.Linear(dim, dim)

    def forward(self, x):
        return self.out(x) * (x - x).norm(dim=-1, keepdim=True).add(1) + (0 * self.out(x)).sqrt()


BROKEN = [
    (
        "shapes",
        WiderWrite(),
        r"forward writes \(2, 7, 16\) for reads of \(2, 7, 8\) \(b, t, d\): a write has the shape",
    ),
    ("shapes", DropsLastToken(), r"forward writes \(2, 6, 8\) for reads of \(2, 7, 8\)"),
    ("shapes", SinglePrecision(), r"forward writes torch.float32 for reads of torch.float64"),
    ("shapes", SpreadOfOneToken(), r"forward writes numbers that are not finite for reads of \(2, 1, 8\)"),
    ("shapes", LossPerRow(), r"loss 'size' is \[.*\]: a loss is one finite number"),
    ("shapes", MetricWithGraph(DIM), r"metric 'size' carries gradients: detach it"),
    ("shapes", StepForgetsFirst(), r"step writes \(2, 1, 8\) for reads of \(2, 7, 8\)"),
    ("purity", ScalesReadsInPlace(), r"forward changes its own reads \(b=2, t=7\)"),
    ("purity", CountsCalls(), r"forward changes calls \(b=2, t=7, in training mode\)"),
    ("purity", Accumulates(), r"write 0 is another one after other reads were written \(b=2, t=7\): \|Δ\| = "),
    ("causality", LeakByOne(), r"write 0 depends on read 1 \(b=2, t=7\): \|Δ\| = \d"),
    ("causality", FaintLeak(), r"write 0 depends on read \d \(b=2, t=7\): \|Δ\| = \d.*e-0\d$"),
    ("causality", SymmetricConvolution(DIM), r"write 0 depends on read 1"),
    ("causality", RanksTokens(), r"write \d depends on read"),
    ("causality", LeakOfPairs(), r"write 0 depends on later reads, though on none of them alone"),
    ("causality", BatchNormalised(DIM), r"write 0 depends on read 1 \(b=2, t=7, in training mode\)"),
    ("prefix", CountsFromEnd(), r"write 0 changes when the reads end after 1 \(b=2, t=7\): \|Δ\| = "),
    ("prefix", DividesByLength(), r"write 0 changes when the reads end after 1"),
    ("batch-independence", CentresBatch(), r"write 0 of row \d changes when the row stands alone"),
    ("batch-independence", NumbersRows(), r"write 0 of row 1 changes when the row stands alone"),
    ("batch-independence", RowsCompete(), r"write \d of row \d changes when the row"),
    ("batch-independence", BatchNormalised(DIM), r"\(b=2, t=7, in training mode\)"),
    ("streaming", RestartsPosition(), r"write 1 of pieces of 1, 1, 1, 1, 1, 1, 1 is not that of the whole"),
    ("streaming", OnlyTokenByToken(), r"write 0 of pieces of 7 is not that of the whole \(b=2, t=7\): \|Δ\| = "),
    ("streaming", ForgetsOldReads(), r"write 5 of pieces of 1, 1, 1, 1, 1, 1, 1 is not that of the whole"),
    ("state", StateInPlace(), r"step changes the state that it is given \(b=2, t=7\)"),
    ("state", CacheInModule(), r"write 0 of a second step from one state is another one .* keep what is remembered"),
    ("state", PositionAsNumber(), r"for a batch of 2 the state holds a int: it should hold tensors whose first axis"),
    ("state", TimeBeforeBatch(), r"for a batch of 2 the state holds a tensor of shape \(4, 2, 8\)"),
    ("gradients", DetachedBranch(DIM), r"no gradient reaches gate.bias, gate.weight \(b=2, t=7"),
    ("gradients", UnusedParameter(DIM), r"no gradient reaches spare "),
    ("gradients", DetachedReads(DIM), r"no gradient reaches the reads "),
    ("gradients", GradientOfRootAtZero(DIM), r"the gradient of out.(weight|bias) is not finite"),
]


@pytest.mark.parametrize(("law", "mixer", "text"), BROKEN, ids=[f"{law}-{type(m).__name__}" for law, m, _ in BROKEN])
def test_broken_mixer_is_caught(law, mixer, text):
    with pytest.raises(LawViolation, match=f"^{law}: .*{text}") as caught:
        LAWS[law](mixer.double(), reads())
    assert caught.value.law == law


@pytest.mark.parametrize("law", LAWS)
def test_every_law_has_at_least_two_controls(law):
    assert sum(broken == law for broken, _, _ in BROKEN) >= 2


class RunningMean(TokenMixer):
    def forward(self, x):
        return counted_mean(x)


class Identity(TokenMixer):
    def forward(self, x):
        return x


class WithoutMemory(TokenMixer):
    def forward(self, x):
        return 2 * x

    def step(self, x, state=None):
        return 2 * x, None


class SilentAtFirst(TokenMixer):
    def __init__(self, dim):
        super().__init__()
        self.value, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x):
        return self.out(counted_mean(self.value(x)))


class InitWithoutArguments(TokenMixer):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.scale * x.cummax(1).values


class SaysMore(TokenMixer):
    def __init__(self, dim):
        super().__init__()
        self.route = nn.Linear(dim, 4)
        self.experts = nn.Parameter(torch.randn(4, dim, dim))

    def forward(self, x):
        logits = self.route(x)
        gates, chosen = logits.softmax(-1).topk(1)
        out = torch.einsum("btd,btkde->bte", x, self.experts[chosen] * gates[..., None, None])
        return Mixed(out, {"z": logits.logsumexp(-1).square().mean()}, {"load": chosen.flatten().bincount()})


class LearnsByItsLossAlone(TokenMixer):
    def __init__(self, dim):
        super().__init__()
        self.predict = nn.Linear(dim, dim)

    def forward(self, x):
        return Mixed(x, {"prediction": (self.predict(x[:, :-1]) - x[:, 1:]).square().sum()})


class DropsOut(TokenMixer):
    def __init__(self, dim):
        super().__init__()
        self.out = nn.Linear(dim, dim)

    def forward(self, x):
        return F.dropout(self.out(x), 0.5, self.training)


class FusedAttention(TokenMixer):
    def __init__(self, dim):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))

    def forward(self, x):
        return F.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x), is_causal=True)


class LongConvolution(TokenMixer):
    """By Fourier transform, where every write sees the rounding of every read."""

    def __init__(self, dim):
        super().__init__()
        self.filter = nn.Parameter(torch.randn(64, dim))

    def forward(self, x):
        t = x.shape[1]
        spectrum = torch.fft.rfft(x, 2 * t, dim=1) * torch.fft.rfft(self.filter[:t], 2 * t, dim=0)
        return torch.fft.irfft(spectrum, 2 * t, dim=1)[:, :t]


class Recurrent(TokenMixer):
    """A constant state in a dict, with a position beside it."""

    def __init__(self, dim):
        super().__init__()
        self.cell = nn.GRU(dim, dim, batch_first=True)

    def forward(self, x):
        return self.step(x)[0]

    def step(self, x, state=None):
        if state is None:
            state = {"hidden": torch.zeros_like(x[:, 0]), "position": torch.zeros(x.shape[0], dtype=torch.int64)}
        written, hidden = self.cell(x, state["hidden"][None])
        position = state["position"][:, None] + torch.arange(x.shape[1])
        return written * position.add(1).to(x)[..., None], {"hidden": hidden[0], "position": position[:, -1] + 1}


class LongLag(TokenMixer):
    """Its one parameter acts on what lies 40 tokens back."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x + self.weight * F.pad(x, (0, 0, 40, 0))[:, : x.shape[1]]


class BothDirections(TokenMixer):
    causal = False

    def forward(self, x):
        return x.mean(1, keepdim=True).expand_as(x)


SOUND = [
    RunningMean(),
    RunningMean(DIM),
    Identity(),
    WithoutMemory(),
    SilentAtFirst(DIM),
    InitWithoutArguments(),
    SaysMore(DIM),
    LearnsByItsLossAlone(DIM),
    DropsOut(DIM),
    FusedAttention(DIM),
    LongConvolution(DIM),
    Recurrent(DIM),
    LongLag(),
    BothDirections(),
]


@pytest.mark.parametrize("mixer", SOUND, ids=lambda mixer: type(mixer).__name__)
def test_sound_mixer_passes(mixer):
    mixer = mixer.double()
    for check in laws_of(mixer).values():
        check(drawn(mixer), reads())
        check(drawn(mixer), reads(b=1, t=2))


def test_a_leak_at_the_borders_of_chunks_is_found_in_long_sequences():
    with pytest.raises(LawViolation, match=r"write 32 depends on read 33|write 0 depends on read 1"):
        LAWS["causality"](LeakInChunk(), reads(b=1, t=70))


def test_long_sequences_are_cut_near_powers_of_two_and_at_their_ends():
    assert places(1) == []
    assert places(4) == [1, 2, 3]
    assert {1, 31, 32, 33, 63, 64, 65, 99} <= set(places(100))
    assert all(0 < place < 100 for place in places(100))


def test_a_given_way_to_cut_is_tried_and_told():
    check_streaming(ForgetsOldReads(), reads(), cuts=(4,))
    with pytest.raises(LawViolation, match="pieces of 4, 1, 2"):
        check_streaming(ForgetsOldReads(), reads(), cuts=(4, 5))


def test_a_mixer_that_is_not_causal_is_held_to_no_causal_law():
    assert set(laws_of(BothDirections)) == {"shapes", "purity", "batch-independence", "gradients"}
    assert set(laws_of(Identity)) == set(LAWS)
    with pytest.raises(LawViolation):
        LAWS["causality"](BothDirections(), reads())


@pytest.mark.parametrize("law", LAWS)
def test_a_law_leaves_the_mixer_its_reads_and_the_random_numbers_alone(law):
    mixer, given, before = SaysMore(DIM).double().train(), reads(), torch.get_rng_state()
    held = copy.deepcopy(mixer.state_dict())
    LAWS[law](mixer, given)
    assert mixer.training
    assert all(torch.equal(value, held[name]) for name, value in mixer.state_dict().items())
    assert all(parameter.grad is None for parameter in mixer.parameters())
    assert torch.equal(given, reads())
    assert torch.equal(torch.get_rng_state(), before)


def test_drawing_moves_every_parameter_and_is_a_function_of_its_seed():
    mixer = SilentAtFirst(DIM)
    first, again, other = drawn(mixer, 1), drawn(mixer, 1), drawn(mixer, 2)
    assert not mixer.out.weight.any()
    for name, value in first.named_parameters():
        assert (value != mixer.get_parameter(name)).all()
        assert torch.equal(value, again.get_parameter(name))
        assert not torch.equal(value, other.get_parameter(name))


class TakesSizes(TokenMixer):
    def __init__(self, dim, *, sizes=(1,), scale: float = 1.0, mode: str = "a", among: Any = None):
        super().__init__()


def test_options_survive_the_pattern_that_writes_them_down():
    check_round_trip(TakesSizes, "takes-sizes", {"sizes": (1, 2), "scale": -1.5e-7, "mode": "None"})
    with pytest.raises(LawViolation, match=r"^round-trip: .*\(among=\(1, 2\)\) reads back as .*not as .*\[1, 2\]"):
        check_round_trip(TakesSizes, "takes-sizes", {"among": [1, 2]})
    with pytest.raises(UsageError, match="scale"):
        check_round_trip(TakesSizes, "takes-sizes", {"scale": "large"})
