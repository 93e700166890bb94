"""The laws from Python: what ``zoo check`` does, as a verdict."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zoo.api.members import member_of
from zoo.api.progress import progress_line
from zoo.pages.page import printable, render_fragment
from zoo.plugin.classes import Layers
from zoo.plugin.local import find_class, with_file_names
from zoo.testing.check import check_subject
from zoo.testing.checker import EXAMPLES, LawResult, Request
from zoo.testing.kinds import Suite, find_subject
from zoo.testing.storage import keep_hypothesis_in_the_cache

_ORDER = ("failed", "expected", "advice", "passed", "skipped")


@dataclass(frozen=True)
class Verdict:
    """What became of the laws that were asked. It is true if none failed; a notebook shows a table.

    Attributes:
        member: what was checked, as a pattern writes it.
        kind: of the member.
        results: one a law, in the order in which they were asked.
    """

    member: str
    kind: str
    results: tuple[LawResult, ...]
    _suite: Suite = field(repr=False, compare=False)

    @property
    def passed(self) -> bool:
        """Whether no law failed. Advice, and failures that were declared, do not count."""
        return not self.failed

    @property
    def failed(self) -> tuple[LawResult, ...]:
        """The results of the laws that failed. The first one often explains the others."""
        return tuple(result for result in self.results if result.status == "failed")

    @property
    def seconds(self) -> float:
        """How long it took."""
        return sum(result.seconds for result in self.results)

    def __bool__(self) -> bool:
        return self.passed

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[LawResult]:
        return iter(self.results)

    def __getitem__(self, law: str) -> LawResult:
        """The result of one law; `KeyError` where it was not asked."""
        found = {result.law: result for result in self.results}
        if law not in found:
            raise KeyError(f"the law {law!r} was not asked; these were: {', '.join(found)}")
        return found[law]

    def __repr__(self) -> str:
        return f"Verdict({self.kind} {self.member}: {self._counts()}, in {self.seconds:.1f} s)"

    def _counts(self) -> str:
        counts = Counter[str](result.status for result in self.results)
        return ", ".join(f"{counts[status]} {status}" for status in _ORDER if counts[status])

    def _repr_html_(self) -> str:
        promises = {law.id: law.promise for law in self._suite.laws.values()}
        return render_fragment(
            "zoo.api/check.html.j2",
            member=printable(self.member),
            kind=self.kind,
            passed=self.passed,
            counts=f"{self._counts()}, in {self.seconds:.1f} s",
            rows=[
                (result.law, result.status, f"{result.seconds:.1f} s", printable(result.message), promises[result.law])
                for result in self.results
            ],
        )


def check(
    member: Layers,
    *,
    options: Mapping[str, Any] | None = None,
    only: Sequence[str] | None = None,
    skip: Sequence[str] = (),
    expected_failures: Mapping[str, str] | None = None,
    thorough: bool = False,
    strict: bool = False,
    examples: int = EXAMPLES,
    seed: int = 0,
    progress: bool = True,
) -> Verdict:
    """Ask the laws of a member of any kind, or of a whole model, as ``zoo check`` does.

    Args:
        member: a class, ``partial(Class, option=…)``, a name, ``"KIND:NAME"``, ``"./mine.py:Mine"``, or layers: a
            pattern or a list of several, which are checked as a whole model.
        options: that stay as they are; the others are drawn.
        only: ids of laws; None asks all.
        skip: ids of laws that are left out.
        expected_failures: laws that the member cannot keep, by id, each with the reason; besides those that its class
            declares.
        thorough: also ask what takes long.
        strict: advice counts as a failure.
        examples: cases that are drawn for a law.
        seed: the same seed draws the same cases.
        progress: show which law is asked, in a notebook or on a terminal.

    Raises:
        UsageError: a name, option or id that is unknown or cannot be, or Hypothesis is missing:
            ``pip install 'mixer-zoo[testing]'``.
        PluginError: the plugin of the member is broken or missing.
    """
    keep_hypothesis_in_the_cache()
    found, fixed = member_of(member)
    if isinstance(found, str):
        found = find_class(found) or with_file_names(found)
    suite, subject = find_subject(found, {**fixed, **(options or {})})
    request = Request(
        suite=suite,
        only=_ids(only),
        skip=_ids(skip) or (),
        examples=examples,
        seed=seed,
        thorough=thorough,
        strict=strict,
        expected_failures={**subject.expected_failures, **(expected_failures or {})},
    )
    results = []
    with progress_line(progress) as line:
        checking = check_subject(subject, request)
        for number, law in enumerate(request.laws):
            line.show(f"{law.id} of {printable(subject.label)}", number, len(request.laws))
            results.append(next(checking))
    label = subject.label if isinstance(found, str) else _call_of(found, {**fixed, **(options or {})})
    return Verdict(label, suite.kind.name, tuple(results), suite)


def _call_of(cls: type[Any], options: Mapping[str, Any]) -> str:
    """A class with its options, as one reads them."""
    written = ", ".join(f"{name}={value!r}" for name, value in options.items())
    return f"{cls.__name__}({written})" if written else cls.__name__


def _ids(laws: Sequence[str] | None) -> Sequence[str] | None:
    return [laws] if isinstance(laws, str) else laws
