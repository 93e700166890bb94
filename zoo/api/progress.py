"""A line that says how far it is: in a notebook below the cell, on a terminal at its foot, and nowhere else."""

import html
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SECONDS_BETWEEN_FRAMES = 0.25


class Line:
    """One line that changes. This one is silent; a subclass shows it.

    Attributes:
        notices: what the user should know, in the order in which it was said.
    """

    def __init__(self) -> None:
        self.notices: list[str] = []
        self._last_frame = -_SECONDS_BETWEEN_FRAMES

    def show(self, text: str, done: float = 0, total: float = 0, *, at_once: bool = False) -> None:
        """Change the line, four times a second at most.

        Args:
            text: how far it is.
            done, total: draw a bar where there is room for one; no bar with a total of 0.
            at_once: also where the last change was a moment ago: what follows takes a while.
        """
        if at_once or time.monotonic() - self._last_frame >= _SECONDS_BETWEEN_FRAMES:
            self._last_frame = time.monotonic()
            self.draw(text, done, total)

    def notice(self, text: str) -> None:
        """Something that the user should know; each is said once."""
        if text not in self.notices:
            self.notices.append(text)
            self.say(text)

    def draw(self, text: str, done: float, total: float) -> None:
        """Put the text in the place of the one before."""

    def say(self, text: str) -> None:
        """Show a text that stays."""

    def close(self) -> None:
        """Take the line away."""


class TerminalLine(Line):
    """The last line of a terminal."""

    def draw(self, text: str, done: float, total: float) -> None:
        """Write over the line."""
        share = f"{done / total:4.0%}  " if total else ""
        width = max(20, shutil.get_terminal_size().columns - 1)
        sys.stderr.write(f"\r\x1b[K{(share + text)[:width]}")
        sys.stderr.flush()

    def say(self, text: str) -> None:
        """Write the text in the place of the line, which comes back below it."""
        sys.stderr.write(f"\r\x1b[K{text}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Clear the line."""
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


class NotebookLine(Line):
    """The output of a cell that is being run."""

    def __init__(self) -> None:
        super().__init__()
        self._handle: Any = None

    def draw(self, text: str, done: float, total: float) -> None:
        """Update the output."""
        bar = f'<progress value="{done}" max="{total}"></progress> ' if total else ""
        share = f"{done / total:4.0%}  " if total else ""
        self._update({"text/plain": f"{share}{text}", "text/html": f"<div>{bar}{html.escape(text)}</div>"})

    def say(self, text: str) -> None:
        """Write the text beside the outputs of the cell."""
        print(text, file=sys.stderr)

    def close(self) -> None:
        """Empty the output: what came of it is the result of the cell."""
        if self._handle is not None:
            self._update({"text/plain": "", "text/html": ""})

    def _update(self, content: dict[str, str]) -> None:
        from IPython.display import display

        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


@contextmanager
def progress_line(shown: bool) -> Iterator[Line]:
    """What suits the place where the code runs; the line is gone when the block ends."""
    line = _line() if shown else Line()
    try:
        yield line
    finally:
        line.close()


def in_notebook() -> bool:
    """Whether a kernel runs this code, whose outputs a notebook shows."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def _line() -> Line:
    if in_notebook():
        return NotebookLine()
    return TerminalLine() if sys.stderr.isatty() else Line()
