"""In how many steps another optimizer reaches the loss that AdamW ends with, on nanoGPT's recipe for a laptop.

Each optimizer is given the learning rate that suits it, found on a seed that does not count. Run by hand:

    python tests/benchmarks/optimizers.py --data tinyshakespeare.txt --out optimizers
"""

import argparse
import json
from pathlib import Path

from runs import curves

from zoo.train.resolve import resolve
from zoo.train.settings import Settings

RATES = {
    "adamw(beta2=0.99)": (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2),
    "muon(beta2=0.99)": (2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2),
}
"""Optimizers, the one to be beaten first, and the learning rates that are tried with each."""


def reached(losses: dict[int, float], goal: float) -> int | None:
    """The first step at which a loss was reached; None if it was not."""
    return next((step for step, loss in losses.items() if loss <= goal), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="tiny Shakespeare, or another text")
    parser.add_argument(
        "--out", type=Path, required=True, help="the folder of the runs; what is there is not made again"
    )
    parser.add_argument("--mixer", default="dot-product")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--every", type=int, default=50, help="steps between evaluations")
    parser.add_argument("--tokens", type=int, default=65536, help="of the validation text, in each evaluation")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of each run")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--rates", type=int, default=None, help="how many of the rates to try, from the lowest")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    def run(wanted: list[tuple[str, float, int]]) -> list[dict[int, float]]:
        """The curves of runs, each given by its optimizer, learning rate and seed."""
        return list(curves(dict(run_of(*one) for one in wanted), args.jobs).values())

    def run_of(optimizer: str, lr: float, seed: int) -> tuple[Path, Settings]:
        flags = {"mixer": args.mixer, "data": args.data, "steps": args.steps, "device": args.device}
        flags |= {"precision": "fp32", "optimizer": optimizer, "lr": lr, "seed": seed, "threads": args.threads}
        flags |= {"evaluate_every": args.every, "warmup": min(100, args.steps // 10), "sample_tokens": 0}
        flags |= {"evaluation_tokens": args.tokens, "final_evaluation_tokens": args.tokens}
        name = f"{optimizer.partition('(')[0]}-{lr:g}-{seed}"
        return args.out / name, resolve(preset="nanogpt-cpu", flags=flags)

    rates = {optimizer: tried[: args.rates] for optimizer, tried in RATES.items()}
    tuning = [(optimizer, lr, args.seeds) for optimizer, tried in rates.items() for lr in tried]
    ends = dict(zip(tuning, (found[args.steps] for found in run(tuning)), strict=True))
    best = {optimizer: min(tried, key=lambda lr: ends[optimizer, lr, args.seeds]) for optimizer, tried in rates.items()}
    seeds = [(optimizer, lr, seed) for optimizer, lr in best.items() for seed in range(args.seeds)]
    found = dict(zip(seeds, run(seeds), strict=True))

    results, goal = {}, {}
    for optimizer, lr in best.items():
        tried = {lr: ends[optimizer, lr, args.seeds] for lr in rates[optimizer]}
        print(f"{optimizer}: {', '.join(f'{lr:g} -> {loss:.4f}' for lr, loss in tried.items())}", flush=True)
        own = {seed: found[optimizer, lr, seed] for seed in range(args.seeds)}
        goal = goal or {seed: losses[args.steps] for seed, losses in own.items()}
        steps = {seed: reached(losses, goal[seed]) for seed, losses in own.items()}
        results[optimizer] = {"tried": tried, "lr": lr, "curves": own, "steps": steps}
        for seed, losses in own.items():
            at = ", ".join(f"{step}: {losses[step]:.4f}" for step in list(losses)[:: max(1, len(losses) // 5)])
            print(f"  seed {seed}, lr {lr:g}: {losses[args.steps]:.4f}; {goal[seed]:.4f} at {steps[seed]} ({at})")
    environment = json.loads((run_of(*seeds[0])[0] / "env.json").read_text()) | {"data_path": None}
    written = {"steps": args.steps, "results": results, "environment": environment}
    (args.out / "optimizers.json").write_text(json.dumps(written, indent=2))


if __name__ == "__main__":
    main()
