"""A mixture's plumbing: which expert takes which token, and one matrix an expert for the rows that it took."""

from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula


class Dispatch(NamedTuple):
    """All (token, slot) pairs as rows, sorted by expert, within an expert by sequence, within that by time.

    Args:
        order: which pair each row is, counted with the slots of a token side by side, ``(m,)`` with m = b * t * r.
        place: the row of each pair, the inverse of `order`.
        expert: the expert of each row, ``(m,)``.
        counts: rows of each expert in each sequence, ``(e, b)``.
        slots: experts of a token, r.
    """

    order: Tensor
    place: Tensor
    expert: Tensor
    counts: Tensor
    slots: int

    @property
    def token(self) -> Tensor:
        """The token of each row, counted through all sequences, ``(m,)``."""
        return self.order // self.slots


def route(logits: Tensor, slots: int, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Choose each token's experts by logit and bias, and weigh them by logit alone.

    Args:
        logits: what the router read from each token, ``(b, t, e)``.
        slots: how many experts a token gets.
        bias: added to the logits for the choice only, ``(e,)``.

    Returns:
        The experts, best first, and their gates, which sum to 1 for each token: both ``(b, t, r)``.
    """
    wanted = logits if bias is None else logits + bias
    expert = wanted.topk(slots, dim=-1).indices
    return expert, logits.gather(-1, expert).softmax(dim=-1)


def dispatch(expert: Tensor, experts: int) -> Dispatch:
    """Sort the rows of all experts, each of which may take any number: none is dropped, none is padded.

    Args:
        expert: the experts of each token, ``(b, t, r)``.
        experts: how many there are.
    """
    b = expert.shape[0]
    cell = (expert * b + torch.arange(b, device=expert.device)[:, None, None]).flatten()
    order = cell.argsort(stable=True)
    place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    counts = cell.new_zeros(experts * b).scatter_add_(0, cell, torch.ones_like(cell))
    return Dispatch(order, place, expert.flatten()[order], counts.view(experts, b), expert.shape[-1])


def count_choices(expert: Tensor, experts: int) -> Tensor:
    """How often each expert was chosen: ``(b, t, r)`` to ``(e,)``, int64."""
    return (expert[..., None] == torch.arange(experts, device=expert.device)).sum(dim=(0, 1, 2))


def grouped_linear(rows: Tensor, weight: Tensor, counts: Tensor) -> Tensor:
    """Send each expert's rows through its own matrix.

    One grouped matrix product where the torch at hand has one for these dtypes and widths, a loop over the experts
    elsewhere.

    Args:
        rows: the rows of all experts, expert after expert, ``(m, i)``.
        weight: a matrix for each expert, ``(e, o, i)``.
        counts: how many rows each expert has, ``(e,)``.

    Returns:
        The products, ``(m, o)``.
    """
    if torch.is_autocast_enabled(rows.device.type):
        dtype = torch.get_autocast_dtype(rows.device.type)
        rows, weight = rows.to(dtype), weight.to(dtype)
    if _grouped_product_takes(rows) and _grouped_product_takes(weight) and weight.shape[1] % 8 == 0:
        return F.grouped_mm(rows, weight.transpose(1, 2), offs=counts.cumsum(0).to(torch.int32))
    products: Tensor = multiply_groups(rows, weight, counts)
    return products


def grouped_linear_reference(rows: Tensor, weight: Tensor, counts: Tensor) -> Tensor:
    """`grouped_linear`, one expert at a time."""
    pieces = rows.split(counts.tolist())
    return torch.cat([piece @ matrix.T for piece, matrix in zip(pieces, weight.unbind(), strict=True)])


# What these two do depends on the routing, which torch.compile cannot look into: to it they are single operators.
@torch.library.custom_op("mixer_zoo::multiply_groups", mutates_args=())
def multiply_groups(rows: Tensor, weight: Tensor, counts: Tensor) -> Tensor:
    """`grouped_linear` where nothing grouped runs: expert after expert, each writing where its rows lie."""
    products = rows.new_empty(len(rows), weight.shape[1])
    for matrix, own in zip(weight, _slices(counts), strict=True):
        torch.mm(rows[own], matrix.T, out=products[own])
    return products


@torch.library.custom_op("mixer_zoo::multiply_groups_backward", mutates_args=())
def multiply_groups_backward(gradient: Tensor, rows: Tensor, weight: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of rows and weight."""
    to_rows, to_weight = torch.empty_like(rows), torch.empty_like(weight)
    for matrix, to_matrix, own in zip(weight, to_weight, _slices(counts), strict=True):
        torch.mm(gradient[own], matrix, out=to_rows[own])
        torch.mm(gradient[own].T, rows[own], out=to_matrix)
    return to_rows, to_weight


def _slices(counts: Tensor) -> list[slice]:
    """Where the rows of each expert lie."""
    stops = counts.cumsum(0).tolist()
    return [slice(start, stop) for start, stop in pairwise([0, *stops])]


@multiply_groups.register_fake
def _(rows: Tensor, weight: Tensor, _counts: Tensor) -> Tensor:
    return rows.new_empty(len(rows), weight.shape[1])


@multiply_groups_backward.register_fake
def _(_gradient: Tensor, rows: Tensor, weight: Tensor, _counts: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(rows), torch.empty_like(weight)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG001 - torch names it
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    return (*multiply_groups_backward(gradient, *ctx.saved_tensors), None)


multiply_groups.register_autograd(_differentiate, setup_context=_keep)


@register_flop_formula(torch.ops.mixer_zoo.multiply_groups)
def _count(rows: torch.Size, weight: torch.Size, *_: Any, **__: Any) -> int:
    return 2 * rows.numel() * weight[1]


@register_flop_formula(torch.ops.mixer_zoo.multiply_groups_backward)
def _count_backward(_gradient: torch.Size, rows: torch.Size, weight: torch.Size, *_: Any, **__: Any) -> int:
    return 4 * rows.numel() * weight[1]


def balance_loss(logits: Tensor, load: Tensor) -> Tensor:
    """The load-balancing loss of Switch (arXiv:2101.03961): 1 where load or probabilities are even, at most e.

        L = e * sum_e load_e * mean_t softmax(logits_t)_e

    Args:
        logits: ``(b, t, e)``.
        load: each expert's share of all choices, ``(e,)``.
    """
    share = logits.softmax(dim=-1).mean(dim=(0, 1))
    return len(load) * (load * share).sum()


def z_loss(logits: Tensor) -> Tensor:
    """The mean square of the log partition, which keeps logits small (ST-MoE, arXiv:2202.08906)."""
    return logits.logsumexp(dim=-1).square().mean()


def entropy(logits: Tensor) -> Tensor:
    """The mean entropy of the router's choice for a token, in nats: log e when it prefers none, 0 when it is sure."""
    return torch.special.entr(logits.softmax(dim=-1)).sum(dim=-1).mean()


def _grouped_product_takes(operand: Tensor) -> bool:
    """Its rows must begin at multiples of 16 bytes, in one of three dtypes; on a CPU it is no faster than the loop."""
    dtypes = (torch.float32, torch.bfloat16, torch.float16)
    fits = operand.dtype in dtypes and operand.shape[-1] % 8 == 0
    return operand.device.type == "cuda" and hasattr(F, "grouped_mm") and fits
