"""What the mixers that judge the laws have in common: a plain mean or attention, which each bends in one place."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from zoo import TokenMixer


class Control(TokenMixer):
    """A mixer that is there to judge the laws."""

    paper: ClassVar[str] = "control"


class Projected(Control):
    """A mean of the values up to each token, between two projections."""

    def __init__(self, dim):
        super().__init__()
        self.value = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(self, x):
        return self.out(self.mix(self.value(x)))

    def mix(self, value):
        return running_mean(value)


class Attending(Projected):
    """Causal attention of one head."""

    def __init__(self, dim):
        super().__init__(dim)
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)

    def forward(self, x):
        return self.out(self.attend(self.query(x), self.key(x), self.value(x)))

    def attend(self, query, key, value):
        return self.weights(scores(query, key)).to(value.dtype) @ value

    def weights(self, of):
        return of.masked_fill(~visible(of), -torch.inf).softmax(-1)


def wide(x):
    """The same in float32 at least, where half precision would not do."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def running_mean(x):
    """The mean of what came up to each token."""
    return (wide(x).cumsum(1) / counted(x)[:, None]).to(x.dtype)


def counted(x):
    """How many tokens there are up to each: 1, 2, 3, …"""
    return torch.arange(1, x.shape[1] + 1, device=x.device)


def lagged(x, lag=1):
    """What came `lag` tokens before each; zero before the first."""
    lag = min(lag, x.shape[1])
    return F.pad(x, (0, 0, lag, 0))[:, : x.shape[1]]


def scores(query, key):
    """The scaled dot products of queries and keys, ``(b, t, s)``."""
    return query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5


def visible(of):
    """Which sources each query may see, the last query being the newest token."""
    queries, sources = of.shape[-2:]
    return torch.ones(queries, sources, dtype=torch.bool, device=of.device).tril(sources - queries)
