"""Mixers whose memory is fitted to the sequence while it is read, or kept at several ages."""

from mixers.test_time.log_linear import LogLinear
from mixers.test_time.mesa import Mesa
from mixers.test_time.titans import Titans
from mixers.test_time.ttt_linear import TTTLinear
from zoo import TokenMixer

MIXERS: dict[str, type[TokenMixer]] = {
    "log-linear": LogLinear,
    "mesa": Mesa,
    "titans": Titans,
    "ttt-linear": TTTLinear,
}
"""By name."""
