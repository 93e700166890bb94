"""Mixers whose tokens see their neighbours through a convolution."""

from mixers.convolution.canon import Canon
from mixers.convolution.gated_short_conv import GatedShortConv
from mixers.convolution.h3 import H3
from mixers.convolution.hyena import Hyena
from zoo import TokenMixer

MIXERS: dict[str, type[TokenMixer]] = {
    "canon": Canon,
    "gated-short-conv": GatedShortConv,
    "h3": H3,
    "hyena": Hyena,
}
"""By name."""
