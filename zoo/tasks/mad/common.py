"""What the six tasks of MAD have in common: their source, and the model that they are defined for."""

from collections.abc import Mapping
from typing import Any

SUITE = "MAD"

PAPER = "Poli et al. 2024, arXiv:2403.17844"

SETTINGS: Mapping[str, Any] = {"dim": 128, "layers": 2, "heads": 16, "channel_mixer": "swiglu", "batch": 128}
"""Two pairs of a mixer and a SwiGLU at width 128; its multi-head mixers have 16 heads."""

EXAMPLES = 12_800
"""Sequences that are trained on, in the base setting of all tasks but memorization."""
