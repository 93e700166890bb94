"""Mixers that treat each token by itself, in the place of an MLP."""

from mixers.channel.moe import MoE
from zoo import ChannelMixer

CHANNEL_MIXERS: dict[str, type[ChannelMixer]] = {
    "moe": MoE,
}
"""By name."""
