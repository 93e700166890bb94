"""A recurrence that is no scan: one token after the other."""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from mixers.ops.documents import starts

Tree: TypeAlias = Any
"""A tensor, or a tuple, list or dict of such trees."""


def loop(
    cell: Callable[[Tree, Tree], tuple[Tree, Tree]],
    x: Tree,
    state: Tree,
    *,
    documents: Tensor | None = None,
    initial: Tree = None,
) -> tuple[Tree, Tree]:
    """Run a recurrent cell along time.

        y_t, h_t = cell(x_t, h_{t-1})

    For cells that are not linear in their state, which nothing computes in parallel. As many launches a token as the
    cell has operations, and all of them are kept for the gradient.

    Args:
        cell: takes a token's inputs, ``(b, ...)`` each, and the state, and returns its outputs and the next state.
        x: the inputs, ``(b, t, ...)`` each.
        state: the state before the first token, ``(b, ...)`` each.
        documents: ``(b, t)`` int64; a document starts from `initial`, the row's first one from `state`.
        initial: what a document starts from, of the shapes of `state`; None for zeros.

    Returns:
        The outputs, ``(b, t, ...)`` each, and the last state.
    """
    fresh = None if documents is None else starts(documents)
    if fresh is not None and initial is None:
        initial = tree_map(torch.zeros_like, state)
    rows: list[Tree] = []
    leaves, form = tree_flatten(x)
    # unbound at once: the gradient of a slice a token would be a whole sequence a token
    for t, token in enumerate(zip(*(leaf.unbind(1) for leaf in leaves), strict=True)):
        if fresh is not None and t:
            state = tree_map(lambda old, new, at=fresh[:, t]: _replace(old, new, at), state, initial)
        row, state = cell(tree_unflatten(token, form), state)
        rows.append(row)
    return tree_map(lambda *leaves: torch.stack(leaves, dim=1), rows[0], *rows[1:]), state


def _replace(old: Tensor, new: Tensor, at: Tensor) -> Tensor:
    """The rows of `new` where `at` says so, ``(b,)``, and elsewhere those of `old`."""
    return torch.where(at.reshape(-1, *[1] * (old.ndim - 1)), new.to(old.dtype), old)
