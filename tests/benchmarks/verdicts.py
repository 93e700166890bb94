"""How often `zoo compare` calls one of two arms better: of arms that are identical, and of arms that differ.

    python tests/benchmarks/verdicts.py --out docs/results/verdicts/simulation.json

Runs are simulated, and judged by the code that judges real ones. A run answers the sequences of a test, one answer
each. What it gets right is drawn around an accuracy of its own, which differs from seed to seed, and the seeds of an
arm may make mistakes of their own, share them all, or share half: the extremes of how a finite test can mislead.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from zoo.lab.compare.judge import MIN_EFFECT, Conclusion, judge
from zoo.lab.statistics import Sample, Scores, differences, estimate, half_width

GUESS = 0.25
SEQUENCES = 256
SEEDS = (2, 3, 4, 5)

Arm = Callable[[np.random.Generator, int], np.ndarray]
"""Right and wrong answers of so many seeds, ``(seeds, sequences)``."""


def spread_arm(accuracy: float, spread: float, shared: float) -> Arm:
    """An arm whose seeds have accuracies with this standard deviation, and share this fraction of their mistakes."""

    def draw(generator: np.random.Generator, seeds: int) -> np.ndarray:
        mean = np.clip(accuracy + spread * generator.standard_normal((seeds, 1)), 0, 1)
        same = generator.random(SEQUENCES) < shared
        luck = np.where(same, generator.random(SEQUENCES), generator.random((seeds, SEQUENCES)))
        return luck < mean

    return draw


def lucky_arm(probability: float) -> Arm:
    """An arm whose seeds learn the task with this probability, and guess otherwise."""

    def draw(generator: np.random.Generator, seeds: int) -> np.ndarray:
        learned = generator.random((seeds, 1)) < probability
        return generator.random((seeds, SEQUENCES)) < np.where(learned, 1.0, GUESS)

    return draw


def rate(first: Arm, second: Arm, *, seeds: int, comparisons: int, key: int) -> float:
    """The fraction of comparisons in which one of the two is called better, by much or by little."""
    generator = np.random.default_rng(key)
    bound = GUESS + half_width(GUESS * (1 - GUESS) / SEQUENCES)
    called = 0
    for _ in range(comparisons):
        samples = {name: _sample(arm(generator, seeds)) for name, arm in (("a", first), ("b", second))}
        estimates = {name: estimate(sample) for name, sample in samples.items()}
        (judgement,) = judge(
            differences(samples), estimates, metric="accuracy", guess=bound, min_effect=MIN_EFFECT["accuracy"]
        )
        called += judgement.conclusion in (Conclusion.BETTER, Conclusion.SMALL)
    return called / comparisons


def identical(comparisons: int) -> Iterator[dict[str, object]]:
    """Arms that do not differ, from guessing to 100 %."""
    for accuracy in (GUESS, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99, 1.0):
        for spread in (0.0, 0.01, 0.05):
            for shared in (0.0, 0.5, 1.0):
                arm = spread_arm(accuracy, spread, shared)
                yield {"accuracy": accuracy, "spread": spread, "shared": shared, **_rates(arm, arm, comparisons)}
    for probability in (0.2, 0.5, 0.8):
        arm = lucky_arm(probability)
        yield {"learn": probability, **_rates(arm, arm, comparisons)}


def different(comparisons: int) -> Iterator[dict[str, object]]:
    """Arms whose accuracies differ by twice the standard deviation over seeds that one would see."""
    for accuracy in (0.4, 0.6, 0.8, 0.9):
        for spread in (0.0, 0.01, 0.02, 0.04):
            seen = float(np.hypot(spread, np.sqrt(accuracy * (1 - accuracy) / SEQUENCES)))
            better, worse = (spread_arm(accuracy + gain, spread, 0.0) for gain in (2 * seen, 0.0))
            if accuracy + 2 * seen < 1:
                yield {"accuracy": accuracy, "spread": spread, "seen": seen, **_rates(better, worse, comparisons)}


def _rates(first: Arm, second: Arm, comparisons: int) -> dict[str, float]:
    return {f"{n} seeds": rate(first, second, seeds=n, comparisons=comparisons, key=n) for n in SEEDS}


def _sample(right: np.ndarray) -> Sample:
    ones = np.ones(right.shape[1])
    scores = {seed: Scores(row.astype(np.float64), ones) for seed, row in enumerate(right)}
    return Sample({seed: float(row.mean()) for seed, row in enumerate(right)}, scores)


def main() -> int:
    """Simulate, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comparisons", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found = {"comparisons": given.comparisons, "sequences": SEQUENCES, "guess": GUESS}
    for name, rows in (("identical", identical), ("different", different)):
        found[name] = []
        for row in rows(given.comparisons):
            print(name, row, file=sys.stderr)
            found[name].append(row)
    text = json.dumps(found, indent=1) + "\n"
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
