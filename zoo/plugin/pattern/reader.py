"""From the text of a pattern to its tree, or to an error that shows the place."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedInput, UnexpectedToken
from lark.lark import PostLex

from zoo.errors import PatternError, UsageError
from zoo.plugin.pattern.caret import point_at
from zoo.plugin.pattern.labels import LabelError
from zoo.plugin.pattern.text import (
    Value,
    canonical_label,
    canonical_name,
    canonical_option,
    canonical_value,
    check_new_option,
    quoted,
    read_string,
    read_word,
)
from zoo.plugin.pattern.tree import MAX_LAYERS, MAX_LENGTH, Call, Layer, Pattern, Repeat

MAX_DEPTH = 50
"""Brackets within brackets."""

# The order is the one in which an error lists them. A '(' may also open a value, which needs no mention.
_DESCRIPTIONS = {
    "WORD": "a value",
    "NAME": "a name",
    "LABEL": "a label",
    "OPTION": "an option (name=value)",
    "COUNT": "a whole number",
    "COMMA": "','",
    "STAR": "'*'",
    "PLUS": "'+'",
    "SLASH": "'/'",
    "AT": "'@'",
    "LPAR": "'('",
    "RPAR": "')'",
    "RSQB": "']'",
    "$END": "the end",
}
_LAYER = " (a layer is mixer + mixer/channel*count; brackets go around layers)"
_LABELLED = " (in a pattern a mixer may have one label: name@label(options))"


class _PlacedError(Exception):
    """A mistake and its place, on the way to where the whole text is known."""

    def __init__(self, message: str, place: tuple[int, int]) -> None:
        super().__init__(message)
        self.place = place


@contextmanager
def _at(place: tuple[int, int]) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        raise _PlacedError(str(error), place) from None


def _place(token: Token) -> tuple[int, int]:
    assert token.start_pos is not None
    assert token.end_pos is not None
    return token.start_pos, token.end_pos


class _TokenChecks(PostLex):
    """Passes the tokens on up to a string that cannot be read or a bracket too deep.

    The parser alone would report the end of the text, at which it notices an unclosed string.
    """

    always_accept: Iterable[str] = ()

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        depth = 0
        for token in stream:
            depth += (token.type in ("LPAR", "LSQB")) - (token.type in ("RPAR", "RSQB"))
            if depth > MAX_DEPTH:
                raise _PlacedError(f"brackets are nested too deep: expected at most {MAX_DEPTH} levels", _place(token))
            if token.type == "STRING":
                with _at(_place(token)):
                    read_string(str(token))
            yield token


class _Option(NamedTuple):
    name: str
    value: Value
    place: tuple[int, int]


class _Label(NamedTuple):
    text: str
    end: int


class _Options(NamedTuple):
    options: tuple[_Option, ...]
    end: int


@v_args(inline=True)
class _Builder(Transformer[Token, Pattern]):
    """Builds the tree while the parser runs: one method a rule of the grammar."""

    def pattern(self, *items: Layer | Repeat) -> Pattern:
        return Pattern(items)

    def group(self, opening: Token, *items: Layer | Repeat) -> Repeat:
        with _at(_place(opening)):
            return Repeat(items, 1)

    def repeat(self, item: Layer | Repeat, count: Token) -> Repeat:
        if not (re.fullmatch("[1-9][0-9]{,3}", count) and int(count) <= MAX_LAYERS):
            message = f"{quoted(str(count))} is no count: expected a whole number from 1 to {MAX_LAYERS}"
            raise _PlacedError(message, _place(count))
        with _at(_place(count)):
            return Repeat((item,), int(count))

    def layer(self, mixers: tuple[Call, ...], channel: Call | None) -> Layer:
        return Layer(mixers, channel)

    def mixers(self, *calls: Call) -> tuple[Call, ...]:
        return calls

    def single(self, name: Token, given: _Options | None) -> Call:
        return self.call(name, None, given)

    def call(self, name: Token, label: _Label | None, given: _Options | None) -> Call:
        start, end = _place(name)
        with _at((start, end)):
            canonical = canonical_name(re.sub(r"\s", "", str(name)))
        options = tuple((option.name, option.value) for option in given.options) if given else ()
        last = given or label
        position = (start, last.end if last else end)
        with _at(position):
            return Call(canonical, options, position, label and label.text)

    def label(self, token: Token) -> _Label:
        with _at(_place(token)):
            return _Label(canonical_label(str(token)), _place(token)[1])

    def options(self, *parts: Any) -> _Options:
        *options, closing = parts
        names: set[str] = set()
        for option in options:
            with _at(option.place):
                check_new_option(option.name, names)
            names.add(option.name)
        return _Options(tuple(options), _place(closing)[1])

    def option(self, name: Token, value: Value) -> _Option:
        with _at(_place(name)):
            return _Option(canonical_option(str(name)), canonical_value(value), _place(name))

    def word(self, token: Token) -> Value:
        with _at(_place(token)):
            return read_word(str(token))

    def string(self, token: Token) -> Value:
        return read_string(str(token))

    def sequence(self, *values: Value) -> Value:
        return values


@lru_cache(maxsize=1)
def _parser() -> Lark:
    return Lark(
        Path(__file__).with_name("pattern.lark").read_text(encoding="utf-8"),
        parser="lalr",
        lexer="contextual",
        start=["pattern", "single"],
        transformer=_Builder(),
        postlex=_TokenChecks(),
    )


def read_pattern(text: str) -> Pattern:
    """The tree of a pattern, or a PatternError."""
    pattern = _read(text, "pattern")
    assert isinstance(pattern, Pattern)
    return pattern


def read_call(text: str) -> Call:
    """One name with its options, or a PatternError."""
    call = _read(text, "single")
    assert isinstance(call, Call)
    return call


def _read(text: str, start: str) -> object:
    if len(text) > MAX_LENGTH:
        message = f"the text has {len(text)} characters: expected at most {MAX_LENGTH}"
        raise point_at(text, (MAX_LENGTH, MAX_LENGTH), message)
    try:
        return _parser().parse(text, start=start)
    except _PlacedError as mistake:
        raise point_at(text, mistake.place, str(mistake)) from None
    except UsageError as error:
        whole = len(text) - len(text.lstrip()), len(text.rstrip())
        position = error.position if isinstance(error, LabelError) else None
        raise point_at(text, position or whole, str(error)) from None
    except UnexpectedInput as unexpected:
        at_end = isinstance(unexpected, UnexpectedToken) and unexpected.token.type == "$END"
        place = len(text.rstrip()) if at_end else unexpected.pos_in_stream
        assert place is not None
        raise _unexpected(text, place, start) from None


def _unexpected(text: str, place: int, start: str) -> PatternError:
    # Lark's own set of what it expected belongs to a state that other texts share. This one is exact: what the parser
    # accepts after the text up to the place.
    parser = _parser().parse_interactive(text[:place], start=start)
    parser.exhaust_lexer()
    accepted = parser.accepts()
    if accepted == {"EQUAL"}:
        alone: Token = parser.parser_state.value_stack[-1]
        return point_at(text, _place(alone), f"{quoted(str(alone))} is no option: expected name=value")
    found = re.match(r"\w[\w.-]*|.", text.rstrip()[place:])
    if found is None:
        wrong, end = "the text ends too early" if place else "the text is empty", place
    else:
        wrong, end = f"unexpected {quoted(found[0])}", place + found.end()
    hint = _LAYER if found and found[0] in "*+/" and accepted & {"STAR", "$END"} else ""
    if found and found[0] == "@" and accepted & {"STAR", "$END"}:
        hint = _LABELLED
    if re.search(r"\.py\b", text):
        hint = "; a class in a file is for `zoo check` alone, a pattern has the names that `zoo list` shows"
    return point_at(text, (place, end), f"{wrong}: expected {_format_expected(accepted)}{hint}")


def _format_expected(accepted: set[str]) -> str:
    hidden = "LPAR" if "WORD" in accepted else None
    words = [word for terminal, word in _DESCRIPTIONS.items() if terminal in accepted and terminal != hidden]
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
