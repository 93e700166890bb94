"""Time of the operators `decay` and `erase`, forward and backward: against their recurrence, against fused softmax
attention of the same sizes, and as a function of length. Run by hand, on a quiet machine:

python tests/benchmarks/operators.py --out operators
"""

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mixers.ops.decay import decay, decay_reference
from mixers.ops.erase import erase, erase_reference
from zoo.train.machine import prepare_machine
from zoo.train.settings import validate

ROUNDS = 5
RECURRENCE = 2048
SHORT = (128, 256, 512, 1024, 2048)
LONG = (1024, 2048, 4096, 8192, 16384)
FLOORS: dict[str, float | None] = {"head": None, "channel, floor -5": -5.0, "channel": None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder of operators.json")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--channels", type=int, default=32, help="of a key and of a value of one head")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    prepare_machine(validate({"device": "cpu", "threads": args.threads}))  # threads and allocator as in training
    torch.manual_seed(0)
    found, sizes = {}, (args.batch, args.heads, args.channels)
    for name, make in {"decay": _decay, "erase": _erase}.items():
        for gate, floor in FLOORS.items():
            found[f"{name}, a decay a {gate}"] = _measure(partial(make, sizes=sizes, gate=gate, floor=floor))
            print(name, gate, json.dumps(found[f"{name}, a decay a {gate}"]), flush=True)
    machine = {"platform": platform.platform(), "torch": torch.__version__, "threads": args.threads}
    written = {"batch": args.batch, "heads": args.heads, "channels": args.channels, "machine": machine, "forms": found}
    (args.out / "operators.json").write_text(json.dumps(written, indent=2))


def _measure(make: Callable[[int], dict[str, Callable[[], Tensor]]]) -> dict[str, object]:
    at = make(RECURRENCE)
    whole = _interleaved({"chunks": at["chunks"], "recurrence": at["recurrence"]}, rounds=3)
    against = {t: _interleaved({key: make(t)[key] for key in ("chunks", "sdpa")}) for t in SHORT}
    alone = {t: _interleaved({"chunks": make(t)["chunks"]}, rounds=3)["chunks"] for t in LONG}
    slope = statistics.linear_regression([math.log(t) for t in LONG], [math.log(alone[t]) for t in LONG]).slope
    return {
        "times the recurrence": round(whole["recurrence"] / whole["chunks"], 2),
        "times sdpa": {t: round(both["sdpa"] / both["chunks"], 2) for t, both in against.items()},
        "seconds": {t: round(value, 4) for t, value in alone.items()},
        "exponent": round(slope, 3),
    }


def _interleaved(calls: dict[str, Callable[[], Tensor]], rounds: int = ROUNDS) -> dict[str, float]:
    """The median time of a forward and a backward pass of each, in turn, after one that warms up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    # Numbers of their own: the ones that a sum sends back lie in memory as no gradient of a model does.
    gradients = {name: torch.randn(call().shape) for name, call in calls.items()}
    for number in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call().backward(gradients[name])
            if number:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def _inputs(t: int, sizes: tuple[int, int, int], gate: str) -> tuple[Tensor, ...]:
    b, h, k = sizes
    query, key, value = (torch.randn(b, t, h, k, requires_grad=True) for _ in range(3))
    by = () if gate == "head" else (k,)
    log_decay = (-torch.rand(b, t, h, *by) * 0.5).requires_grad_()
    return query, key, value, log_decay


def _sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (query, key, value)), is_causal=True)


def _decay(t: int, sizes: tuple[int, int, int], gate: str, floor: float | None) -> dict[str, Callable[[], Tensor]]:
    query, key, value, w = _inputs(t, sizes, gate)
    return {
        "chunks": lambda: decay(query, key, value, w, floor=floor)[0],
        "recurrence": lambda: decay_reference(query, key, value, w)[0],
        "sdpa": lambda: _sdpa(query, key, value),
    }


def _erase(t: int, sizes: tuple[int, int, int], gate: str, floor: float | None) -> dict[str, Callable[[], Tensor]]:
    query, key, value, w = _inputs(t, sizes, gate)
    unit = F.normalize(key.detach(), dim=-1).requires_grad_()
    wide = w[..., None] if w.ndim == 3 else w

    def run(op: Callable[..., tuple[Tensor, Tensor]], **options: float | None) -> Tensor:
        write = 0.5 * unit
        return op(query, -unit * wide.exp(), write, value, w, **options)[0]

    return {
        "chunks": lambda: run(erase, floor=floor),
        "recurrence": lambda: run(erase_reference),
        "sdpa": lambda: _sdpa(query, key, value),
    }


if __name__ == "__main__":
    main()
