"""Involution: a convolution whose kernel is read from the stream at each position."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from mixers.ops.attention_weights import spread_of
from mixers.ops.documents import check_documents, positions
from mixers.ops.involution import involution
from zoo import Panel, TokenMixer

CHANNELS_PER_GROUP = 16


class Involution(TokenMixer):
    """A short causal convolution whose kernel every position makes from its own read.

        y[t, c] = sum_{l < K} H[t, g(c), l] * v[t - a*l, c]        H[t] = W1 relu(rmsnorm(W0 x[t])) + bias
        write[t] = Wo y[t]                                         v[t] = Wv x[t]

    ``H`` is the kernel, shared by the channels of a group ``g(c)`` and by nothing else; ``l`` a tap, ``K`` the kernel
    size, ``a`` the dilation; v before the first token is zero. In the paper: ``W0`` reduces by r, ``W1`` spans to
    K*K*G; there the kernel is a square around a pixel and the norm a BatchNorm, which would let a token see the
    future and the other rows of its batch.

    Options:
        kernel_size: taps K; a write sees the last (K - 1) * dilation + 1 reads.
        groups: kernels a position, a divisor of dim; by default the largest that leaves each 16 channels or more:
            16 is the published choice, and more kernels cost more to make and to apply.
        reduction: the kernel is read through dim / reduction channels.
        dilation: positions from one tap to the next.
        normalize: "softmax" makes the taps sum to 1, which is dynamic convolution; "none" leaves them as they are.

    Cost: t * d * (2 * d + d / reduction + K) multiplications, linear in time. The state is the last
    (K - 1) * dilation values, and does not grow. The span is finite, so it cannot recall what lies further back:
    it belongs in hybrids, beside a mixer that can.

    Raises:
        ValueError: an option is out of its range, or groups does not divide dim.

    Source: Li et al., CVPR 2021, arXiv:2103.06255. With ``normalize="softmax"``, the dynamic convolution of
    Wu et al., ICLR 2019, arXiv:1901.10430, whose taps that reach before the first token are lost likewise.
    """

    paper: ClassVar[str] = "Li et al. 2021, arXiv:2103.06255"

    def __init__(
        self,
        dim: int,
        *,
        kernel_size: int = 7,
        groups: int | None = None,
        reduction: int = 4,
        dilation: int = 1,
        normalize: Literal["none", "softmax"] = "none",
    ) -> None:
        super().__init__()
        groups = _default_groups(dim) if groups is None else groups
        _check_ranges(dim, kernel_size, groups, reduction, dilation)
        if normalize == "softmax" and kernel_size == 1:
            raise ValueError('normalize="softmax" needs kernel_size=2 or more: a single tap would always be 1')
        self.groups, self.dilation, self.normalize = groups, dilation, normalize
        self.span = (kernel_size - 1) * dilation
        reduced = dim // reduction
        self.value = nn.Linear(dim, dim, bias=False)
        self.reduce = nn.Linear(dim, reduced, bias=False)
        self.norm = nn.RMSNorm(reduced)
        self.kernel = nn.Linear(reduced, groups * kernel_size)
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        return self._mix(x, None, documents)[0]

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mix the next reads; the state is the last (K - 1) * dilation values, ``(b, span, d)``."""
        return self._mix(x, state, None)

    def _mix(self, x: Tensor, state: Tensor | None, documents: Tensor | None) -> tuple[Tensor, Tensor]:
        value, kernel = self.value(x), self._kernel(x)
        if documents is not None:
            kernel = self._within(documents, kernel)
        past = value.new_zeros(x.shape[0], self.span, x.shape[2]) if state is None else state
        values = torch.cat([past, value], dim=1)
        written = involution(self._by_group(values), kernel.to(values.dtype), self.dilation)
        # A clone, since a view would keep every value of a long piece alive.
        return self.out(written.flatten(2)), values[:, x.shape[1] :].clone()

    def panels(self, x: Tensor) -> list[Panel]:
        """The kernels: their mean over positions, and how much they differ from position to position."""
        kernel = self._kernel(x)
        ages = [str(tap * self.dilation) for tap in range(kernel.shape[-1])]
        mean, spread = spread_of(kernel)

        def panel(title: str, reading: str, values: Tensor) -> Panel:
            axes = ("group", "age of what the tap reads (tokens)")
            return Panel(title, reading, values, quantity="weight of the tap", axes=axes, ticks=((), ages))

        return [
            panel("kernels: the mean", "A row is the kernel of a group of channels, its mean over positions.", mean),
            panel("kernels: the spread", "Each tap's standard deviation over positions; a convolution has 0.", spread),
        ]

    def _kernel(self, x: Tensor) -> Tensor:
        # Under autocast the reduced read is narrower than the norm's weight, which would cost it its fused form.
        reduced = self.reduce(x).to(self.norm.weight.dtype)
        taps = self._by_group(self.kernel(relu(self.norm(reduced))))
        return taps.softmax(dim=-1) if self.normalize == "softmax" else taps

    def _within(self, documents: Tensor, kernel: Tensor) -> Tensor:
        """The kernels, ``(b, t, g, l)``, without the taps that reach before the document of their position."""
        check_documents(documents, kernel)
        age = torch.arange(kernel.shape[-1], device=kernel.device) * self.dilation
        return kernel.masked_fill((positions(documents)[..., None] < age)[:, :, None], 0)

    def _by_group(self, channels: Tensor) -> Tensor:
        return channels.unflatten(-1, (self.groups, -1))


def _default_groups(dim: int) -> int:
    most = max(1, dim // CHANNELS_PER_GROUP)
    return next(groups for groups in range(most, 0, -1) if dim % groups == 0)


def _check_ranges(dim: int, kernel_size: int, groups: int, reduction: int, dilation: int) -> None:
    for name, value in {"kernel_size": kernel_size, "groups": groups, "dilation": dilation}.items():
        if value < 1:
            raise ValueError(f"{name} must be 1 or more, not {value}")
    if dim % groups:
        divisors = ", ".join(str(n) for n in range(1, dim + 1) if dim % n == 0)
        raise ValueError(f"groups must divide dim, and {groups} does not divide {dim}: choose one of {divisors}")
    if not 1 <= reduction <= dim:
        raise ValueError(f"reduction must be from 1 to dim, so that a channel is left: with dim={dim}, not {reduction}")
