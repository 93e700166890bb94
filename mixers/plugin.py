"""Hands the built-in mixers over to the zoo."""

from mixers import baselines, channel, convolution, delta, linear, recurrent, softmax, state_space, test_time
from mixers.correlation import Correlation
from mixers.dot_product import DotProduct
from mixers.involution import Involution
from mixers.leviathan_moe import LeviathanMoE
from zoo import ChannelMixer, TokenMixer, hookimpl

FIRST: dict[str, type[TokenMixer]] = {
    "correlation": Correlation,
    "dot-product": DotProduct,
    "involution": Involution,
    "leviathan-moe": LeviathanMoE,
}
FAMILIES = (baselines, convolution, delta, linear, recurrent, softmax, state_space, test_time)


@hookimpl
def zoo_mixers() -> dict[str, type[TokenMixer]]:
    """The built-in mixers, by name."""
    return FIRST | {name: cls for family in FAMILIES for name, cls in family.MIXERS.items()}


@hookimpl
def zoo_channel_mixers() -> dict[str, type[ChannelMixer]]:
    """Channel mixers that need operators of the mixers, by name; the others are in `zoo.channel_mixers`."""
    return channel.CHANNEL_MIXERS
