"""Forward and backward of single mixers, interleaved, as ratios to the first one.

python tests/benchmarks/one_mixer.py dot-product correlation involution leviathan-moe
"""

import argparse

import torch
from training_step import measure

import zoo
from zoo.build import count_active_parameters, count_parameters
from zoo.contract import Mixed
from zoo.train.machine import prepare_machine
from zoo.train.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mixers", nargs="+")
    for name, default in [("batch", 8), ("context", 512), ("dim", 256), ("heads", 4), ("threads", 2), ("repeats", 21)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    prepare_machine(Settings(device="cpu", threads=options.threads))  # threads and allocator, as `zoo train` does
    reads = torch.randn(options.batch, options.context, options.dim, requires_grad=True)
    gradient = torch.randn_like(reads)
    mixers = {name: zoo.create_mixer(name, dim=options.dim, heads=options.heads) for name in options.mixers}
    steps = {name: lambda mixer=mixer: Mixed.of(mixer(reads)).out.backward(gradient) for name, mixer in mixers.items()}
    medians = measure(steps, options.repeats)
    first = medians[options.mixers[0]]
    for name, seconds in medians.items():
        total, active = count_parameters(mixers[name]), count_active_parameters(mixers[name])
        print(f"{name:30s} {1e3 * seconds:8.1f} ms  {seconds / first:5.2f} x  {total:,} parameters, {active:,} active")


if __name__ == "__main__":
    main()
