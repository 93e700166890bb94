"""Feature maps of linear attention: what queries and keys become, so that products of features stand for a kernel."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mixers.ops.decay import decay, decay_reference


def identity(x: Tensor) -> Tensor:
    """``phi(x) = x``."""
    return x


def relu(x: Tensor) -> Tensor:
    """``phi(x) = max(x, 0)``, elementwise."""
    return F.relu(x)


def elu(x: Tensor) -> Tensor:
    """``phi(x) = elu(x) + 1``, elementwise and positive. Source: Katharopoulos et al. 2020, arXiv:2006.16236."""
    return F.elu(x) + 1


def hedgehog(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``phi(x) = softmax([2 y, -2 y])`` with ``y = W x + b``.

    Args:
        x: ``(..., h, k)``.
        weight: W, ``(k, k)``, or one a head, ``(h, k, k)``; the identity at the start of training.
        bias: b, ``(k,)`` or ``(h, k)``; zero at the start.

    Returns:
        ``(..., h, 2 k)``, positive, 1 in all.

    Source: Zhang et al. 2024, arXiv:2402.04347.
    """
    y = 2 * ((weight @ x[..., None]).squeeze(-1) + bias)
    return torch.cat([y, -y], dim=-1).softmax(dim=-1)


def taylor(x: Tensor) -> Tensor:
    """The features of the second-order Taylor series of ``exp(<q, k> / sqrt(k))``.

        phi(x) = [1,  x_i / k^1/4,  x_i^2 / sqrt(2 k),  x_i x_j / sqrt(k)  with i < j]
        <phi(q), phi(k)> = 1 + a + a^2 / 2  >= 1/2        a = <q, k> / sqrt(k)

    ``(..., k)`` to ``(..., 1 + k + k (k + 1) / 2)``: the pairs i, j and j, i are one feature, sqrt(2) times as large.

    Source: Arora et al. 2024, arXiv:2402.18668.
    """
    k = x.shape[-1]
    squares, products = _second_order(x)
    constant, linear = torch.ones_like(x[..., :1]), x * k**-0.25
    return torch.cat([constant, linear, squares / math.sqrt(2 * k), products / math.sqrt(k)], dim=-1)


def rebased(x: Tensor, gain: Tensor, bias: Tensor, epsilon: float = 1e-5) -> Tensor:
    """The features of a squared product of normalised channels.

        phi(x) = [u_i^2 / sqrt(k),  u_i u_j sqrt(2 / k)  with i < j]        u = layernorm(x) * gain + bias
        <phi(q), phi(k)> = <u_q, u_k>^2 / k,  which can be 0

    Args:
        x: ``(..., h, k)``.
        gain: ``(k,)``, shared by the heads, as is the bias.
        bias: ``(k,)``.
        epsilon: added to the variance.

    Returns:
        ``(..., h, k (k + 1) / 2)``.

    Source: Aksenov et al. 2024, arXiv:2402.10644.
    """
    k = x.shape[-1]
    squares, products = _second_order(F.layer_norm(x, (k,), gain, bias, epsilon))
    return torch.cat([squares / math.sqrt(k), products * math.sqrt(2 / k)], dim=-1)


def normalized(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    state: Tensor | None = None,
    *,
    epsilon: float = 1e-10,
    documents: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Linear attention divided by the sum of its weights.

        y_t = sum_{s <= t} <q_t, k_s> v_s / (sum_{s <= t} <q_t, k_s> + epsilon)

    Args:
        query: features, ``(b, t, h, k)``.
        key: features, ``(b, t, h, k)``.
        value: ``(b, t, h, v)``.
        state: ``(b, h, k, v + 1)``; None is zero. Its last column is the sum of the keys.
        epsilon: added to the denominator, which is 0 where no key meets the query, and of any sign for signed features.
        documents: which document each token belongs to, ``(b, t)``; each starts from a zero state.

    Returns:
        y, ``(b, t, h, v)``, in the dtype of `value`, and the state after the last token.

    Source: Katharopoulos et al. 2020, arXiv:2006.16236.
    """
    sums, state = decay(query, key, _with_ones(value), None, state, documents=documents)
    return _quotient(sums, epsilon, value), state


def normalized_reference(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    state: Tensor | None = None,
    *,
    epsilon: float = 1e-10,
    documents: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`normalized` one token at a time."""
    sums, state = decay_reference(query, key, _with_ones(value), None, state, documents=documents)
    return _quotient(sums, epsilon, value), state


def _with_ones(value: Tensor) -> Tensor:
    # The denominator is one more channel of the values, always 1: it is read by the same pairs of queries and keys,
    # and costs one column where a running sum of keys of its own would cost a second pass. In float32 at least, since
    # bfloat16 cannot count the tokens of a sum beyond 256.
    return F.pad(widened(value), (0, 1), value=1.0)


def widened(value: Tensor) -> Tensor:
    """The values in float32 at least, in which they are summed up."""
    return value.to(torch.promote_types(value.dtype, torch.float32))


def _quotient(sums: Tensor, epsilon: float, value: Tensor) -> Tensor:
    return (sums[..., :-1] / (sums[..., -1:] + epsilon)).to(value.dtype)


def _second_order(x: Tensor) -> tuple[Tensor, Tensor]:
    """The squares of the channels, and the products of different ones, row after row of the upper triangle."""
    k = x.shape[-1]
    first, second = torch.triu_indices(k, k, 1, device=x.device)
    return x * x, x[..., first] * x[..., second]
