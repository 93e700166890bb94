"""The choices that options leave: truth values, members of a Literal or an Enum, None or something.

Random cases may miss one of them, and a mixer may be broken for that one alone. So a law looks at a few more cases,
which show the choices that it has not seen: as many of them at once as the member takes together. There are then no
more cases than the option with the most choices has, and one each for what is taken only by itself. Numbers are left
to chance.
"""

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple

from zoo.plugin.options import Option
from zoo.testing.case import Case
from zoo.testing.subject import Sizes, Subject, required_values

COMPANIONS = 24
"""How many companions are tried for a choice that is refused while everything else is at its default."""

OTHER = "another value"
"""What stands for all values of an option that are no choices, where None is one."""


class Choice(NamedTuple):
    """One choice of one option."""

    option: str
    value: Any


def choices_of(option: Option) -> dict[Any, list[Any]]:
    """The choices of an option, each with the values that make it; empty where there is nothing to choose."""
    found = _choices(option.annotation)
    return {choice: values for choice, values in found.items() if values} if len(found) > 1 else {}


def _choices(annotation: Any) -> dict[Any, list[Any]]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _choices(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return {choice: values for argument in arguments for choice, values in _choices(argument).items()}
    few = (False, True) if annotation is bool else (None,) if annotation is types.NoneType else ()
    if few or origin is typing.Literal:
        return {value: [value] for value in few or arguments}
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return {member.value: [member.value] for member in annotation}
    return {OTHER: required_values(Option("", annotation, None, ""))}


def seen_in(case: Any) -> set[Choice]:
    """The choices that a case shows, of a `Case` or a `MemberCase`."""
    return {
        Choice(option.name, _choice(option, case.options.get(option.name, option.default)))
        for option in case.subject.free_options
        if choices_of(option)
    }


def _choice(option: Option, value: Any) -> Any:
    value = value.value if isinstance(value, Enum) else value
    return next((key for key in choices_of(option) if key == value and type(key) is type(value)), OTHER)


class Covering:
    """Cases that show choices, as few as the member allows.

    Args:
        subject: what is checked.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._choices = {option.name: choices_of(option) for option in subject.free_options}
        self._found: dict[tuple[frozenset[Choice], bool], list[Case]] = {}

    def cases(self, seen: set[Choice], *, sane: bool) -> list[Case]:
        """Cases that show every choice which is not in `seen`, built once for all laws that saw the same.

        Args:
            seen: what random cases showed.
            sane: leave out options with which the member fails when it runs.
        """
        key = (frozenset(seen), sane)
        if key not in self._found:
            self._found[key] = self._cover(seen, sane)
        return self._found[key]

    def smaller(self, case: Case) -> Iterator[Case]:
        """The same with a single one of its options, the others at their defaults."""
        for name in case.options:
            alone = replace(case, options={**self._base, name: case.options[name]})
            if len(alone.options) < len(case.options) and alone.builds:
                yield alone

    @cached_property
    def _base(self) -> dict[str, Any]:
        return self.subject.some_options(*self.subject.shapes()[0])

    def _cover(self, seen: set[Choice], sane: bool) -> list[Case]:
        missing = [
            Choice(name, value) for name, among in self._choices.items() for value in among if (name, value) not in seen
        ]
        cases = []
        while missing:
            case, shown = self._fullest(missing, sane)
            if case is None:
                case = self._with_company(missing[0], sane)
                shown = {missing[0]}
            if case is not None:
                cases.append(case)
            missing = [choice for choice in missing if choice not in shown]
        return cases

    def _fullest(self, missing: list[Choice], sane: bool) -> tuple[Case | None, set[Choice]]:
        """A case that shows as many of the choices as go together, each at the first of its values that does."""
        best, shown, options = None, set[Choice](), self._base
        for choice in missing:
            if choice.option in {one.option for one in shown}:
                continue
            for value in self._choices[choice.option][choice.value]:
                if case := self._taken({**options, choice.option: value}, sane):
                    best, options = case, {**options, choice.option: value}
                    shown.add(choice)
                    break
        return best, shown

    def _with_company(self, choice: Choice, sane: bool) -> Case | None:
        """A case that shows a choice which is taken only beside another one."""
        company = [
            {**self._base, name: values[0], choice.option: value}
            for name, among in self._choices.items()
            if name != choice.option
            for values in among.values()
            for value in self._choices[choice.option][choice.value][:2]
        ]
        return next(filter(None, (self._taken(options, sane) for options in company[:COMPANIONS])), None)

    def _taken(self, options: Mapping[str, Any], sane: bool) -> Case | None:
        """A small case with these options, at the first sizes with which they are not refused."""
        for dim, heads in self.subject.shapes():
            case = Case(self.subject, Sizes(2, 7, dim, heads), options, seed=1, cuts=(2, 5))
            if case.builds and (case.runs or not sane):
                return case
        return None
