"""What the tokens of a chunk read of each other under decay: three ways to the same lower triangular matrix.

    A[i, j] = sum_k query[i, k] * key[j, k] * exp(read[i, k] - write[j, k])     for  j <= i

`write` is the running sum of the log decays in a chunk, `read` the same, or without the token's own where the state is
read before it decays. A quotient of two exponentials overflows; each way has another answer.
"""

from typing import Any

import torch
from torch import Tensor

from mixers.ops.halving import diagonals, distances, early, late, sizes, square_decays, squares, triangles


def scalar_pairs(query: Tensor, key: Tensor, read: Tensor, write: Tensor, seen: Tensor) -> Tensor:
    """The pairs of one decay a head: its exponents fit a matrix, and are masked before the exponential.

    Args:
        query: ``(b, h, n, c, k)``.
        key: ``(b, h, n, c, k)``.
        read: ``(b or 1, h or 1, n, c, 1)``.
        write: the same.
        seen: which token j a token i sees, bool, ``(c, c)`` or ``(b, 1, n, c, c)``.

    Returns:
        ``(b, h, n, c, c)``, zero where a token is not seen.
    """
    return (query @ key.mT) * (read - write.mT).masked_fill(~seen, -torch.inf).exp()


def factored_pairs(query: Tensor, key: Tensor, read: Tensor, write: Tensor, seen: Tensor) -> Tensor:
    """The pairs of a decay a channel as one matrix product, where half a chunk of log decays is above -80.

    Arguments and result as in `scalar_pairs`, with ``(b or 1, h or 1, n, c, k)`` decays.
    """
    # Taken against the middle of the chunk, no exponent is beyond half the chunk's. Pairs of the upper triangle may
    # still be infinite: they are replaced, and get no gradient, while both factors are finite.
    middle = write[..., write.shape[-2] // 2, None, :]
    pairs = (query * (read - middle).exp()) @ (key * (middle - write).exp()).mT
    return pairs.masked_fill(~seen, 0)


def safe_pairs(query: Tensor, key: Tensor, read: Tensor, write: Tensor, *, strict: bool) -> Tensor:
    """The pairs of a decay a channel of any strength.

    The triangle is cut into squares (`mixers.ops.halving`), matrix products of two factors that decay.

    Args:
        query: ``(b, h, n, c, k)``, c a power of two.
        key: the same.
        read: the same.
        write: the same.
        strict: leave the diagonal zero; otherwise the exponent there is taken to be 0.

    Returns:
        ``(b, h, n, c, c)``, zero above the diagonal.
    """
    chunks = query.shape[:3]
    pairs: Tensor = _SafePairs.apply(*(x.flatten(0, 2) for x in (query, key, read, write)), strict)
    return pairs.unflatten(0, chunks)


class _SafePairs(torch.autograd.Function):
    """Keeps its inputs alone and makes the exponentials again. Left to autograd, it would keep a dozen of them.

    A running sum of log decays needs no product of its own: its gradient is that of the query (or key) that its
    exponential multiplies, times that query (or key).
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - apply takes no keywords
        ctx: Any, query: Tensor, key: Tensor, read: Tensor, write: Tensor, strict: bool
    ) -> Tensor:
        ctx.save_for_backward(query, key, read, write)
        ctx.strict = strict
        c = query.shape[1]
        pairs = query.new_zeros(query.shape[0], c, c)
        for size in sizes(c):
            since, until = square_decays(read, write, size)
            square = (late(query, size) * since) @ (early(key, size) * until).mT
            squares(pairs, size).copy_(square.permute(0, 2, 3, 1))
        queries, keys, reads, writes = (triangles(x) for x in (query, key, read, write))
        for distance, here, there in distances(c)[strict:]:
            product = queries[:, :, here] * keys[:, :, there]
            if distance:
                product.mul_((reads[:, :, here] - writes[:, :, there]).exp_())
            diagonals(pairs, distance).copy_(product.sum(-1))
        return pairs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        query, key, read, write = ctx.saved_tensors
        to_query, to_key = torch.zeros_like(query), torch.zeros_like(key)
        for size in sizes(query.shape[1]):
            since, until = square_decays(read, write, size)
            square = squares(gradient, size).permute(0, 3, 1, 2).contiguous()
            late(to_query, size).add_((square @ (early(key, size) * until)).mul_(since))
            early(to_key, size).add_((square.mT @ (late(query, size) * since)).mul_(until))
        queries, keys, reads, writes = (triangles(x) for x in (query, key, read, write))
        to_queries, to_keys = triangles(to_query), triangles(to_key)
        for distance, here, there in distances(query.shape[1])[ctx.strict :]:
            weight = diagonals(gradient, distance)[..., None]
            if distance:
                weight = weight * (reads[:, :, here] - writes[:, :, there]).exp_()
            to_queries[:, :, here].addcmul_(weight, keys[:, :, there])
            to_keys[:, :, there].addcmul_(weight, queries[:, :, here])
        return to_query, to_key, query * to_query, (key * to_key).neg_(), None
