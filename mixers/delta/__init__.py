"""Mixers whose tokens erase what a key held in a memory before they write to it."""

from mixers.delta.deltanet import DeltaNet
from mixers.delta.gated_deltanet import GatedDeltaNet
from zoo import TokenMixer

MIXERS: dict[str, type[TokenMixer]] = {
    "deltanet": DeltaNet,
    "gated-deltanet": GatedDeltaNet,
}
"""By name."""
