"""What a residual scheme is: how the parts of a model share their stream."""

from torch import nn


class Residual(nn.Module):
    """How the parts of a model share their stream."""
