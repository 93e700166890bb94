"""How a training run is shown while it goes: a bar on a terminal, now and then a line elsewhere."""

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from zoo.cli.output import console, duration, printable, say, warn
from zoo.cli.parameters import with_flags
from zoo.data.shards.progress import EncodingProgress, reporting_to
from zoo.train.listener import Listener, Progress

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_FRAMES = 0.1
SAMPLE_LINES = 8
SAMPLE_WIDTH = 98
"""Columns of a line of a sample off a terminal, which has a width of its own."""


@contextmanager
def live_display() -> Iterator[Listener]:
    """What suits the place where stderr goes; the bar is gone when the block ends."""
    if sys.stderr.isatty() and not console(sys.stderr).is_dumb_terminal:
        bar = Bar()
        with bar.live, reporting_to(bar.encoding):
            yield bar
    else:
        lines = Lines()
        with reporting_to(lines.encoding):
            yield lines
        lines.show_sample()


class Speaker(Listener):
    """A listener that can be spoken to at any time, also by a signal that comes in the middle of a line."""

    def __init__(self) -> None:
        self._speaking = False
        self._waiting: list[str] = []

    def notice(self, text: str) -> None:
        """Something that the user should know: printed at once, or after the line that is being written."""
        if self._speaking:
            self._waiting.append(text)
        else:
            warn(with_flags(text))

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """Keep notices until the block ends."""
        self._speaking = True
        try:
            yield
        finally:
            self._speaking = False
            while self._waiting:
                self.notice(self._waiting.pop(0))


class Lines(Speaker):
    """A plain line on stderr at each evaluation, and one every ten seconds between them; the last sample at the end."""

    def __init__(self) -> None:
        super().__init__()
        self._steps = 0
        self._sample = ""
        self._last_line = time.monotonic()

    def progress(self, progress: Progress) -> None:
        """A step was made."""
        self._steps = progress.steps
        if time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._say(f"step {progress.step:,}/{progress.steps:,}  {_figures(progress)}")

    def encoding(self, progress: EncodingProgress) -> None:
        """Some documents were encoded."""
        if time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            done = f"{progress.done / progress.total:.0%}, " if progress.total else ""
            self._say(f"encoding {progress.name}: {done}{_encoded(progress)}")

    def evaluation(self, step: int, validation_loss: float, validation_accuracy: float, sample: str) -> None:
        """The validation data was measured; all samples are in the run's samples.txt."""
        self._sample = sample
        self._say(f"step {step:,}/{self._steps:,}  {_held_out(validation_loss, validation_accuracy)}")

    def show_sample(self) -> None:
        """Show the first lines of the last sample."""
        for line in _first_lines(self._sample):
            cut = line if len(line) <= SAMPLE_WIDTH else line[: SAMPLE_WIDTH - 1] + "…"
            self._say(f"  {cut}".rstrip())

    def _say(self, text: str) -> None:
        with self.speaking():
            say(text)
        self._last_line = time.monotonic()


class Bar(Speaker):
    """A bar at the foot of the terminal; validation losses and samples scroll away above it."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Live

        super().__init__()
        # Drawn by the training thread between steps: a thread of its own would take time from the mixers.
        self.live = Live(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None, complete_style="cyan", finished_style="cyan"),
            TextColumn("{task.fields[figures]}"),
            console=console(sys.stderr),
            auto_refresh=False,
            expand=True,
            transient=True,
        )
        self._task = self.live.add_task("reading the data", total=1, figures="")
        self._last_frame = 0.0

    def progress(self, progress: Progress) -> None:
        """Move the bar, ten times a second at most."""
        last = progress.step == progress.steps
        now = time.monotonic()
        if now - self._last_frame < SECONDS_BETWEEN_FRAMES and not last:
            return
        self._last_frame = now
        width = len(f"{progress.steps:,}")
        with self.speaking():
            self.live.update(
                self._task,
                description=f"step {progress.step:>{width},}/{progress.steps:,}",
                total=progress.steps,
                completed=progress.step,
                figures=f"loss {progress.loss:.3f}  last evaluation …" if last else _figures(progress),
                refresh=True,
            )

    def encoding(self, progress: EncodingProgress) -> None:
        """Move the bar by what was encoded."""
        with self.speaking():
            self.live.update(
                self._task,
                description=f"encoding {printable(progress.name)}",
                total=progress.total or None,
                completed=progress.done,
                figures=_encoded(progress),
                refresh=True,
            )

    def evaluation(self, step: int, validation_loss: float, validation_accuracy: float, sample: str) -> None:
        """Show the loss and the first lines of the sample above the bar."""
        from rich.console import Group
        from rich.text import Text

        said = Text(f"step {step:,}  {_held_out(validation_loss, validation_accuracy)}", style="bold")
        shown = [Text(f"  {line}", style="dim", overflow="ellipsis", no_wrap=True) for line in _first_lines(sample)]
        with self.speaking():
            self.live.console.print(Group(said, *shown))


def _first_lines(sample: str) -> list[str]:
    return printable(sample).expandtabs(4).strip("\n").splitlines()[:SAMPLE_LINES]


def _held_out(loss: float, accuracy: float) -> str:
    return f"validation loss {loss:.3f}  accuracy {accuracy:.1%}"


def _encoded(progress: EncodingProgress) -> str:
    speed = f"  {progress.bytes_per_second / 1e6:,.0f} MB/s" if progress.total else ""
    left = (progress.total - progress.done) / max(progress.bytes_per_second, 1.0) if progress.total else math.inf
    return f"{progress.documents:,} documents{speed}" + (f"  {duration(left)} left" if progress.total else "")


def _figures(progress: Progress) -> str:
    left = duration(progress.seconds_left)
    return f"loss {progress.loss:.3f}  {progress.tokens_per_second:,.0f} tokens/s  {left} left"
