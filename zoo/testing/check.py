"""All laws, or some of them, asked of one mixer or model."""

import contextlib
import importlib.util
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import torch

from zoo.contract import TokenMixer
from zoo.errors import UsageError, check_seed
from zoo.plugin.options import did_you_mean
from zoo.testing.case import Case
from zoo.testing.law import Law, Tier
from zoo.testing.laws import LAWS
from zoo.testing.running import evaluating, one_thread, write
from zoo.testing.subject import Sizes, Subject, subject_of, told

Status: TypeAlias = Literal["passed", "failed", "skipped", "expected"]

EXAMPLES = 20


@dataclass(frozen=True)
class LawResult:
    """What became of one law.

    Attributes:
        law: its id.
        status: ``"expected"`` is a failure that was declared, with its reason in the message.
        message: one line: what was seen, or why the law was not asked; empty if it holds.
        counterexample: the smallest case found that breaks it: sizes, seed, options and cuts.
        seconds: how long it took.
    """

    law: str
    status: Status
    message: str = ""
    counterexample: dict[str, Any] | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which laws are asked, and how hard.

    Args:
        only: ids of laws; None asks all.
        skip: ids of laws that are left out.
        examples: cases a law.
        seed: of what is drawn.
        tier: ``"full"`` also asks what takes long.
        expected_failures: laws that the mixer cannot keep, by id, each with the reason.

    Raises:
        UsageError: an id that no law has, or no examples.
    """

    only: Sequence[str] | None = None
    skip: Sequence[str] = ()
    examples: int = EXAMPLES
    seed: int = 0
    tier: Tier = "quick"
    expected_failures: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.examples < 1:
            raise UsageError(f"examples={self.examples} should be 1 or more")
        check_seed(self.seed)
        if not isinstance(self.expected_failures, Mapping):
            raise UsageError('expected_failures should be a dict from ids of laws to reasons, {"gradcheck": "…"}')
        for name in [*(self.only or ()), *self.skip, *self.expected_failures]:
            if name not in LAWS:
                raise UsageError(f"no law is named {name!r}{did_you_mean(name, LAWS)}; there are: {', '.join(LAWS)}")
        if not self.laws:
            raise UsageError("no law is left to ask")

    @property
    def laws(self) -> list[Law]:
        """The laws that are told of, in their order."""
        return [law for law in LAWS.values() if (self.only is None or law.id in self.only) and law.id not in self.skip]


def check_mixer(
    mixer: str | type[TokenMixer],
    *,
    options: Mapping[str, Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    only: Sequence[str] | None = None,
    examples: int = EXAMPLES,
    tier: Tier = "quick",
    skip: Sequence[str] = (),
    seed: int = 0,
) -> list[LawResult]:
    """Ask the laws of a mixer. A law that is broken is told in its result, and raises nothing.

    Args:
        mixer: a registered name, a pattern (of several layers: a whole model), or a `TokenMixer` class.
        options: of a single mixer. They stay as they are; the others are drawn from their annotations.
        expected_failures: laws that the mixer cannot keep, by id, each with the reason; besides those that its class
            declares. One that is kept after all is a failure.
        only: ids of laws; None asks all.
        examples: cases a law.
        tier: ``"full"`` also asks what takes long.
        skip: ids of laws that are left out.
        seed: of what is drawn.

    Returns:
        One result a law, in the order of `LAWS`.

    Raises:
        UsageError: a name, option, pattern or id that is unknown or cannot be, or Hypothesis is missing.
        PluginError: the plugin of a mixer is broken or missing.
    """
    subject = subject_of(mixer, options)
    expected = subject.expected_failures if expected_failures is None else expected_failures
    if isinstance(expected, Mapping):
        expected = {**subject.expected_failures, **expected}
    request = Request(
        only=only,
        skip=skip,
        examples=examples,
        seed=seed,
        tier=tier,
        expected_failures=expected,
    )
    return list(check_subject(subject, request))


def check_subject(subject: Subject, request: Request) -> Iterator[LawResult]:
    """The results, each as soon as it is there. What the mixer itself prints goes to stderr.

    Raises:
        UsageError: the mixer cannot be built at any size, or Hypothesis is missing.
    """
    _need_hypothesis()
    dim, heads = subject.shapes()[0]
    case, trouble = Case(subject, Sizes(1, 5, dim, heads), subject.some_options(dim, heads)), None
    for law in request.laws:
        begin = time.perf_counter()
        with one_thread(), contextlib.redirect_stdout(sys.stderr):
            trouble = _trouble(case) if trouble is None else trouble
            result = _barred(law, trouble, request) if trouble and law.runs else _judge(law, subject, request)
        yield _with(result, seconds=time.perf_counter() - begin)


def _trouble(case: Case) -> str:
    """Why a mixer does not even run, with the options that it has by default; empty if it does."""
    try:
        with torch.random.fork_rng(devices=[]):
            write(evaluating(case.mixer), case.reads)
    except (Exception, SystemExit) as error:
        return f"it does not run: {told(error, case.subject)}"
    return ""


def _barred(law: Law, trouble: str, request: Request) -> LawResult:
    """One law says why a mixer does not run; the others are left out."""
    first = next(one for one in request.laws if one.runs)
    if law.id == first.id:
        return LawResult(law.id, "failed", trouble)
    return LawResult(law.id, "skipped", f"it does not run: see {first.id}")


def _judge(law: Law, subject: Subject, request: Request) -> LawResult:
    from zoo.testing.search import search

    asked_for = request.only is not None and law.id in request.only
    if reason := law.exemption(subject, "full" if asked_for else request.tier):
        return LawResult(law.id, "skipped", reason)
    expected = request.expected_failures.get(law.id)
    found = search(law, subject, examples=request.examples, seed=request.seed)
    if found.breach is None:
        if not found.looked_at:
            return LawResult(law.id, "skipped", found.silent)
        if expected is not None:
            return LawResult(law.id, "failed", f"it holds, and was expected to fail ({expected}): expect it no longer")
        return LawResult(law.id, "passed")
    case, text = found.breach
    counterexample = case.told() if case else None
    if expected is not None:
        return LawResult(law.id, "expected", f"{expected}: {text}", counterexample)
    return LawResult(law.id, "failed", text, counterexample)


def _with(result: LawResult, *, seconds: float) -> LawResult:
    return LawResult(result.law, result.status, result.message, result.counterexample, seconds)


def _need_hypothesis() -> None:
    if importlib.util.find_spec("hypothesis") is None:
        raise UsageError("the laws draw their cases with hypothesis: pip install 'mixer-zoo[testing]'")
