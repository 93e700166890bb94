"""The speed of a training step of every pattern of a comparison, in turn; writes tokens a second as JSON.

python tests/benchmarks/arms.py comparisons/all --threads 2 --rounds 3 --out arms.json
"""

import argparse
import json
import statistics
from pathlib import Path

from zoo.files.environment import describe_environment
from zoo.lab.compare.session import open_comparison
from zoo.lab.compare.speed import measure_step_seconds
from zoo.train.find_data import source_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    plan, _ = open_comparison(given.comparison)
    arms = [arm for arm in plan.arms if arm.settings is not None]
    sources = {arm.data: source_of(arm.settings) for arm in arms}
    seconds: dict[str, list[float]] = {arm.pattern: [] for arm in arms}
    for _ in range(given.rounds):
        for arm in arms:
            settings = arm.settings.model_copy(update={"threads": given.threads})
            seconds[arm.pattern].append(measure_step_seconds(settings, sources[arm.data]))
            print(arm.pattern, f"{seconds[arm.pattern][-1]:.3f} s", flush=True)
    tokens = {
        arm.pattern: arm.settings.batch * arm.settings.accumulate * arm.settings.context / statistics.median(times)
        for arm, times in zip(arms, seconds.values(), strict=True)
    }
    environment = describe_environment(plugins={}, data_sha256="", device="cpu")
    found = {"threads": given.threads, "rounds": given.rounds, "tokens_per_second": tokens, "environment": environment}
    given.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
