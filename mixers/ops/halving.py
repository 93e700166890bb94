"""The lower triangle of a chunk's pairs, cut into squares in which every query is later than every key.

A triangle is a square below the diagonal and two triangles of half the size, and these are cut again, down to triangles
of `SHORT` tokens, which are taken by the distance of a pair. In a square, what decays from a key to a query passes the
square's last key: ``exp(read_i - write_j)`` is a product of two factors of at most 1, however strong the decay.
"""

from torch import Tensor

SHORT = 4
"""The smallest triangles: matrix products of fewer tokens cost more than they save."""


def sizes(c: int) -> list[int]:
    """The sides of the squares in a chunk of c tokens, a power of two, the largest first."""
    size, found = c // 2, []
    while size >= SHORT:
        found.append(size)
        size //= 2
    return found


def late(x: Tensor, size: int) -> Tensor:
    """The tokens that are queries of squares of this size, ``(b, c, ...)`` to ``(b, number, size, ...)``, a view."""
    return x.unflatten(1, (-1, 2, size))[:, :, 1]


def early(x: Tensor, size: int) -> Tensor:
    """The tokens that are keys of squares of this size, ``(b, c, ...)`` to ``(b, number, size, ...)``, a view."""
    return x.unflatten(1, (-1, 2, size))[:, :, 0]


def square_decays(read: Tensor, write: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The decays of the queries of squares since the last key, and of the keys up to it, ``(b, number, size, k)``."""
    writes = early(write, size)
    last = writes[:, :, -1:]
    return (late(read, size) - last).exp_(), (last - writes).exp_()


def squares(pairs: Tensor, size: int) -> Tensor:
    """The squares of one size, ``(..., c, c)`` to ``(..., size, size, number)``, a view."""
    blocks = pairs.unflatten(-1, (-1, 2, size)).unflatten(-4, (-1, 2, size))
    return blocks[..., 1, :, :, 0, :].diagonal(dim1=-4, dim2=-2)


def triangles(x: Tensor) -> Tensor:
    """The tokens of the smallest triangles, ``(b, c, ...)`` to ``(b, number, s, ...)``, a view."""
    return x.unflatten(1, (-1, min(SHORT, x.shape[1])))


def diagonals(pairs: Tensor, distance: int) -> Tensor:
    """The pairs at a distance in the smallest triangles, ``(..., c, c)`` to ``(..., number, s - distance)``, a view."""
    size = min(SHORT, pairs.shape[-1])
    blocks = pairs.unflatten(-1, (-1, size)).unflatten(-3, (-1, size)).diagonal(dim1=-4, dim2=-2)
    return blocks.diagonal(-distance, dim1=-3, dim2=-2)


def distances(c: int) -> list[tuple[int, slice, slice]]:
    """Each distance in the smallest triangles, and which of their tokens are queries and which keys at it."""
    size = min(SHORT, c)
    return [(distance, slice(distance, None), slice(size - distance)) for distance in range(size)]
