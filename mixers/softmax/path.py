"""PaTH attention: positions are products of reflections that the tokens themselves decide."""

from typing import ClassVar, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixers.layers.cached_attention import SHOWN_TOKENS, CachedAttention, attention_panel
from mixers.ops.attention import head_size, merge_heads, split_heads
from mixers.ops.path_attention import PathState, path_attend
from zoo import Panel

_Parts: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]


class PaTH(CachedAttention):
    """Softmax attention in which every token between a key and a query reflects the key along a direction of its own.

        y_t = sum_s softmax_s( q_t^T H_t ... H_{s+1} k_s * k**-0.5 + sum_{s < r <= t} g_r ) v_s     over  s <= t
        H_r = I - beta_r w_r w_r^T       beta_r = 2 sigmoid(W_b x_r + b)       w_r = l2norm(silu(conv(W_2 W_1 x_r)))

    q, k, v: linear in the reads x, cut into heads; k: channels a head. The reflections take the place of positions:
    they see the order of tokens, and can count and track states. conv: depthwise and causal over a few tokens. g: a log
    forget gate a query head, as in forgetting, only with forget=True.

    Options:
        heads: query heads; they divide dim.
        kv_heads: heads of keys, values and directions, each shared by heads / kv_heads query heads; None for as many
            as heads.
        rank: the directions are read through so many channels.
        kernel_size: tokens that the convolution of the directions sees.
        forget: fade the scores by forget gates, too (PaTH-FoX).

    Cost: that of dot-product, and as much again for the keys, which are reflected from block to block of 64 queries.
    State: keys, reflected up to now, and values of all tokens so far, ``2 * t * kv_heads * k`` numbers, and the last
    inputs of the convolution. A step reflects all keys.

    Raises:
        ValueError: heads that do not divide dim, kv_heads that do not divide heads, a rank or kernel_size below 1.

    Source: Yang et al. 2025, arXiv:2505.16381.
    """

    paper: ClassVar[str] = "Yang et al. 2025, arXiv:2505.16381"

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        kv_heads: int | None = None,
        rank: int = 32,
        kernel_size: int = 3,
        forget: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.rank = heads, heads if kv_heads is None else kv_heads, rank
        self.size = head_size(dim, heads, self.kv_heads, rope=False)
        for name, value in {"rank": rank, "kernel_size": kernel_size}.items():
            if value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}")
        gates = self.kv_heads + (heads if forget else 0)
        self.project_in = nn.Linear(dim, (heads + 2 * self.kv_heads) * self.size + rank + gates, bias=False)
        self.direction = nn.Linear(rank, self.kv_heads * self.size, bias=False)
        channels = self.kv_heads * self.size
        self.convolution = nn.Conv1d(channels, channels, kernel_size, groups=channels, bias=False)
        self.gate_bias = nn.Parameter(torch.empty(gates))
        self.project_out = nn.Linear(dim, dim, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start the bias of the gates at zero."""
        nn.init.zeros_(self.gate_bias)

    def panels(self, x: Tensor) -> list[Panel]:
        """The attention of the first heads in the first sequence, and how far each head reflects."""
        read = x[:1, :SHOWN_TOKENS]
        (query, key, _, direction), gates, _ = self._split(self.project_in(read), {})
        strength, decay = self._gates(gates)
        # The weights are what is written where the values are unit vectors.
        values = torch.eye(read.shape[1], device=x.device, dtype=x.dtype).expand(1, self.kv_heads, -1, -1)
        weights, _ = path_attend(query, key, values, direction, strength, scale=self.size**-0.5, log_decay=decay)
        axes, reading = (
            ("head", "token"),
            "0 leaves a key as it is, 1 erases it along the direction, 2 is a reflection.",
        )
        return [attention_panel(weights[0]), Panel("strength of the reflections", reading, strength[0], "beta", axes)]

    def _split(self, projected: Tensor, past: dict[str, Tensor]) -> tuple[_Parts, Tensor, Tensor]:
        """Queries, keys, values and directions, all ``(b, h, t, k)``; gates ``(b, h, t)``; the convolution's inputs."""
        query, key, value, rest = split_heads(projected, self.heads, self.kv_heads, self.size)
        low, gates = rest.split([self.rank, rest.shape[-1] - self.rank], dim=-1)
        inputs = self.direction(low).mT
        lags = self.convolution.weight.shape[-1] - 1
        recent = past["recent"].to(inputs.dtype) if past else inputs.new_zeros(*inputs.shape[:2], lags)
        inputs = torch.cat([recent, inputs], dim=-1)
        raw = F.silu(self.convolution(inputs)).unflatten(1, (self.kv_heads, self.size)).mT
        wide = raw.to(torch.promote_types(raw.dtype, torch.float32))
        # The constant gives tokens whose direction is zero, such as padding, a finite gradient.
        direction = wide * (wide.square().sum(-1, keepdim=True) + 1e-6).rsqrt()
        return (query, key, value, direction), gates.mT, inputs[..., inputs.shape[-1] - lags :]

    def _gates(self, gates: Tensor) -> tuple[Tensor, Tensor | None]:
        """The strengths of the reflections, and the log forget gates."""
        wide = gates.to(torch.promote_types(gates.dtype, torch.float32)) + self.gate_bias[:, None]
        strength, forget = wide.split([self.kv_heads, wide.shape[1] - self.kv_heads], dim=1)
        return 2 * strength.sigmoid(), F.logsigmoid(forget) if forget.shape[1] else None

    def _attend(self, projected: Tensor, past: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        parts, gates, recent = self._split(projected, past)
        strength, decay = self._gates(gates)
        state = PathState(past["key"], past["value"], past.get("log_decay")) if past else None
        query, key, value, direction = parts
        mixed, after = path_attend(
            query, key, value, direction, strength, scale=self.size**-0.5, log_decay=decay, state=state
        )
        following = {"key": after.key, "value": after.value, "recent": recent}
        return merge_heads(mixed), following if after.log_decay is None else {**following, "log_decay": after.log_decay}
