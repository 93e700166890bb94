"""The options of a mixer: read from its ``__init__``, documented by its docstring, checked before it is built."""

import difflib
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from zoo.errors import UsageError

FILLED_BY_HOST = frozenset({"heads", "layer_index", "layers"})
"""Parameters that the host fills where the user gave no value."""

REQUIRED: Any = inspect.Parameter.empty
"""The default of an option that has none."""


@dataclass(frozen=True)
class Option:
    """One option of a mixer: a keyword parameter of its ``__init__``."""

    name: str
    annotation: Any
    default: Any
    meaning: str

    @property
    def required(self) -> bool:
        """Whether the user must give a value."""
        return self.default is REQUIRED and self.name not in FILLED_BY_HOST

    @property
    def type_text(self) -> str:
        """The annotation as a person would write it."""
        return _type_text(self.annotation)

    def check(self, value: Any, owner: str) -> Any:
        """The value, if it fits the annotation; an int is taken for a float, a tuple for a list, and nothing else."""
        try:
            if isinstance(value, tuple) and typing.get_origin(self.annotation) is list:
                value = list(value)
            return TypeAdapter(self.annotation).validate_python(value, strict=True)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Input should be ")
            raise UsageError(f"{owner}: option {self.name}={value!r} should be {reason}") from None
        except PydanticUserError:  # an annotation that pydantic does not know is the mixer's own business
            return value


def options_of(cls: type) -> tuple[Option, ...]:
    """The options of a mixer class, in the order of its parameters. ``dim`` is none."""
    hints = _hints(_constructor(cls))
    meanings = _meanings(inspect.getdoc(cls) or "")
    return tuple(
        Option(
            name, _annotation(hints.get(name, REQUIRED), parameter.default), parameter.default, meanings.get(name, "")
        )
        for name, parameter in _parameters(cls).items()
        if name != "dim"
    )


def takes_dim(cls: type) -> bool:
    """Whether the mixer wants to know the model width; a mixer with an ``__init__`` of no parameters does not."""
    return "dim" in _parameters(cls)


def check_options(cls: type, given: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The given options, checked against the class.

    Raises:
        UsageError: an option that the mixer does not have, a value of the wrong type, a required option left out.
    """
    checked = check_given(cls, given, owner)
    for option in options_of(cls):
        if option.required and option.name not in given:
            raise UsageError(f"{owner} needs a value for its option {option.name!r}: {owner}({option.name}=…)")
    return checked


def check_given(cls: type, given: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Some of the options, checked against the class; others may follow.

    Raises:
        UsageError: an option that the mixer does not have, or a value of the wrong type.
    """
    known = {option.name: option for option in options_of(cls)}
    for name in given:
        if name not in known:
            raise UsageError(f"{owner} has no option {name!r}{did_you_mean(name, known)}; {_list_options(known)}")
    return {name: known[name].check(value, owner) for name, value in given.items()}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name, to put behind an error; empty if nothing is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.55)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _list_options(known: Iterable[str]) -> str:
    names = ", ".join(known)
    return f"its options: {names}" if names else "it has no options"


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = list(inspect.signature(_constructor(cls)).parameters.values())[1:]
    return {parameter.name: parameter for parameter in parameters if parameter.kind in named}


def _constructor(cls: type) -> Callable[..., None]:
    return getattr(cls, "__init__")  # noqa: B009 - a type checker holds `cls.__init__` to be unsound


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # an annotation that cannot be evaluated costs the type check of the options, not the mixer
        return {}


def _type_text(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type_text(arguments[0])
    if origin is typing.Literal:
        return " | ".join(str(choice) for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(_type_text, arguments))
    if annotation is types.NoneType:
        return "None"
    if isinstance(annotation, type) and not arguments:
        return annotation.__name__
    return re.sub(r"(typing|collections\.abc)\.", "", str(annotation))


def _annotation(hint: Any, default: Any) -> Any:
    """What to check a value against: the annotation, or else the type of the default."""
    if hint is not REQUIRED:
        return hint
    return Any if default is None or default is REQUIRED else type(default)


def _meanings(doc: str) -> dict[str, str]:
    """The lines ``name: meaning`` of a docstring's ``Options:`` section."""
    section = re.search(r"^Options:\n((?:[ \t]+.*(?:\n|$)|\n)*)", doc, re.MULTILINE)
    if not section:
        return {}
    entries = re.findall(r"^ {4}(\w+): (.+(?:\n {5,}.+)*)", section[1], re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}
