"""Sequences cut into chunks, and documents in them, of the operators with a decaying state."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mixers.ops.documents import check_documents, starts

ZERO = {torch.float32: -104.0, torch.float64: -746.0}
"""Log decays from which on ``exp`` is 0."""


def chunk_length(t: int, limit: int) -> int:
    """The smallest power of two that holds `t` tokens, at most `limit`, itself a power of two."""
    # A range fixes t where torch.compile has it for a variable: how many chunks there are is a constant of the code
    # anyway, as they are looped over, and to cut them into squares by a symbol takes it ten minutes.
    t = len(range(t))
    while limit // 2 >= t:
        limit //= 2
    return limit


def into_chunks(x: Tensor, c: int, fill: float = 0.0) -> Tensor:
    """``(b, t, h, ...)`` to ``(b, h, n, c, ...)``: n chunks of c tokens, filled up behind the last one."""
    # Spelt out for the compiler: with a remainder in the sizes, lengths that it keeps open take it minutes.
    n = (x.shape[1] + c - 1) // c
    missing = n * c - x.shape[1]
    if missing:
        x = F.pad(x, (0, 0) * (x.ndim - 2) + (0, missing), value=fill)
    chunks: Tensor = x.unflatten(1, (n, c)).movedim(3, 1)
    return chunks.contiguous()


def from_chunks(x: Tensor, t: int) -> Tensor:
    """``(b, h, n, c, v)`` to ``(b, t, h, v)``, without what lay behind the last token."""
    return x.permute(0, 2, 3, 1, 4).flatten(1, 2)[:, :t]


class Segments(NamedTuple):
    """What a chunk's tokens see of each other and of the state where documents are packed, bool, one for all heads.

    Args:
        same: token i and token j are of one document, ``(b, 1, n, c, c)``.
        enters: the state before the chunk is of the token's document, ``(b, 1, n, c, 1)``.
        leaves: the state behind the chunk is of the token's document, ``(b, 1, n, c, 1)``.
        keeps: no document starts in the chunk, ``(b, 1, n, 1, 1)``.
    """

    same: Tensor
    enters: Tensor
    leaves: Tensor
    keeps: Tensor


def resets(documents: Tensor, x: Tensor) -> Tensor:
    """Where the state is forgotten, ``(b, t)``, bool: at each document's start but the row's, which continues a state.

    Raises:
        ValueError: `documents` is not of the rows ``x``, ``(b, t, ...)``.
    """
    check_documents(documents, x)
    first = torch.arange(documents.shape[1], device=documents.device) == 0
    return starts(documents) & ~first


def segments(forgets: Tensor, c: int) -> Segments:
    """The masks of the chunks of c tokens of rows whose state is forgotten at `forgets`, ``(b, t)``."""
    number = F.pad(forgets.cumsum(1), (0, -forgets.shape[1] % c), value=-1).unflatten(1, (-1, c))[:, None]
    # padding belongs to the last document: a number of its own would keep that one's state from leaving
    number = number.flatten(2).cummax(2).values.unflatten(2, (-1, c))
    last = number[..., -1:]
    earlier = F.pad(last[:, :, :-1], (0, 0, 1, 0))
    return Segments(
        same=number[..., :, None] == number[..., None, :],
        enters=(number == earlier)[..., None],
        leaves=(number == last)[..., None],
        keeps=(last == earlier)[..., None],
    )


def accumulation_dtype(*tensors: Tensor) -> torch.dtype:
    """The dtype that states and sums are kept in: float32, or that of the tensors where it is wider."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype
