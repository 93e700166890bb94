"""Keys at several lags, made from keys that are already rotated at their own positions, as a cache holds them."""

import torch
from torch import Tensor

from mixers.ops.lags import delay, mix_lags
from mixers.ops.rotary import rotate, unrotate


def lag_keys(key: Tensor, lags: int, rope: bool) -> Tensor:
    """Lay out the keys at every lag, each rotated at the position where it lands.

    A key that was rotated at its own position lacks the turn of its lag: ``R_s k_{s-l} = R_l (R_{s-l} k_{s-l})``.

    Args:
        key: ``(..., s, k)``, rotated at their own positions.
        lags: how many, lag 0 included.
        rope: whether keys are rotated at all.

    Returns:
        ``(..., l, s, k)``, zero where a lag reaches before the first token.
    """
    return torch.stack([turn(delay(key, lag), lag if rope else 0) for lag in range(lags)], dim=-3)


def lag_keys_backward(gradient: Tensor, rope: bool) -> Tensor:
    """The gradient of the keys from that of `lag_keys`: ``(..., l, s, k)`` to ``(..., s, k)``."""
    first, *later = gradient.unbind(-3)
    to_key = first.clone()
    for lag, of_lag in enumerate(later, start=1):
        to_key[..., :-lag, :] += turn(of_lag[..., lag:, :], -lag if rope else 0)
    return to_key


def combine_lags(key: Tensor, weights: Tensor, rope: bool) -> Tensor:
    """The keys of one expert, ``sum_l weights_l R_s k_{s-l}``, without laying out the lags.

    Args:
        key: those of all tokens from the first on, ``(b, g, s, k)``, rotated at their own positions.
        weights: ``(g, l)``.
        rope: whether keys are rotated at all.

    Returns:
        ``(b, g, s, k)``.
    """
    return rotate(mix_lags(unrotate(key), weights)) if rope else mix_lags(key, weights)


def turn(x: Tensor, steps: int) -> Tensor:
    """Rotate all of ``(..., k)`` by the same number of positions."""
    return rotate(x.reshape(1, -1, 1, x.shape[-1]), steps).view(x.shape) if steps else x
