"""What a law is: a promise that every mixer keeps, why it matters, and a function that looks for a breach."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from zoo.testing.case import Case
from zoo.testing.subject import Subject

Tier: TypeAlias = Literal["quick", "full"]


@dataclass(frozen=True)
class Law:
    """A promise that every mixer keeps.

    Args:
        id: stable: what an id stands for does not change; a law that says something else gets another one.
        promise: one sentence.
        bug: what goes wrong where it is broken, by an example from practice.
        check: looks at one case; raises `LawViolation` where the law is broken, `NotApplicable` where it says nothing.
        most: how many cases are enough; None leaves it to whoever asks.
        tier: ``"full"`` for what takes long.
        causal: only mixers that say they are causal promise it.
        alone: it is about a mixer by itself: about its reads as numbers, or its options, which a whole model has not.
        sane: it is asked only with options with which the mixer runs; where one makes it fail, others say so.
        runs: it runs the mixer, so that there is nothing to ask of one that does not run at all.
    """

    id: str
    promise: str
    bug: str
    check: Callable[[Case], None]
    most: int | None = None
    tier: Tier = "quick"
    causal: bool = False
    alone: bool = False
    sane: bool = True
    runs: bool = True

    def exemption(self, subject: Subject, tier: Tier) -> str | None:
        """Why it is not asked of this subject, or None if it is."""
        if self.causal and not subject.causal:
            return "it says causal = False"
        if self.alone and subject.whole_model:
            return "about single mixers: a whole model reads tokens and has no options"
        if self.tier == "full" and tier == "quick":
            return "takes long: --tier full"
        return None


LawCheck: TypeAlias = Callable[[Case], None]


def law(
    name: str,
    bug: str,
    *,
    most: int | None = None,
    tier: Tier = "quick",
    causal: bool = False,
    alone: bool = False,
    sane: bool = True,
    runs: bool = True,
) -> Callable[[LawCheck], Law]:
    """Make a law of a function; the first paragraph of its docstring is the promise."""

    def make(check: LawCheck) -> Law:
        promise = " ".join((check.__doc__ or "").split("\n\n")[0].split())
        return Law(name, promise, bug, check, most, tier, causal, alone, sane, runs)

    return make


def by_id(laws: Sequence[Law]) -> dict[str, Law]:
    """The laws by their ids, in the order given."""
    return {one.id: one for one in laws}
