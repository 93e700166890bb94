"""Rotary positions: a head's channels turn by angles that grow with the position, so that scores see distances."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from mixers.ops.materialize import materialize

BLOCK = 64
"""The angles of so many tokens are computed at once, where tokens come one by one."""


def rotate(x: Tensor, offset: int | Tensor = 0, base: float = 10000.0) -> Tensor:
    """Turn the channels of each token by the angles of its position.

    Channel i turns together with channel i + k/2, by ``position * base ** (-2i / k)``. Scores of rotated queries and
    keys depend on the distance between them alone. Source: Su et al. 2021, arXiv:2104.09864.

    Args:
        x: queries or keys, ``(b, h, t, k)`` with k even.
        offset: the position of the first token: an int, or one a row, ``(b,)``. May be negative.
        base: the ratio of the slowest period to the fastest.

    Returns:
        The rotated tensor, of the shape and dtype of `x`.
    """
    if _is_token(x):
        return _turn_token(x, *_token_waves(_positions(offset), x.shape[-1], base, _precise(x)))
    return _turned(x, *_waves(x, offset, base))


def rotate_pair(
    query: Tensor, key: Tensor, offset: int | Tensor = 0, base: float = 10000.0, channels: int | None = None
) -> tuple[Tensor, Tensor]:
    """Turn queries and keys of the same tokens, as `rotate` does; their angles are computed once.

    Args:
        query, key: ``(b, h, t, k)`` and ``(b, g, t, k)``.
        offset, base: as for `rotate`.
        channels: so many are turned, the first ones; None for all.
    """
    width = channels or query.shape[-1]
    if _is_token(query):
        waves, turned = _token_waves(_positions(offset), width, base, _precise(query)), _turn_token
    else:
        waves, turned = _waves(query[..., :width], offset, base), _turned

    def turn(x: Tensor) -> Tensor:
        if width == x.shape[-1]:
            return turned(x, *waves)
        return torch.cat([turned(x[..., :width], *waves), x[..., width:]], dim=-1)

    return turn(query), turn(key)


def rotate_first(x: Tensor, channels: int, offset: int | Tensor = 0, base: float = 10000.0) -> Tensor:
    """Turn the first `channels` channels of each token as `rotate` does, and leave the others as they are."""
    if channels == x.shape[-1]:
        return rotate(x, offset, base)
    return torch.cat([rotate(x[..., :channels], offset, base), x[..., channels:]], dim=-1)


def unrotate(x: Tensor, offset: int | Tensor = 0, base: float = 10000.0) -> Tensor:
    """Take back what `rotate` did with the same arguments."""
    cosine, sine = _waves(x, offset, base)
    return _turned(x, cosine, -sine)


def rotate_reference(x: Tensor, offset: int | Tensor = 0, base: float = 10000.0) -> Tensor:
    """`rotate` with one 2x2 rotation at a time."""
    b, _, t, k = x.shape
    offsets = torch.as_tensor(offset).expand(b)
    rotated = []
    for row in range(b):
        for position in range(t):
            first, second = [], []
            for i in range(k // 2):
                angle = (offsets[row] + position).to(x) * base ** (-2 * i / k)
                this, other = x[row, :, position, i], x[row, :, position, i + k // 2]
                first.append(this * angle.cos() - other * angle.sin())
                second.append(other * angle.cos() + this * angle.sin())
            rotated.append(torch.stack(first + second, dim=-1))
    return torch.stack(rotated).unflatten(0, (b, t)).transpose(1, 2)


def _waves(x: Tensor, offset: int | Tensor, base: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every angle, ``(t, k/2)`` or ``(b, 1, t, k/2)``."""
    t, k = x.shape[-2:]
    dtype = _precise(x)
    start = offset[:, None, None] if isinstance(offset, Tensor) else offset
    position = start if t == 1 and isinstance(start, Tensor) else torch.arange(t, device=x.device) + start
    # no tensor is kept that is being traced, or that has no memory
    find = _frequencies if type(x) is not Tensor or torch.compiler.is_compiling() else _kept_frequencies
    angle = position.to(dtype)[..., None] * find(k, base, dtype, x.device)
    return materialize(angle.cos()), materialize(angle.sin())


def _precise(x: Tensor) -> torch.dtype:
    """The type in which angles are computed: in half precision they would be noise."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _is_token(x: Tensor) -> bool:
    """Whether this is one token of each row, on a CPU, of which no gradient is asked and no graph is drawn."""
    plain = x.shape[2] == 1 and type(x) is Tensor and x.device.type == "cpu"
    return plain and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


def _positions(offset: int | Tensor) -> tuple[int, ...]:
    return tuple(offset.tolist()) if isinstance(offset, Tensor) else (offset,)


@lru_cache(maxsize=8)
def _token_waves(positions: tuple[int, ...], k: int, base: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """What the token of each row is multiplied by, ``(k,)`` or ``(b, 1, 1, k)``, and what its other half is."""
    rows = {position: _block_waves(position // BLOCK, k, base, dtype)[position % BLOCK] for position in set(positions)}
    if len(rows) == 1:
        return rows[positions[0]]
    with torch.inference_mode(False):
        cosine, sine = zip(*(rows[position] for position in positions), strict=True)
        return torch.stack(cosine)[:, None, None], torch.stack(sine)[:, None, None]


@lru_cache(maxsize=64)
def _block_waves(block: int, k: int, base: float, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    """The same of consecutive positions, ``(k,)`` each: all layers want them, and the tokens to come."""
    with torch.inference_mode(False):
        position = torch.arange(block * BLOCK, (block + 1) * BLOCK)
        angle = position.to(dtype)[:, None] * _frequencies(k, base, dtype, position.device)
        cosine, sine = angle.cos(), angle.sin()
        turns = torch.cat([cosine, cosine], dim=-1).unbind(), torch.cat([-sine, sine], dim=-1).unbind()
        return list(zip(*turns, strict=True))


def _turn_token(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    source = x if x.dtype == cosine.dtype else x.to(cosine.dtype)
    turned = (source * cosine).addcmul_(source.roll(x.shape[-1] // 2, -1), sine)
    return turned if x.dtype == cosine.dtype else turned.to(x.dtype)


def _frequencies(k: int, base: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """By how much each pair of channels turns from a token to the next, ``(k/2,)``."""
    return base ** (-torch.arange(0, k, 2, device=device, dtype=dtype) / k)


@lru_cache(maxsize=64)
def _kept_frequencies(k: int, base: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return _frequencies(k, base, dtype, device)


def _turned(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    if not torch.is_grad_enabled():  # a step of one token takes as long to be noted down as to be made
        return _turn(x, cosine, sine)
    rotated: Tensor = _Rotation.apply(x, cosine, sine)
    return rotated


def _turn(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    source = x.to(cosine.dtype)
    if torch.compiler.is_compiling():  # which fuses plain products, and makes slow code of those in place
        first, second = source.unflatten(-1, (2, -1)).unbind(-2)
        turned = [first * cosine - second * sine, second * cosine + first * sine]
        return torch.stack(turned, dim=-2).flatten(-2).to(x.dtype)
    rotated = source * torch.cat([cosine, cosine], dim=-1)
    first, second = source.chunk(2, dim=-1)
    rotated_first, rotated_second = rotated.chunk(2, dim=-1)
    rotated_first.addcmul_(second, sine, value=-1)
    rotated_second.addcmul_(first, sine)
    return rotated.to(x.dtype)


class _Rotation(torch.autograd.Function):
    """Rotation in place of a fresh copy. Left to autograd, each product would be saved and concatenated anew."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return _turn(x, cosine, sine)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        cosine, sine = ctx.saved_tensors
        return _Rotation.apply(gradient, cosine, -sine), None, None
