"""The laws of what the user sees: the options, the error for a wrong one, and the documentation."""

import re
import typing
from typing import Any

import torch

from zoo.contract import Mixed, TokenMixer
from zoo.errors import UsageError, ZooError
from zoo.plugin.options import REQUIRED, Option
from zoo.plugin.pattern import Call, parse_call
from zoo.testing.case import Case
from zoo.testing.covering import choices_of
from zoo.testing.law import law
from zoo.testing.subject import Subject
from zoo.testing.violation import LawViolation, NotApplicable


@law(
    "options-round-trip",
    bug="A default that is a function: the run trains, and its saved configuration cannot be read back.",
    alone=True,
    runs=False,
)
def options_round_trip(case: Case) -> None:
    """Options and their defaults can be written into a pattern, and come back from it as they were."""
    entry = case.subject.entry
    assert entry is not None
    if not entry.options:
        raise NotApplicable("it has no options")
    given = {**case.subject.given, **case.options}
    defaults = {option.name: option.default for option in entry.options if option.default is not REQUIRED}
    required = {option.name: given[option.name] for option in entry.options if option.required}
    for options in (defaults | required, given):
        try:
            call = Call(entry.name, tuple(options.items()))
            back = entry.check(parse_call(str(call)).keywords)
            again = Call(entry.name, tuple(back.items()))
        except UsageError as error:
            raise LawViolation(f"options {options} cannot be written into a pattern: {error}") from None
        # An annotation says what becomes of a tuple, e.g. a set; without one a list comes back as what it was not.
        untold = {option.name for option in entry.options if option.annotation is Any} & set(options)
        if again != call or any(back[name] != options[name] for name in untold):
            raise LawViolation(f"{call} reads back as {back}, not as {options}")


PROBES: dict[type, tuple[Any, ...]] = {
    int: (0, -1, 3, 7, 1000),
    float: (0.0, -1.0, 2.0, 1e9),
    str: ("", "no such value"),
}


@law(
    "options-refused",
    bug="heads=3 for a width of 16: an error from inside einops, thirty frames deep, that names no option.",
    grade="finish",
    limit=2,
    alone=True,
    sane=False,
)
def options_refused(case: Case) -> None:
    """A value that cannot be is refused when the member is built, by a ValueError that names the option."""
    entry = case.subject.entry
    assert entry is not None
    probes = [(option, value) for option in entry.options for value in probes_of(option)]
    if not probes:
        raise NotApplicable("it has no options that are numbers or text")
    for option, value in probes:
        _check_value(case, case.subject, option, value)


def probes_of(option: Option) -> tuple[Any, ...]:
    """Values worth trying, of the types that the annotation allows."""
    kinds = typing.get_args(option.annotation) or (option.annotation,)
    probes = [value for kind in kinds if isinstance(kind, type) for value in PROBES.get(kind, ())]
    return (*probes, *(value for values in choices_of(option).values() for value in values[:1]))


LARGE = 10**6
"""Parameters of a member that is not run, for want of memory or time: it is small but for the value that is tried."""


def _check_value(case: Case, subject: Subject, option: Option, value: Any) -> None:
    choice, dim = f"{option.name}={value!r}", case.sizes.dim
    chosen = {**case.options, option.name: value}
    if _may_be_large(value) and _is_large(case, subject, chosen):
        return
    try:
        mixer = subject.build(chosen, dim=dim, heads=case.sizes.heads, seed=case.seed)
    except UsageError as error:
        if option.name not in str(error):
            raise LawViolation(f"{choice} is refused by an error that does not name the option: {error}") from None
        return
    except ZooError as error:
        raise LawViolation(f"{choice} is not refused with a ValueError: {error}") from None
    _run(mixer, choice, dim)


def _may_be_large(value: Any) -> bool:
    """Whether the value could make a member large: a switch cannot, nor can two of anything."""
    return not (value is None or (isinstance(value, int | float) and value <= 2))


def _is_large(case: Case, subject: Subject, chosen: dict[str, Any]) -> bool:
    """Whether such a mixer is too large to be built, which is no mistake."""
    try:
        with torch.device("meta"):
            late = subject.build(chosen, dim=case.sizes.dim, heads=case.sizes.heads, seed=case.seed)
    except Exception:  # what is wrong with the value shows when it is built in earnest
        return False
    return sum(value.numel() for value in late.parameters()) > LARGE


def _run(mixer: TokenMixer, choice: str, dim: int) -> None:
    reads = torch.randn(1, min(5, getattr(mixer, "max_length", None) or 5), dim)
    try:
        written = Mixed.of(mixer.eval()(reads)).out
    except Exception as error:
        raise LawViolation(f"{choice} is taken, and fails in forward: {type(error).__name__}: {error}") from None
    if written.shape != reads.shape or not written.isfinite().all():
        raise LawViolation(f"{choice} is taken, and forward then writes {tuple(written.shape)}, or what is not finite")


SUMMARY = 140


@law(
    "documentation",
    bug="A mixer that only its author can use: its options have names and no meanings.",
    grade="finish",
    limit=1,
    alone=True,
    runs=False,
    varies=False,
)
def documentation(case: Case) -> None:
    """A mixer has a docstring of its own: a summary of one sentence, the equation, and a line for each option."""
    doc = check_docstring(case)
    body = re.split(r"^(?:Options|Cost|Raises|Errors|Source|Sources):", doc, maxsplit=1, flags=re.MULTILINE)[0]
    if not re.search(r"^[ \t]+\S", body, re.MULTILINE):
        raise LawViolation("the docstring has no equation: put it below the summary, as an indented block")


@law(
    "documentation",
    bug="A channel mixer that only its author can use: its options have names and no meanings.",
    grade="finish",
    limit=1,
    runs=False,
    varies=False,
)
def docstring(case: Case) -> None:
    """A member of another kind has a docstring of its own: a summary of one sentence, and a line for each option."""
    check_docstring(case)


def check_docstring(case: Case) -> str:
    """The docstring of what is checked, if it has a summary and says what each option means."""
    entry = case.subject.entry
    assert entry is not None
    if not entry.doc:
        raise LawViolation(f"{entry.cls.__name__} has no docstring: zoo list and zoo info have nothing to say")
    if len(entry.summary) > SUMMARY or not entry.summary.endswith("."):
        raise LawViolation(f"the summary should be one sentence of at most {SUMMARY} characters: {entry.summary!r}")
    silent = [option.name for option in entry.options if not option.meaning]
    if silent:
        raise LawViolation(f'no line "name: meaning" in the section "Options:" for {", ".join(silent)}')
    return entry.doc


@law(
    "paper",
    bug="A mixer or a scheme under a name that two papers claim: which of them was measured is not known.",
    grade="finish",
    limit=1,
    alone=True,
    runs=False,
    varies=False,
)
def paper(case: Case) -> None:
    """A member says where it comes from, in its attribute `paper`."""
    entry = case.subject.entry
    assert entry is not None
    said = getattr(entry.cls, "paper", None)
    if not isinstance(said, str) or not said.strip():
        raise LawViolation('set `paper` to where it comes from, or to "unpublished"')
