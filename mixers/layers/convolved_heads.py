"""How mixers that erase read the stream: projected, convolved, and cut into heads with keys of length 1."""

from torch import Tensor, nn
from torch.nn.functional import silu

from mixers.layers.short_conv import ShortConv
from mixers.ops.unit_length import unit_length


class ConvolvedHeads(nn.Module):
    """Queries, keys and values of the heads.

        q, k, v = silu(conv(W x))        q <- q / |q| * k**-0.5        k <- k / |k|

    Args:
        dim: model width.
        heads: heads of the values, and of what is returned.
        key_size: channels k a head.
        value_size: channels v a head.
        kernel_size: taps of the convolution, up to 8.
        key_heads: heads of queries and keys, each used by heads / key_heads heads of values; None for as many as these.
        steps: keys and values a token.

    Raises:
        ValueError: key_heads that do not divide heads, a kernel_size that is out of its range.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        key_size: int,
        value_size: int,
        kernel_size: int,
        *,
        key_heads: int | None = None,
        steps: int = 1,
    ) -> None:
        super().__init__()
        key_heads = heads if key_heads is None else key_heads
        if key_heads < 1 or heads % key_heads:
            raise ValueError(
                f"key_heads={key_heads} does not divide heads={heads}; choose key_heads among the divisors of heads"
            )
        self.key_size, self.value_size, self.shared_by = key_size, value_size, heads // key_heads
        self.widths = [key_heads * key_size, steps * key_heads * key_size, steps * heads * value_size]
        self.project = nn.Linear(dim, sum(self.widths), bias=False)
        self.convolution = ShortConv(sum(self.widths), kernel_size, bias=False)

    def forward(
        self, x: Tensor, state: Tensor | None, documents: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return q and k, ``(b, t, h, k)``, v, ``(b, t, h, v)``, and the last inputs of the convolution.

        With several steps a token, k and v have those of a step side by side: ``(b, t, steps * h, ...)``.
        """
        convolved, state = self.convolution(self.project(x), state, documents=documents)
        query, key, value = silu(convolved).split(self.widths, dim=-1)
        query = unit_length(query.unflatten(-1, (-1, self.key_size)), length=self.key_size**-0.5)
        key = unit_length(key.unflatten(-1, (-1, self.key_size)))
        if self.shared_by > 1:
            query, key = (of.repeat_interleave(self.shared_by, dim=2) for of in (query, key))
        return query, key, value.unflatten(-1, (-1, self.value_size)), state


def head_sizes(
    dim: int, heads: int, key_size: int | None, value_size: int | None, *, narrow_keys: bool = False
) -> tuple[int, int]:
    """The channels of a head's keys and values.

    Args:
        dim: model width.
        heads: heads.
        key_size: None for as many as values have.
        value_size: None for dim / heads.
        narrow_keys: without a key_size, take half as many.

    Raises:
        ValueError: sizes below 2, or none given and heads that do not divide dim.
    """
    for name, size in {"key_size": key_size, "value_size": value_size}.items():
        if size is not None and size < 2:
            raise ValueError(f"{name} must be 2 or more, not {size}: of one channel a norm leaves only the sign")
    if heads < 1 or (value_size is None and dim % heads):
        raise ValueError(f"heads={heads} does not divide dim={dim}; choose heads among the divisors of dim")
    value_size = dim // heads if value_size is None else value_size
    if key_size is None:
        key_size = max(1, value_size // 2) if narrow_keys else value_size
    return key_size, value_size
