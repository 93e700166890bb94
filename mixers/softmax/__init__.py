"""Mixers that weigh earlier tokens by a softmax of scores, or by what stands in its place."""

from mixers.softmax.differential import Differential
from mixers.softmax.forgetting import Forgetting
from mixers.softmax.mla import MLA
from mixers.softmax.moba import MoBA
from mixers.softmax.multi_token import MultiToken
from mixers.softmax.nsa import NativeSparse
from mixers.softmax.path import PaTH
from mixers.softmax.stick_breaking import StickBreaking
from zoo import TokenMixer

MIXERS: dict[str, type[TokenMixer]] = {
    "differential": Differential,
    "forgetting": Forgetting,
    "mla": MLA,
    "moba": MoBA,
    "multi-token": MultiToken,
    "nsa": NativeSparse,
    "path": PaTH,
    "stick-breaking": StickBreaking,
}
"""By name."""
