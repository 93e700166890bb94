"""The chunked form of `mixers.ops.erase`: the tokens of a chunk are one triangular system."""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import pad

from mixers.ops.carry import carry_through
from mixers.ops.erase_pairs import SAFE, Pairs, factored_pairs, scalar_pairs, unbounded_pairs

CHUNK = 32
"""Tokens of a chunk: on CPUs 32 are faster than 64, since the matrices of all chunks are as large as t times this."""

LARGEST = 1 << 19
"""Numbers of the largest tensor that a CPU works on: the memory of larger ones is mapped anew for each operation."""


class Tokens(NamedTuple):
    """What each token brings, by the names of `mixers.ops.erase.erase`."""

    query: Tensor
    a: Tensor
    b: Tensor
    key: Tensor | None
    value: Tensor
    log_decay: Tensor | None

    def to(self, dtype: torch.dtype) -> "Tokens":
        """The same in one dtype."""
        key = None if self.key is None else self.key.to(dtype)
        log_decay = None if self.log_decay is None else self.log_decay.to(dtype)
        query, a, b, value = (x.to(dtype) for x in (self.query, self.a, self.b, self.value))
        return Tokens(query, a, b, key, value, log_decay)

    def split(self, length: int) -> list["Tokens"]:
        """Pieces of so many tokens each, the last of which may be shorter."""
        pieces = -(-self.query.shape[1] // length)
        key, log_decay = ([None] * pieces if x is None else x.split(length, 1) for x in (self.key, self.log_decay))
        query, a, b, value = (x.split(length, 1) for x in (self.query, self.a, self.b, self.value))
        return [Tokens(*piece) for piece in zip(query, a, b, key, value, log_decay, strict=True)]

    def unbind(self) -> list["Tokens"]:
        """Each token by itself, ``(b, h, ...)``. Not by indexing: each gradient would be as large as the sequence."""
        time = self.query.shape[1]
        key, log_decay = ([None] * time if x is None else x.unbind(1) for x in (self.key, self.log_decay))
        query, a, b, value = (x.unbind(1) for x in (self.query, self.a, self.b, self.value))
        return [Tokens(*token) for token in zip(query, a, b, key, value, log_decay, strict=True)]


def erase_pieces(tokens: Tokens, state: Tensor, floor: float | None, new: Tensor | None) -> tuple[Tensor, Tensor]:
    """See `mixers.ops.erase.erase`: long sequences piece by piece on a CPU, everything at once elsewhere."""
    batch, time, heads, channels = tokens.query.shape
    length = max(CHUNK, LARGEST // (2 * batch * heads * max(channels, CHUNK)) // CHUNK * CHUNK)
    if tokens.query.device.type != "cpu" or time <= length:
        return erase_chunks(tokens, state, floor, new)
    pieces = tokens.split(length)
    outs = []
    for piece, starts in zip(pieces, [None] * len(pieces) if new is None else new.split(length, 1), strict=True):
        out, state = erase_chunks(piece, state, floor, starts)
        outs.append(out)
    return torch.cat(outs, dim=1), state


def erase_chunks(tokens: Tokens, state: Tensor, floor: float | None, new: Tensor | None) -> tuple[Tensor, Tensor]:
    """See `mixers.ops.erase.erase`: all chunks at once.

    With U what the tokens of a chunk add along their b, S the state before it and A, Q, B the rows and columns decayed
    to the chunk's start and end,

        U  = AB U + AK value + A S           AB, AK, QB, QK: the pairs' products, AB and AK strictly lower triangular
        out = QB U + QK value + Q S
        S' = total S + B^T U + K^T value

    The system is solved for U = U0 + W S with the state still unknown: for all chunks at once. What is left to do chunk
    by chunk is S' = (total + B^T W) S + (B^T U0 + K^T value).

    Args:
        new: where a document starts that is not the first of its row, ``(b, t)``.
    """
    time = tokens.query.shape[1]
    size = min(_longest(floor) or CHUNK, 1 << (time - 1).bit_length())
    if new is not None:
        tokens = _without_starts(tokens, new)
    pairs = _pairs(tokens, size, floor)
    if new is not None:
        pairs = _within_documents(pairs, _chunks(new[:, :, None], size))
    out, state = _solved(pairs, _chunks(tokens.value, size), state)
    return rearrange(out, "b h n c v -> b (n c) h v")[:, :time], state


def _pairs(tokens: Tokens, size: int, floor: float | None) -> Pairs:
    a, query = _chunks(tokens.a, size), _chunks(tokens.query, size)
    written = [tokens.b] if tokens.key is None else [tokens.b, tokens.key]
    columns = torch.stack([_chunks(x, size) for x in written], dim=3)
    if tokens.log_decay is None:
        return scalar_pairs(a, query, columns, query.new_zeros(1, 1, 1, size))
    decay = _chunks(tokens.log_decay, size)
    if decay.ndim < query.ndim:
        return scalar_pairs(a, query, columns, decay)
    return (factored_pairs if _longest(floor) else unbounded_pairs)(a, query, columns, decay)


def _longest(floor: float | None) -> int:
    """The longest chunk, a power of 2, in which one factor can hold the decays of half of it; 0 where none pays."""
    if floor is None:
        return 0
    return next((size for size in (CHUNK, CHUNK // 2, CHUNK // 4) if -floor * size / 2 <= SAFE), 0)


def _solved(pairs: Pairs, value: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """What all chunks read, ``(b, h, n, c, v)``, and the state after the last, of the values, ``(b, h, n, c, v)``."""
    (ab, *ak), (qb, *qk) = (x.unbind(3) for x in pairs.products.unbind(3))
    b, *key = pairs.columns.unbind(3)
    right = torch.cat([ak[0] @ value if key else value, pairs.a], dim=-1)
    # From the right: a matrix of rows is what LAPACK takes for one of columns, so that nothing is copied.
    added = torch.linalg.solve_triangular(-ab.mT, right.mT, upper=True, left=False, unitriangular=True).mT
    channels = [value.shape[-1], pairs.a.shape[-1]]
    written, transition = (b.mT @ added).split(channels, dim=-1)
    read, read_state = (qb @ added).split(channels, dim=-1)
    if key:
        written, read = written + key[0].mT @ value, read + qk[0] @ value
    transition = transition + torch.diag_embed(pairs.total.expand(transition.shape[:-1]))
    states, state = carry_through(transition, written, state)
    return read + (pairs.query + read_state) @ states, state


def _within_documents(pairs: Pairs, new: Tensor) -> Pairs:
    """Without the pairs of different documents, and what would pass from one to the next through the state.

    Args:
        new: where a document starts within a chunk, ``(b, 1, n, c)``.
    """
    document = new.cumsum(-1)
    first, last = document == 0, document == document[..., -1:]
    other = document[..., :, None] != document[..., None, :]
    return Pairs(
        pairs.products.masked_fill(other[..., None, None, :, :], 0),
        pairs.a.masked_fill(~first[..., None], 0),
        pairs.query.masked_fill(~first[..., None], 0),
        pairs.columns.masked_fill(~last[..., None, :, None], 0),
        pairs.total.masked_fill(~first[..., -1:], 0),
    )


def _without_starts(tokens: Tokens, new: Tensor) -> Tokens:
    """The first token of a document finds nothing to erase, and nothing that would decay."""
    decay = tokens.log_decay
    if decay is not None:
        decay = decay.masked_fill(new.reshape(*new.shape, *[1] * (decay.ndim - 2)), 0)
    return tokens._replace(a=tokens.a.masked_fill(new[..., None, None], 0), log_decay=decay)


def _chunks(x: Tensor, size: int) -> Tensor:
    """The tokens of ``(b, t, h, ...)`` by chunks, ``(b, h, n, c, ...)``, with zeros up to whole chunks."""
    missing = -x.shape[1] % size
    if missing:
        x = pad(x, (0, 0) * (x.ndim - 2) + (0, missing))
    return x.unflatten(1, (-1, size)).movedim(3, 1)
