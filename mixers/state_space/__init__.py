"""Mixers with a gated matrix of state and a layer of their own around it."""

from mixers.state_space.gsa import GSA
from mixers.state_space.mamba2 import Mamba2
from mixers.state_space.mamba3 import Mamba3
from mixers.state_space.mlstm import MLSTM
from mixers.state_space.rwkv6 import RWKV6
from mixers.state_space.rwkv_channel import RWKVChannel
from zoo import TokenMixer

MIXERS: dict[str, type[TokenMixer]] = {
    "gsa": GSA,
    "mamba2": Mamba2,
    "mamba3": Mamba3,
    "mlstm": MLSTM,
    "rwkv-channel": RWKVChannel,
    "rwkv6": RWKV6,
}
"""By name."""
