"""A whole training step of the zoo against the same step of a plain GPT, interleaved; prints ratios.

python tests/benchmarks/training_step.py --layers 6 --dim 384 --heads 6 --context 256 --batch 8
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from plain_gpt import PlainGPT

from zoo.data.source import Batch, Source
from zoo.files.environment import describe_environment
from zoo.plugin.registry import get_registry
from zoo.train.machine import prepare_machine, resolve_auto
from zoo.train.session import model_for
from zoo.train.settings import Settings
from zoo.train.step import TrainingStep


def plain_step(settings: Settings, vocabulary: int) -> Callable[[], object]:
    model = PlainGPT(
        vocabulary=vocabulary,
        dim=settings.dim,
        layers=settings.layers,
        heads=settings.heads,
        context=settings.context,
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    inputs, targets = torch.randint(vocabulary, (2, settings.batch, settings.context))

    def step() -> None:
        model(inputs, targets).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


class RandomTokens(Source):
    """One batch, again and again."""

    name, sha256, tokenizer = "random", "", None

    def __init__(self, vocabulary: int, *, batch: int, context: int) -> None:
        self._vocabulary = vocabulary
        self._batch = Batch(*torch.randint(vocabulary, (2, batch, context)), torch.zeros(batch))

    @property
    def vocab_size(self) -> int:
        return self._vocabulary

    def check_context(self, context: int) -> None:
        """Any will do."""

    def draw(self, *, context: int, batch: int, seed: int, step: int) -> Batch:
        return self._batch

    def validation_batches(self, *, context: int, batch: int, limit: int | None = None) -> Iterator[Batch]:
        return iter(())


def zoo_step(settings: Settings, vocabulary: int) -> Callable[[], object]:
    source = RandomTokens(vocabulary, batch=settings.batch, context=settings.context)
    return partial(TrainingStep(model_for(source, settings, get_registry()).train(), source, settings), 0)


def measure(steps: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The median seconds of each candidate, run in turn."""
    for step in steps.values():
        for _ in range(3):
            step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            begin = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in [("layers", 6), ("dim", 384), ("heads", 6), ("context", 256), ("batch", 8), ("threads", 2)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--vocabulary", type=int, default=65)
    parser.add_argument("--mixers", nargs="+", default=["dot-product"])
    parser.add_argument("--channel-mixer", default="swiglu")
    parser.add_argument("--variants", nargs="+", default=["fp32", "bf16", "auto"])
    parser.add_argument("--mallopt", action="store_true", help="set the allocator up as `zoo train` does, for all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sizes = {name: getattr(options, name) for name in ("layers", "dim", "heads", "context", "batch", "threads")}
    candidates = {"plain": plain_step(Settings(**sizes), options.vocabulary)}
    for mixer in options.mixers:
        for variant in options.variants:
            precision, _, compiled = variant.partition("+")
            asked = Settings(**sizes, mixer=mixer, channel_mixer=options.channel_mixer, precision=precision)
            settings = resolve_auto(asked).model_copy(update={"compile": bool(compiled)})
            if options.mallopt:
                prepare_machine(settings)
            candidates[f"{mixer} {variant} ({settings.precision})"] = zoo_step(settings, options.vocabulary)
    medians = measure(candidates, options.repeats)
    for name, seconds in medians.items():
        print(f"{name:40s} {1e3 * seconds:9.1f} ms   {medians['plain'] / seconds:5.2f} x plain")
    if options.json:
        flags = " ".join(sys.argv[1:]).partition(" --json")[0]
        told = {"flags": flags, "seconds": medians, "repeats": options.repeats, "environment": environment()}
        options.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def environment() -> dict[str, object]:
    told = describe_environment(plugins={}, data_sha256="")
    return {name: told[name] for name in ("zoo", "python", "torch", "cpu")}


if __name__ == "__main__":
    main()
