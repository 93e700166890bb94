"""The search for a case that breaks a law: Hypothesis draws it, and makes it small."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import hypothesis
import torch
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis.errors import Flaky, Unsatisfiable

from zoo.testing.case import Case
from zoo.testing.law import Law
from zoo.testing.strategies import cases
from zoo.testing.subject import Subject, told
from zoo.testing.violation import LawViolation, NotApplicable


@dataclass
class Search:
    """What a search found.

    Attributes:
        looked_at: how many cases the law had something to say about.
        silent: why it had nothing to say about the others, if there were any.
        breach: the smallest case found that breaks the law, and what was seen; no case if none could be drawn.
    """

    looked_at: int = 0
    silent: str = ""
    breach: tuple[Case | None, str] | None = None


def search(law: Law, subject: Subject, *, examples: int, seed: int) -> Search:
    """Look for a case that breaks a law. The same seed gives the same search."""
    found = Search()
    asked = min(examples, law.most or examples)
    look = _looking(law, found)
    drawn = hypothesis.given(case=cases(subject, subject.shapes(), sane=law.sane))(look)
    limited = hypothesis.settings(
        max_examples=asked,
        database=None,
        deadline=None,
        verbosity=Verbosity.quiet,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )(drawn)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of mixers that are built with odd options
            hypothesis.seed(seed)(limited)()
    except (LawViolation, Flaky):
        pass  # the breach was kept when it was seen; one that does not show every time is one all the same
    except Unsatisfiable:
        found.breach = (None, "hardly any case can be drawn that it takes; fix the options that decide, with --options")
    return found


def _looking(law: Law, found: Search) -> Callable[[Case], None]:
    def look(case: Case) -> None:
        try:
            with torch.random.fork_rng(devices=[]):
                law.check(case)
        except NotApplicable as reason:
            found.silent = str(reason)
        except LawViolation as violation:
            found.breach = (case, str(violation))
            raise
        except (Exception, SystemExit) as error:
            text = f"{told(error, case.subject)} {case.where(case.reads)}"
            found.breach = (case, text)
            raise LawViolation(text) from error
        else:
            found.looked_at += 1

    return look
