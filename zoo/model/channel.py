"""Channel mixers: what happens to each token by itself, between the token mixers."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.plugin.options import check_options, did_you_mean


class SwiGLU(nn.Module):
    """Gated channel mixer, ``W_o (silu(W_g x) * W_v x)`` (Shazeer 2020, arXiv:2002.05202).

    Options:
        expansion: hidden width over model width; the default has as many parameters as an `MLP` of expansion 4.
        hidden: the hidden width itself, taken exactly; None for that of the expansion, a multiple of 16.
    """

    def __init__(self, dim: int, expansion: float = 8 / 3, hidden: int | None = None) -> None:
        super().__init__()
        width = _hidden(dim, expansion, hidden)
        self.project_in = nn.Linear(dim, 2 * width, bias=False)
        self.project_out = nn.Linear(width, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(b, t, d) to (b, t, d), each token by itself."""
        gate, value = self.project_in(x).chunk(2, dim=-1)
        return self.project_out(F.silu(gate) * value)


class MLP(nn.Module):
    """Two-layer perceptron with GELU, ``W_o gelu(W_i x)``.

    Options:
        expansion: hidden width over model width.
        hidden: the hidden width itself, taken exactly; None for that of the expansion, a multiple of 16.
    """

    def __init__(self, dim: int, expansion: float = 4.0, hidden: int | None = None) -> None:
        super().__init__()
        width = _hidden(dim, expansion, hidden)
        self.project_in = nn.Linear(dim, width, bias=False)
        self.project_out = nn.Linear(width, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(b, t, d) to (b, t, d), each token by itself."""
        return self.project_out(F.gelu(self.project_in(x), approximate="tanh"))


CHANNEL_MIXERS: Mapping[str, type[nn.Module] | None] = {"swiglu": SwiGLU, "mlp": MLP, "none": None}
"""By name; ``none`` leaves the stream as it is."""


def create_channel_mixer(name: str, options: Mapping[str, Any], dim: int) -> nn.Module | None:
    """The channel mixer of that name, or None for ``none``.

    Raises:
        UsageError: an unknown name or option.
    """
    cls, checked = check_channel_mixer(name, options)
    return None if cls is None else cls(dim, **checked)


def check_channel_mixer(name: str, options: Mapping[str, Any]) -> tuple[type[nn.Module] | None, dict[str, Any]]:
    """The class of that name, None for ``none``, and the options, without building it.

    Raises:
        UsageError: an unknown name or option, or a value of the wrong type.
    """
    if name not in CHANNEL_MIXERS:
        raise UsageError(
            f"no channel mixer is named {name!r}{did_you_mean(name, CHANNEL_MIXERS)}; "
            f"there are: {', '.join(CHANNEL_MIXERS)}"
        )
    cls = CHANNEL_MIXERS[name]
    if cls is None:
        if options:
            raise UsageError("the channel mixer 'none' has no options")
        return None, {}
    return cls, check_options(cls, options, name)


def _hidden(dim: int, expansion: float, hidden: int | None) -> int:
    """The hidden width: as given, or that of the expansion, rounded up to a multiple of 16, which matrix units like."""
    if not expansion > 0:
        raise UsageError(f"expansion={expansion} should be greater than 0")
    if hidden is not None:
        if hidden < 1:
            raise UsageError(f"hidden={hidden} should be 1 or more")
        return hidden
    return -(-max(1, round(dim * expansion)) // 16) * 16
