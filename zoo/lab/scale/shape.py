"""The width and the depth of a model that has about so many parameters."""

import math

from torch._subclasses.fake_tensor import FakeTensorMode

from zoo.errors import UsageError
from zoo.model.parameters import count_parameters
from zoo.plugin.registry import get_registry
from zoo.train.session import model_of
from zoo.train.settings import Settings

ASPECT, WIDEST_ASPECT = 64, 128
"""Channels of the stream a layer, of a model of 10**8 parameters and of one of 10**10: 768 with 12 layers is usual, and
4,096 with 32."""

_TOLERANCE = 0.05
"""By how much of the parameters asked for a model may miss them."""


def choose_shape(settings: Settings, vocab_size: int, parameters: float, head_size: int) -> Settings:
    """The settings with the width and the depth that come nearest to so many parameters, at a usual aspect.

    Args:
        settings: of the model otherwise.
        vocab_size: how many tokens there are.
        parameters: how many are wanted.
        head_size: channels of a head, which widths are multiples of.

    Raises:
        UsageError: no model of the pattern is near.
    """
    period = len(settings.pattern.layers())
    aspect = min(WIDEST_ASPECT, ASPECT * (parameters / 1e8) ** (1 / 6))
    about = (aspect * parameters / 12) ** (1 / 3)  # a layer of attention has about 12 d**2 parameters
    step = head_size * (2 ** min(3, int(about / head_size / 8).bit_length()))  # widths as people choose them
    found: tuple[float, Settings] | None = None
    for dim in range(step, math.ceil(2 * about) + 2 * step, step):
        if dim < about / 3:
            continue
        sized = settings.model_copy(update={"dim": dim, "heads": dim // head_size})
        try:
            one, two = (_count(sized.model_copy(update={"layers": rounds * period}), vocab_size) for rounds in (1, 2))
        except UsageError:  # a width that the mixer does not take
            continue
        rounds = max(1, round(1 + (parameters - one) / (two - one)))
        count = one + (rounds - 1) * (two - one)
        miss = abs(count / parameters - 1) + 0.05 * abs(math.log2(dim / (rounds * period) / aspect))
        if found is None or miss < found[0]:
            found = (miss, sized.model_copy(update={"layers": rounds * period}))
    if found is None or abs(_count(found[1], vocab_size) / parameters - 1) > 2 * _TOLERANCE:
        raise UsageError(
            f"no model of {settings.mixer} has about {parameters:.3g} parameters with heads of {head_size} channels: "
            "give `dim` and `layers`, or another `head_size`"
        )
    return found[1]


def _count(settings: Settings, vocab_size: int) -> int:
    with FakeTensorMode():
        return count_parameters(model_of(settings, get_registry(), vocab_size=vocab_size))
