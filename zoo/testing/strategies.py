"""Hypothesis strategies for what the laws range over: sizes, ways to cut a sequence, and the options of a mixer."""

import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from hypothesis import reject
from hypothesis import strategies as st

from zoo.plugin.options import FILLED_BY_HOST, Option
from zoo.testing.case import Case
from zoo.testing.subject import LONGEST, Sizes, Subject, required_values


def cuts(time: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Every way of cutting a sequence of so many tokens into pieces, as the ascending ends of all but the last."""
    if time < 2:
        return st.just(())
    return st.sets(st.integers(1, time - 1)).map(lambda ends: tuple(sorted(ends)))


def options(of: tuple[Option, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """Options of a mixer, each either left to its default or drawn from its annotation.

    Options whose annotation does not say what values there are (text) stay at their defaults, as do those that the
    host fills.
    """
    choices = {
        option.name: values(option.annotation, option.default) for option in of if option.name not in FILLED_BY_HOST
    }
    known = {name: strategy for name, strategy in choices.items() if strategy is not None}
    required = {option.name for option in of if option.required}
    for option in of:
        if option.required and option.name not in known:
            known[option.name] = st.sampled_from(required_values(option))
    return st.fixed_dictionaries(
        {name: known[name] for name in known if name in required},
        optional={name: known[name] for name in known if name not in required},
    )


def values(annotation: Any, default: Any = None) -> st.SearchStrategy[Any] | None:
    """Values of an annotation: choices of a Literal, truth values, counts, fractions, None; None if it is too wide.

    Args:
        annotation: of the option.
        default: of the option; values near it are worth a try.
    """
    plain = {
        bool: st.booleans(),
        int: st.sampled_from(_distinct(1, 2, 3, 4, 0, 5, 8, *_near(default, int, 1))),
        float: st.sampled_from(_distinct(0.5, 0.1, 0.9, *_near(default, float, default))),
        types.NoneType: st.none(),
    }
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return st.sampled_from([member.value for member in annotation])  # as a pattern spells them
    if origin is typing.Annotated:
        return values(arguments[0], default)
    if origin in (typing.Union, types.UnionType):
        parts = [part for part in (values(argument, default) for argument in arguments) if part is not None]
        return st.one_of(parts) if parts else None
    return plain.get(annotation) if isinstance(annotation, type) else None


def _near(default: Any, kind: type, step: Any) -> list[Any]:
    """A step below and above the default, if there is one of that kind."""
    if type(default) is not kind:
        return []
    return [value for value in (default + step, default - step) if value]


def _distinct(*among: Any) -> list[Any]:
    return list(dict.fromkeys(among))


@st.composite
def cases(
    draw: st.DrawFn,
    subject: Subject,
    shapes: Sequence[tuple[int, int]],
    *,
    sane: bool = True,
    longest: int = LONGEST,
    fixed: Mapping[str, Any] | None = None,
) -> Case:
    """Cases of a subject; options that it refuses with an error for users are not drawn.

    Args:
        draw: given by Hypothesis.
        subject: what is checked.
        shapes: model widths and heads, small ones first.
        sane: leave out options with which it builds and then fails, or writes another shape than it read. That is
            for one law to tell, not for all of them.
        longest: the most tokens.
        fixed: options that are not drawn; None draws them all.
    """
    dim, heads = draw(st.sampled_from(shapes))
    size = Sizes(draw(st.integers(1, 3)), draw(st.integers(1, longest)), dim, heads)
    chosen = draw(options(subject.free_options)) if fixed is None else dict(fixed)
    case = Case(subject, size, chosen, seed=draw(st.integers(0, 2**16)), cuts=draw(cuts(size.time)))
    if not case.builds or (sane and chosen and not case.runs):
        reject()
    return case
