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
    sound,
    sound_host,
)
from .told import TOLD

MIXERS = (broken_forward, broken_state, broken_host, broken_numbers, broken_module, broken_options)
BROKEN = [(law, mixer) for module in MIXERS for law, mixer in module.BROKEN]
CONTROLS = [("mixer", *pair) for pair in BROKEN] + [("channel-mixer", *pair) for pair in channel.BROKEN]
PAIRS = [pytest.param(kind, law, cls, id=f"{kind}-{law}-{cls.__name__}") for kind, law, cls in CONTROLS]
SOUND = [("mixer", mixer) for mixer in [*sound.SOUND, *sound_host.SOUND]]
SOUND += [("channel-mixer", mixer) for mixer in channel.SOUND]
BY_NAME = {mixer.__name__: mixer for _, mixer in BROKEN}


def verdict(kind, cls, law, **how):
    (result,) = check_member(kind, cls, only=[law], thorough=True, strict=True, **how)
    return result


@pytest.mark.parametrize(("kind", "law", "cls"), [pair for pair in PAIRS[::4] if "compile" not in pair.id])
def test_a_broken_member_is_caught_by_its_law(kind, law, cls):
    _is_caught(kind, law, cls, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "law", "cls"), PAIRS)
def test_a_broken_member_is_caught_whatever_the_seed(kind, law, cls):
    _is_caught(kind, law, cls, seed=1)


def _is_caught(kind, law, cls, seed):
    result = verdict(kind, cls, law, seed=seed)
    assert result.status == "failed"
    assert result.grade == SUITES[kind].laws[law].grade
    assert len(result.message) > 20
    assert result.counterexample["b"] <= 2
    assert "\n" not in result.message


@pytest.mark.parametrize("kind", SUITES)
def test_every_law_has_two_controls_and_no_control_a_law_that_does_not_exist(kind):
    counts = Counter(law for of, law, _ in CONTROLS if of == kind)
    assert set(counts) == set(SUITES[kind].laws)
    assert min(counts.values()) >= 2


@pytest.mark.slow
@pytest.mark.parametrize(("law", "name"), TOLD)
def test_a_counterexample_reads_well(law, name):
    assert re.match(TOLD[law, name], verdict("mixer", BY_NAME[name], law).message)


def broken(kind, cls, **how):
    """The laws that are broken, documentation apart: the controls have no equations."""
    skip = ["documentation"] if kind == "mixer" else []
    return [result for result in check_member(kind, cls, skip=skip, strict=True, **how) if result.status == "failed"]


@pytest.mark.parametrize(("kind", "cls"), SOUND[::12])
def test_a_sound_member_breaks_no_law(kind, cls):
    assert broken(kind, cls, examples=1) == []


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "cls"), SOUND)
def test_a_sound_member_breaks_no_law_with_more_cases(kind, cls):
    assert broken(kind, cls, seed=1, examples=3) == []


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "cls"), SOUND[::4])
def test_a_sound_member_compiles(kind, cls):
    assert verdict(kind, cls, "compile", examples=1).status == "passed"


def test_the_grades():
    finish = {name for suite in SUITES.values() for name, law in suite.laws.items() if law.grade == "finish"}
    assert finish == {"state-growth", "meta-device", "options-refused", "documentation", "paper"}
    assert {LAWS[name].grade for name in ("causality", "streaming", "purity", "gradients", "compile")} == {"sound"}
