"""Mixers that do as little as possible: what others gain over them is what mixing by content gains."""

from mixers.baselines.causal_mlp import CausalMLP
from mixers.baselines.identity import Identity
from mixers.baselines.pooling import Pooling
from mixers.baselines.synthesizer import Synthesizer
from zoo import TokenMixer

MIXERS: dict[str, type[TokenMixer]] = {
    "causal-mlp": CausalMLP,
    "identity": Identity,
    "pooling": Pooling,
    "synthesizer": Synthesizer,
}
"""By name."""
