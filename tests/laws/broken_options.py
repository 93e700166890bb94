"""Mixers that are wrong in what they say: losses and metrics, options, errors, and their documentation."""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from zoo import Mixed

from .control import Control, Projected, lagged, running_mean, wide


class LossPerRow(Projected):
    """The auxiliary loss is one number a row."""

    def forward(self, x):
        value = self.value(x)
        return Mixed(self.out(self.mix(value)), {"size": value.square().mean((1, 2))})


class LossWithoutGradient(Projected):
    """The auxiliary loss is detached, as metrics are."""

    def forward(self, x):
        value = self.value(x)
        return Mixed(self.out(self.mix(value)), {"size": value.detach().square().mean()})


class LossOfFirstRow(Projected):
    """The auxiliary loss looks at the first row alone."""

    def forward(self, x):
        value = self.value(x)
        return Mixed(self.out(self.mix(value)), {"size": value[0].square().mean()})


class LossOfIdleExperts(Projected):
    """The auxiliary loss takes the logarithm of a share that may be zero."""

    def __init__(self, dim):
        super().__init__(dim)
        self.router = nn.Linear(dim, 64, bias=False)

    def forward(self, x):
        gates = wide(self.router(x)).softmax(-1)
        load = (gates >= gates.amax(-1, keepdim=True)).to(gates).mean((0, 1))
        out = super().forward(x) * gates.amax(-1, keepdim=True).to(x.dtype)
        return Mixed(out, {"balance": (gates.mean((0, 1)) * load.log()).sum()})


class MetricWithGraph(Projected):
    """A metric is not detached."""

    def forward(self, x):
        value = self.value(x)
        return Mixed(self.out(self.mix(value)), metrics={"size": value.abs().mean()})


class TakesFunction(Projected):
    """An option whose default is a function.

    Options:
        activation: applied to the mean.
    """

    def __init__(self, dim, *, activation=torch.tanh):
        super().__init__(dim)
        self.activation = activation

    def mix(self, value):
        return self.activation(running_mean(value))


class TakesDtype(Projected):
    """An option whose default is a dtype.

    Options:
        accumulate: the dtype of the sums.
    """

    def __init__(self, dim, *, accumulate: torch.dtype = torch.float64):
        super().__init__(dim)
        self.accumulate = accumulate

    def mix(self, value):
        return running_mean(value.to(self.accumulate)).to(value.dtype)


class TakesInfinity(Projected):
    """An option whose default is infinite, which reads back as a word.

    Options:
        ceiling: the largest mean that is written.
    """

    def __init__(self, dim, *, ceiling: float = math.inf):
        super().__init__(dim)
        self.ceiling = ceiling

    def mix(self, value):
        return running_mean(value).clamp(max=self.ceiling)


class AssertsOption(Projected):
    """A wrong value of an option fails an assertion.

    Options:
        groups: groups of channels that share a gain, a divisor of dim.
    """

    def __init__(self, dim, *, groups: int = 2):
        super().__init__(dim)
        assert groups > 0
        assert dim % groups == 0
        self.gain = nn.Linear(dim // groups, dim // groups, bias=False)
        self.groups = groups

    def mix(self, value):
        return self.gain(running_mean(value).unflatten(-1, (self.groups, -1))).flatten(-2)


class FailsInForward(Projected):
    """A negative lag is taken, and fails when it is used.

    Options:
        lag: how many tokens to look back.
    """

    def __init__(self, dim, *, lag: int = 1):
        super().__init__(dim)
        self.lag = lag

    def mix(self, value):
        if self.lag >= value.shape[1]:
            return value
        return value - F.pad(value, (0, 0, self.lag, 0))[:, : value.shape[1]]


class ChoosesTooMany(Projected):
    """More experts may be chosen than there are.

    Options:
        top_k: experts chosen for each token.
    """

    def __init__(self, dim, *, top_k: int = 2):
        super().__init__(dim)
        self.router = nn.Linear(dim, 4, bias=False)
        self.top_k = top_k

    def forward(self, x):
        gate = wide(self.router(x)).softmax(-1).topk(self.top_k).values.sum(-1, keepdim=True)
        return super().forward(x) * gate.to(x.dtype)


class DoesNotNameOption(Projected):
    """The error for a wrong value does not say of which option.

    Options:
        lag: how many tokens to look back.
    """

    def __init__(self, dim, *, lag: int = 1):
        super().__init__(dim)
        if lag < 1:
            raise ValueError(f"expected 1 or more, not {lag}")
        self.lag = lag

    def mix(self, value):
        return value - lagged(value, self.lag)


class WithoutDocstring(Projected):
    def mix(self, value):
        return value - lagged(value)


class SaysNothingOfOption(Projected):
    """One of two options is not described.

    Options:
        lag: how many tokens to look back.
    """

    def __init__(self, dim, *, lag: Literal[1, 2] = 1, bias: bool = False):
        super().__init__(dim)
        self.lag = lag
        self.out = nn.Linear(dim, dim, bias=bias)

    def mix(self, value):
        return value - lagged(value, self.lag)


class WithoutPaper(Projected):
    """The source is missing."""

    paper = ""


class PaperIsBlank(Projected):
    """The source is a space."""

    paper = " "


class WithoutEquation(Projected):
    """There is a sentence, and no equation.

    Options:
        bias: whether the output projection has one.
    """

    def __init__(self, dim, *, bias: bool = False):
        super().__init__(dim)
        self.out = nn.Linear(dim, dim, bias=bias)


class RefusesItsChoice(Projected):
    """One of its two choices fails when it is built, by an error of Python.

    Options:
        kind: of the mean.
    """

    def __init__(self, dim, *, kind: Literal["plain", "grand"] = "plain"):
        super().__init__(dim)
        self.kind = {"plain": 0}[kind]


class TakesAnything(Projected):
    """The option takes anything, and its default is a list, which a pattern gives back as a tuple.

    Options:
        lags: how far back to look.
    """

    def __init__(self, dim, lags: Any = [1, 2]):  # noqa: B006
        super().__init__(dim)
        self.lags = lags

    def mix(self, value):
        return sum(lagged(value, lag) for lag in self.lags)


class DividesByTemperature(Projected):
    """Nobody minds a temperature of zero until it divides.

    Options:
        temperature: what scores are divided by.
    """

    def __init__(self, dim, temperature: float = 1.0):
        super().__init__(dim)
        self.temperature = temperature

    def mix(self, value):
        return running_mean(value) / self.temperature


class SummarisesAtLength(Projected):
    """A mean of all values up to each token, between two projections, which begins where others end, goes on from
    there, and says so in a first sentence that no list has room for
    """


BROKEN: list[tuple[str, type[Control]]] = [
    ("losses", LossPerRow),
    ("losses", LossWithoutGradient),
    ("losses", LossOfFirstRow),
    ("losses", LossOfIdleExperts),
    ("losses", MetricWithGraph),
    ("options-round-trip", TakesFunction),
    ("options-round-trip", TakesDtype),
    ("options-round-trip", TakesInfinity),
    ("options-refused", AssertsOption),
    ("options-refused", FailsInForward),
    ("options-refused", ChoosesTooMany),
    ("options-refused", DoesNotNameOption),
    ("documentation", WithoutDocstring),
    ("documentation", SaysNothingOfOption),
    ("paper", WithoutPaper),
    ("options-round-trip", TakesAnything),
    ("options-refused", DividesByTemperature),
    ("documentation", SummarisesAtLength),
    ("documentation", WithoutEquation),
    ("paper", PaperIsBlank),
    ("options-refused", RefusesItsChoice),
]
