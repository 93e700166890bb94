"""Errors that show the place in a pattern."""

import re

from zoo.errors import PatternError

_BEFORE, _AFTER = 60, 40


def point_at(text: str, position: tuple[int, int], message: str) -> PatternError:
    """An error whose text is the message, the line concerned, and carets under the place.

    Args:
        text: the whole pattern.
        position: where the place starts and ends, as offsets into `text`, e.g. `Call.position`. An empty place gets
            one caret. Of a place that goes on for several lines, the part on the first is marked.
        message: one line that says what was wrong and what was expected.

    Returns:
        The error, to be raised.
    """
    from rich.cells import cell_len

    start, end = position
    before = re.split(r"[\r\n]", text[:start])[-1]
    behind = re.split(r"[\r\n]", text[start:])[0]
    marked, after = behind[: max(0, end - start)], behind[max(0, end - start) :]
    if len(before) > _BEFORE:
        before = "…" + before[1 - _BEFORE :]
    if len(marked) + len(after) > _AFTER:
        marked, after = marked[:_AFTER], after[: max(0, _AFTER - len(marked))] + "…"
    before, marked, after = _printable(before), _printable(marked), _printable(after)
    carets = " " * cell_len(before) + "^" * max(1, cell_len(marked))
    return PatternError(f"{_printable(message)}\n  {before}{marked}{after}\n  {carets}")


def _printable(text: str) -> str:
    """The text with every character one that a terminal shows where it stands: a tab becomes one space."""
    return "".join(" " if letter.isspace() else letter if letter.isprintable() else "\ufffd" for letter in text)
