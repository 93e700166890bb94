"""A command line that is being typed, cut into words as a shell does."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_ESCAPED_IN_QUOTES = '"$`\\'


@dataclass
class TypedWord:
    """A word, without its quotes.

    Attributes:
        value: what the program would get.
        quote: the quotation mark that is open at its end; empty where none is.
        kept: so many characters of the value the shell does not replace: those up to an open quotation mark, and up to
            what splits words in the eyes of bash.
    """

    value: str = ""
    quote: str = ""
    kept: int = 0


def split_line(line: str, breaks: str = "") -> list[TypedWord]:
    """The words of a line up to the cursor; the last one is that under the cursor, and may be empty.

    Args:
        line: as it was typed.
        breaks: characters within a word from which on bash replaces it, e.g. ``=:``.
    """
    words, word, started, escaped = list[TypedWord](), TypedWord(), False, False
    for c in line:
        if escaped:
            escaped = False
            # between double quotes a backslash stands for itself, except before these
            word.value += c if not word.quote or c in _ESCAPED_IN_QUOTES else f"\\{c}"
        elif c == "\\" and word.quote != "'":
            escaped = started = True
        elif word.quote:
            if c == word.quote:
                word.quote = ""
            else:
                word.value += c
        elif c in "'\"":
            word.quote, word.kept, started = c, len(word.value), True
        elif c.isspace():
            words += [word] if started else []
            word, started = TypedWord(), False
        else:
            word.value, started = word.value + c, True
            if c in breaks:
                word.kept = len(word.value)
    return [*words, word]


@dataclass
class Place:
    """What stands under the cursor.

    Attributes:
        path: the names of the command and of the group that it is in.
        command: the command, or the program itself, as `zoo.cli.completing.program` describes it.
        parameter: the flag or the argument whose value is typed; None where the name of a command or flag is.
        value: what was typed of it.
        before: so many characters of the word belong to the flag, as in ``--mixer=corr``.
        given: the values before, by the names of parameters.
    """

    path: tuple[str, ...]
    command: Mapping[str, Any]
    parameter: Mapping[str, Any] | None
    value: str
    before: int = 0
    given: Mapping[str, list[str]] = field(default_factory=dict)


def find_place(program: Mapping[str, Any], words: Sequence[TypedWord]) -> Place | None:
    """Where in the program the last word stands; None behind a command that there is not."""
    values = [word.value for word in words]
    while len(values) > 1 and _ASSIGNMENT.match(values[0]):
        values = values[1:]
    walk = _Walk(program)
    for value in values[1:-1]:
        if not walk.step(value):
            return None
    return walk.place_of(values[-1] if len(values) > 1 else "")


class _Walk:
    """Goes through the words of a line, from the program down into its commands."""

    def __init__(self, program: Mapping[str, Any]) -> None:
        self.path, self.command, self.program = list[str](), program, program
        self.given: dict[str, list[str]] = {}
        self.pending: Mapping[str, Any] | None = None
        self.arguments, self.flags_end = 0, False

    def step(self, value: str) -> bool:
        """Take a whole word; False if it is a command that there is not."""
        if self.pending is not None:
            self._keep(self.pending, value)
            self.pending = None
        elif self.flags_end or not value.startswith("-"):
            return self._enter(value) if "commands" in self.command else self._take(value)
        elif value == "--":
            self.flags_end = True
        else:
            flag, equals, _ = value.partition("=")
            found = _flag(self.command, flag)
            self.pending = found if found is not None and found["takes_value"] and not equals else None
        return True

    def place_of(self, value: str) -> Place | None:
        """The place of the word under the cursor; None if nothing can stand there."""
        place = Place(tuple(self.path), self.command, self.pending, value, given=self.given)
        if self.pending is None and value.startswith("-") and not self.flags_end:
            flag, equals, typed = value.partition("=")
            if not equals:
                return place
            found = _flag(self.command, flag)
            return found and replace(place, parameter=found, value=typed, before=len(flag) + 1)
        if self.pending is not None or "commands" in self.command:
            return place
        argument = _argument(self.command, self.arguments)
        return None if argument is None and value else replace(place, parameter=argument)

    def _enter(self, name: str) -> bool:
        known = name in self.command["commands"]
        if known:
            self.path, self.command = [*self.path, name], self.command["commands"][name]
        return known

    def _take(self, value: str) -> bool:
        name = " ".join([*self.path, value])
        if self.arguments == 0 and not self.given and not self.flags_end and name in self.program["commands"]:
            self.path, self.command = [name], self.program["commands"][name]  # a command of two words
            return True
        if (argument := _argument(self.command, self.arguments)) is not None:
            self._keep(argument, value)
        self.arguments += 1
        return True

    def _keep(self, parameter: Mapping[str, Any], value: str) -> None:
        self.given.setdefault(parameter["name"], []).append(value)


def _flag(command: Mapping[str, Any], name: str) -> Any:
    return next((p for p in command["parameters"] if name in p["flags"]), None)


def _argument(command: Mapping[str, Any], index: int) -> Mapping[str, Any] | None:
    """The argument at a place, the last one for all that follow where it may be repeated."""
    arguments = [p for p in command["parameters"] if not p["flags"]]
    if index < len(arguments):
        return arguments[index]
    return arguments[-1] if arguments and arguments[-1]["repeats"] else None
