"""No law can be weakened without a control that slips through."""

import dataclasses

import pytest
import torch

from zoo.testing import LAWS, check_mixer, tolerances

from .broken_forward import MasksSoftly
from .mutations import MODULES, escaped, mutants, unchanged
from .test_controls import BROKEN

MUTANTS = [mutant for module in MODULES for mutant in mutants(module)]


def test_there_is_something_to_weaken():
    assert len(MUTANTS) > 50
    assert {mutant.module for mutant in MUTANTS} == set(MODULES)


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_the_laws_as_they_are_let_no_control_pass(module):
    assert escaped(unchanged(module), BROKEN) is None


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_weaker_law_lets_a_control_pass(mutant):
    assert escaped(mutant, BROKEN) is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", LAWS)
def test_a_law_that_asks_nothing_catches_nothing(name, monkeypatch):
    idle = {law: dataclasses.replace(one, check=lambda case: None) for law, one in LAWS.items() if law == name}
    monkeypatch.setattr("zoo.testing.check.LAWS", {**LAWS, **idle})
    verdicts = [_caught(mixer, name) for law, mixer in BROKEN if law == name]
    assert set(verdicts) == {False}


def test_a_wider_tolerance_lets_a_faint_leak_pass(monkeypatch):
    assert _caught(MasksSoftly, "causality")
    monkeypatch.setitem(tolerances.TOLERANCES, torch.float64, 1.0)
    assert not _caught(MasksSoftly, "causality")


def _caught(mixer, law):
    (result,) = check_mixer(mixer, only=[law], tier="full")
    return result.status == "failed"
