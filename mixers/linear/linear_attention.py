"""Linear attention: attention whose weights are products of features, so that the past is one matrix a head."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mixers.layers.feature_maps import Feature, feature_map, feature_size
from mixers.layers.linear_memory import (
    Heads,
    LinearMemory,
    memory_sizes,
    split_memory_heads,
    turned,
    turned_back,
)
from mixers.layers.normed_heads import NormedHeads
from mixers.ops.decay import decay
from mixers.ops.features import normalized, widened

EPSILON = 1e-6
"""Added to the denominator, which can be 0 with relu and rebased."""

KERNELS = ("taylor", "rebased")
"""Features of several channels, whose products are a function of <q, k>."""


class LinearAttention(LinearMemory):
    """A sum of the outer products of keys and values, read by the queries: attention without a softmax.

        S_t = S_{t-1} + phi(k_t) v_t^T        z_t = z_{t-1} + phi(k_t)
        y_t = S_t^T phi(q_t) / (<z_t, phi(q_t)> + 1e-6)            write_t = W_out y_t
        y_t = rmsnorm(S_t^T phi(q_t)) * gain                       with normalize=False

    q, k, v: linear in the reads, cut into heads; phi: the feature map, one of queries and one of keys where it has
    parameters; S: ``(f, v)`` a head for f features. Nothing is ever forgotten. In S, though not in z, the features turn
    with their positions, so that distances weigh; without that, nothing but the causal order tells where a token stood.

    Options:
        heads: heads; they divide dim.
        feature: "elu" is elu + 1; "relu"; "identity"; "hedgehog" the softmax of a learned map and of its negative;
            "taylor" the second-order series of the exponential, as in Based; "rebased" the square of a product of
            normalised channels.
        normalize: divide by the sum of the weights; without, each head is normalised by its RMS, as it has to be with
            identity, whose weights may be negative.
        rope: rotary positions of the features in the sum S; None with normalize for those of single channels: elu, relu
            and hedgehog. The others are made for kernels of <q, k>, which turning them would bend.
        key_size: channels k of a head's queries and keys; None for dim / heads, of which taylor and rebased take 16.

    Cost: time ``t * h * f * v`` beside the projections, linear in t; f is k, and for hedgehog 2 k, taylor
    ``1 + k + k (k + 1) / 2``, rebased ``k (k + 1) / 2``. State: ``h * f * (v + 1)`` numbers, one column of which is z.

    Raises:
        ValueError: heads that do not divide dim, a key_size below 1, normalize with the feature identity, rope without
            normalize.

    Source: Katharopoulos et al. 2020, arXiv:2006.16236. Hedgehog: arXiv:2402.04347. Taylor: arXiv:2402.18668. Rebased:
    arXiv:2402.10644. RMS norm in place of the quotient: Qin et al. 2022, arXiv:2210.10340. Rotation of the sum alone,
    which leaves the quotient safe: Su et al. 2021, arXiv:2104.09864, equation 19.
    """

    paper: ClassVar[str] = "Katharopoulos et al. 2020, arXiv:2006.16236"

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        feature: Feature = "elu",
        normalize: bool = True,
        rope: bool | None = None,
        key_size: int | None = None,
    ) -> None:
        super().__init__()
        if normalize and feature == "identity":
            raise ValueError(
                "normalize=true needs weights that are not negative, and feature='identity' gives any: choose "
                "normalize=false, or another feature"
            )
        if rope and not normalize:
            raise ValueError(
                "rope=true needs normalize=true: a norm enlarges the rounding of turned features that cancel"
            )
        default = feature_size(feature, dim // max(heads, 1))
        self.key_size, self.value_size = memory_sizes(dim, heads, key_size, default, None)
        self.heads, self.normalize = heads, normalize
        self.rope = normalize and feature not in KERNELS if rope is None else rope
        self.project_in = nn.Linear(dim, heads * (2 * self.key_size + self.value_size), bias=False)
        self.query_features = feature_map(feature, heads, self.key_size)
        self.key_features = feature_map(feature, heads, self.key_size)
        self.project_out = nn.Linear(dim, dim, bias=False) if normalize else None
        self.heads_out = None if normalize else NormedHeads(dim, heads, self.value_size)

    def _heads(self, x: Tensor) -> Heads:
        query, key, value = split_memory_heads(self.project_in(x), self.heads, self.key_size, self.value_size)
        return Heads(self.query_features(query), self.key_features(key), value)

    def _remember(self, heads: Heads, state: Tensor | None, documents: Tensor | None) -> tuple[Tensor, Tensor]:
        if not self.normalize:
            return super()._remember(heads, state, documents)
        query, key, value, _ = heads
        if not self.rope:
            return normalized(query, key, value, state, epsilon=EPSILON, documents=documents)
        sums, weights = (None, None) if state is None else state.split([value.shape[-1], 1], dim=-1)
        read, sums = decay(turned(query), turned(key), widened(value), None, sums, documents=documents)
        total, weights = decay(query, key, torch.ones_like(read[..., :1]), None, weights, documents=documents)
        state = torch.cat([turned_back(sums, query.shape[1]), weights], dim=-1)
        return (read / (total + EPSILON)).to(value.dtype), state

    def _write(self, read: Tensor, x: Tensor) -> Tensor:
        if self.project_out is not None:
            return self.project_out(read.flatten(2))
        assert self.heads_out is not None
        return self.heads_out(read, x)
