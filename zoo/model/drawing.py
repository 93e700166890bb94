"""Drawing the next token of a text from the logits that a model gives."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.errors import UsageError, ZooError

_MANY = 1024
"""Tokens that usually hold `top_p`, so that the others of a large vocabulary need not be sorted."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        temperature: divides the logits; 0 takes the most likely token.
        top_k: draw among the k most likely tokens only; of equally likely ones, the first in the vocabulary.
        top_p: draw among the most likely tokens that together hold at least this probability (Holtzman et al. 2020,
            arXiv:1904.09751).

    Raises:
        UsageError: a value out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise UsageError(f"temperature={self.temperature} should be 0 or more")
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top_k={self.top_k} should be 1 or more")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UsageError(f"top_p={self.top_p} should be greater than 0 and at most 1")

    def probabilities(self, logits: Tensor) -> Tensor:
        """With what probability each token is drawn, ``(b, vocabulary)``, at a temperature above 0."""
        smallest = torch.finfo(logits.dtype).tiny  # what is smaller would be rounded to zero
        logits = (logits - logits.amax(-1, keepdim=True)) / max(self.temperature, smallest)
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            least = logits.topk(self.top_k).values[:, -1:]
            logits = logits.masked_fill(~_largest(logits, least, torch.full_like(least, self.top_k)), -torch.inf)
        probabilities = logits.softmax(-1)
        if self.top_p is None or self.top_p >= 1:
            return probabilities
        least, count = _nucleus(probabilities, max(self.top_p, smallest))
        return logits.masked_fill(~_largest(probabilities, least, count), -torch.inf).softmax(-1)


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """Draw one token a row from logits ``(b, vocabulary)``.

    Each is `torch.multinomial` of a row to the bit, without the checks of its probabilities, which wait for the device.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    probabilities = sampling.probabilities(logits)
    return (probabilities / torch.empty_like(probabilities).exponential_(1, generator=generator)).argmax(-1)


def choose_at(logits: Tensor, sampling: Sampling, levels: Tensor) -> Tensor:
    """Choose one token a row from logits ``(b, vocabulary)``: where the cumulative probability passes a level.

    Of levels that are uniform in [0, 1) these are draws. One number a row is all that they take, and not one a token.

    Args:
        logits: float32.
        sampling: how.
        levels: ``(b,)``.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    cumulative = sampling.probabilities(logits).cumsum(-1)
    total = cumulative[:, -1:]
    # below the total, so that a token of probability 0 at the end of the vocabulary is never the one
    level = torch.minimum(levels[:, None].to(total.dtype) * total, total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(cumulative, level, right=True)[:, 0]


def check_finite(logits: Tensor) -> None:
    """Refuse logits from which nothing can be drawn.

    Raises:
        ZooError: one is not a finite number.
    """
    # least and greatest are found in one pass, and are NaN where any number is
    if not all(map(math.isfinite, torch.stack(logits.aminmax()).tolist())):
        raise ZooError("the model's prediction of the next token is not finite; `zoo inspect` names the part")


def _nucleus(probabilities: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The least probability among the tokens that hold `top_p`, and how many they are, ``(b, 1)`` each."""
    vocabulary = probabilities.shape[-1]
    ordered = probabilities.topk(min(_MANY, vocabulary)).values
    if ordered.shape[-1] < vocabulary and not bool((ordered.sum(-1) > top_p).all()):
        ordered = probabilities.sort(descending=True).values
    count = (ordered.cumsum(-1) - ordered < top_p).sum(-1, keepdim=True)
    return ordered.gather(-1, count - 1), count


def _largest(values: Tensor, least: Tensor, count: Tensor) -> Tensor:
    """Which of a row are its `count` largest, of equal ones the first; `least` is the smallest of them."""
    kept = values >= least
    if int(kept.sum()) == int(count.sum()):
        return kept
    # more are as large as the smallest: a stable sort has the first of them first, as argmax has
    order = values.argsort(descending=True, stable=True)
    return torch.zeros_like(kept).scatter(-1, order, torch.arange(values.shape[-1], device=order.device) < count)
