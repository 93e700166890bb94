"""Time per decoded token at two positions of a text, in turn, and the size of the state there.

python tests/benchmarks/decoding.py dot-product correlation involution leviathan-moe
"""

import argparse

import torch
from torch.utils._pytree import tree_leaves
from training_step import measure

import zoo


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mixers", nargs="+")
    parser.add_argument("--positions", nargs=2, type=int, default=[50, 500])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    token = torch.zeros(1, 1, dtype=torch.int64)
    for name in options.mixers:
        model = zoo.build_model(name, vocab_size=256, dim=128, layers=4, context=1024).eval()
        with torch.inference_mode():
            states = {p: model.step(torch.zeros(1, p, dtype=torch.int64))[1] for p in options.positions}
            steps = {str(p): lambda model=model, state=state: model.step(token, state) for p, state in states.items()}
            early, late = measure(steps, options.repeats).values()
        sizes = [sum(leaf.numel() for leaf in tree_leaves(state)) for state in states.values()]
        print(
            f"{name:30s} {1e3 * early:6.2f} ms at {options.positions[0]}, {1e3 * late:6.2f} ms at "
            f"{options.positions[1]}: {late / early:.2f} x; state {sizes[0]:,} and {sizes[1]:,} numbers"
        )


if __name__ == "__main__":
    main()
