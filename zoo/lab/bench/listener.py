"""Whoever looks on while a bench is made."""

from zoo.lab.bench.result import Cell


class Stopped(Exception):  # noqa: N818 - it is no error
    """The user had enough. A `Listener` raises it."""


class Listener:
    """Whoever looks on while a bench is made. This one is silent; a subclass shows what it likes."""

    def start(self, turns: int) -> None:
        """So many turns are to come, or a few less."""

    def turn(self, kind: str, length: int, name: str) -> None:
        """A candidate is about to run. `Stopped` or KeyboardInterrupt, raised here, end the bench."""

    def done(self, cell: Cell) -> None:
        """A cell is measured, or failed."""
