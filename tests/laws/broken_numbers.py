"""Mixers that are wrong in random numbers, in gradients, in precision, or in memory that they never wrote to."""

import random

import numpy
import torch
import torch.nn.functional as F
from torch import nn

from .control import Control, Projected, counted, lagged, running_mean, scores, visible, wide


class DropsOutInEvaluation(Projected):
    """Dropout that was not told whether the mixer is training."""

    def mix(self, value):
        return F.dropout(running_mean(value), 0.1)


class DrawsFeaturesAnew(Projected):
    """Random features are drawn anew at every call."""

    def mix(self, value):
        features = torch.randn(value.shape[-1], value.shape[-1], dtype=value.dtype, device=value.device)
        return running_mean(F.relu(value @ features))


class RemembersWhatItWrote(Projected):
    """The values are scaled by what the call before measured."""

    level = 1.0

    def mix(self, value):
        level, self.level = self.level, 0.9 * self.level + 0.1 * value.detach().abs().mean()
        return running_mean(value) / level


class DropsByNumpy(Projected):
    """The mask of the dropout comes from numpy, which torch.manual_seed does not seed."""

    def mix(self, value):
        mean = running_mean(value)
        if self.training:
            return mean * torch.from_numpy(numpy.random.default_rng().random(mean.shape) < 0.9).to(mean) / 0.9
        return mean


class JittersByPython(Projected):
    """The jitter of training comes from Python's random numbers, which torch.manual_seed does not seed."""

    def mix(self, value):
        return running_mean(value) * (random.uniform(0.9, 1.1) if self.training else 1.0)


class NoiseFromTheClock(Projected):
    """The noise of training comes from a generator of its own, seeded from the clock."""

    def mix(self, value):
        mean = running_mean(value)
        if not self.training:
            return mean
        generator = torch.Generator(mean.device)
        generator.seed()
        return mean + 0.1 * torch.randn(mean.shape, generator=generator, device=mean.device).to(mean)


class HasSpareParameter(Projected):
    """A bias is left over from an earlier version."""

    def __init__(self, dim):
        super().__init__(dim)
        self.bias = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.zeros_(self.bias)


class UsesDataOfParameter(Projected):
    """A decay is read from the parameter's data, past autograd."""

    def __init__(self, dim):
        super().__init__(dim)
        self.decay = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.ones_(self.decay)

    def mix(self, value):
        return running_mean(value) * self.decay.data.sigmoid()


class GatesByThreshold(Projected):
    """A gate is open or closed, and no gradient reaches what decides it."""

    def __init__(self, dim):
        super().__init__(dim)
        self.gate = nn.Linear(dim, dim, bias=False)

    def forward(self, x):
        return self.out(running_mean(self.value(x)) * (self.gate(x) > 0).to(x.dtype))


class DetachesReads(Projected):
    """The reads are detached, so that the layers below learn nothing."""

    def forward(self, x):
        return super().forward(x.detach())


class DetachesOnePath(Projected):
    """Of two paths from value to write, one is detached."""

    def mix(self, value):
        return running_mean(value) * value.detach().sigmoid()


class DetachesDenominator(Projected):
    """The sum that weights are divided by is held to be constant."""

    def mix(self, value):
        weight = wide(value).sigmoid()
        return ((weight * value).cumsum(1) / weight.cumsum(1).detach()).to(value.dtype)


class Squashing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        written = value.tanh()
        ctx.save_for_backward(written)
        return written

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (1 - ctx.saved_tensors[0])


class ForgetsASquareInBackward(Projected):
    """The backward pass of a tanh, written by hand, lacks a square."""

    def mix(self, value):
        return running_mean(Squashing.apply(value))


class TurnsInLowPrecision(Projected):
    """The angles of an oscillation are taken in the dtype of the reads."""

    def mix(self, value):
        frequency = 5 * torch.arange(1, value.shape[-1] + 1, device=value.device, dtype=value.dtype)
        return running_mean(value) * (counted(value).to(value.dtype)[:, None] * frequency).cos()


class StartsInDefaultPrecision(Projected):
    """The sum starts from zeros of the default dtype."""

    def forward(self, x):
        return self.step(x)[0]

    def step(self, x, state=None):
        total = torch.zeros(x.shape[0], x.shape[2], device=x.device) if state is None else state
        totals = total[:, None] + self.out(self.value(x)).cumsum(1)
        return totals, totals[:, -1].clone()


class VarianceByDifference(Projected):
    """A variance is taken as the difference of two squares, which half precision rounds to anything."""

    def mix(self, value):
        shifted = value + 8
        mean, square = running_mean(shifted), running_mean(shifted.square())
        return square - mean.square()


class AddsIntoReadsPrecision(Projected):
    """Even and odd tokens are added into a tensor of the reads' dtype, which is not that of values under autocast."""

    def __init__(self, dim):
        super().__init__(dim)
        self.odd = nn.Linear(dim, dim, bias=False)

    def forward(self, x):
        places = counted(x) - 1
        written = torch.zeros_like(x)
        written = written.index_add(1, places[::2], self.value(x[:, ::2]))
        return self.out(running_mean(written.index_add(1, places[1::2], self.odd(x[:, 1::2]))))


class InterpolatesReads(Projected):
    """A lerp between read and value, which under autocast are not of one dtype."""

    def forward(self, x):
        return self.out(running_mean(torch.lerp(lagged(x), self.value(x), 0.7)))


class StateChangesPrecision(Projected):
    """The state has the dtype of a value after one token, and that of a parameter after two."""

    def __init__(self, dim):
        super().__init__(dim)
        self.decay = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.zeros_(self.decay)

    def forward(self, x):
        return self.step(x)[0]

    def step(self, x, state=None):
        written = []
        for value in self.value(x).unbind(1):
            state = value if state is None else self.decay.sigmoid() * state + value
            written.append(self.out(state))
        return torch.stack(written, dim=1), state


class SoftmaxByHand(Projected):
    """A running softmax without the largest exponent taken away."""

    def __init__(self, dim):
        super().__init__(dim)
        self.key = nn.Linear(dim, dim, bias=False)

    def forward(self, x):
        value, weight = wide(self.value(x)), wide(self.key(x)).exp()
        return self.out(((weight * value).cumsum(1) / weight.cumsum(1)).to(x.dtype))


class RootOfZero(Projected):
    """A magnitude is the root of a square, which has no gradient at zero."""

    def mix(self, value):
        return running_mean(value) * wide(value).square().mean(-1, keepdim=True).sqrt().to(value.dtype)


class ZeroOverZero(Projected):
    """A running mean by weights that may all be zero."""

    def mix(self, value):
        weight = wide(value).abs()
        return ((weight * value).cumsum(1) / weight.cumsum(1)).to(value.dtype)


class LeavesFirstUnwritten(Projected):
    """What lies before the first token is never written to."""

    def mix(self, value):
        before = torch.empty_like(value)
        before[:, 1:] = value[:, :-1]
        return value - before


class MultipliesUnwrittenByZero(Projected):
    """The tokens that fill up a chunk are never written to, and their weight is zero."""

    def mix(self, value):
        b, t, d = value.shape
        filled = torch.empty(b, (t // 4 + 1) * 4, d, dtype=value.dtype, device=value.device)
        filled[:, :t] = value
        weights = visible(filled @ filled.transpose(1, 2))[:t] / counted(value)[:, None]
        return weights.to(value.dtype) @ filled


class BeginsWithUnwrittenState(Projected):
    """The state before the first token is new_empty where new_zeros was meant."""

    def forward(self, x):
        return self.step(x)[0]

    def step(self, x, state=None):
        value = self.value(x)
        before = value.new_empty(x.shape[0], 1, x.shape[2]) if state is None else state
        values = torch.cat([before, value], dim=1)
        return self.out(values[:, 1:] + values[:, :-1]), value[:, -1:].clone()


class RootOfNothing(Projected):
    """A regulariser takes the root of what is zero at first."""

    def forward(self, x):
        out = super().forward(x)
        return out + (0 * out).square().sum(-1, keepdim=True).sqrt()


class DecaysByLogOfRest(Projected):
    """The decay is the logarithm of one minus a gate, which half precision rounds to one."""

    def __init__(self, dim):
        super().__init__(dim)
        self.gate = nn.Linear(dim, dim, bias=False)

    def forward(self, x):
        decay = (1 - (2 * self.gate(x)).sigmoid()).log().cumsum(1)
        kept = (decay[:, :, None] - decay[:, None]).masked_fill(~visible(scores(x, x))[..., None], -torch.inf).exp()
        return self.out((kept * self.value(x)[:, None]).sum(2))


class GuardsLogByWhere(Projected):
    """Where a gate is rounded to one its logarithm is left out by torch.where, and its gradient is not."""

    def __init__(self, dim):
        super().__init__(dim)
        self.gate = nn.Linear(dim, dim, bias=False)

    def forward(self, x):
        rest = 1 - (2 * self.gate(x)).sigmoid()
        return self.out(self.mix(self.value(x) * (1 + 0.01 * torch.where(rest > 0, rest.log(), -5))))


class NeverDrawsGain(Projected):
    """A parameter is made of memory as it lies, and drawn by nobody."""

    def __init__(self, dim):
        super().__init__(dim)
        self.gain = nn.Parameter(torch.empty(dim))

    def forward(self, x):
        return self.gain * super().forward(x)


class StepsFromUnwrittenState(Projected):
    """The first step adds to a state that was made by torch.empty and multiplied by zero."""

    def step(self, x, state=None):
        total, count = (0 * torch.empty_like(x[:, 0]), x.new_zeros(x.shape[0])) if state is None else state
        totals = total[:, None] + self.value(x).cumsum(1)
        counts = count[:, None] + torch.arange(1, x.shape[1] + 1, device=x.device)
        return self.out((totals / counts[..., None]).to(x.dtype)), (totals[:, -1].clone(), counts[:, -1].clone())


class ScalesGradientInHalf(Projected):
    """The branch for half precision scales its gradients against underflow, and forgets to scale them back."""

    def mix(self, value):
        out = running_mean(value)
        return out if value.dtype.itemsize > 2 else out + 3 * (out - out.detach())


class BothFactorsBeginAtZero(Projected):
    """A correction of low rank, of which both factors begin at zero: neither has a gradient, then or ever."""

    def __init__(self, dim):
        super().__init__(dim)
        self.down, self.up = nn.Parameter(torch.empty(2, dim)), nn.Parameter(torch.empty(dim, 2))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.zeros_(self.down)
        nn.init.zeros_(self.up)

    def mix(self, value):
        return running_mean(value) + value @ self.down.T @ self.up.T


BROKEN: list[tuple[str, type[Control]]] = [
    ("determinism", DropsOutInEvaluation),
    ("determinism", DrawsFeaturesAnew),
    ("determinism", RemembersWhatItWrote),
    ("seeded", DropsByNumpy),
    ("seeded", JittersByPython),
    ("seeded", NoiseFromTheClock),
    ("gradients", HasSpareParameter),
    ("gradients", UsesDataOfParameter),
    ("gradients", GatesByThreshold),
    ("gradients", DetachesReads),
    ("gradcheck", DetachesOnePath),
    ("gradcheck", DetachesDenominator),
    ("gradcheck", ForgetsASquareInBackward),
    ("precision", TurnsInLowPrecision),
    ("precision", StartsInDefaultPrecision),
    ("precision", VarianceByDifference),
    ("autocast", AddsIntoReadsPrecision),
    ("autocast", InterpolatesReads),
    ("autocast", StateChangesPrecision),
    ("extremes", SoftmaxByHand),
    ("extremes", RootOfZero),
    ("extremes", ZeroOverZero),
    ("uninitialised-memory", LeavesFirstUnwritten),
    ("uninitialised-memory", MultipliesUnwrittenByZero),
    ("uninitialised-memory", BeginsWithUnwrittenState),
    ("gradients", RootOfNothing),
    ("precision", DecaysByLogOfRest),
    ("precision", GuardsLogByWhere),
    ("uninitialised-memory", NeverDrawsGain),
    ("uninitialised-memory", StepsFromUnwrittenState),
    ("precision", ScalesGradientInHalf),
    ("gradients", BothFactorsBeginAtZero),
]
