"""Seconds per decoded token at two positions, for each mixer, and the size of the state there.

    python tests/benchmarks/decoding.py dot-product correlation involution leviathan-moe
"""

import argparse
import statistics
import time

import torch
from torch.utils._pytree import tree_leaves

import zoo
from zoo.backbone import Backbone


def decode(model: Backbone, last: int) -> tuple[list[float], list[int]]:
    """Seconds and state numbers of each of `last` tokens."""
    token, state, seconds, sizes = torch.zeros(1, 1, dtype=torch.int64), None, [], []
    with torch.inference_mode():
        for _ in range(last):
            begin = time.perf_counter()
            logits, state = model.step(token, state)
            token = logits[:, -1:].argmax(-1)
            seconds.append(time.perf_counter() - begin)
            sizes.append(sum(leaf.numel() for leaf in tree_leaves(state)))
    return seconds, sizes


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mixers", nargs="+")
    parser.add_argument("--positions", nargs=2, type=int, default=[50, 500])
    options = parser.parse_args()
    torch.set_num_threads(2)
    early, late = options.positions
    for name in options.mixers:
        model = zoo.build_model(name, vocab_size=256, dim=128, layers=4, context=1024).eval()
        decode(model, 32)
        seconds, sizes = decode(model, late + 20)
        around = {place: statistics.median(seconds[place - 20 : place + 20]) for place in (early, late)}
        ratio = around[late] / around[early]
        print(
            f"{name:30s} {1e3 * around[early]:6.2f} ms at {early}, {1e3 * around[late]:6.2f} ms at {late}: {ratio:.2f} x;"
            f" state {sizes[early - 1]:,} and {sizes[late - 1]:,} numbers"
        )


if __name__ == "__main__":
    main()
