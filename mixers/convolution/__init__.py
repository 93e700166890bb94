"""Mixers whose tokens see their neighbours through a convolution."""

from mixers.convolution.gated_short_conv import GatedShortConv
from zoo import TokenMixer

MIXERS: dict[str, type[TokenMixer]] = {
    "gated-short-conv": GatedShortConv,
}
"""By name."""
