"""Mixers whose state goes from token to token, element by element or through a cell."""

from mixers.recurrent.mamba1 import Mamba1
from mixers.recurrent.min_gru import MinGRU
from mixers.recurrent.min_lstm import MinLSTM
from mixers.recurrent.rg_lru import RGLRU
from mixers.recurrent.s4d import S4D
from mixers.recurrent.s5 import S5
from mixers.recurrent.slstm import SLSTM
from zoo import TokenMixer

MIXERS: dict[str, type[TokenMixer]] = {
    "mamba1": Mamba1,
    "min-gru": MinGRU,
    "min-lstm": MinLSTM,
    "rg-lru": RGLRU,
    "s4d": S4D,
    "s5": S5,
    "slstm": SLSTM,
}
"""By name."""
