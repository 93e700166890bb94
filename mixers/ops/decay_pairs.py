"""What the tokens of a chunk read of each other under decay: two ways to the same lower triangular matrix.

    A[i, j] = sum_k query[i, k] * key[j, k] * exp(read[i, k] - write[j, k])     for  j <= i

`write` is the running sum of the log decays in a chunk, `read` the same, or without the token's own where the state is
read before it decays. A quotient of two exponentials overflows; each way has another answer.
"""

import torch
from torch import Tensor


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
