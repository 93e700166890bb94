"""What a candidate for a place of the command line is, and what gives some."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from zoo.cli.completing.line import Place
from zoo.plugin.listing import Listing

_HELP_WIDTH = 70


@dataclass(frozen=True)
class Candidate:
    """What may stand under the cursor.

    Attributes:
        text: the whole value.
        shown: the part of it that tells it from the others.
        help: in a line.
        ends: whether the value ends there; it goes on behind ``name=`` and a folder.
    """

    text: str
    shown: str
    help: str = ""
    ends: bool = True


Source = Callable[[str, Place, Listing], Iterable[Candidate]]
"""Takes what was typed of a value, its place, and what is remembered."""


def make_candidate(name: str, help: str = "", *, stem: str = "", ends: bool = True) -> Candidate:  # noqa: A002
    """A candidate behind a stem that was typed, with as much of its help as a line holds."""
    line = " ".join(help.split())
    short = line if len(line) <= _HELP_WIDTH else f"{line[: _HELP_WIDTH - 1]}…"
    return Candidate(stem + name, name, short, ends)
