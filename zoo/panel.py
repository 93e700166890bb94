"""Panels: what a mixer has to show of itself, as plain data that the host draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from torch import Tensor

MAX_MAPS = 16
"""So many maps fit into one picture."""

MAX_VALUES = 2**20
"""So many numbers fit into one picture."""


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture, before it is drawn.

    The shape of the values says what it will be: ``(n,)`` bars, ``(n, m)`` a map with a colour for each number, or a
    line for each row, ``(n, r, c)`` maps side by side with one scale of colours.

    Args:
        title: what is shown.
        reading: one sentence that says how to read it.
        values: the numbers, of any real dtype, on any device. What is not finite is left out.
        quantity: what the numbers are, with their unit, e.g. ``"attention weight"`` or ``"norm (nats)"``.
        axes: what is counted along each axis of the values, with the unit, e.g. ``("head", "lag (tokens)")``. The last
            axis runs to the right.
        ticks: for each axis of the values the names of its places; an empty sequence counts them from 0, and so does
            leaving all of it out.
        lines: draw the rows of ``(n, m)`` as lines.

    Raises:
        ValueError: values that are no such array, or axes and ticks that do not fit them.
    """

    title: str
    reading: str
    values: Tensor
    quantity: str
    axes: Sequence[str]
    ticks: Sequence[Sequence[str]] = ()
    lines: bool = False

    def __post_init__(self) -> None:
        for name in ("title", "reading", "quantity"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} should be a text, not {getattr(self, name)!r}")
        _check_values(self.values)
        shape = tuple(self.values.shape)
        if len(self.axes) != len(shape):
            raise ValueError(f"axes={tuple(self.axes)} should name the {len(shape)} axes of values of shape {shape}")
        counts = [len(names) for names in self.ticks]
        if counts and [count or size for count, size in zip_longest(counts, shape, fillvalue=-1)] != list(shape):
            raise ValueError(f"ticks of {counts} names do not fit values of shape {shape}")
        if self.lines and len(shape) != 2:
            raise ValueError(f"lines need values of two axes, one row a line, and the shape is {shape}")


def _check_values(values: Tensor) -> None:
    if not isinstance(values, Tensor) or values.is_complex():
        raise ValueError(f"values should be a tensor of real numbers, not {type(values).__name__}")
    shape = tuple(values.shape)
    if not 1 <= len(shape) <= 3 or not values.numel():
        raise ValueError(f"values should be (n,), (n, m) or (n, r, c) with a number at least, and the shape is {shape}")
    if values.numel() > MAX_VALUES or (len(shape) == 3 and shape[0] > MAX_MAPS):
        raise ValueError(f"a picture shows at most {MAX_VALUES:,} numbers and {MAX_MAPS} maps, not values of {shape}")
