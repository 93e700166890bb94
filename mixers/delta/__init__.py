"""Mixers whose tokens erase what a key held in a memory before they write to it."""

from mixers.delta.comba import Comba
from mixers.delta.deltanet import DeltaNet
from mixers.delta.deltaproduct import DeltaProduct
from mixers.delta.gated_deltanet import GatedDeltaNet
from mixers.delta.gdn2 import GDN2
from mixers.delta.kda import KDA
from mixers.delta.rwkv7 import RWKV7
from zoo import TokenMixer

MIXERS: dict[str, type[TokenMixer]] = {
    "comba": Comba,
    "deltanet": DeltaNet,
    "deltaproduct": DeltaProduct,
    "gated-deltanet": GatedDeltaNet,
    "gdn2": GDN2,
    "kda": KDA,
    "rwkv7": RWKV7,
}
"""By name."""
