"""Hands the built-in mixers over to the zoo."""

from mixers.convolution.gated_short_conv import GatedShortConv
from mixers.correlation import Correlation
from mixers.dot_product import DotProduct
from mixers.involution import Involution
from mixers.leviathan_moe import LeviathanMoE
from mixers.recurrent.mamba1 import Mamba1
from mixers.recurrent.min_gru import MinGRU
from mixers.recurrent.min_lstm import MinLSTM
from mixers.recurrent.rg_lru import RGLRU
from zoo import TokenMixer, hookimpl


@hookimpl
def zoo_mixers() -> dict[str, type[TokenMixer]]:
    """The built-in mixers, by name."""
    return {
        "correlation": Correlation,
        "dot-product": DotProduct,
        "gated-short-conv": GatedShortConv,
        "involution": Involution,
        "leviathan-moe": LeviathanMoE,
        "mamba1": Mamba1,
        "min-gru": MinGRU,
        "min-lstm": MinLSTM,
        "rg-lru": RGLRU,
    }
