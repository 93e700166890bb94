"""Where the step sizes of a state space start."""

from math import log

import torch
from torch import Tensor

SMALLEST_STEP, LARGEST_STEP, LEAST_STEP = 1e-3, 1e-1, 1e-4
"""Step sizes at the start are drawn log-uniformly between the first two, and are the third at least."""


@torch.no_grad()
def draw_step_bias(bias: Tensor) -> None:
    """Draw what softplus turns into step sizes from 0.001 to 0.1, log-uniformly, in place.

    Source: Gu & Dao 2023, arXiv:2312.00752.
    """
    step = torch.empty_like(bias).uniform_(log(SMALLEST_STEP), log(LARGEST_STEP)).exp().clamp_min(LEAST_STEP)
    # the inverse of softplus
    bias.copy_(step + (-(-step).expm1()).log())
