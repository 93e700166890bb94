"""What asks laws of one member, one after the other, and what becomes of each."""

import contextlib
import importlib.util
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

from zoo.errors import UsageError, check_seed
from zoo.plugin.isolation import random_numbers_kept
from zoo.plugin.options import did_you_mean
from zoo.testing.case import Case
from zoo.testing.covering import Covering
from zoo.testing.found import Search
from zoo.testing.kinds import MIXER, Suite
from zoo.testing.law import Grade, Law
from zoo.testing.member import MemberSubject, search_member
from zoo.testing.running import one_thread
from zoo.testing.subject import Sizes, Subject, format_error
from zoo.testing.violation import NotApplicable

Status: TypeAlias = Literal["passed", "advice", "failed", "skipped", "expected"]

EXAMPLES = 20


@dataclass(frozen=True)
class LawResult:
    """What became of one law.

    Attributes:
        law: its id.
        grade: ``"sound"`` or ``"finish"``.
        status: ``"advice"`` is a broken law of finish where that does not count; ``"expected"`` is a failure that was
            declared, with its reason in the message.
        message: one line: what was seen, or why the law was not asked; empty if it holds.
        counterexample: the smallest case found that breaks it: sizes, seed, options and cuts.
        seconds: how long it took.
    """

    law: str
    grade: Grade
    status: Status
    message: str = ""
    counterexample: dict[str, Any] | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which laws are asked, and how hard.

    Args:
        suite: the laws that there are.
        only: ids of laws; None asks all.
        skip: ids of laws that are left out.
        examples: cases a law.
        seed: of what is drawn.
        thorough: also ask what takes long.
        strict: a broken law of finish is a failure too.
        expected_failures: laws that the member cannot keep, by id, each with the reason.

    Raises:
        UsageError: an id that no law of the kind has, or no examples.
    """

    suite: Suite = MIXER
    only: Sequence[str] | None = None
    skip: Sequence[str] = ()
    examples: int = EXAMPLES
    seed: int = 0
    thorough: bool = False
    strict: bool = False
    expected_failures: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.examples < 1:
            raise UsageError(f"examples={self.examples} should be 1 or more")
        check_seed(self.seed)
        if not isinstance(self.expected_failures, Mapping):
            raise UsageError('expected_failures should be a dict from ids of laws to reasons, {"gradcheck": "…"}')
        known = self.suite.laws
        for name in [*(self.only or ()), *self.skip, *self.expected_failures]:
            if name not in known:
                hint = did_you_mean(name, known)
                raise UsageError(
                    f"no law of {self.suite.kind.plural} is named {name!r}{hint}; there are: {', '.join(known)}"
                )
        if not self.laws:
            raise UsageError("no law is left to ask")

    @property
    def laws(self) -> list[Law]:
        """The laws that results are wanted for, in their order."""
        asked = self.suite.laws.values()
        return [law for law in asked if (self.only is None or law.id in self.only) and law.id not in self.skip]


class Checker:
    """Asks laws of one subject, and keeps what does not depend on the law.

    Args:
        subject: what is checked.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.covering = Covering(subject)

    def results(self, request: Request) -> Iterator[LawResult]:
        """One result a law, each as soon as it is there; see `check_subject`."""
        if not isinstance(self.subject, MemberSubject):
            _need_hypothesis()
        self.subject.prepare()
        for law in request.laws:
            begin = time.perf_counter()
            with one_thread(), contextlib.redirect_stdout(sys.stderr):
                result = self._barred(law, request) if law.runs and self.trouble else self._judge(law, request)
            yield replace(result, seconds=time.perf_counter() - begin)

    @cached_property
    def trouble(self) -> str:
        """Why it does not even run, with the options that it has by default; empty if it does."""
        try:
            with random_numbers_kept():
                self._try_out()
        except NotApplicable:
            return ""
        except (Exception, SystemExit) as error:
            return f"it does not run: {format_error(error, self.subject)}"
        return ""

    def _try_out(self) -> None:
        if isinstance(self.subject, MemberSubject):
            self.subject.default_case().use()
        else:
            dim, heads = self.subject.shapes()[0]
            case = Case(self.subject, Sizes(1, 5, dim, heads), self.subject.some_options(dim, heads))
            self.subject.run(case.mixer, case.reads)

    def _search(self, law: Law, request: Request) -> Search:
        if isinstance(self.subject, MemberSubject):
            return search_member(law, self.subject, examples=request.examples, seed=request.seed)
        from zoo.testing.search import search

        return search(law, self.subject, examples=request.examples, seed=request.seed, covering=self.covering)

    def _barred(self, law: Law, request: Request) -> LawResult:
        """One law says why it does not run; the others are left out."""
        first = next(one for one in request.laws if one.runs)
        if law.id == first.id:
            found = self._judge(law, request) if isinstance(self.subject, MemberSubject) else None
            if found is not None and found.status in ("failed", "expected"):  # which says more
                return found
            return LawResult(law.id, law.grade, "failed", self.trouble)
        return LawResult(law.id, law.grade, "skipped", f"it does not run: see {first.id}")

    def _judge(self, law: Law, request: Request) -> LawResult:
        asked_for = request.only is not None and law.id in request.only
        if reason := law.exemption(self.subject, thorough=request.thorough or asked_for):
            return LawResult(law.id, law.grade, "skipped", reason)
        expected = request.expected_failures.get(law.id)
        broken: Status = "failed" if request.strict or law.grade == "sound" else "advice"
        found = self._search(law, request)
        if found.breach is not None:
            case, text = found.breach
            counterexample = case.to_dict() if case else None
            if expected is not None:
                return LawResult(law.id, law.grade, "expected", f"{expected}: {text}", counterexample)
            return LawResult(law.id, law.grade, broken, text, counterexample)
        if not found.looked_at:
            return LawResult(law.id, law.grade, "skipped", found.silent)
        if expected is not None:
            text = f"it holds, and was expected to fail ({expected}): expect it no longer"
            return LawResult(law.id, law.grade, broken, text)
        return LawResult(law.id, law.grade, "passed")


def _need_hypothesis() -> None:
    if importlib.util.find_spec("hypothesis") is None:
        raise UsageError("the laws draw their cases with hypothesis: pip install 'mixer-zoo[testing]'")
