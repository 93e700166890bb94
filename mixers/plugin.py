"""Hands the built-in mixers over to the zoo."""

from mixers import convolution, delta, recurrent, softmax
from mixers.correlation import Correlation
from mixers.dot_product import DotProduct
from mixers.involution import Involution
from mixers.leviathan_moe import LeviathanMoE
from zoo import TokenMixer, hookimpl


@hookimpl
def zoo_mixers() -> dict[str, type[TokenMixer]]:
    """The built-in mixers, by name."""
    first: dict[str, type[TokenMixer]] = {
        "correlation": Correlation,
        "dot-product": DotProduct,
        "involution": Involution,
        "leviathan-moe": LeviathanMoE,
    }
    return first | convolution.MIXERS | delta.MIXERS | recurrent.MIXERS | softmax.MIXERS
