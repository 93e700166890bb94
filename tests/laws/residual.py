"""Residual schemes that judge the laws: sound ones, and ones that break a law."""

import functools

import torch
import torch.nn.functional as F
from torch import nn

from zoo import Mixed, Residual, RMSNorm
from zoo.residuals.plugin import zoo_residuals
from zoo.testing.laws.residual import RESIDUAL_LAWS

from . import broken_forward, broken_module, broken_numbers, broken_options
from .control import Projected, lagged, wide

BUILT_IN = zoo_residuals()


def in_the_scheme(mixer: type) -> type[Residual]:
    """A residual scheme with the fault of a token mixer, in what is read."""

    class Scheme(Residual):
        __doc__ = mixer.__doc__
        paper = mixer.paper

        @functools.wraps(mixer.__init__)
        def __init__(self, **options):
            super().__init__(options["dim"], sites=0)
            self.inner = mixer(**options)

        def read(self, stream, site):
            return Mixed.of(self.inner(stream), self.inner).out

        def write(self, stream, site, written):
            return stream + written

        def close(self, stream):
            return stream

    Scheme.__name__ = mixer.__name__
    return Scheme


class Plain(Residual):
    """A norm on the read and an addition, which each control bends in one place."""

    paper = "control"

    def __init__(self, dim, *, sites):
        super().__init__(dim, sites=sites)
        self.norm = RMSNorm(dim)

    def read(self, stream, site):
        return self.norm(stream)

    def write(self, stream, site, written):
        return stream + written

    def close(self, stream):
        return self.norm(stream)


# Sound ones.


class KeepsDict(Plain):
    """The stream and the embedding by name."""

    def open(self, embedded):
        return {"stream": embedded, "embedding": embedded}

    def read(self, stream, site):
        return self.norm(stream["stream"] + stream["embedding"])

    def write(self, stream, site, written):
        return {**stream, "stream": stream["stream"] + written}

    def close(self, stream):
        return self.norm(stream["stream"])

    def show(self, stream):
        return stream["stream"]


class KeepsItWide(Plain):
    """The stream in float32 at least, whatever the model is in."""

    def open(self, embedded):
        return wide(embedded)

    def read(self, stream, site):
        return self.norm(stream.to(self.norm.weight.dtype))

    def close(self, stream):
        return self.norm(stream.to(self.norm.weight.dtype))

    def show(self, stream):
        return stream.to(self.norm.weight.dtype)


class DropsWrites(Plain):
    """Dropout on what is written."""

    def write(self, stream, site, written):
        return stream + F.dropout(written, 0.2, self.training)


class SaysAdditive(Plain):
    """Adds what is written, with a gain for each site."""

    additive = True

    def __init__(self, dim, *, sites):
        super().__init__(dim, sites=sites)
        self.gain = nn.Parameter(torch.empty(sites))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.ones_(self.gain)

    def write(self, stream, site, written):
        return stream + self.gain[site] * written


SOUND = [*BUILT_IN.values(), Plain, KeepsDict, KeepsItWide, DropsWrites, SaysAdditive]


# shape


class ClosesInSinglePrecision(Plain):
    """What is unembedded is in float32."""

    def close(self, stream):
        return super().close(stream).float()


class ClosesTheLastToken(Plain):
    """What is unembedded is that of the last token."""

    def close(self, stream):
        return super().close(stream)[:, -1]


# token-wise


class NormalisesTheSequence(Plain):
    """The norm of the read is that of the whole sequence."""

    def read(self, stream, site):
        return stream / (1 + wide(stream).square().mean((1, 2), keepdim=True).sqrt()).to(stream.dtype)


class ReadsTheTokenBefore(Plain):
    """Half of what is read is the token before."""

    def read(self, stream, site):
        return self.norm(stream + lagged(stream))


# sites


class ForgetsTheLastWrite(Plain):
    """The stream of the site before the last is closed."""

    def open(self, embedded):
        return embedded, embedded

    def read(self, stream, site):
        return self.norm(stream[0])

    def write(self, stream, site, written):
        return stream[0] + written, stream[0]

    def close(self, stream):
        return self.norm(stream[1])

    def show(self, stream):
        return stream[0]


class ForgetsChannelMixers(Plain):
    """What channel mixers write is not added."""

    def __init__(self, dim, *, sites, roles):
        super().__init__(dim, sites=sites)
        self.roles = roles

    def write(self, stream, site, written):
        return stream + (written if self.roles[site] == "token" else 0 * written)


class DetachesWrites(Plain):
    """What is written goes on without its gradient."""

    def write(self, stream, site, written):
        return stream + written.detach()


class ReadsNothingAtOnce(Plain):
    """The first read of the second layer is a learned vector."""

    def __init__(self, dim, *, sites):
        super().__init__(dim, sites=sites)
        self.first = nn.Parameter(torch.ones(dim))

    def read(self, stream, site):
        return self.first.expand_as(stream) if site == 2 else self.norm(stream)


class TakesPairsOfSites(Plain):
    """A gain for each pair of sites, which an odd number of them does not have."""

    def __init__(self, dim, *, sites):
        super().__init__(dim, sites=sites)
        self.gain = nn.Parameter(torch.ones(max(2, sites // 2)))

    def write(self, stream, site, written):
        return stream + self.gain[site // 2] * written


# stream


class AddsInPlace(Plain):
    """A copy of the embedding, to which is added in place."""

    def open(self, embedded):
        return embedded.clone()

    def write(self, stream, site, written):
        return stream.add_(written) if not torch.is_grad_enabled() else stream + written


class ScalesWritesInPlace(Plain):
    """What is written is halved in place."""

    def write(self, stream, site, written):
        return stream + (written.mul_(0.5) if not torch.is_grad_enabled() else 0.5 * written)


class TurnsHalf(Plain):
    """The stream has the precision of what is written."""

    def write(self, stream, site, written):
        return stream.to(written.dtype) + written

    def close(self, stream):
        return self.norm(stream.to(self.norm.weight.dtype))


class MultipliesMatrices(Plain):
    """The stream is kept by a matrix, which autocast multiplies in half precision."""

    def __init__(self, dim, *, sites):
        super().__init__(dim, sites=sites)
        self.keep = nn.Linear(dim, dim, bias=False)

    def write(self, stream, site, written):
        return self.keep(stream) + written


# additive


class SaysAdditiveAndNorms(Plain):
    """A norm on what is written."""

    additive = True

    def write(self, stream, site, written):
        return stream + self.norm(written)


class SaysAdditiveAndFades(Plain):
    """The stream fades at every write."""

    additive = True

    def write(self, stream, site, written):
        return 0.9 * stream + written


class SaysAdditiveAndCounts(Plain):
    """The second part of the stream counts the writes."""

    additive = True

    def open(self, embedded):
        return embedded, embedded[..., :1] * 0

    def read(self, stream, site):
        return self.norm(stream[0] / (1 + stream[1]))

    def write(self, stream, site, written):
        return stream[0] + written, stream[1] + 1

    def close(self, stream):
        return self.norm(stream[0])

    def show(self, stream):
        return stream[0]


# pre-norm-at-start


class StartsWithoutScale(Plain):
    """Says that it starts as pre-norm, whose writes are scaled by the depth."""

    starts_as_pre_norm = True


class StartsSoByDefault(BUILT_IN["pre-norm"]):
    """Starts as pre-norm with its default options."""

    starts_as_pre_norm = True


class StartsWithEqualMixing(BUILT_IN["hyper-connections"]):
    """Gains that begin large, and maps that do not begin at zero."""

    def reset_parameters(self):
        super().reset_parameters()
        for maps in getattr(self, "maps", ()):
            nn.init.normal_(maps)


# shown


class ShowsNothing(KeepsDict):
    """The stream is a dict, and nobody says how it is shown."""

    show = Residual.show


class ShowsAllStreams(Plain):
    """Two streams, which are shown as they are."""

    def open(self, embedded):
        return torch.stack([embedded, embedded], dim=2)

    def read(self, stream, site):
        return self.norm(stream[:, :, site % 2])

    def write(self, stream, site, written):
        return stream + written[:, :, None]

    def close(self, stream):
        return self.norm(stream.sum(2))


class AddsANumber(Plain):
    """What a write adds is told as its size."""

    def added(self, stream, site, written):
        return written.norm(dim=-1)


OF_SCHEMES: list[tuple[str, type[Residual]]] = [
    ("shape", ClosesInSinglePrecision),
    ("shape", ClosesTheLastToken),
    ("token-wise", NormalisesTheSequence),
    ("token-wise", ReadsTheTokenBefore),
    ("sites", ForgetsTheLastWrite),
    ("sites", ForgetsChannelMixers),
    ("sites", DetachesWrites),
    ("sites", ReadsNothingAtOnce),
    ("sites", TakesPairsOfSites),
    ("stream", AddsInPlace),
    ("stream", ScalesWritesInPlace),
    ("stream", TurnsHalf),
    ("stream", MultipliesMatrices),
    ("additive", SaysAdditiveAndNorms),
    ("additive", SaysAdditiveAndFades),
    ("additive", SaysAdditiveAndCounts),
    ("pre-norm-at-start", StartsWithoutScale),
    ("pre-norm-at-start", StartsSoByDefault),
    ("pre-norm-at-start", StartsWithEqualMixing),
    ("shown", ShowsNothing),
    ("shown", ShowsAllStreams),
    ("shown", AddsANumber),
]


def _shared(laws) -> list[tuple[str, type[Residual]]]:
    """Two controls for each of the laws that schemes share with token mixers."""
    modules = (broken_forward, broken_numbers, broken_module, broken_options)
    mixers = [pair for module in modules for pair in module.BROKEN if issubclass(pair[1], Projected)]
    found = []
    for law in sorted(laws):
        own = [mixer for name, mixer in mixers if name == law and "step" not in vars(mixer)]
        found += [(law, in_the_scheme(mixer)) for mixer in own[:2]]
    return found


BROKEN = OF_SCHEMES + _shared(set(RESIDUAL_LAWS) - {law for law, _ in OF_SCHEMES})
