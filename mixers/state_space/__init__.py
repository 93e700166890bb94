"""Mixers with a gated matrix of state and a layer of their own around it."""

from mixers.state_space.mamba2 import Mamba2
from zoo import TokenMixer

MIXERS: dict[str, type[TokenMixer]] = {
    "mamba2": Mamba2,
}
"""By name."""
