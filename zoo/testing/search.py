"""The search for a case that breaks a law: Hypothesis draws it, and makes it small."""

import warnings
from collections.abc import Callable

import hypothesis
import torch
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis.errors import Flaky, Unsatisfiable
from hypothesis.strategies import SearchStrategy

from zoo.testing.case import Case
from zoo.testing.covering import Covering, seen_in
from zoo.testing.found import Search
from zoo.testing.law import Law
from zoo.testing.strategies import cases
from zoo.testing.subject import Subject, format_error
from zoo.testing.violation import LawViolation, NotApplicable

SMALLER = 10
"""Cases that are drawn to find a smaller one with the options of a choice for which a law is broken."""


def search(law: Law, subject: Subject, *, examples: int, seed: int, covering: Covering | None = None) -> Search:
    """Look for a case that breaks a law: among as many as are asked for, and then among the choices not yet seen.

    The same seed gives the same search.

    Args:
        law: that may be broken.
        subject: what is checked.
        examples: cases that are drawn.
        seed: of what is drawn.
        covering: cases for the choices, kept from one law to the next.
    """
    found = Search()
    look = _looking(law, found)
    drawn = cases(subject, subject.shapes(), sane=law.sane)
    asked = min(examples, law.limit or examples)
    if not _run(look, drawn, examples=asked, seed=seed, shrink=not law.thorough):
        found.breach = (None, "hardly any case can be drawn that it takes; fix the options that decide, with `options`")
    if found.breach is None and law.varies and subject.free_options:
        _look_at_choices(law, subject, covering or Covering(subject), found, seed)
    return found


def _look_at_choices(law: Law, subject: Subject, covering: Covering, found: Search, seed: int) -> None:
    """Look at the choices that no case has shown; where one breaks the law, at smaller cases with fewer options."""
    look = _looking(law, found)

    def breaks(case: Case) -> bool:
        try:
            look(case)
        except LawViolation:
            return True
        return False

    for case in covering.cases(found.seen, sane=law.sane):
        if breaks(case):
            if law.thorough:  # a smaller case is not worth minutes
                return
            smaller = next(filter(breaks, covering.smaller(case)), case)
            fixed = cases(subject, subject.shapes(), sane=law.sane, fixed=smaller.options)
            _run(look, fixed, examples=SMALLER, seed=seed)
            return


def _run(
    look: Callable[[Case], None], drawn: SearchStrategy[Case], *, examples: int, seed: int, shrink: bool = True
) -> bool:
    """Look at cases that are drawn, and at smaller ones once a law is broken. False if hardly any could be drawn."""
    limited = hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        verbosity=Verbosity.quiet,
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )(hypothesis.given(case=drawn)(look))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of members that are built with odd options
            hypothesis.seed(seed)(limited)()
    except (LawViolation, Flaky):
        pass  # the breach was kept when it was seen; one that does not show every time is one all the same
    except Unsatisfiable:
        return False
    except AssertionError as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Hypothesis looks for its engine before there is one
            raise KeyboardInterrupt from None
        raise
    return True


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
            text = f"{format_error(error, case.subject)} {case.where(case.reads)}"
            found.breach = (case, text)
            raise LawViolation(text) from error
        else:
            found.looked_at += 1
            found.seen |= seen_in(case)

    return look
