"""The control that mixes nothing: each token writes a linear map of its own read."""

from typing import ClassVar

from torch import Tensor, nn

from zoo import State, TokenMixer


class Identity(TokenMixer):
    """Each token writes a linear map of its own read, and sees no other.

        write_t = W x_t

    What a model gains over this one is what its mixers mix; what it does not lose is left to the channel mixers.

    Options:
        bias: add a learned constant.

    Cost: time ``t * d**2``. State: none, a tensor without numbers.

    Source: the control of ablations that take a mixer out and leave its projection.
    """

    paper: ClassVar[str] = "unpublished"

    def __init__(self, dim: int, *, bias: bool = False) -> None:
        super().__init__()
        self.project = nn.Linear(dim, dim, bias=bias)

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:  # noqa: ARG002 - no token sees another
        """Map whole sequences, ``(b, t, d)`` to ``(b, t, d)``."""
        return self.project(x)

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Map the next reads; the state is empty, ``(b, 0)``."""
        return self.project(x), x.new_zeros(x.shape[0], 0) if state is None else state
