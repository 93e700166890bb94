"""A decoder of whole sequences from one vector."""

import torch
from torch import Tensor, nn


class PositionDecoder(nn.Module):
    """What the stream at the last position says of every position.

        y_t = W_3 norm gelu W_2 norm gelu W_1 norm ( x_last + code_t )

    The code of a position is a sine and a cosine at rates that fall geometrically from 1 to 1/10000, as in Vaswani et
    al. 2017, arXiv:1706.03762. W_1 and W_2 have biases; a norm is an RMS norm with learned gains.

    Args:
        dim: the model width d.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.decoder = nn.Sequential(
            _Norm(dim),
            nn.Linear(dim, dim),
            nn.GELU(),
            _Norm(dim),
            nn.Linear(dim, dim),
            nn.GELU(),
            _Norm(dim),
            nn.Linear(dim, dim, bias=False),
        )

    def forward(self, stream: Tensor) -> Tensor:
        """From the stream, ``(b, t, d)``, to what is said of each position, ``(b, t, d)``."""
        return self.decoder(stream[:, -1:] + position_code(stream))


class _Norm(nn.RMSNorm):
    def forward(self, x: Tensor) -> Tensor:
        # Under autocast what a layer gives is narrower than the gains, which would cost the norm its fused form.
        return super().forward(x.to(self.weight.dtype))


def position_code(stream: Tensor) -> Tensor:
    """A code of each position, ``(t, d)``, for a stream of ``(b, t, d)`` and in its dtype; made in float32."""
    time, channel = (torch.arange(size, device=stream.device) for size in stream.shape[1:])
    rate = 10000.0 ** (-(channel // 2 * 2) / stream.shape[2])
    # a cosine is a sine that is a quarter ahead
    return torch.sin(time[:, None] * rate + channel % 2 * (torch.pi / 2)).to(stream.dtype)
