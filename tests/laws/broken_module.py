"""Mixers that are wrong as modules: in what they own, and how it is drawn, saved, copied and run."""

import numpy
import torch
import torch.nn.functional as F
from torch import nn

from zoo import Mixed

from .control import Control, Projected, running_mean, wide


class AddsItsRead(Projected):
    """The mixer adds its read to its write, as the block around it does."""

    def forward(self, x):
        return x + super().forward(x)


class AddsItsReadByGain(Projected):
    """The mixer adds its read, and its own write by a gain that starts near zero."""

    def __init__(self, dim):
        super().__init__(dim)
        self.gain = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.constant_(self.gain, 0.1)

    def forward(self, x):
        return x + self.gain * super().forward(x)


class NormalisesItsReads(Projected):
    """The mixer begins with a norm, as the block around it does."""

    def __init__(self, dim):
        super().__init__(dim)
        self.norm = nn.RMSNorm(dim)

    def forward(self, x):
        return super().forward(self.norm(x.to(self.norm.weight.dtype)))


class DividesReadsByLength(Projected):
    """Reads are projected to the unit sphere."""

    def forward(self, x):
        return super().forward(F.normalize(wide(x), dim=-1).to(x.dtype))


class MakesParameterInForward(Projected):
    """A gain becomes a parameter at the first call, when its size is known."""

    def forward(self, x):
        if not hasattr(self, "gain"):
            self.gain = nn.Parameter(torch.ones(x.shape[-1], dtype=x.dtype, device=x.device))
        return self.gain * super().forward(x)


class RandomFeatures(Projected):
    """Random features in a buffer that a state dict leaves out."""

    persistent = False

    def __init__(self, dim):
        super().__init__(dim)
        self.register_buffer("features", torch.empty(dim, dim), persistent=self.persistent)
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.normal_(self.features)

    def mix(self, value):
        return running_mean(F.relu(value @ self.features))


class FeaturesInPlainTensor(Projected):
    """Random features in a plain tensor, which nothing saves, moves or draws again."""

    def __init__(self, dim):
        super().__init__(dim)
        self.features = torch.randn(dim, dim)

    def mix(self, value):
        return running_mean(F.relu(value @ self.features.to(value)))


class ReadOutByClosure(Projected):
    """The mean and its projection are called by a lambda, which a copy goes on sharing with the original."""

    def __init__(self, dim):
        super().__init__(dim)
        self.write = lambda value: self.out(self.mix(value))

    def forward(self, x):
        return self.write(self.value(x))


class GainsInPlainList(Projected):
    """The gain of each channel stands in a list, where no state dict finds it."""

    def __init__(self, dim):
        super().__init__(dim)
        self.gains = torch.rand(dim).tolist()

    def mix(self, value):
        return running_mean(value) * torch.tensor(self.gains, dtype=value.dtype, device=value.device)


class DrawsByNumpy(Projected):
    """A filter is drawn by numpy, which torch.manual_seed does not seed."""

    def __init__(self, dim):
        super().__init__(dim)
        self.gain = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self):
        with torch.no_grad():
            self.gain.copy_(torch.from_numpy(numpy.random.default_rng().normal(size=self.gain.shape)))

    def mix(self, value):
        return self.gain * running_mean(value)


class DrawsFromTheClock(DrawsByNumpy):
    """A filter is drawn from a generator of its own, seeded from the clock."""

    def reset_parameters(self):
        generator = torch.Generator(self.gain.device if self.gain.device.type != "meta" else "cpu")
        generator.seed()
        nn.init.normal_(self.gain, generator=generator)


class FillsBufferOnce(Projected):
    """A buffer is filled when the mixer is built, and by nothing later."""

    def __init__(self, dim):
        super().__init__(dim)
        self.register_buffer("decay", torch.linspace(0.1, 0.9, dim))

    def mix(self, value):
        return self.decay * running_mean(value)


class DrawsParameterOnce(Projected):
    """A parameter is drawn when the mixer is built, and there is no reset_parameters."""

    def __init__(self, dim):
        super().__init__(dim)
        self.gain = nn.Parameter(torch.randn(dim))

    def mix(self, value):
        return self.gain * running_mean(value)


class MeasuresWhatItDrew(Projected):
    """A projection is scaled by a measured norm, and there is nothing to measure on the meta device."""

    def __init__(self, dim):
        super().__init__(dim)
        self.scale = 1 / float(self.out.weight.detach().norm())
        with torch.no_grad():
            self.out.weight.mul_(self.scale)


class ShrinksOutputOnce(Projected):
    """The output projection is made small when the mixer is built, and is drawn at full size later."""

    def __init__(self, dim):
        super().__init__(dim)
        with torch.no_grad():
            self.out.weight.mul_(0.1)


class MaskByCallNumber(Projected):
    """The mask of the dropout is seeded by how many calls there were, and a recomputation is a call."""

    calls = 0

    def mix(self, value):
        mean = running_mean(value)
        if not self.training:
            return mean
        self.calls += 1
        generator = torch.Generator(mean.device).manual_seed(self.calls)
        return mean * (torch.rand(mean.shape, generator=generator, device=mean.device) < 0.9) / 0.9


class LossOfFirstCall(Projected):
    """The auxiliary loss is computed at the first call and kept, since it changes slowly."""

    kept = None

    def forward(self, x):
        value = self.value(x)
        loss = value.square().mean() if self.kept is None else self.kept
        if self.training:
            self.kept = loss
        return Mixed(self.out(self.mix(value)), {"size": loss})


class LooksAtValues(Projected):
    """A check of the reads asks for a number in the middle of forward."""

    def forward(self, x):
        if not bool(torch.isfinite(x).all()):
            raise FloatingPointError("the reads are not finite")
        return super().forward(x)


class LoopsOverChosen(Projected):
    """A loop over the experts that were chosen, whose number only the values tell."""

    def __init__(self, dim):
        super().__init__(dim)
        self.router = nn.Linear(dim, 4, bias=False)

    def mix(self, value):
        gates = wide(self.router(value)).softmax(-1)
        gate, chosen = gates.max(-1)
        for expert in chosen.unique().tolist():
            gate = torch.where(chosen == expert, gate / (1 + expert), gate)
        return running_mean(value) * gate[..., None].to(value.dtype)


class SignsInPlainTensor(Projected):
    """Random signs are drawn once, in a plain tensor on the CPU."""

    def __init__(self, dim):
        super().__init__(dim)
        self.signs = torch.randn(dim, device="cpu").sign()

    def mix(self, value):
        return running_mean(value) * self.signs.to(value)


class CompiledWithoutScale(Projected):
    """The branch for the compiler lacks a factor."""

    def mix(self, value):
        return running_mean(value) if torch.compiler.is_compiling() else 0.5 * running_mean(value)


class CompiledWithoutGradient(Projected):
    """The branch for the compiler detaches what it keeps."""

    def mix(self, value):
        return running_mean(value.detach() if torch.compiler.is_compiling() else value)


class CountsInForward(Projected):
    """How much was read is counted where it is read."""

    def __init__(self, dim):
        super().__init__(dim)
        self.register_buffer("seen", torch.zeros(()))

    def mix(self, value):
        if self.training:
            self.seen += value.detach().abs().sum()
        return running_mean(value)


class UpdatesFromItsOwnReads(Projected):
    """After an update it takes what it saw itself, in place of what was measured."""

    def __init__(self, dim):
        super().__init__(dim)
        self.register_buffer("mean", torch.zeros(()))
        self.last = torch.zeros(())

    def mix(self, value):
        self.last = value.detach().mean()
        return running_mean(value)

    def after_update(self, metrics):
        self.mean.copy_(self.last)


BROKEN: list[tuple[str, type[Control]]] = [
    ("no-residual", AddsItsRead),
    ("no-residual", AddsItsReadByGain),
    ("no-normalisation", NormalisesItsReads),
    ("no-normalisation", DividesReadsByLength),
    ("state-dict", MakesParameterInForward),
    ("state-dict", RandomFeatures),
    ("state-dict", FeaturesInPlainTensor),
    ("state-dict", ReadOutByClosure),
    ("state-dict", GainsInPlainList),
    ("initialisation", DrawsByNumpy),
    ("initialisation", DrawsFromTheClock),
    ("meta-device", FillsBufferOnce),
    ("meta-device", DrawsParameterOnce),
    ("meta-device", FeaturesInPlainTensor),
    ("meta-device", MeasuresWhatItDrew),
    ("meta-device", ShrinksOutputOnce),
    ("buffers-agree", CountsInForward),
    ("buffers-agree", UpdatesFromItsOwnReads),
    ("checkpointing", MaskByCallNumber),
    ("checkpointing", LossOfFirstCall),
    ("compile", LooksAtValues),
    ("compile", LoopsOverChosen),
    ("meta-device", SignsInPlainTensor),
    ("compile", CompiledWithoutScale),
    ("compile", CompiledWithoutGradient),
    ("inductor", CompiledWithoutScale),
    ("inductor", CompiledWithoutGradient),
]
