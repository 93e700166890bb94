"""In how many steps another optimizer reaches the loss that AdamW ends with, on nanoGPT's recipe for a laptop.

Each optimizer is given the learning rate that suits it, found on a seed that does not count. Run by hand:

    python tests/benchmarks/optimizers.py --data tinyshakespeare.txt --out optimizers
"""

import argparse
import json
from pathlib import Path

from zoo.files.logs import read_rows
from zoo.train.session import resume, start
from zoo.train.settings import Settings, resolve

RATES = {
    "adamw(beta2=0.99)": (1e-3, 2e-3, 4e-3, 8e-3),
    "muon(beta2=0.99)": (2e-3, 4e-3, 8e-3, 1.6e-2),
}
"""Optimizers, the one to be beaten first, and the learning rates that are tried with each."""


def curve(settings: Settings, path: Path) -> dict[int, float]:
    """The validation loss of a run by step; a run that was made before is read, one that was stopped goes on."""
    if not path.exists():
        start(settings, root=path.parent, out=path, pages=False)
    elif not (path / "summary.json").exists():
        resume(path, pages=False)
    rows = read_rows(path / "metrics.jsonl")
    return {row["step"]: row["validation_loss"] for row in rows if "validation_loss" in row}


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
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rates", type=int, default=None, help="how many of the rates to try, from the lowest")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    def run(optimizer: str, lr: float, seed: int) -> dict[int, float]:
        flags = {"mixer": args.mixer, "data": args.data, "steps": args.steps, "device": "cpu", "precision": "fp32"}
        flags |= {"optimizer": optimizer, "lr": lr, "seed": seed, "evaluate_every": args.every, "threads": args.threads}
        flags |= {"warmup": min(100, args.steps // 10), "sample_tokens": 0}
        flags |= {"evaluation_tokens": args.tokens, "final_evaluation_tokens": args.tokens}
        name = f"{optimizer.partition('(')[0]}-{lr:g}-{seed}"
        return curve(resolve(preset="nanogpt-cpu", flags=flags), args.out / name)

    results, goal = {}, {}
    for optimizer, rates in RATES.items():
        tried = {lr: run(optimizer, lr, args.seeds)[args.steps] for lr in rates[: args.rates]}
        best = min(tried, key=lambda lr: tried[lr])
        print(f"{optimizer}: {', '.join(f'{lr:g} -> {loss:.4f}' for lr, loss in tried.items())}", flush=True)
        curves = {seed: run(optimizer, best, seed) for seed in range(args.seeds)}
        goal = goal or {seed: losses[args.steps] for seed, losses in curves.items()}
        steps = {seed: reached(losses, goal[seed]) for seed, losses in curves.items()}
        results[optimizer] = {"tried": tried, "lr": best, "curves": curves, "steps": steps}
        for seed, losses in curves.items():
            at = ", ".join(f"{step}: {losses[step]:.4f}" for step in list(losses)[:: max(1, len(losses) // 5)])
            print(f"  seed {seed}, lr {best:g}: {losses[args.steps]:.4f}; {goal[seed]:.4f} at {steps[seed]} ({at})")
    (args.out / "optimizers.json").write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
