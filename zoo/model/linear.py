"""Linear layers that read their weights at the speed of memory where a model writes a token at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEW = 4
"""Up to so many rows the time of a product is that of reading the weights."""

LARGE = 100_000
"""Matrices of so many weights make a model that no core's own cache holds: they are read anew for each token."""


class Linear(nn.Linear):
    """`nn.Linear`, whose forward pass is `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias``, as `F.linear` gives it but for rounding.

    Of a single row in float32 the kernel behind `F.linear` reads the weights with one thread, and not at the speed of
    memory; of two to four rows it is slower still. The same product from the left, of the weights in two blocks or in
    one, takes half of the time or less. In bfloat16 weights that are `packed` are read as they are; otherwise they are
    laid out anew at each call. Where a gradient is wanted and for more rows it is `F.linear`. Weights in bfloat16 take
    inputs in float32 too, which are rounded for the product alone.

    Args:
        x: ``(..., n)``.
        weight: ``(m, n)``.
        bias: ``(m,)``.
    """
    if weight.dtype == torch.bfloat16 and x.dtype == torch.float32 and not torch.is_autocast_enabled(x.device.type):
        product = linear(x.to(weight.dtype), weight).to(x.dtype)
        return product if bias is None else product + bias
    if weight.numel() < LARGE or torch.is_grad_enabled() or not _is_plain(x):
        return F.linear(x, weight, bias)
    if x.dtype == torch.bfloat16 and (laid_out := getattr(weight, "laid_out", None)) is not None:
        return cast(Tensor, torch.ops.mkldnn._linear_pointwise(x, laid_out, bias, "none", [], ""))
    if not _fits(x, weight):
        return F.linear(x, weight, bias)
    m, n = weight.shape
    if x.numel() == n:
        # transposed, as a row: the strides say which kernel it is
        product = torch.bmm(weight.view(2, m // 2, n), x.view(1, n).T.expand(2, n, 1)).view(*x.shape[:-1], m)
    else:
        product = (weight @ x.reshape(-1, n).T).T.reshape(*x.shape[:-1], m)
    return product if bias is None else product + bias


def use_quick_linears(model: nn.Module) -> None:
    """Let the large linear layers of a model be read quickly; their parameters, names and results are as before.

    A subclass of `nn.Linear` has a forward pass of its own and keeps it.
    """
    for module in model.modules():
        if type(module) is nn.Linear and module.weight.numel() >= LARGE:
            module.__class__ = Linear


@contextmanager
def packed(model: nn.Module) -> Iterator[None]:
    """Keep the large weights of a model in bfloat16 also as the kernels of a CPU want them, see `pack`, for a while."""
    weights = pack(model)
    try:
        yield
    finally:
        for weight in weights:
            weight.__dict__.pop("laid_out", None)


@torch.no_grad()
def pack(model: nn.Module) -> list[nn.Parameter]:
    """Lay the large weights of a model in bfloat16 out as the kernels of a CPU want them: a second copy of them.

    What comes out is the same to the bit, two to four times as fast for a few rows. The weights must not change after.

    Returns:
        Those that were not laid out before.
    """
    weights = [weight for weight in model.parameters() if _can_be_packed(weight) and not hasattr(weight, "laid_out")]
    for weight in weights:
        weight.laid_out = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), 1)  # type: ignore[attr-defined]
    return weights


def _can_be_packed(weight: Tensor) -> bool:
    large = weight.ndim == 2 and weight.numel() >= LARGE and weight.is_contiguous()
    here = weight.dtype == torch.bfloat16 and weight.device.type == "cpu"
    return large and here and torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _is_plain(x: Tensor) -> bool:
    """Whether these are numbers of a CPU that are not cast on the way, and no graph is drawn of them."""
    plain = x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    return plain and not torch.compiler.is_compiling()


def _fits(x: Tensor, weight: Tensor) -> bool:
    """Whether these are a few rows in float32, laid out for the products here."""
    return (
        x.dtype == weight.dtype == torch.float32
        and 0 < x.numel() <= FEW * x.shape[-1]
        and weight.shape[0] % 2 == 0
        and x.is_contiguous()
        and weight.is_contiguous()
    )
