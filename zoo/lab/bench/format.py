"""Short numbers with their units."""

from zoo.lab.bench.result import Cell, Growth

UNITS = {
    "forward": "ms a pass",
    "train": "ms a step",
    "prefill": "ms a prompt",
    "decode": "µs a token",
    "memory": "MiB",
}
"""In which each kind is shown."""

_SCALES = {"forward": 1e3, "train": 1e3, "prefill": 1e3, "decode": 1e6, "memory": 2**-20}

NOTHING = "-"
"""Where there is no figure."""


def shown(kind: str, cost: float) -> float:
    """A cost in the unit of its kind."""
    return cost * _SCALES[kind]


def cost_text(cell: Cell | None) -> str:
    """The cost of a cell, in the unit of its kind."""
    return NOTHING if cell is None or cell.cost is None else number(shown(cell.kind, cell.cost))


def number(value: float | None) -> str:
    """Three digits, or all before the point."""
    if value is None:
        return NOTHING
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def percent(fraction: float | None) -> str:
    """A fraction in percent, with a digit after the point where it is small."""
    if fraction is None:
        return NOTHING
    return f"{100 * fraction:.{0 if fraction >= 0.1 else 1}f} %"


def power(exponent: float | None) -> str:
    """How something grows: ``t^1.9``."""
    return NOTHING if exponent is None else f"t^{abs(exponent) if round(exponent, 2) == 0 else exponent:.2f}"


def powers(growth: Growth) -> tuple[str, str]:
    """How something grows, over all lengths and over the upper half of them."""
    return power(growth.exponent), power(growth.upper)


def rate(value: float, unit: str) -> str:
    """Something a second, ``240 GFLOP/s``."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= factor:
            return f"{number(value / factor)} {prefix}{unit}/s"
    return f"{number(value)} {unit}/s"
