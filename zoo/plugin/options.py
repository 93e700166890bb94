"""The options of a member: read from its ``__init__``, documented by its docstring, checked before it is built."""

import difflib
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from zoo.errors import UsageError

FILLED_BY_HOST = frozenset({"heads", "layer_index", "layers", "context"})
"""Options that the host fills where the user gave no value."""

_DIM = frozenset({"dim"})

REQUIRED: Any = inspect.Parameter.empty
"""The default of an option that has none."""

_WORDS = {None: "none", True: "true", False: "false"}
"""What a pattern takes for a constant, as the text that it was."""


@dataclass(frozen=True)
class Option:
    """One option of a member: a keyword parameter of its ``__init__``."""

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
        """The annotation as it is written."""
        try:
            return _type_text(self.annotation)
        except Exception:  # an annotation may be any object, with any representation
            return type(self.annotation).__name__

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values of a Literal or an Enum, as a pattern spells them; empty for another annotation."""
        return _choices(self.annotation)

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(_repeatable(self.annotation))

    def check(self, value: Any, owner: str) -> Any:
        """The value as the annotation has it.

        What a pattern can spell is taken for what it stands for: an int for a float, a tuple for a list or a set, an
        Enum's value for its member, text for a path. Nothing else is converted.

        Raises:
            UsageError: the value does not fit.
        """
        try:
            adapter = self._adapter
        except Exception:  # an annotation that pydantic does not know is the mixer's own business
            return value
        try:
            return _validated(adapter, value)
        except PydanticUserError:  # likewise: a name that stands for nothing
            return value
        except ValidationError as error:
            if (value is None or isinstance(value, bool)) and _WORDS[value] in self.choices:
                return _validated(adapter, _WORDS[value])
            raise UsageError(f"{owner}: option {self.name}={value!r} should {_reason(value, error)}") from None


def options_of(cls: type, *, filled: Collection[str] = _DIM) -> tuple[Option, ...]:
    """The options of a class, in the order of its parameters.

    Args:
        cls: of a mixer, by default.
        filled: parameters that the host always gives, and that are no options.
    """
    return _options_of(cls, frozenset(filled))


@lru_cache(maxsize=1024)
def _options_of(cls: type, filled: frozenset[str]) -> tuple[Option, ...]:
    hints = _hints(_constructor(cls))
    meanings = _meanings(inspect.getdoc(cls) or "")
    return tuple(
        Option(
            name, _annotation(hints.get(name, REQUIRED), parameter.default), parameter.default, meanings.get(name, "")
        )
        for name, parameter in _parameters(cls).items()
        if name not in filled
    )


def parameters_of(cls: type) -> frozenset[str]:
    """The names of what ``__init__`` takes by keyword, options or not."""
    return frozenset(_parameters(cls))


def check_options(cls: type, given: Mapping[str, Any], owner: str, *, filled: Collection[str] = _DIM) -> dict[str, Any]:
    """The given options, checked against the class; `filled` as for `options_of`.

    Raises:
        UsageError: an option that the mixer does not have, a value of the wrong type, a required option left out.
    """
    checked = check_given(cls, given, owner, filled=filled)
    for option in options_of(cls, filled=filled):
        if option.required and option.name not in checked:
            raise UsageError(f"{owner} needs a value for its option {option.name!r}: {owner}({option.name}=…)")
    return checked


def check_given(cls: type, given: Mapping[str, Any], owner: str, *, filled: Collection[str] = _DIM) -> dict[str, Any]:
    """Some of the options, checked against the class; others may follow.

    A class may have a static method ``modernize_options(given)``, which returns options that an earlier version of it
    took as they are written now: so runs that were saved with them can be used.

    Raises:
        UsageError: an option that the mixer does not have, or a value of the wrong type.
    """
    known = {option.name: option for option in options_of(cls, filled=filled)}
    given = getattr(cls, "modernize_options", dict)(given)
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


def _repeatable(annotation: Any) -> Any:
    """The annotation with tuples for iterables: pydantic checks those late, and hands out what is empty afterwards."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if Iterable in (annotation, origin):
        return types.GenericAlias(tuple, (*(arguments or (Any,)), ...))
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(map(_repeatable, arguments))]  # noqa: UP007 - of as many as there are
    return annotation


def _validated(adapter: TypeAdapter[Any], value: Any) -> Any:
    """The value in strict mode: as it is, or else as JSON, where an array stands for every sequence and set."""
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError as error:
        try:
            return adapter.validate_json(json.dumps(value), strict=True)
        except (TypeError, ValueError) as second:
            if isinstance(second, ValidationError) and _kinds(second) != _kinds(error):
                raise second from None
            raise error from None


def _kinds(error: ValidationError) -> list[str]:
    return [one["type"] for one in error.errors()]


def _reason(value: Any, error: ValidationError) -> str:
    """What the value should do."""
    errors = error.errors()
    first = errors[0]
    if first["type"] == "missing":  # of a tuple of fixed length
        wanted = len(first["input"]) + sum(one["type"] == "missing" for one in errors)
        return f"have {wanted} values, not {len(first['input'])}"
    if first["type"] == "too_long":
        return f"have {first['ctx']['max_length']} values, not {first['ctx']['actual_length']}"
    alternatives = [one["msg"] for one in errors if one["input"] == value] or [first["msg"]]
    texts = (text.removeprefix("Input should be ").replace("valid array", "valid list") for text in alternatives)
    return f"be {' or '.join(dict.fromkeys(texts))}"


def _choices(annotation: Any) -> tuple[Any, ...]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return arguments
    if origin is typing.Annotated:
        return _choices(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return tuple(choice for argument in arguments for choice in _choices(argument))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return tuple(member.value for member in annotation)
    return ()


def _type_text(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type_text(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(_type_text, arguments))
    if choices := _choices(annotation):
        return " | ".join(map(str, choices))
    if annotation is types.NoneType:
        return "None"
    if isinstance(annotation, type) and not arguments:
        return annotation.__name__
    return re.sub(r"(typing|collections\.abc)\.", "", str(annotation))


def _annotation(hint: Any, default: Any) -> Any:
    """What to check a value against: the annotation, or else the type of the default."""
    if hint is not REQUIRED:
        return hint
    if default is None or default is REQUIRED:
        return Any
    return int | float if type(default) is int else type(default)  # 1 is written where 1.0 is meant


def _meanings(doc: str) -> dict[str, str]:
    """The lines ``name: meaning`` of a docstring's ``Options:`` section."""
    section = re.search(r"^Options:\n((?:[ \t]+.*(?:\n|$)|\n)*)", doc, re.MULTILINE)
    if not section:
        return {}
    entries = re.findall(r"^ {4}(\w+): (.+(?:\n {5,}.+)*)", section[1], re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}
