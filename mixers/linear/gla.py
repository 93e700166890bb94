"""Gated linear attention: a memory whose channels are forgotten as each token decides."""

from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from mixers.layers.linear_memory import Heads, LinearMemory, memory_sizes, split_memory_heads
from mixers.layers.normed_heads import NormedHeads
from mixers.ops.activations import at_least_float32


class GLA(LinearMemory):
    """Linear attention in which each token decides, for each channel of the keys, how much of the past is forgotten.

        S_t = Diag(exp(g_t)) S_{t-1} + k_t v_t^T        y_t = S_t^T q_t * k**-0.5
        g_t = max( log sigmoid(W_2 W_1 x_t + b) / normalizer, floor )
        write_t = W_out [ rmsnorm_head(y_t) * gain * silu(W_gate x_t) ]

    q, k, v: linear in the reads, cut into heads; k: channels of a head's keys; W_1 projects to `rank` channels. With
    gate="head" g is one number a head, linear in the read without W_1: simple GLA, the state of Mamba-2.

    Options:
        heads: heads; they divide dim.
        key_size: channels of a head's queries and keys; None for dim / (2 heads).
        value_size: channels of a head's values, 2 or more; None for dim / heads.
        gate: one decay a "channel" of the keys, or one a "head".
        rank: channels between the reads and the gates of channels.
        normalizer: the logarithm of the gates is divided by it, so that memories are long from the start.
        floor: the least log decay of a token, below 0; None for no limit. With -5 or more the decays of channels cost
            half as much, and with a normalizer of 16 none is ever that low.

    Cost: time ``t * h * k * v`` beside the projections, linear in t. State: ``h * k * v`` numbers.

    Raises:
        ValueError: heads that do not divide dim, a rank or key_size below 1, a value_size below 4, a normalizer that is
            not positive, a floor that is not below 0.

    Source: Yang et al. 2023, arXiv:2312.06635; the floor is that of Kimi Team 2025, arXiv:2510.26692.
    """

    paper: ClassVar[str] = "Yang et al. 2023, arXiv:2312.06635"

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        key_size: int | None = None,
        value_size: int | None = None,
        gate: Literal["channel", "head"] = "channel",
        rank: int = 16,
        normalizer: float = 16.0,
        floor: float | None = -5.0,
    ) -> None:
        super().__init__()
        default = max(1, dim // (2 * max(heads, 1)))
        self.key_size, self.value_size = memory_sizes(dim, heads, key_size, default, value_size)
        _check_gates(rank, normalizer, floor)
        self.heads, self.normalizer, self.floor = heads, normalizer, floor
        keys, values = heads * self.key_size, heads * self.value_size
        self.project_in = nn.Linear(dim, 2 * keys + values, bias=False)
        self.project_gate: nn.Module = nn.Linear(dim, heads)
        if gate == "channel":
            self.project_gate = nn.Sequential(nn.Linear(dim, rank, bias=False), nn.Linear(rank, keys))
        self.by_channel = gate == "channel"
        self.heads_out = NormedHeads(dim, heads, self.value_size, nn.Linear(dim, values, bias=False))

    def _heads(self, x: Tensor) -> Heads:
        query, key, value = split_memory_heads(self.project_in(x), self.heads, self.key_size, self.value_size)
        return Heads(query * self.key_size**-0.5, key, value, self._log_decay(x))

    def _log_decay(self, x: Tensor) -> Tensor:
        """``(b, t, h, k)``, or one a head, ``(b, t, h)``."""
        log_decay = logsigmoid(at_least_float32(self.project_gate(x))) / self.normalizer
        if self.floor is not None:
            log_decay = log_decay.clamp_min(self.floor)
        return log_decay.unflatten(-1, (self.heads, -1)) if self.by_channel else log_decay

    def _write(self, read: Tensor, x: Tensor) -> Tensor:
        return self.heads_out(read, x)


def _check_gates(rank: int, normalizer: float, floor: float | None) -> None:
    if rank < 1:
        raise ValueError(f"rank must be 1 or more, not {rank}")
    if normalizer <= 0:
        raise ValueError(f"normalizer must be more than 0, not {normalizer}")
    if floor is not None and floor >= 0:
        raise ValueError(f"floor must be below 0, not {floor}: it is the least log decay; None sets no limit")
