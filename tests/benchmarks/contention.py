"""How long a short training run takes on a quiet and on a busy machine, by how torch's threads wait for each other.

    python tests/benchmarks/contention.py --out docs/results/contention/contention.json

Run it on a machine that does nothing else. The ways of waiting take turns; the busy machine has one process that
counts, for every core.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.files.environment import describe_environment

WAYS = {
    "as the zoo decides": {},
    "spinning (torch's default)": {"KMP_BLOCKTIME": "200"},  # keeps the zoo from choosing; OpenMP of GNU ignores it
    "sleeping": {"OMP_WAIT_POLICY": "PASSIVE"},
}
TRAIN = ["train", "--set", "evaluate_every=100000", "--set", "sample_tokens=0", "--set", "final_evaluation_tokens=1024"]


def main() -> int:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    seconds: dict[str, dict[str, list[float]]] = {load: {way: [] for way in WAYS} for load in ("quiet", "busy")}
    for load, times in seconds.items():
        with busy_cores(os.cpu_count() or 1 if load == "busy" else 0):
            for _ in range(given.repeats):
                for way, settings in WAYS.items():
                    times[way].append(training_seconds(settings, given.steps))
                    print(load, way, f"{times[way][-1]:.2f} s", file=sys.stderr)
    median = {load: {way: statistics.median(all_) for way, all_ in times.items()} for load, times in seconds.items()}
    found = {"steps": given.steps, "seconds": seconds, "median": median}
    found["environment"] = describe_environment(plugins={}, data_sha256="")
    text = json.dumps(found, indent=1) + "\n"
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 0


def training_seconds(settings: dict[str, str], steps: int) -> float:
    """Seconds of training alone, without start and evaluation."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OMP", "GOMP", "KMP"))}
    environ |= settings
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [str(Path(sys.executable).with_name("zoo")), *TRAIN, "--steps", str(steps), "--out", str(run)]
        subprocess.run(command, env=environ, check=True, capture_output=True, cwd=folder)
        return steps * 16 * 128 / json.loads((run / "summary.json").read_text())["tokens_per_second"]


@contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """Other processes that never rest."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    time.sleep(0.5)
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    sys.exit(main())
