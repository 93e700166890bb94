"""The laws that every member keeps which is no module: that a wrong value of an option is refused."""

import dataclasses

from zoo.errors import UsageError, ZooError
from zoo.testing.law import Law
from zoo.testing.laws import options
from zoo.testing.member import MemberCase
from zoo.testing.violation import LawViolation, NotApplicable


def _check_refused(case: MemberCase) -> None:
    entry = case.subject.entry
    assert entry is not None
    probes = [(option.name, value) for option in entry.options for value in options.probes_of(option)]
    if not probes:
        raise NotApplicable("it has no options that are numbers or text")
    lacking = []
    for name, value in probes:
        probe = dataclasses.replace(case, options={**case.options, name: value})
        try:
            _check_value(probe, name, f"{name}={value!r}")
        except NotApplicable as reason:  # what it needs for this value is not here: more GPUs, say
            lacking.append(reason)
    if len(lacking) == len(probes):
        raise lacking[0]


def _check_value(case: MemberCase, name: str, spelt: str) -> None:
    try:
        case.create()
    except UsageError as error:
        if name not in str(error):
            raise LawViolation(f"{spelt} is refused by an error that does not name the option: {error}") from None
        return
    except ZooError as error:
        raise LawViolation(f"{spelt} is not refused with a ValueError: {error}") from None
    try:
        case.use()
    except NotApplicable:
        raise
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise LawViolation(f"{spelt} is taken, and fails when it is used: {cause}") from None


options_refused: Law = dataclasses.replace(options.options_refused, check=_check_refused, limit=1, varies=False)
"""The law of mixers, for what is built from options alone."""
