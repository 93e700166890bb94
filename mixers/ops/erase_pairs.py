"""The tokens of a chunk, pair by pair: what is left of one when a later one reads the state.

The rows of these matrices are what a token reads the state along: ``a``, before its decay, and ``query``, after it. The
columns are what it writes along: ``b``, and the key where it has one of its own.
"""

from typing import NamedTuple

import torch
from torch import Tensor

SAFE = 80.0
"""e to this, and to its negative, are numbers of float32."""


class Pairs(NamedTuple):
    """What couples the tokens of each chunk with one another, and with the states before and after it.

    Args:
        products: of each row with each column of an earlier token, decayed by the tokens between the two,
            ``(b, h, n, 2, r, c, c)`` for n chunks and r columns a token. The product of a query with the column of its
            own token counts; for ``a`` it is 0.
        rows: decayed from the start of the chunk, ``(b, h, n, 2, c, k)``.
        columns: decayed to the end of the chunk, ``(b, h, n, r, c, k)``.
        total: the decay of the whole chunk, ``(b, h, n, k)``; 1 stands for any of these.
    """

    products: Tensor
    rows: Tensor
    columns: Tensor
    total: Tensor


def scalar_pairs(rows: Tensor, columns: Tensor, log_decay: Tensor) -> Pairs:
    """Pairs under one decay a head: a product of the vectors, and a matrix of decays.

    Args:
        rows: ``(b, h, n, 2, c, k)``.
        columns: ``(b, h, n, r, c, k)``.
        log_decay: ``(b, h, n, c)``; 1 stands for any axis but the last.
    """
    size = log_decay.shape[-1]
    through = log_decay.cumsum(-1)
    before = through - log_decay
    upto = torch.stack([before, through], dim=-2)[..., None, :, None]
    # Masked before exp: the differences of later tokens are positive, without bound.
    gap = (upto - through[..., None, None, None, :]).masked_fill(_later(size, rows.device)[:, None], -torch.inf)
    products = (rows.flatten(3, 4) @ columns.flatten(3, 4).mT).unflatten(-1, (-1, size)).unflatten(3, (2, size))
    return Pairs(
        products.transpose(-3, -2) * gap.exp(),
        rows * upto[..., 0, :, :].exp(),
        columns * (through[..., -1:] - through)[..., None, :, None].exp(),
        through[..., -1:].exp(),
    )


def vector_pairs(rows: Tensor, columns: Tensor, log_decay: Tensor, size: int) -> Pairs:
    """Pairs under a decay a key channel, of blocks which are then merged two by two until they are chunks.

    A block's pairs are those of its halves, and those of a token of the second half with one of the first: each of the
    two is decayed to the boundary between them, so that no factor is above 1, whatever the decays.

    Args:
        rows: by blocks of s tokens, ``(b, h, n, 2, s, k)``.
        columns: ``(b, h, n, r, s, k)``.
        log_decay: ``(b, h, n, s, k)``. With s > 1 the sum over half a block must be above -`SAFE`.
        size: the tokens of a chunk, s times a power of 2.
    """
    pairs = _single(rows, columns, log_decay) if log_decay.shape[-2] == 1 else _factored(rows, columns, log_decay)
    while pairs.products.shape[-1] < size:
        pairs = _merged(pairs)
    return pairs


def _single(rows: Tensor, columns: Tensor, log_decay: Tensor) -> Pairs:
    """Blocks of one token."""
    a, query = rows.unbind(3)
    decay = log_decay.exp()
    own = (query[:, :, :, None] * columns).sum(-1)[..., None]
    total = decay.squeeze(-2)
    return Pairs(torch.stack([torch.zeros_like(own), own], dim=3), torch.stack([a, query * decay], 3), columns, total)


def _factored(rows: Tensor, columns: Tensor, log_decay: Tensor) -> Pairs:
    """Blocks in which a decay is the quotient of two factors that float32 can hold: one product for all pairs."""
    size = log_decay.shape[-2]
    through = log_decay.cumsum(-2)
    upto = torch.stack([through - log_decay, through], dim=3)
    # From the middle the way is half as far as from the start, and a block may be twice as long.
    middle = through[..., size // 2 - 1, None, :]
    rows = rows * (upto - middle[:, :, :, None]).exp()
    columns = columns * (middle - through).exp()[:, :, :, None]
    products = (rows.flatten(3, 4) @ columns.flatten(3, 4).mT).unflatten(-1, (-1, size)).unflatten(3, (2, size))
    end = through[..., -1:, :]
    return Pairs(
        # The pairs of later tokens may be infinite: they are dropped, and their gradients are 0.
        products.transpose(-3, -2).masked_fill(_later(size, rows.device)[:, None], 0),
        rows * middle.exp()[:, :, :, None],
        columns * (end - middle).exp()[:, :, :, None],
        end.exp().squeeze(-2),
    )


def _merged(pairs: Pairs) -> Pairs:
    """Two blocks each made one."""
    (ones, others), (rows, later_rows), (columns, later_columns), (total, later_total) = (
        x.unflatten(2, (-1, 2)).unbind(3) for x in pairs
    )
    size = ones.shape[-1]
    across = (later_rows.flatten(3, 4) @ columns.flatten(3, 4).mT).unflatten(-1, (-1, size)).unflatten(3, (2, size))
    return Pairs(
        torch.cat(
            [
                torch.nn.functional.pad(ones, (0, size)),
                torch.cat([across.transpose(-3, -2), others], dim=-1),
            ],
            dim=-2,
        ),
        torch.cat([rows, later_rows * total[..., None, None, :]], dim=-2),
        torch.cat([columns * later_total[..., None, None, :], later_columns], dim=-2),
        total * later_total,
    )


def _later(size: int, device: torch.device) -> Tensor:
    """The pairs of no earlier token, ``(2, c, c)``: for ``a``, whose own token is none of those, and for ``query``."""
    every = torch.ones(size, size, dtype=torch.bool, device=device)
    return torch.stack([every.triu(), every.triu(1)])
