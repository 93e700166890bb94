"""The laws of what a person sees: the options, what is said of a wrong one, and the documentation."""

import typing
from typing import Any

import torch

from zoo.contract import Mixed, TokenMixer
from zoo.errors import UsageError, ZooError
from zoo.plugin.options import REQUIRED, Option, check_options, options_of
from zoo.plugin.pattern import Call, parse_call
from zoo.testing.case import Case
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
            back = check_options(entry.cls, parse_call(str(call)).keywords, entry.name)
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
    most=2,
    alone=True,
    sane=False,
)
def options_refused(case: Case) -> None:
    """A value that cannot be is refused when the mixer is built, by a ValueError that names the option."""
    entry = case.subject.entry
    assert entry is not None
    probes = [(option, value) for option in entry.options for value in _probes(option)]
    if not probes:
        raise NotApplicable("it has no options that are numbers or text")
    for option, value in probes:
        _check_value(case, case.subject, option, value)


def _probes(option: Option) -> tuple[Any, ...]:
    """Values worth trying, of the types that the annotation allows."""
    kinds = typing.get_args(option.annotation) or (option.annotation,)
    return tuple(value for kind in kinds if isinstance(kind, type) for value in PROBES.get(kind, ()))


def _check_value(case: Case, subject: Subject, option: Option, value: Any) -> None:
    told, dim = f"{option.name}={value!r}", case.sizes.dim
    try:
        mixer = subject.build({**case.options, option.name: value}, dim=dim, heads=case.sizes.heads, seed=case.seed)
    except UsageError as error:
        if option.name not in str(error):
            raise LawViolation(f"{told} is refused by an error that does not name the option: {error}") from None
        return
    except ZooError as error:
        raise LawViolation(f"{told} is not refused with a ValueError: {error}") from None
    _run(mixer, told, dim)


def _run(mixer: TokenMixer, told: str, dim: int) -> None:
    reads = torch.randn(1, min(5, mixer.max_length or 5), dim)
    try:
        written = Mixed.of(mixer.eval()(reads)).out
    except Exception as error:
        raise LawViolation(f"{told} is taken, and fails in forward: {type(error).__name__}: {error}") from None
    if written.shape != reads.shape or not written.isfinite().all():
        raise LawViolation(f"{told} is taken, and forward then writes {tuple(written.shape)}, or what is not finite")


SUMMARY = 140


@law(
    "documentation",
    bug="A mixer that nobody but its author can use, under a name that two papers claim.",
    most=1,
    alone=True,
    runs=False,
)
def documentation(case: Case) -> None:
    """A mixer has a docstring of its own, a summary of one sentence, a line for each option, and its paper."""
    entry = case.subject.entry
    assert entry is not None
    if not entry.doc:
        raise LawViolation(f"{entry.cls.__name__} has no docstring: zoo list and zoo info have nothing to say")
    if len(entry.summary) > SUMMARY or not entry.summary.endswith("."):
        raise LawViolation(f"the summary should be one sentence of at most {SUMMARY} characters: {entry.summary!r}")
    silent = [option.name for option in options_of(entry.cls) if not option.meaning]
    if silent:
        raise LawViolation(f'no line "name: meaning" in the section "Options:" for {", ".join(silent)}')
    if not entry.cls.paper:
        raise LawViolation('set `paper` to where it comes from, or to "unpublished"')
