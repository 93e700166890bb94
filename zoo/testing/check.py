"""All laws of a kind, or some of them, asked of one member."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zoo.contract import TokenMixer
from zoo.testing.checker import EXAMPLES, Checker, LawResult, Request
from zoo.testing.kinds import suite_of
from zoo.testing.subject import Subject


def check_mixer(
    mixer: str | type[TokenMixer],
    *,
    options: Mapping[str, Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    only: Sequence[str] | None = None,
    examples: int = EXAMPLES,
    thorough: bool = False,
    strict: bool = False,
    skip: Sequence[str] = (),
    seed: int = 0,
) -> list[LawResult]:
    """Ask the laws of a mixer. A law that is broken is reported in its result, and raises nothing.

    Args:
        mixer: a registered name, a pattern (of several layers: a whole model), or a `TokenMixer` class.
        options: of a single mixer. They stay as they are; the others are drawn from their annotations.
        expected_failures: laws that the mixer cannot keep, by id, each with the reason; besides those that its class
            declares. One that is kept after all is a failure.
        only: ids of laws; None asks all.
        examples: cases a law; beside them, each choice of an option that they did not have is looked at.
        thorough: also ask what takes long.
        strict: a broken law of grade ``"finish"`` has the status ``"failed"`` too, and not ``"advice"``.
        skip: ids of laws that are left out.
        seed: of what is drawn.

    Returns:
        One result a law, in the order of `LAWS`.

    Raises:
        UsageError: a name, option, pattern or id that is unknown or cannot be, or Hypothesis is missing.
        PluginError: the plugin of a mixer is broken or missing.
    """
    return check_member(
        "mixer",
        mixer,
        options=options,
        expected_failures=expected_failures,
        only=only,
        examples=examples,
        thorough=thorough,
        strict=strict,
        skip=skip,
        seed=seed,
    )


def check_member(
    kind: str,
    member: str | type,
    *,
    options: Mapping[str, Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    **how: Any,
) -> list[LawResult]:
    """Ask the laws of a member of any kind.

    Args:
        kind: whose laws: ``"mixer"``, ``"channel-mixer"``, …
        member: a name or a class.
        options: that stay as they are.
        expected_failures: as for `check_mixer`.
        how: ``only``, ``skip``, ``examples``, ``thorough``, ``strict`` and ``seed``, as for `check_mixer`.

    Returns:
        One result a law.

    Raises:
        UsageError: a kind, name, option or id that is unknown or cannot be, or Hypothesis is missing.
        PluginError: the plugin of the member is broken or missing.
    """
    suite, subject = suite_of(kind).subject(member, options)
    expected = subject.expected_failures if expected_failures is None else expected_failures
    if isinstance(expected, Mapping):
        expected = {**subject.expected_failures, **expected}
    return list(check_subject(subject, Request(suite=suite, expected_failures=expected, **how)))


def check_subject(subject: Subject, request: Request) -> Iterator[LawResult]:
    """The results, each as soon as it is there. What the member itself prints goes to stderr.

    Raises:
        UsageError: the member cannot be built at any size, or Hypothesis is missing.
    """
    return Checker(subject).results(request)
