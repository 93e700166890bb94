"""The tokens of a chunk, pair by pair: what is left of one when a later one reads the state.

The rows of these matrices are what a token reads the state along: ``a``, before its decay, and ``query``, after it. The
columns are what it writes along: ``b``, and the key where it has one of its own.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from mixers.ops.safe_pairs import safe_pairs

SAFE = 80.0
"""e to this, and to its negative, are numbers of float32."""


class Pairs(NamedTuple):
    """What couples the tokens of each chunk with one another, and with the states before and after it.

    Args:
        products: of each row with each column of an earlier token, decayed by the tokens between the two,
            ``(b, h, n, 2, r, c, c)`` for n chunks and r columns a token. The product of a query with the column of its
            own token counts; for ``a`` it is 0.
        a: decayed from the start of the chunk, ``(b, h, n, c, k)``.
        query: decayed from the start of the chunk, ``(b, h, n, c, k)``.
        columns: decayed to the end of the chunk, ``(b, h, n, r, c, k)``.
        total: the decay of the whole chunk, ``(b, h, n, k)``; 1 stands for any of these.
    """

    products: Tensor
    a: Tensor
    query: Tensor
    columns: Tensor
    total: Tensor


def scalar_pairs(a: Tensor, query: Tensor, columns: Tensor, log_decay: Tensor) -> Pairs:
    """Pairs under one decay a head: a product of the vectors, and a matrix of decays.

    Args:
        a: ``(b, h, n, c, k)``.
        query: ``(b, h, n, c, k)``.
        columns: ``(b, h, n, r, c, k)``.
        log_decay: ``(b, h, n, c)``; 1 stands for any axis but the last.
    """
    through = log_decay.cumsum(-1)
    before = through - log_decay
    # Not as through[..., -1:]: inductor then generates code for a CPU that gets the gradient of the decays wrong.
    _, whole = through.split([log_decay.shape[-1] - 1, 1], dim=-1)
    # Masked before exp: the differences of later tokens are positive, without bound.
    gap = torch.stack([before, through], dim=-2)[..., None] - through[..., None, None, :]
    gap = gap.masked_fill(_later(log_decay.shape[-1], a.device), -torch.inf)
    return Pairs(
        _products(a, query, columns) * gap[:, :, :, :, None].exp(),
        a * before[..., None].exp(),
        query * through[..., None].exp(),
        columns * (whole - through)[..., None, :, None].exp(),
        whole.exp(),
    )


def factored_pairs(a: Tensor, query: Tensor, columns: Tensor, log_decay: Tensor) -> Pairs:
    """Pairs under a decay a key channel, of which half a chunk is above -`SAFE`: one product for all of them.

    Arguments as in `scalar_pairs`, with log decays ``(b, h, n, c, k)``.
    """
    size = log_decay.shape[-2]
    through = log_decay.cumsum(-2)
    # From the middle the way is half as far as from the start, and a chunk may be twice as long.
    middle, end = through[..., size // 2 - 1, None, :], through[..., -1:, :]
    a, query = a * (through - log_decay - middle).exp(), query * (through - middle).exp()
    columns = columns * (middle - through).exp()[:, :, :, None]
    # The pairs of later tokens may be infinite: they are dropped, and their gradients are 0.
    products = _products(a, query, columns).masked_fill(_later(size, a.device)[:, None], 0)
    from_start, to_end = middle.exp(), (end - middle).exp()[:, :, :, None]
    return Pairs(products, a * from_start, query * from_start, columns * to_end, end.exp().squeeze(-2))


def unbounded_pairs(a: Tensor, query: Tensor, columns: Tensor, log_decay: Tensor) -> Pairs:
    """Pairs under a decay a key channel of any strength. Arguments as in `factored_pairs`."""
    rows = torch.stack([a, query], dim=-2)
    found = safe_pairs(rows, columns.movedim(3, -2), log_decay, after=1)
    a, query = found.rows.unbind(-2)
    return Pairs(found.pairs, a, query, found.columns.movedim(-2, 3), found.whole)


def _products(a: Tensor, query: Tensor, columns: Tensor) -> Tensor:
    """Of each row with each column, ``(b, h, n, 2, r, c, c)``."""
    size = a.shape[-2]
    products = torch.cat([a, query], dim=-2) @ columns.flatten(3, 4).mT
    return products.unflatten(-1, (-1, size)).unflatten(3, (2, size)).transpose(-3, -2)


def _later(size: int, device: torch.device) -> Tensor:
    """The pairs of no earlier token, ``(2, c, c)``: for ``a``, whose own token is none of those, and for ``query``."""
    every = torch.ones(size, size, dtype=torch.bool, device=device)
    return torch.stack([every.triu(), every.triu(1)])
