"""No law can be weakened without a control that slips through."""

import dataclasses
import os

import pytest
import torch

from zoo.testing import check_mixer, tolerances
from zoo.testing.checker import Checker, Request
from zoo.testing.kinds import SUITES

from .broken_forward import MasksSoftly
from .mutations import MODULES, Mutant, escaped, kind_of_module, mutants
from .test_controls import BROKEN_OF, CONTROLS

MUTANTS = [mutant for module in MODULES for mutant in mutants(module)]
EXHAUSTIVE = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
SAMPLE = MUTANTS if EXHAUSTIVE else MUTANTS[::2]


def test_there_is_something_to_weaken():
    assert len(MUTANTS) > 50
    assert {mutant.module for mutant in MUTANTS} == set(MODULES)


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_the_laws_as_they_are_let_no_control_pass(module):
    assert escaped(Mutant(module), _controls(module)) is None


@pytest.mark.slow
@pytest.mark.parametrize("mutant", SAMPLE, ids=str)
def test_a_weaker_law_lets_a_control_pass(mutant):
    assert escaped(mutant, _controls(mutant.module)) is not None


def _controls(module):
    return BROKEN_OF[kind_of_module(module)]


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_a_law_that_asks_nothing_catches_nothing(suite):
    idle = {name: dataclasses.replace(law, check=lambda case: None) for name, law in suite.laws.items()}
    deaf = dataclasses.replace(suite, laws=idle)
    for law, cls in [(law, cls) for of, law, cls in CONTROLS if of == suite.kind.name]:
        request = Request(suite=deaf, only=[law], examples=2, strict=True)
        (result,) = Checker(suite.subject(cls)[1]).results(request)
        assert result.status == "passed" or result.message.startswith("it does not run"), (law, cls)


@pytest.mark.slow
def test_a_wider_tolerance_lets_a_faint_leak_pass(monkeypatch):
    assert _caught(MasksSoftly, "causality")
    monkeypatch.setitem(tolerances.TOLERANCES, torch.float64, 1.0)
    assert not _caught(MasksSoftly, "causality")


def _caught(mixer, law):
    (result,) = check_mixer(mixer, only=[law], thorough=True, strict=True)
    return result.status == "failed"
