"""Linear attention and its relatives: a memory a head that decays and is written to, and is never erased."""

from mixers.linear.based import Based
from mixers.linear.gla import GLA
from mixers.linear.hgrn2 import HGRN2
from mixers.linear.lightning import Lightning
from mixers.linear.linear_attention import LinearAttention
from mixers.linear.retention import Retention
from zoo import TokenMixer

MIXERS: dict[str, type[TokenMixer]] = {
    "based": Based,
    "gla": GLA,
    "hgrn2": HGRN2,
    "lightning": Lightning,
    "linear-attention": LinearAttention,
    "retention": Retention,
}
"""By name."""
