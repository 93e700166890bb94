"""The answer to a shell: the candidates for the word under the cursor, in the form that its script reads."""

import io
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from zoo.cli.completing import BREAKS_VARIABLE, LINE_VARIABLE, SHELL_VARIABLE
from zoo.cli.completing.candidate import Candidate
from zoo.cli.completing.candidates import complete
from zoo.cli.completing.line import Place, TypedWord, find_place, split_line
from zoo.plugin.listing import Listing, read_listing

_QUOTED_IN_BASH = frozenset(" \t\n\\'\"`$&|;<>()[]{}*?!#")


def respond(environ: Mapping[str, str] = os.environ) -> int:
    """Print the answer; returns the exit code. Whatever goes wrong, nothing is printed and the shell sees no error."""
    with suppress(Exception):
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # names of files may be any bytes
        sys.stdout.write(answer(environ[SHELL_VARIABLE], environ.get(LINE_VARIABLE, ""), environ))
        sys.stdout.flush()
    return 0


def answer(shell: str, line: str, environ: Mapping[str, str]) -> str:
    """What the script of a shell reads: lines, or nothing."""
    words = split_line(line, environ.get(BREAKS_VARIABLE, "") if shell == "bash" else "")
    listing = read_listing(environ, exact=False) or Listing()
    place = find_place(listing.program or _program(), words)
    found = complete(place, listing) if place is not None else []
    if not found or place is None:
        return ""
    return _FORMATS[shell](found, words[-1], place)


def _program() -> Mapping[str, Any]:
    """The commands of the zoo itself, where nothing is remembered yet."""
    from zoo.cli.completing.program import describe_program

    return describe_program({})


def _for_bash(found: Sequence[Candidate], word: TypedWord, place: Place) -> str:
    """Whether a space follows, and what replaces the word from where bash does."""
    texts = [_whole(candidate, word, place)[word.kept :] for candidate in found]
    if not word.quote:
        texts = ["".join(f"\\{c}" if c in _QUOTED_IN_BASH else c for c in text) for text in texts]
    elif len(found) == 1 and not found[0].ends:
        texts += [f"{texts[0]}…"]  # readline closes the quotation mark behind a single one
    space = "space" if all(candidate.ends for candidate in found) else "nospace"
    return "".join(f"{text}\n" for text in [space, *texts])


def _for_zsh(found: Sequence[Candidate], word: TypedWord, place: Place) -> str:
    """A line each: whether a space follows, the whole word, and what is shown for it."""
    width = max(len(candidate.shown) for candidate in found)
    return "".join(
        f"{'space' if candidate.ends else 'nospace'}\t{_whole(candidate, word, place)}\t"
        f"{candidate.shown:<{width}}{f'  {candidate.help}' if candidate.help else ''}\n"
        for candidate in found
    )


def _for_fish(found: Sequence[Candidate], word: TypedWord, place: Place) -> str:
    """A line each: the whole word, and what it means."""
    return "".join(f"{_whole(candidate, word, place)}\t{candidate.help}\n" for candidate in found)


def _whole(candidate: Candidate, word: TypedWord, place: Place) -> str:
    """The candidate with the flag that it is glued to."""
    return word.value[: place.before] + candidate.text


_FORMATS = {"bash": _for_bash, "zsh": _for_zsh, "fish": _for_fish}
