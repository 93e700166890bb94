"""Channel mixers that judge the laws: sound ones, and ones that break a law."""

import functools

import torch
import torch.nn.functional as F
from torch import nn

from zoo import ChannelMixer, Mixed
from zoo.channel_mixers.feed_forward import MLP, SwiGLU
from zoo.testing.laws.channel import CHANNEL_LAWS

from . import broken_forward, broken_module, broken_numbers, broken_options
from .control import Projected, lagged, wide


def in_the_channel_place(mixer: type) -> type[nn.Module]:
    """A channel mixer with the fault of a token mixer; that it mixes tokens as well is for another law."""

    class Channel(nn.Module):
        __doc__ = mixer.__doc__

        @functools.wraps(mixer.__init__)
        def __init__(self, *given, **options):
            super().__init__()
            self.inner = mixer(*given, **options)

        def forward(self, x):
            return self.inner(x)

        def after_update(self, metrics):
            if hasattr(self.inner, "after_update"):
                self.inner.after_update(metrics)

    Channel.__name__ = mixer.__name__
    return Channel


class Hidden(nn.Module):
    """One hidden layer, which each control bends in one place."""

    def __init__(self, dim):
        super().__init__()
        self.project_in = nn.Linear(dim, 2 * dim)
        self.project_out = nn.Linear(2 * dim, dim)

    def forward(self, x):
        return self.project_out(self.bend(self.project_in(x)))

    def bend(self, hidden):
        return F.relu(hidden).square()


class ShiftsTokens(Hidden):
    """Half of the hidden units are those of the token before."""

    def bend(self, hidden):
        now, before = F.relu(hidden).chunk(2, dim=-1)
        return torch.cat([now, lagged(before)], dim=-1)


class NormalisesBatch(Hidden):
    """A batch norm on the hidden units."""

    def __init__(self, dim):
        super().__init__(dim)
        self.norm = nn.BatchNorm1d(2 * dim, track_running_stats=False)

    def bend(self, hidden):
        return F.relu(self.norm(hidden.transpose(1, 2)).transpose(1, 2))


class GatesByTheMean(Hidden):
    """The hidden units are gated by their mean over the sequence."""

    def bend(self, hidden):
        return hidden * wide(hidden).mean(1, keepdim=True).sigmoid().to(hidden.dtype)


class KnowsItsPlace(Hidden):
    """The hidden units grow with the position."""

    def bend(self, hidden):
        return hidden * torch.arange(1, hidden.shape[1] + 1, device=hidden.device).to(hidden.dtype)[:, None].log1p()


class WithoutDocstring(Hidden):
    def bend(self, hidden):
        return F.gelu(hidden)


class SaysNothingOfOption(Hidden):
    """One hidden layer whose option has no meaning."""

    def __init__(self, dim, *, bias: bool = True):
        super().__init__(dim)
        self.project_out = nn.Linear(2 * dim, dim, bias=bias)


class AdjustsWhatIsNotSaved(Hidden, ChannelMixer):
    """One hidden layer behind a threshold that moves with the metrics, and is a number of Python."""

    threshold = 0.0

    def bend(self, hidden):
        return F.relu(hidden - self.threshold)

    def forward(self, x):
        written = super().forward(x)
        return Mixed(written, metrics={"size": wide(written).detach().square().mean()})

    def after_update(self, metrics):
        self.threshold += float(metrics["size"])


class DropsOut(Hidden):
    """One hidden layer with dropout."""

    def bend(self, hidden):
        return F.dropout(F.relu(hidden), 0.3, self.training)


class OneExpertForEach(Hidden):
    """Each token takes the better of two hidden layers."""

    def __init__(self, dim):
        super().__init__(dim)
        self.router = nn.Linear(dim, 2)

    def forward(self, x):
        gate = wide(self.router(x)).softmax(-1)
        halves = torch.stack(F.relu(self.project_in(x)).chunk(2, dim=-1), dim=-1)
        kept = (gate == gate.amax(-1, keepdim=True)) * gate
        return self.project_out((halves * kept.to(halves.dtype)[..., None, :]).flatten(-2))


SOUND = [SwiGLU, MLP, Hidden, DropsOut, OneExpertForEach]

OF_THE_CHANNEL: list[tuple[str, type[nn.Module]]] = [
    ("token-wise", ShiftsTokens),
    ("token-wise", NormalisesBatch),
    ("token-wise", GatesByTheMean),
    ("token-wise", KnowsItsPlace),
    ("state-dict", AdjustsWhatIsNotSaved),
    ("documentation", WithoutDocstring),
    ("documentation", SaysNothingOfOption),
]


def _shared(laws) -> list[tuple[str, type[nn.Module]]]:
    """Two controls for each of the laws that channel mixers share with token mixers."""
    modules = (broken_forward, broken_numbers, broken_module, broken_options)
    mixers = [pair for module in modules for pair in module.BROKEN if issubclass(pair[1], Projected)]
    found = []
    for law in sorted(laws):
        found += [(law, in_the_channel_place(mixer)) for name, mixer in mixers if name == law and not _steps(mixer)][:2]
    return found


def _steps(mixer: type) -> bool:
    return "step" in vars(mixer)


BROKEN = OF_THE_CHANNEL + _shared(set(CHANNEL_LAWS) - {"token-wise", "documentation"})
