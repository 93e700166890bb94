"""The loss of every residual scheme with every built-in mixer after the same few steps. Run by hand:

python tests/benchmarks/residuals.py --out residuals
"""

import argparse
import json
from pathlib import Path

from runs import curves

from zoo.plugin.kinds import RESIDUAL
from zoo.plugin.registry import get_registry
from zoo.train.resolve import resolve
from zoo.train.settings import Settings

MIXERS = ("correlation", "dot-product", "involution", "leviathan-moe")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder of the runs")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=65536, help="of the validation text, in each evaluation")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of each run")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    schemes = [entry.name for entry in get_registry()[RESIDUAL].list()]

    def settings(scheme: str, mixer: str) -> Settings:
        flags = {"mixer": mixer, "residual": scheme, "steps": args.steps, "seed": args.seed, "device": args.device}
        flags |= {"precision": "fp32", "threads": args.threads, "sample_tokens": 0, "warmup": min(100, args.steps // 3)}
        flags |= {"evaluate_every": max(1, args.steps // 3)}
        flags |= {"evaluation_tokens": args.tokens, "final_evaluation_tokens": args.tokens}
        return resolve(preset="quick", flags=flags)

    runs = {args.out / f"{scheme}-{mixer}": settings(scheme, mixer) for scheme in schemes for mixer in MIXERS}
    found = curves(runs, args.jobs)
    losses = {
        scheme: {mixer: found[args.out / f"{scheme}-{mixer}"][args.steps] for mixer in MIXERS} for scheme in schemes
    }
    for scheme, row in losses.items():
        print(f"{scheme:20}", *(f"{loss:8.4f}" for loss in row.values()), flush=True)
    environment = json.loads((next(iter(runs)) / "env.json").read_text())
    written = {"steps": args.steps, "seed": args.seed, "losses": losses, "environment": environment}
    (args.out / "residuals.json").write_text(json.dumps(written, indent=2))


if __name__ == "__main__":
    main()
