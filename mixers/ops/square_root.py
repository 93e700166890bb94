"""A square root whose gradient is finite at zero."""

import torch
from torch import Tensor


def bounded_sqrt(x: Tensor, slope: float = 1000.0) -> Tensor:
    """The square root of `x`, zero or more, with a derivative of `slope` where it would be larger.

    Source: De et al. 2024, arXiv:2402.19427, in their code.
    """
    steepest = 1 / (4 * slope**2)
    # Of where(…), the branch that is not taken must be finite too: zero times its slope is added to the gradient.
    line = slope * (x - x.detach()) + x.detach().sqrt()
    return torch.where(x < steepest, line, x.clamp_min(steepest).sqrt())
