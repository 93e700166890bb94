"""What a benchmark shows while it runs: a line that changes on a terminal, now and then a line elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from zoo.cli.output import console, say, warn
from zoo.cli.progress import SECONDS_BETWEEN_FRAMES, SECONDS_BETWEEN_LINES, Speaker
from zoo.lab.bench.listener import Listener, Stopped
from zoo.lab.bench.result import Cell
from zoo.train.interrupts import Interrupts

STOPPING = "stopping after this call, and writing what was measured; Ctrl-C again stops at once"


@contextmanager
def listening() -> Iterator[Listener]:
    """What suits the place where stderr goes. Ctrl-C ends the bench after the call that is being made."""
    listener = LiveLine() if sys.stderr.isatty() and not console(sys.stderr).is_dumb_terminal else Lines()
    with Interrupts(lambda: listener.speaker.notice(STOPPING)) as listener.interrupts, listener:
        yield listener


class Lines(Listener):
    """A plain line on stderr every ten seconds, and one for whatever fails."""

    pause = SECONDS_BETWEEN_LINES

    def __init__(self) -> None:
        self.speaker = Speaker()
        self.interrupts = Interrupts()
        self._turns, self._turn = 1, 0
        self._last = time.monotonic()

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the place as it was."""

    def start(self, turns: int) -> None:
        """So many turns are to come, or a few less."""
        self._turns = turns

    def turn(self, kind: str, length: int, name: str) -> None:
        """A candidate is about to run; say so, if the last time is long enough ago."""
        if self.interrupts.requested:
            raise Stopped
        if time.monotonic() - self._last >= self.pause:
            with self.speaker.speaking():
                self.show(f"{100 * self._turn // self._turns:2d} %  {kind} at {length:,} tokens: {name}")
            self._last = time.monotonic()
        self._turn += 1

    def done(self, cell: Cell) -> None:
        """A cell is measured, or failed."""
        if cell.failure:
            with self.speaker.speaking():
                warn(f"{cell.candidate}, {cell.kind} at {cell.length:,}: {cell.failure}")

    def show(self, text: str) -> None:
        """Print where the benchmark is."""
        say(text)


class LiveLine(Lines):
    """A line at the foot of the terminal that changes, and is gone at the end."""

    pause = SECONDS_BETWEEN_FRAMES

    def __init__(self) -> None:
        from rich.live import Live

        super().__init__()
        # Drawn between calls: a thread of its own would take time from the mixers.
        self._live = Live(
            "measuring what the machine can do", console=console(sys.stderr), auto_refresh=False, transient=True
        )

    def __enter__(self) -> "LiveLine":
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the line."""
        self._live.stop()

    def show(self, text: str) -> None:
        """Change the line."""
        from rich.text import Text

        self._live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)
