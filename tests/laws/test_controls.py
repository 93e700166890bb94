"""The laws on trial: members that break one are caught by it, unusual ones that break none are left alone."""

import re
from collections import Counter

import pytest

from zoo.testing import LAWS, check_member
from zoo.testing.kinds import SUITES

from . import (
    broken_forward,
    broken_host,
    broken_module,
    broken_numbers,
    broken_options,
    broken_state,
    channel,
    corpus,
    executor,
    hybrid,
    optimizer,
    reporter,
    residual,
    sound,
    sound_host,
    task,
    tokenizer,
)
from .messages import MESSAGES

MIXERS = (broken_forward, broken_state, broken_host, broken_numbers, broken_module, broken_options)
BROKEN = [(law, mixer) for module in MIXERS for law, mixer in module.BROKEN]
KINDS = {
    "channel-mixer": channel,
    "residual": residual,
    "task": task,
    "corpus": corpus,
    "tokenizer": tokenizer,
    "optimizer": optimizer,
    "hybrid": hybrid,
    "executor": executor,
    "reporter": reporter,
}
BROKEN_OF = {"mixer": BROKEN} | {kind: module.BROKEN for kind, module in KINDS.items()}
CONTROLS = [(kind, *pair) for kind, pairs in BROKEN_OF.items() for pair in pairs]
PAIRS = [pytest.param(kind, law, cls, id=f"{kind}-{law}-{cls.__name__}") for kind, law, cls in CONTROLS]
SOUND = [("mixer", mixer) for mixer in [*sound.SOUND, *sound_host.SOUND]]
SOUND += [(kind, cls) for kind, module in KINDS.items() for cls in module.SOUND]
BY_NAME = {(law, cls.__name__): (kind, cls) for kind, law, cls in reversed(CONTROLS)}
WAITING = ("side-by-side", "lost-process", "terminate")
SLOW = ("compile", "inductor", "quadratic", "pre-norm-at-start", *WAITING)
EVERYDAY = ("mixer", "channel-mixer")
"""Kinds of which more is looked at every day."""


THIN = [pair for pair in PAIRS if pair.values[0] in EVERYDAY][::12]
THIN += [pair for pair in PAIRS if pair.values[0] not in EVERYDAY][::8]
THIN = [pair for pair in THIN if pair.values[1] not in SLOW]
THIN_SOUND = [pair for pair in SOUND if pair[0] in EVERYDAY][::12]
THIN_SOUND += [("task", task.ScoresTheLast), ("tokenizer", tokenizer.Pairs), ("corpus", corpus.Endless)]


@pytest.fixture
def _hardly_any_patience(monkeypatch):
    """Of an executor that is broken on purpose nobody need wait long for what never comes."""
    monkeypatch.setattr("zoo.testing.laws.executor.PATIENCE", 4.0)
    monkeypatch.setattr("zoo.testing.laws.executor.LEAVING", 1.0)


def verdict(kind, cls, law, **how):
    (result,) = check_member(kind, cls, only=[law], thorough=True, strict=True, **how)
    return result


@pytest.mark.parametrize(("kind", "law", "cls"), THIN)
def test_a_broken_member_is_caught_by_its_law(kind, law, cls):
    _is_caught(kind, law, cls, seed=0)


@pytest.mark.slow
@pytest.mark.usefixtures("_hardly_any_patience")
@pytest.mark.parametrize(("kind", "law", "cls"), PAIRS)
def test_a_broken_member_is_caught_whatever_the_seed(kind, law, cls):
    _is_caught(kind, law, cls, seed=1)


def _is_caught(kind, law, cls, seed):
    result = verdict(kind, cls, law, seed=seed)
    assert result.status == "failed"
    assert result.grade == SUITES[kind].laws[law].grade
    assert len(result.message) > 20
    case = result.counterexample
    assert result.message.startswith("it does not run: ") if case is None else case.get("b", 1) <= 2
    assert "\n" not in result.message


@pytest.mark.parametrize("kind", SUITES)
def test_every_law_has_two_controls_and_no_control_a_law_that_does_not_exist(kind):
    counts = Counter(law for of, law, _ in CONTROLS if of == kind)
    assert set(counts) == set(SUITES[kind].laws)
    assert min(counts.values()) >= 2


@pytest.mark.slow
@pytest.mark.parametrize(("law", "name"), MESSAGES)
def test_a_counterexample_reads_well(law, name):
    kind, cls = BY_NAME[law, name]
    assert re.match(MESSAGES[law, name], verdict(kind, cls, law).message)


def broken(kind, cls, **how):
    """The laws that are broken, documentation apart: the controls have no equations."""
    skip = ["documentation"] if kind == "mixer" else []
    return [result for result in check_member(kind, cls, skip=skip, strict=True, **how) if result.status == "failed"]


@pytest.mark.parametrize(("kind", "cls"), THIN_SOUND)
def test_a_sound_member_breaks_no_law(kind, cls):
    assert broken(kind, cls, examples=1) == []


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "cls"), SOUND)
def test_a_sound_member_breaks_no_law_with_more_cases(kind, cls):
    assert broken(kind, cls, seed=1, examples=2) == []


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "cls"), [pair for pair in SOUND if "compile" in SUITES[pair[0]].laws][::16])
def test_a_sound_member_compiles(kind, cls):
    assert verdict(kind, cls, "compile", examples=1).status == "passed"


def test_the_grades():
    finish = {name for suite in SUITES.values() for name, law in suite.laws.items() if law.grade == "finish"}
    assert finish == {
        "state-growth",
        "meta-device",
        "options-refused",
        "documentation",
        "paper",
        "shown",
        "symbols",
    } | {"starts-nothing"}
    assert {LAWS[name].grade for name in ("causality", "streaming", "purity", "gradients", "compile")} == {"sound"}
