"""Lightning attention: linear attention whose fixed decays depend on head and layer, as in MiniMax-01."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from mixers.layers.linear_memory import Heads, LinearMemory, memory_sizes
from mixers.layers.normed_heads import NormedHeads


class Lightning(LinearMemory):
    """A memory that fades at a fixed pace, the slower the later the head and the deeper the layer.

        q_t, k_t, v_t = silu(W_in x_t)        S_t = exp(-slope) S_{t-1} + k_t v_t^T        y_t = S_t^T q_t
        slope = 2**(-8 (h + 1) / H) * (1 - layer / (layers - 1 + 1e-5) + 1e-5)
        write_t = W_out [ rmsnorm(y_t) * gain * sigmoid(W_gate x_t) ]

    h: the head, of H, from 0; layer: from 0, of `layers`. The norm is one of all heads together. There are no
    positions and no scale: the fading tells where a token stood, and in the last layer next to nothing.

    Options:
        heads: heads; they divide dim.
        layer_index: the layer, from 0, which decides the pace.
        layers: how many layers there are.

    Cost: time ``t * d**2 / heads`` beside the projections, linear in t. State: ``d**2 / heads`` numbers.

    Raises:
        ValueError: heads that do not divide dim, a layer_index that is none of the layers.

    Source: Qin et al. 2024, arXiv:2401.04658; MiniMax 2025, arXiv:2501.08313.
    """

    paper: ClassVar[str] = "MiniMax 2025, arXiv:2501.08313"

    def __init__(self, dim: int, *, heads: int = 4, layer_index: int = 0, layers: int = 1) -> None:
        super().__init__()
        if not 0 <= layer_index < layers:
            raise ValueError(f"layer_index={layer_index} is none of layers={layers}: it counts them from 0")
        memory_sizes(dim, heads, None, 1, None)
        self.heads = heads
        self.depth = 1 - layer_index / (layers - 1 + 1e-5) + 1e-5
        self.project_in = nn.Linear(dim, 3 * dim, bias=False)
        # One head that is as wide as the model: the norm is one of all heads together.
        self.heads_out = NormedHeads(dim, 1, dim, nn.Linear(dim, dim, bias=False), torch.sigmoid)

    def _heads(self, x: Tensor) -> Heads:
        # Each head has its query, key and value side by side.
        query, key, value = silu(self.project_in(x)).unflatten(-1, (self.heads, -1)).chunk(3, dim=-1)
        return Heads(query, key, value, self._log_decay(x))

    def _log_decay(self, x: Tensor) -> Tensor:
        head = torch.arange(1, self.heads + 1, device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
        return -self.depth * torch.exp2(-8 * head / self.heads)

    def _write(self, read: Tensor, x: Tensor) -> Tensor:
        return self.heads_out(read.flatten(2), x)
