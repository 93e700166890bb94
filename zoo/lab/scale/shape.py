"""The width and the depth of a model that has about so many parameters."""

import math
from typing import NamedTuple

from torch._subclasses.fake_tensor import FakeTensorMode

from zoo.errors import UsageError
from zoo.model.parameters import count_parameters
from zoo.plugin.isolation import random_numbers_kept
from zoo.plugin.registry import get_registry
from zoo.train.engine.layers import layers_of_their_own
from zoo.train.session import model_of
from zoo.train.settings import Settings

ASPECT, WIDEST_ASPECT = 64, 128
"""Channels of the stream a layer, of a model of 10**8 parameters and of one of 10**10: 768 with 12 layers is usual, and
4,096 with 32."""

_TOLERANCE = 0.1
"""By how much of the parameters asked for a model may miss them."""

_GUESSES, _AROUND = 2, 2
"""So often a width is guessed from the parameters of a layer; so many steps around the last one are tried."""


class Round(NamedTuple):
    """The parameters of one round of a pattern at some width: those of its layers, and those of no layer."""

    layers: int
    outside: int


def choose_shape(settings: Settings, vocab_size: int, parameters: float, head_size: int) -> Settings:
    """The settings with the width and the depth that come nearest to so many parameters, at a usual aspect.

    Args:
        settings: of the model otherwise.
        vocab_size: how many tokens there are.
        parameters: how many are wanted.
        head_size: channels of a head, which widths are multiples of.

    Raises:
        UsageError: no model of the pattern is near, or no number of parameters.
    """
    if not 0 < parameters < math.inf:
        raise UsageError(f"`params`={parameters:g} should be above 0")
    period = len(settings.pattern.layers())
    aspect = min(WIDEST_ASPECT, ASPECT * (parameters / 1e8) ** (1 / 6))
    width = head_size * round(_width(parameters, aspect, 12) / head_size) or head_size
    for _ in range(_GUESSES):
        one = _measure(settings, vocab_size, width, head_size)
        if one is None:
            break
        squares = one.layers / period / width**2
        step = _step(_width(parameters, aspect, squares), head_size)
        width = step * max(1, round(_width(parameters, aspect, squares) / step))
    step = _step(width, head_size)
    found: list[tuple[float, float, Settings]] = []
    for dim in range(max(step, width - _AROUND * step), width + _AROUND * step + 1, step):
        if (one := _measure(settings, vocab_size, dim, head_size)) is None:
            continue
        rounds = max(1, round((parameters - one.outside) / one.layers))
        miss = abs((one.outside + rounds * one.layers) / parameters - 1)
        unusual = abs(math.log2(dim / (rounds * period) / aspect))
        chosen = settings.model_copy(update={"dim": dim, "heads": dim // head_size, "layers": rounds * period})
        found.append((miss + 0.05 * unusual, miss, chosen))
    best = min(found, key=lambda each: each[0], default=None)
    if best is None or best[1] > _TOLERANCE:
        raise UsageError(
            f"no model of {settings.mixer} has about {parameters:.3g} parameters with heads of {head_size} channels: "
            "give `dim` and `layers`, or another `head_size`"
        )
    return best[2]


def _width(parameters: float, aspect: float, squares: float) -> float:
    """The width of a model of that aspect whose layers have so many parameters, in squares of the width."""
    return float((aspect * parameters / squares) ** (1 / 3))


def _step(width: float, head_size: int) -> int:
    """The heads by which widths differ, as people choose them: the more of them, the more at a time."""
    return head_size * 2 ** min(3, int(width / head_size / 8).bit_length())


def _measure(settings: Settings, vocab_size: int, dim: int, head_size: int) -> Round | None:
    """One round of the pattern at a width; None if a mixer does not take that."""
    once = {"dim": dim, "heads": dim // head_size, "layers": len(settings.pattern.layers())}
    try:
        with random_numbers_kept(), FakeTensorMode():
            model = model_of(settings.model_copy(update=once), get_registry(), vocab_size=vocab_size)
            layers = sum(map(count_parameters, layers_of_their_own(model)))
            return Round(layers, count_parameters(model) - layers) if layers else None
    except UsageError:
        return None
