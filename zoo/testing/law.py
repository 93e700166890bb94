"""What a law is: what every member of a kind promises, why it matters, and a function that looks for a breach."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from zoo.testing.subject import Subject

Grade: TypeAlias = Literal["sound", "finish"]
"""``"sound"``: broken, it makes results wrong. ``"finish"``: broken, it makes a member worse to use; it is advice."""


@dataclass(frozen=True)
class Law:
    """A promise that every member of a kind keeps, e.g. every token mixer.

    Args:
        id: stable: what an id stands for does not change; a law that says something else gets another one. Kinds that
            make the same promise share a law.
        promise: one sentence.
        bug: what goes wrong where it is broken, by an example from practice.
        check: looks at one case; raises `LawViolation` where the law is broken, `NotApplicable` where it says nothing.
        grade: what it means that it is broken.
        limit: how many cases are enough; None leaves it to whoever asks.
        thorough: it takes long, and is left out unless asked for.
        causal: only members that say they are causal promise it.
        alone: it is about a mixer by itself: about its reads as numbers, or its options, which a whole model has not.
        sane: it is asked only with options with which the member runs; where one makes it fail, others say so.
        runs: it runs the member, so that there is nothing to ask of one that does not run at all.
        varies: what it sees may depend on the options, so that each choice of each option is looked at.
        names: it is about a keyword that the host passes to `forward` where that names it, e.g. ``"documents"``.
    """

    id: str
    promise: str
    bug: str
    check: Callable[[Any], None]
    grade: Grade = "sound"
    limit: int | None = None
    thorough: bool = False
    causal: bool = False
    alone: bool = False
    sane: bool = True
    runs: bool = True
    varies: bool = True
    names: str = ""

    def exemption(self, subject: Subject, *, thorough: bool) -> str | None:
        """Why it is not asked of this subject, or None if it is."""
        if self.causal and not subject.causal:
            return "it says causal = False"
        if self.alone and subject.whole_model:
            return "about single mixers: a whole model reads tokens and has no options"
        if self.names and not subject.names(self.names):
            return f"its forward does not name `{self.names}`: the host does without"
        if self.thorough and not thorough:
            return "takes long: `thorough`"
        return None


LawCheck: TypeAlias = Callable[[Any], None]
"""Looks at a `Case`, or at a `MemberCase` of the kind."""


def law(name: str, bug: str, **how: Any) -> Callable[[LawCheck], Law]:
    """Make a law of a function; the first paragraph of its docstring is the promise.

    Args:
        name: its id.
        bug: what goes wrong where it is broken.
        how: the other arguments of `Law`.
    """

    def make(check: LawCheck) -> Law:
        promise = " ".join((check.__doc__ or "").split("\n\n")[0].split())
        return Law(name, promise, bug, check, **how)

    return make


def by_id(laws: Sequence[Law]) -> dict[str, Law]:
    """The laws by their ids, in the order given."""
    return {one.id: one for one in laws}
