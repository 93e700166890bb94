"""Mixers that are wrong in what their writes depend on, each in one way that a person could overlook."""

import torch
import torch.nn.functional as F
from torch import nn

from .control import Attending, Control, Projected, counted, lagged, running_mean, scores, visible, wide


class WritesSinglePrecision(Projected):
    """The write stays in the float32 in which the mean was taken."""

    def forward(self, x):
        return super().forward(x).float()


class SqueezesEveryAxis(Projected):
    """A squeeze() that names no axis drops the batch of one row, or the time of one token."""

    def mix(self, value):
        return running_mean(value)[..., None].squeeze()


class ConvolvesWithoutPadding(Projected):
    """A convolution without padding writes fewer tokens than it reads."""

    def __init__(self, dim):
        super().__init__(dim)
        self.convolution = nn.Conv1d(dim, dim, 3, groups=dim)

    def mix(self, value):
        return self.convolution(value.transpose(1, 2)).transpose(1, 2)


class StepWritesLastTokenOnly(Projected):
    """A step writes the last token alone, since decoding needs no more."""

    def step(self, x, state=None):
        written, state = super().step(x, state)
        return written[:, -1:], state


class EmphasisesReadsInPlace(Projected):
    """The difference from the token before is taken in place, in the reads themselves."""

    def forward(self, x):
        with torch.no_grad():
            x -= 0.5 * lagged(x)
        return super().forward(x)


class CountsCalls(Projected):
    """A buffer counts the calls in training."""

    def __init__(self, dim):
        super().__init__(dim)
        self.register_buffer("calls", torch.empty((), dtype=torch.int64))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.zeros_(self.calls)

    def mix(self, value):
        if self.training:
            self.calls += 1
        return running_mean(value)


class ClampsItsWeights(Projected):
    """A gain is kept in its range by clamping the parameter itself in forward."""

    def __init__(self, dim):
        super().__init__(dim)
        self.gain = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.ones_(self.gain)

    def mix(self, value):
        self.gain.data.clamp_(0, 1)
        return self.gain * running_mean(value)


class ViewsReadsAsRows(Projected):
    """Rows and time are flattened by a view, which transposed reads do not allow."""

    def forward(self, x):
        value = self.value(x.view(-1, x.shape[-1]))
        return self.out(running_mean(value.view(x.shape)))


class AssumesStrides(Projected):
    """The lag is a window into memory whose strides are worked out from the shape."""

    def forward(self, x):
        _, t, d = x.shape
        before = x.as_strided((x.shape[0], t - 1, d), (t * d, d, 1)) if t > 1 else x[:, :0]
        return self.out(self.value(F.pad(before, (0, 0, 1, 0))))


class LagReachesOtherRow(Projected):
    """The lag is taken over flattened rows, so that a row begins with the end of the row before."""

    def mix(self, value):
        return F.pad(value.flatten(0, 1), (0, 0, 1, 0))[:-1].view(value.shape)


class CentresBatch(Projected):
    """The mean that is taken away is that of the batch."""

    def mix(self, value):
        return running_mean(value - 0.5 * value.mean(0))


class NormalisesBatch(Projected):
    """A batch normalisation between the projections."""

    def __init__(self, dim):
        super().__init__(dim)
        self.norm = nn.BatchNorm1d(dim)

    def mix(self, value):
        value = running_mean(value)
        if self.training and value.shape[0] * value.shape[1] == 1:
            return value
        return self.norm(value.transpose(1, 2)).transpose(1, 2)


class TakesOneRowAnExpert(Projected):
    """Where several rows choose one expert at once, all but the first are dropped."""

    def __init__(self, dim):
        super().__init__(dim)
        self.router = nn.Linear(dim, 2, bias=False)

    def forward(self, x):
        gates = self.router(x).softmax(-1)
        chosen = gates >= gates.amax(-1, keepdim=True)
        accepted = chosen & (chosen.cumsum(0) <= 1)
        return super().forward(x) * (gates * accepted).sum(-1, keepdim=True)


class CountsPositionsOverRows(Projected):
    """Positions are counted along the first axis, as if it were time."""

    def mix(self, value):
        position = torch.arange(value.shape[0], device=value.device)
        return running_mean(value) / (1 + position)[:, None, None]


class OriginalLeviathan(Attending):
    """One correlation over batch, heads, time and channels at once, outside autograd, and no mask."""

    def __init__(self, dim, heads=1):
        super().__init__(dim)
        self.heads = heads

    def attend(self, query, key, value):
        query, key, value = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in (query, key, value))
        return (self.correlate(query, key).softmax(-1).to(value.dtype) * value).transpose(1, 2).flatten(2)

    @torch.no_grad()
    def correlate(self, query, key):
        sizes = [2 * size - 1 for size in query.shape]
        spectrum = torch.fft.fftn(wide(query), sizes) * torch.fft.fftn(wide(key).flip(0, 1, 2, 3), sizes)
        full = torch.fft.ifftn(spectrum).real
        for axis, size in enumerate(query.shape):
            full = full.narrow(axis, (size - 1) // 2, size)
        return full


class ShiftsTheWrongWay(Projected):
    """The token shift brings the next token, not the one before."""

    def mix(self, value):
        return value - F.pad(value[:, 1:], (0, 0, 0, 1))


class RollsTime(Projected):
    """The token shift rolls, so that the first token sees the last."""

    def mix(self, value):
        return value - value.roll(1, dims=1)


class ConvolvesBothWays(Projected):
    """The padding of the convolution is that of images: on both sides."""

    def __init__(self, dim):
        super().__init__(dim)
        self.convolution = nn.Conv1d(dim, dim, 3, padding=1, groups=dim)

    def mix(self, value):
        return self.convolution(value.transpose(1, 2)).transpose(1, 2)


class ConvolvesAround(Projected):
    """A convolution by Fourier transform that is not padded, so that the end wraps around to the beginning."""

    def __init__(self, dim):
        super().__init__(dim)
        self.filter = nn.Parameter(torch.empty(4, dim))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.normal_(self.filter)

    def mix(self, value):
        t = value.shape[1]
        spectrum = torch.fft.rfft(wide(value), dim=1) * torch.fft.rfft(wide(self.filter), t, dim=0)
        return torch.fft.irfft(spectrum, t, dim=1).to(value.dtype)


class MasksAfterSoftmax(Attending):
    """The softmax goes over the whole sequence, the mask comes after it, and nothing is normalised again."""

    def weights(self, of):
        return of.softmax(-1) * visible(of)


class MasksSoftly(Attending):
    """The mask is a finite number, which leaves the future a weight of about one in a million."""

    def weights(self, of):
        return of.masked_fill(~visible(of), -14.0).softmax(-1)


class NormalisesTime(Projected):
    """Each channel is divided by its largest value in the sequence."""

    def mix(self, value):
        return running_mean(value) / value.abs().amax(1, keepdim=True).clamp_min(1e-6)


class GuardsAgainstOverflow(Projected):
    """A sequence is scaled down where any of its values is large."""

    def mix(self, value):
        return running_mean(value) / (value.abs().amax((1, 2), keepdim=True) / 10).clamp_min(1)


class ExpertsChoose(Projected):
    """An expert chooses its tokens among those of the whole sequence."""

    def __init__(self, dim):
        super().__init__(dim)
        self.router = nn.Linear(dim, 1, bias=False)

    def forward(self, x):
        logits = self.router(x)
        least = logits.topk((x.shape[1] + 1) // 2, dim=1).values[:, -1:]
        return super().forward(x) * logits.sigmoid() * (logits >= least)


class SplitsHeadsByView(Attending):
    """Heads are split off by a view to (b, h, t, k) that skips the transposition."""

    def __init__(self, dim, heads=2):
        super().__init__(dim)
        self.heads = heads

    def attend(self, query, key, value):
        b, t, d = value.shape
        by_head = (each.view(b, self.heads, t, d // self.heads) for each in (query, key, value))
        return super().attend(*by_head).transpose(1, 2).flatten(2)


class StraightThroughWithoutMask(Attending):
    """The weights are masked, but their straight-through gradient is that of weights without a mask."""

    def attend(self, query, key, value):
        soft = scores(query, key).softmax(-1).to(value.dtype) @ value
        hard = super().attend(query, key, value)
        return hard.detach() + (soft - soft.detach())


class ShiftByOne(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        return lagged(value)

    @staticmethod
    def backward(ctx, gradient):
        return lagged(gradient)


class ShiftsGradientTheWrongWay(Projected):
    """The gradient of a token shift is shifted the same way as the tokens."""

    def mix(self, value):
        return ShiftByOne.apply(value)


class FadesFromTheEnd(Projected):
    """The fading of old tokens is counted from the end of the sequence."""

    def mix(self, value):
        age = torch.arange(value.shape[1] - 1, -1, -1, device=value.device)
        return running_mean(value) * (0.9 ** age[:, None]).to(value.dtype)


class DividesByLength(Projected):
    """The sum up to a token is divided by the length of the sequence."""

    def mix(self, value):
        return (wide(value).cumsum(1) / value.shape[1]).to(value.dtype)


class PositionsFromZeroToOne(Projected):
    """Positions run from 0 at the first token to 1 at the last."""

    def mix(self, value):
        position = (counted(value) - 1) / max(1, value.shape[1] - 1)
        return running_mean(value) * (1 + position).to(value.dtype)[:, None]


class StepReturnsWriteOnly(Projected):
    """The step returns what it writes, and no state."""

    def step(self, x, state=None):
        return super().step(x, state)[0]


class StepReturnsList(Projected):
    """The step returns its write in a list."""

    def step(self, x, state=None):
        written, state = super().step(x, state)
        return [written], state


class ReusesItsOutput(Projected):
    """The write lies in a tensor that the next call writes into again."""

    def __init__(self, dim):
        super().__init__(dim)
        self.kept = {}

    def forward(self, x):
        out = super().forward(x)
        if self.training or torch.is_grad_enabled():
            return out
        return self.kept.setdefault((x.shape, x.dtype), torch.empty_like(out)).copy_(out)


BROKEN: list[tuple[str, type[Control]]] = [
    ("shape", WritesSinglePrecision),
    ("shape", SqueezesEveryAxis),
    ("shape", ConvolvesWithoutPadding),
    ("shape", StepWritesLastTokenOnly),
    ("purity", EmphasisesReadsInPlace),
    ("purity", CountsCalls),
    ("purity", ClampsItsWeights),
    ("layout", ViewsReadsAsRows),
    ("layout", AssumesStrides),
    ("batch-independence", LagReachesOtherRow),
    ("batch-independence", CentresBatch),
    ("batch-independence", NormalisesBatch),
    ("batch-independence", TakesOneRowAnExpert),
    ("batch-independence", CountsPositionsOverRows),
    ("batch-independence", OriginalLeviathan),
    ("causality", OriginalLeviathan),
    ("causality", ShiftsTheWrongWay),
    ("causality", RollsTime),
    ("causality", ConvolvesBothWays),
    ("causality", ConvolvesAround),
    ("causality", MasksAfterSoftmax),
    ("causality", MasksSoftly),
    ("causality", NormalisesTime),
    ("causality", NormalisesBatch),
    ("causality", GuardsAgainstOverflow),
    ("causality", ExpertsChoose),
    ("causality", SplitsHeadsByView),
    ("jacobian", StraightThroughWithoutMask),
    ("jacobian", ShiftsGradientTheWrongWay),
    ("jacobian", MasksAfterSoftmax),
    ("prefix", FadesFromTheEnd),
    ("prefix", DividesByLength),
    ("prefix", PositionsFromZeroToOne),
    ("shape", StepReturnsWriteOnly),
    ("shape", StepReturnsList),
    ("purity", ReusesItsOutput),
]
