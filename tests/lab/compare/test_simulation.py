"""Verdicts on simulated arms: seldom wrong where the arms are identical, mostly right where they differ by enough.

docs/results.md has the whole table; it is made by tests/benchmarks/verdicts.py, with the same functions.
"""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "verdicts.py"


@pytest.fixture(scope="module")
def simulation():
    spec = importlib.util.spec_from_file_location("simulated_verdicts", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    ("accuracy", "spread", "shared"), [(0.25, 0.05, 1.0), (0.6, 0.0, 1.0), (0.8, 0.05, 0.0), (0.99, 0.01, 0.5)]
)
def test_identical_arms_are_seldom_told_apart(simulation, accuracy, spread, shared, seeds):
    arm = simulation.spread_arm(accuracy, spread, shared)
    # 5 %, and three standard deviations of what 600 comparisons may count
    assert simulation.rate(arm, arm, seeds=seeds, comparisons=600, key=1) < 0.077


@pytest.mark.slow
def test_identical_arms_that_learn_by_luck_are_seldom_told_apart(simulation):
    arm = simulation.lucky_arm(0.5)
    assert simulation.rate(arm, arm, seeds=3, comparisons=600, key=1) < 0.077


def test_two_seeds_are_never_a_verdict(simulation):
    best, worst = (simulation.spread_arm(accuracy, 0.0, 0.0) for accuracy in (1.0, 0.3))
    assert simulation.rate(best, worst, seeds=2, comparisons=10, key=1) == 0
    assert simulation.rate(best, worst, seeds=3, comparisons=10, key=1) == 1


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 0.02, 0.04])
def test_arms_that_differ_by_twice_their_spread_are_mostly_told_apart_at_five_seeds(simulation, spread):
    seen = (spread**2 + 0.7 * 0.3 / simulation.SEQUENCES) ** 0.5
    better, worse = (simulation.spread_arm(0.7 + gain, spread, 0.0) for gain in (2 * seen, 0.0))
    # 69 to 71 % of 2,000 comparisons: far enough from a half for 400 to decide
    assert simulation.rate(better, worse, seeds=5, comparisons=400, key=1) > 0.5


@pytest.mark.slow
def test_without_the_scores_of_sequences_identical_arms_would_be_told_apart(simulation, monkeypatch):
    """The control: what the simulation is able to find."""
    sample = simulation._sample
    monkeypatch.setattr(simulation, "_sample", lambda right: simulation.Sample(sample(right).values))
    arm = simulation.spread_arm(0.6, 0.0, 1.0)
    assert simulation.rate(arm, arm, seeds=5, comparisons=100, key=1) > 0.5
