"""Mixers whose state goes from token to token, element by element or through a cell."""

from mixers.recurrent.mamba1 import Mamba1
from mixers.recurrent.min_gru import MinGRU
from mixers.recurrent.min_lstm import MinLSTM
from mixers.recurrent.rg_lru import RGLRU
from zoo import TokenMixer

MIXERS: dict[str, type[TokenMixer]] = {
    "mamba1": Mamba1,
    "min-gru": MinGRU,
    "min-lstm": MinLSTM,
    "rg-lru": RGLRU,
}
"""By name."""
