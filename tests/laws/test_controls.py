"""The laws on trial: mixers that break one are caught by it, unusual ones that break none are left alone."""

import re
from collections import Counter

import pytest

from zoo.testing import LAWS, check_mixer

from . import broken_forward, broken_module, broken_numbers, broken_options, broken_state
from .sound import SOUND
from .told import TOLD

BROKEN = [
    *broken_forward.BROKEN,
    *broken_state.BROKEN,
    *broken_numbers.BROKEN,
    *broken_module.BROKEN,
    *broken_options.BROKEN,
]
PAIRS = [pytest.param(law, mixer, id=f"{law}-{mixer.__name__}") for law, mixer in BROKEN]


def verdict(mixer, law, **how):
    (result,) = check_mixer(mixer, only=[law], tier="full", **how)
    return result


@pytest.mark.parametrize(("law", "mixer"), PAIRS[::2])  # all of them, with more seeds, when there is time
def test_a_broken_mixer_is_caught_by_its_law(law, mixer):
    result = verdict(mixer, law)
    assert result.status == "failed"
    assert len(result.message) > 20
    assert result.counterexample["b"] <= 2
    assert "\n" not in result.message


@pytest.mark.slow
@pytest.mark.parametrize(("law", "mixer"), PAIRS)
def test_a_broken_mixer_is_caught_whatever_the_seed(law, mixer):
    assert {verdict(mixer, law, seed=seed).status for seed in range(4)} == {"failed"}


def test_every_law_has_two_controls_and_no_control_a_law_that_does_not_exist():
    counts = Counter(law for law, _ in BROKEN)
    assert set(counts) == set(LAWS)
    assert min(counts.values()) >= 2
    assert len({mixer for _, mixer in BROKEN}) >= 40


@pytest.mark.slow
@pytest.mark.parametrize(("law", "name"), TOLD)
def test_a_counterexample_is_told_as_a_person_would(law, name):
    (mixer,) = {mixer for _, mixer in BROKEN if mixer.__name__ == name}
    assert re.match(TOLD[law, name], verdict(mixer, law).message)


@pytest.mark.slow
@pytest.mark.parametrize("mixer", SOUND[::6])  # all of them, with more cases, when there is time
def test_a_sound_mixer_breaks_no_law(mixer):
    assert [r for r in check_mixer(mixer, examples=2) if r.status == "failed"] == []


@pytest.mark.slow
@pytest.mark.parametrize("mixer", SOUND)
def test_a_sound_mixer_breaks_no_law_with_more_cases(mixer):
    assert [r for r in check_mixer(mixer, seed=1, examples=15) if r.status == "failed"] == []


@pytest.mark.slow
@pytest.mark.parametrize("mixer", SOUND)
def test_a_sound_mixer_compiles(mixer):
    assert verdict(mixer, "compile").status == "passed"
