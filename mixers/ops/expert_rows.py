"""Attention of the rows that experts took, on a CPU: one operator, in the form that suits how many they are."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from mixers.ops.attention import BFLOAT16_UNITS
from mixers.ops.expert_cells import attend_cells, attend_cells_backward
from mixers.ops.expert_grid import attend_grid, attend_grid_backward

FEW = 48
"""Rows of an expert in a sequence, on average, up to which the grid is faster in float32 too."""

FILLED = 3
"""A grid of more places than so many times the rows is no longer worth it: the experts are too unequal."""


# What these two do depends on the routing, which torch.compile cannot look into: to it they are single operators.
@torch.library.custom_op("mixer_zoo::attend_rows", mutates_args=())
def attend_rows(  # noqa: PLR0917 - operators take their tensors by place
    query: Tensor, key: Tensor, value: Tensor, weights: Tensor, position: Tensor, counts: Tensor, rope: bool
) -> tuple[Tensor, Tensor]:
    """Let each expert's queries attend to its own combination of the lags.

    Memory grows as t, not as t * s: to differentiate, the scores are made anew.

    Args:
        query: the rows of all experts, in the order of a `Dispatch`, ``(m, h, k)``.
        key: ``(b, g, s, k)``, rotated at their own positions.
        value: ``(b, g, s, k)``.
        weights: the lag weights by key head, ``(g, e, l)``.
        position: of each row in its sequence, ``(m,)``.
        counts: rows of each expert in each sequence, ``(e, b)``.
        rope: whether queries and keys are rotated.

    Returns:
        What each row reads, ``(m, h, k)``, and what the backward pass wants of it, ``(g, h / g, m)``.
    """
    arguments = (query, key, value, weights, position, counts, rope)
    with torch.autocast("cpu", enabled=False):
        if _suits_grid(query, counts):
            return attend_grid(*arguments), _totals(query, weights)
        return attend_cells(*arguments)


@torch.library.custom_op("mixer_zoo::attend_rows_backward", mutates_args=())
def attend_rows_backward(  # noqa: PLR0917
    gradient: Tensor,
    mixed: Tensor,
    totals: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weights: Tensor,
    position: Tensor,
    counts: Tensor,
    rope: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of query, key, value and weights."""
    arguments = (query, key, value, weights, position, counts, rope)
    if _suits_grid(query, counts):
        of_query, of_key, of_value, of_weights = attend_grid_backward(gradient, *arguments)
    else:
        of_query, of_key, of_value, of_weights = attend_cells_backward(gradient, mixed, totals, *arguments)
    return of_query, of_key, of_value, of_weights


def _suits_grid(query: Tensor, counts: Tensor) -> bool:
    """Whether products of all experts at once are faster than one expert after the other."""
    few = len(query) <= FEW * counts.numel()
    narrow = query.dtype == torch.bfloat16 and BFLOAT16_UNITS
    return (few or narrow) and int(counts.max()) * counts.numel() <= FILLED * len(query)


def _totals(query: Tensor, weights: Tensor) -> Tensor:
    dtype = torch.promote_types(query.dtype, torch.float32)
    return query.new_zeros(len(weights), query.shape[1] // len(weights), len(query), dtype=dtype)


@attend_rows.register_fake
def _(
    query: Tensor, _k: Tensor, _v: Tensor, weights: Tensor, _p: Tensor, _c: Tensor, _r: bool
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(query), _totals(query, weights)


@attend_rows_backward.register_fake
def _(_g: Tensor, _m: Tensor, _t: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(x) for x in inputs[:4])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.rope = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*output, *tensors)


def _differentiate(ctx: Any, gradient: Tensor, _of_totals: Tensor) -> tuple[Tensor | None, ...]:
    return (*attend_rows_backward(gradient, *ctx.saved_tensors, ctx.rope), None, None, None)


attend_rows.register_autograd(_differentiate, setup_context=_keep)


# How many keys a query sees depends on the routing: counted are all, as torch counts causal attention.
@register_flop_formula(torch.ops.mixer_zoo.attend_rows)
def _count(
    query: torch.Size, key: torch.Size, value: torch.Size, weights: torch.Size, _p: Any, _c: Any, rope: bool, **_: Any
) -> int:
    scored = query[:2].numel() * key[2]
    return 2 * scored * (key[3] + value[3]) + _combining(key, weights) + rope * _turning(key, weights)


@register_flop_formula(torch.ops.mixer_zoo.attend_rows_backward)
def _count_backward(_gradient: Any, _mixed: Any, _total: Any, *inputs: Any, **_: Any) -> int:
    """The scores anew and four gradients; the lags anew, their gradients and those of their weights."""
    query, key, value, weights, _, _, rope = inputs
    scored = query[:2].numel() * key[2]
    return 2 * scored * (3 * key[3] + 2 * value[3]) + 3 * _combining(key, weights) + 2 * rope * _turning(key, weights)


def _combining(key: torch.Size, weights: torch.Size) -> int:
    """Adding up the lags of all keys once for each expert."""
    return 2 * key.numel() * weights[1] * weights[2]


def _turning(key: torch.Size, weights: torch.Size) -> int:
    """Rotating all keys once for each lag but the first: two multiply-adds a channel."""
    return 4 * key.numel() * (weights[2] - 1)
