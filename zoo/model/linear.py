"""Linear layers that read their weights at the speed of memory where a model writes a token at a time."""

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
    one, takes half of the time or less. Where a gradient is wanted, in half precision and for more rows it is
    `F.linear`.

    Args:
        x: ``(..., n)``.
        weight: ``(m, n)``.
        bias: ``(m,)``.
    """
    if weight.numel() < LARGE or torch.is_grad_enabled() or not _fits(x, weight):
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


def _fits(x: Tensor, weight: Tensor) -> bool:
    """Whether these are numbers in float32 of a CPU, laid out for it, and no graph is drawn of them."""
    return (
        x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and 0 < x.numel() <= FEW * x.shape[-1]
        and weight.shape[0] % 2 == 0
        and x.is_contiguous()
        and weight.is_contiguous()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )
