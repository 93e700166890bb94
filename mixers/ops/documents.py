"""Packed rows: several documents side by side in one row of a batch, each to be mixed as if it were alone."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

SHORTEST = 16
"""Documents of up to so many tokens share a bucket: below, a kernel's launch costs more than the padding."""

FULL = 0.7
"""A document shares the bucket of a longer one if it has at least this fraction of its tokens."""


def by_document(mix: Callable[..., Tensor], documents: Tensor, *inputs: Tensor) -> Tensor:
    """Apply a causal function of sequences to each document of packed rows by itself.

    The documents of all rows are sorted by length and stacked into buckets of similar lengths, padded at the end, where
    a causal function does not look. Attention costs the sum of the squares of the lengths, beside the padding. Where
    every row is one document, `mix` gets the rows as they are.

    The lengths of the documents are read on the host, once a call: on an accelerator, this waits for the device.

    Args:
        mix: takes inputs ``(n, u, ...)``, n documents of u tokens, and returns ``(n, u, ...)``. What it returns at a
            token depends on that token and the ones before it.
        documents: which document each token belongs to, ``(b, t)``, int64. A document is a maximal run of equal ids in
            a row.
        inputs: ``(b, t, ...)`` each.

    Returns:
        ``(b, t, ...)``.

    Raises:
        ValueError: `documents` has another shape.
    """
    if torch.compiler.is_compiling():
        # The shapes depend on the data: each new set of lengths would be compiled anew. As a decorator it would import
        # the compiler with every mixer, which takes as long as the rest of torch.
        return torch.compiler.disable(_by_document)(mix, documents, *inputs)
    return _by_document(mix, documents, *inputs)


def _by_document(mix: Callable[..., Tensor], documents: Tensor, *inputs: Tensor) -> Tensor:
    check_documents(documents, inputs[0])
    lengths = _lengths(documents)
    if len(lengths) == len(documents):
        return mix(*inputs)
    layout = _layout(lengths, documents.device)
    shapes, sizes = layout.shapes, [n * u for n, u in layout.shapes]
    packed = [_pack(x.flatten(0, 1), layout).split(sizes) for x in inputs]
    mixed = [
        mix(*(x.unflatten(0, shape) for x in bucket)).flatten(0, 1)
        for shape, *bucket in zip(shapes, *packed, strict=True)
    ]
    together: Tensor = _Unpack.apply(torch.cat(mixed), layout)
    return together.unflatten(0, documents.shape)


def positions(documents: Tensor) -> Tensor:
    """The place of each token in its document, from 0: ``(b, t)`` to the same, int64, without reading the device."""
    place = torch.arange(documents.shape[1], device=documents.device).expand_as(documents)
    return place - torch.where(starts(documents), place, 0).cummax(dim=1).values


def check_documents(documents: Tensor, x: Tensor) -> None:
    """Refuse documents that are not those of ``x``, ``(b, t, ...)``.

    Raises:
        ValueError: the shapes differ.
    """
    if documents.shape != x.shape[:2]:
        expected = tuple(x.shape[:2])
        raise ValueError(
            f"documents has the shape {tuple(documents.shape)}: expected one id a token, {expected} (b, t)"
        )


class _Layout(NamedTuple):
    """Where each token of the rows lies in the buckets, which are laid out one behind the other.

    Args:
        shapes: documents and tokens of each bucket, ``(n, u)``.
        token: the token at each place of the buckets, counted through all rows; any token at a place of padding.
        padding: the places that hold padding.
        place: the place of each token, ``(b * t,)``.
    """

    shapes: list[tuple[int, int]]
    token: Tensor
    padding: Tensor
    place: Tensor


def starts(documents: Tensor) -> Tensor:
    """Where a document starts, ``(b, t)``, bool."""
    changes = documents[:, 1:] != documents[:, :-1]
    return torch.cat([torch.ones_like(documents[:, :1], dtype=torch.bool), changes], dim=1)


def _lengths(documents: Tensor) -> Tensor:
    """The lengths of all documents, row after row, on the host."""
    first = starts(documents).flatten().cpu().nonzero().squeeze(1)
    return first.diff(append=first.new_tensor([documents.numel()]))


def _layout(lengths: Tensor, device: torch.device) -> _Layout:
    starts = lengths.cumsum(0) - lengths
    lengths, order = lengths.sort(descending=True, stable=True)
    starts = starts[order]
    shapes, token, is_real = [], [], []
    for first, last in pairwise(_bounds(lengths.tolist())):
        within = torch.arange(int(lengths[first]))
        shapes.append((last - first, len(within)))
        is_real.append((within < lengths[first:last, None]).flatten())
        token.append((starts[first:last, None] + within).flatten())
    real, tokens = torch.cat(is_real), torch.cat(token)
    place = torch.empty(int(lengths.sum()), dtype=torch.int64)
    place[tokens[real]] = real.nonzero().squeeze(1)
    padding = (~real).nonzero().squeeze(1)
    tokens[padding] = 0
    return _Layout(shapes, tokens.to(device), padding.to(device), place.to(device))


def _bounds(lengths: list[int]) -> list[int]:
    """Where buckets begin and end among lengths in descending order."""
    bounds, longest = [0], lengths[0]
    for index, length in enumerate(lengths):
        if length < FULL * longest and longest > SHORTEST:
            bounds.append(index)
            longest = length
    return [*bounds, len(lengths)]


def _pack(x: Tensor, layout: _Layout) -> Tensor:
    packed: Tensor = _Pack.apply(x, layout)
    return packed


class _Pack(torch.autograd.Function):
    """Rows of tokens to rows of places, zero at padding. Left to autograd, its gradient would be added row by row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layout: _Layout) -> Tensor:
        ctx.layout = layout
        return x.index_select(0, layout.token).index_fill_(0, layout.padding, 0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Unpack.apply(gradient, ctx.layout), None


class _Unpack(torch.autograd.Function):
    """Rows of places to rows of tokens, the transpose of `_Pack`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layout: _Layout) -> Tensor:
        ctx.layout = layout
        return x.index_select(0, layout.place)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Pack.apply(gradient, ctx.layout), None
