"""The results of a bench of whole models."""

from zoo.errors import UsageError
from zoo.lab.bench.models.candidates import BASELINE
from zoo.lab.bench.models.request import ModelRequest
from zoo.lab.bench.result import Cell, Measured
from zoo.pages.picture import Picture

ROOFLINE, RATIOS = "roofline", "ratios"
"""The pictures there are."""


class ModelBench(Measured[ModelRequest]):
    """A bench of whole models. ``str`` of it is its tables; a notebook shows them, too."""

    def cell(self, kind: str, name: str) -> Cell | None:
        """What was measured of one candidate; None where nothing was, not even a failure."""
        return next(iter(self.row(kind, name)), None)

    def ratio(self, cell: Cell) -> float | None:
        """The time over that of the dot-product model."""
        baseline = self.cell(cell.kind, BASELINE)
        return cell.cost / baseline.cost if cell.cost and baseline is not None and baseline.cost else None

    def bound(self, cell: Cell) -> str | None:
        """What limits a cell on this machine: ``"compute"``, its operations, or ``"memory"``, its bytes."""
        if cell.masked_flops is None or cell.bytes_moved is None:
            return None
        computing = cell.masked_flops / self.peaks.flops
        return "compute" if computing >= cell.bytes_moved / self.peaks.bandwidth(cell.bytes_moved) else "memory"

    def plot(self, picture: str = ROOFLINE, *, titled: bool = True) -> Picture:
        """A picture: ``"roofline"``, operations a second against operations a byte, or ``"ratios"``, of times.

        Raises:
            UsageError: another name, or nothing was measured.
        """
        from zoo.lab.bench.models.plot import PICTURES  # which draws what is defined here

        if picture not in PICTURES:
            raise UsageError(f"there is no picture {picture!r}; there are: {', '.join(PICTURES)}")
        if not any(cell.cost for cell in self.cells):
            raise UsageError("nothing was measured")
        title, draw = PICTURES[picture]
        return Picture(title, lambda: draw(self, title if titled else ""))

    def __str__(self) -> str:
        from zoo.lab.bench.models.summary import summary

        return summary(self)

    def __repr__(self) -> str:
        state = "" if self.complete else ", interrupted"
        return f"ModelBench({', '.join(self.names)}: {', '.join(self.kinds)}, {len(self.cells)} cells{state})"

    def _repr_html_(self) -> str:
        from zoo.lab.bench.models.report import render_bench

        return render_bench(self)


def intensity(cell: Cell) -> float | None:
    """Floating-point operations for each byte that must be moved."""
    return cell.masked_flops / cell.bytes_moved if cell.masked_flops and cell.bytes_moved else None


def flops_per_second(cell: Cell) -> float | None:
    """Floating-point operations a second that were reached, without those of masked scores."""
    return cell.masked_flops / cell.cost if cell.masked_flops and cell.cost else None
