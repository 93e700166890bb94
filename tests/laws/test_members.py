"""How members that are no modules are looked at: with which options, and what is told of them."""

from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import pytest

from zoo import Corpus, Executor, Task, UsageError
from zoo.testing import check_member
from zoo.testing.kinds import CORPUS, SUITES, find_subject
from zoo.testing.member import MemberSubject, search_member
from zoo.testing.residual import ROLES

from .corpus import Tales
from .optimizer import Control as Momentum
from .residual import Plain
from .task import Echo


def one(kind, member, law, **how):
    (result,) = check_member(kind, member, only=[law], **how)
    return result


class Chooses(Tales):
    """Tales of a kind.

    Options:
        style: how they are told.
        loud: whether they are in capitals.
        count: how many; None for all.
        place: where they are.
    """

    def __init__(
        self,
        *,
        style: Literal["old", "new", "none"] = "old",
        loud: bool = False,
        count: int | None = None,
        place: str = "here",
    ):
        if style == "none" and not loud:
            raise ValueError("style='none' needs loud=true")
        self.texts = None if style == "new" and WRONG else ["a tale"]

    def documents(self):
        return iter(self.texts)


WRONG = False


def options_of(law, **how):
    return [case.options for case in CORPUS.subject(Chooses)[1].cases(CORPUS.laws[law], examples=20, seed=0, **how)]


def test_each_choice_is_looked_at_once_and_one_that_is_refused_is_left_out():
    assert options_of("rereading") == [{}, {"style": "new"}, {"loud": True}, {"count": 1}]
    assert options_of("documentation") == [{}]


def test_a_member_that_is_wrong_for_one_choice_alone_is_caught_with_that_choice(monkeypatch):
    monkeypatch.setattr(f"{__name__}.WRONG", True)
    result = one("corpus", Chooses, "documents")
    assert result.status == "failed"
    assert result.counterexample == {"seed": 0, "options": {"style": "new"}}
    assert result.message.endswith("(style='new')")
    assert one("corpus", Chooses, "rereading").status == "passed"  # for one law to say, not for all
    fixed = one("corpus", Chooses, "documents", options={"style": "new"})
    assert fixed.message.startswith("TypeError: 'NoneType' object is not iterable, in test_members.py:")


def test_the_defaults_are_looked_at_from_some_seeds():
    subject = find_subject(Echo)[1]
    assert isinstance(subject, MemberSubject)
    law = SUITES["task"].laws["determinism"]
    assert [case.seed for case in subject.cases(law, examples=20, seed=5)] == [5, 6, 7]
    assert [case.seed for case in subject.cases(law, examples=2, seed=5)] == [5, 6]
    assert search_member(law, subject, examples=20, seed=5).looked_at == 3


class NeedsPlace(Corpus):
    """Tales of a place.

    Options:
        place: where.
    """

    def __init__(self, *, place: str):
        if place != "here":
            raise ValueError(f"place={place!r} should be 'here'")

    def documents(self):
        return iter(["a tale"])


def test_an_option_that_cannot_be_guessed_has_to_be_given():
    with pytest.raises(UsageError, match=r"^NeedsPlace cannot be made: .*place='a' should be 'here'; .*'place=…'$"):
        check_member("corpus", NeedsPlace)
    assert one("corpus", NeedsPlace, "documents", options={"place": "here"}).status == "passed"


class Fails(Task):
    """Cannot be drawn."""

    paper = "control"

    def __init__(self):
        self.length, self.vocab_size = 3, 3

    def draw(self, generator, examples, *, length, test):
        print("hello")
        raise KeyError("nothing")


def test_a_member_that_does_not_work_is_told_once(capsys):
    results = {result.law: result for result in check_member("task", Fails, strict=True)}
    assert [name for name, result in results.items() if result.status == "failed"] == ["examples"]
    assert results["examples"].message.startswith("KeyError: 'nothing', in test_members.py:")
    assert results["variety"].message == "it does not run: see examples"
    assert results["paper"].status == "passed"
    assert one("task", Fails, "variety").status == "failed"
    assert capsys.readouterr().out == ""


def test_advice_and_expected_failures_are_those_of_every_kind():
    class Unfinished(Momentum):
        paper = ""
        expected_failures = {"learning-rate": "it has its own"}  # noqa: RUF012

        def rate(self, group):
            return self.defaults["lr"]

    asked = ["learning-rate", "paper"]
    assert [result.status for result in check_member("optimizer", Unfinished, only=asked)] == ["expected", "advice"]
    strict = check_member("optimizer", Unfinished, only=asked, strict=True)
    assert [result.status for result in strict] == ["expected", "failed"]


def test_a_class_is_checked_by_the_laws_of_its_kind():
    for cls, kind in ((Echo, "task"), (Tales, "corpus"), (Momentum, "optimizer"), (Plain, "residual")):
        assert find_subject(cls)[0].kind.name == kind


def test_every_mixture_of_sites_is_drawn_and_told():
    assert {len(roles) for roles in ROLES} >= {2, 3, 4, 5}
    subject = SUITES["residual"].subject(Plain)[1]
    for layer, roles in enumerate(ROLES):
        built = subject.build({}, dim=8, heads=1, seed=0, layer=layer)
        assert built.residual.sites == len(roles)
        assert subject.details(layer) == [f"roles={'+'.join(roles)}"]


class Reserves(Executor):
    """A thread at once, with GPUs of which there are none here."""

    def __init__(self, *, gpus: int = 0, threads: int = 1):
        if gpus < 0:
            raise ValueError(f"gpus={gpus} should be 0 or more")
        self.gpus, self.threads = gpus, threads

    def submit(self, fn, /, *args, **kwargs):
        if self.gpus:
            raise UsageError(f"gpus={self.gpus}, and there are none")
        with ThreadPoolExecutor(self.threads) as made:
            return made.submit(fn, *args, **kwargs)

    def shutdown(self, wait=True, *, cancel_futures=False):
        pass


class ReservesNoFewer(Reserves):
    def __init__(self, *, gpus: int = 0, threads: int = 1):
        super().__init__(gpus=gpus, threads=threads)
        if threads < 1:
            raise ValueError(f"threads={threads} should be 1 or more")


def test_a_value_for_which_something_is_missing_here_hides_no_other():
    assert one("executor", ReservesNoFewer, "options-refused").status == "passed"
    found = one("executor", Reserves, "options-refused")
    assert found.message.startswith("threads=0 is taken, and fails when it is used: ValueError: max_workers must be")
