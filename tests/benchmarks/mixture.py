"""leviathan-moe against the dense correlation of the same active parameters: forward and backward of one mixer.

    python tests/benchmarks/mixture.py --out docs/results/mixture/mixture.json

Both read what a layer in the middle of a trained model reads, for how many tokens an expert gets decides what a mixture
costs, and neither random reads nor new weights tell that. The dense one has r times the query heads over the same key
heads, where a token of the mixture uses r experts.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zoo
from mixers.leviathan_moe import LeviathanMoE
from mixers.ops.attention import merge_heads, split_heads
from mixers.ops.correlation import add_lags, correlate
from mixers.ops.rotary import rotate_pair
from zoo.contract import Mixed
from zoo.data.load import load_source
from zoo.files.environment import describe_environment
from zoo.plugin.registry import get_registry
from zoo.train.evaluate import autocast
from zoo.train.machine import prepare_machine, resolve_auto
from zoo.train.session import model_for
from zoo.train.settings import Settings
from zoo.train.step import TrainingStep

HEADS = 4
SIZES = ((128, 256, 8), (256, 1024, 4))
"""Width, tokens and sequences: heads of 32 channels and of 64."""


class Dense(zoo.TokenMixer):
    """A correlation with ``slots * heads`` query heads over ``heads`` key heads."""

    def __init__(self, dim: int, *, heads: int, slots: int = 3, max_lag: int = 3) -> None:
        super().__init__()
        self.size, self.heads, self.kv_heads = dim // heads, slots * heads, heads
        self.project_in = nn.Linear(dim, (self.heads + 2 * heads) * self.size, bias=False)
        self.project_out = nn.Linear(self.heads * self.size, dim, bias=False)
        self.lag_weight = nn.Parameter(torch.zeros(heads, max_lag))

    def reset_parameters(self) -> None:
        """Start the lags at zero."""
        nn.init.zeros_(self.lag_weight)

    def forward(self, x: Tensor) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``."""
        query, key, value, _ = split_heads(self.project_in(x), self.heads, self.kv_heads, self.size)
        key = add_lags(key, F.pad(self.lag_weight, (1, 0), value=1.0), "time", None)
        query, key = rotate_pair(query, key, 0)
        mixed = correlate(query, key, value, lags=1, pool="sum", scale=self.size**-0.5, window=None)
        return self.project_out(merge_heads(mixed))


MIXERS = {"dense": f"dense(heads={HEADS})", "mixture": f"leviathan-moe(heads={HEADS})"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--steps", type=int, default=60, help="of training, before anything is measured")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3, help="each gives a ratio of medians")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path, metavar="FILE")
    options = parser.parse_args()
    zoo.register("dense", Dense)
    found = []
    for (dim, context, batch), precision in product(SIZES, ("fp32", "bf16")):
        sizes = {"layers": options.layers, "dim": dim, "heads": HEADS, "context": context, "batch": batch}
        calls, parameters = {}, {}
        for name, mixer in MIXERS.items():
            asked = Settings(**sizes, mixer=mixer, precision=precision, threads=options.threads)
            calls[name], parameters[name] = trained(asked, options.steps)
        runs = [measure(calls, options.repeats) for _ in range(options.runs)]
        found.append({**sizes, "precision": precision, "parameters": parameters, "seconds": runs})
        ratios = "  ".join(f"{run['mixture'] / run['dense']:.2f}" for run in runs)
        print(f"{dim:4d} wide, {context} tokens, {precision}: {ratios}", flush=True)
    if options.out:
        told = describe_environment(plugins={}, data_sha256="")
        machine = {name: told[name] for name in ("zoo", "python", "torch", "cpu")}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        saved = {"steps": options.steps, "sizes": found, "environment": machine}
        options.out.write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")


def trained(settings: Settings, steps: int) -> tuple[Callable[[], None], int]:
    """What to time, of a mixer in the middle of a model that has learned a little; and its active parameters."""
    settings = resolve_auto(settings)
    prepare_machine(settings)
    source = load_source("python-stdlib", tokenizer="byte", validation_fraction=0.1)
    model = model_for(source, settings, get_registry()).train()
    step = TrainingStep(model, source, settings)
    for number in range(steps):
        step(number)
    mixers = [module for module in model.modules() if isinstance(module, zoo.TokenMixer)]
    mixer, reads = mixers[len(mixers) // 2], []
    handle = mixer.register_forward_pre_hook(lambda _, given: reads.append(given[0].detach()))
    step(steps)
    handle.remove()
    gradient = torch.randn_like(reads[0])
    active = mixer.active_parameters if isinstance(mixer, LeviathanMoE) else sum(p.numel() for p in mixer.parameters())
    return partial(forward_backward, mixer, reads[0], gradient, settings.precision), active


def forward_backward(mixer: nn.Module, x: Tensor, gradient: Tensor, precision: str) -> None:
    """As a training step runs the mixer."""
    x = x.clone().requires_grad_()
    with autocast(x.device, precision):
        out = Mixed.of(mixer(x)).out
    out.backward(gradient.to(out.dtype))
    mixer.zero_grad(set_to_none=True)


def measure(calls: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """The median seconds of each, called in turn after a call that warms up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if number:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


if __name__ == "__main__":
    main()
