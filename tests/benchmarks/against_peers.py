"""Training steps against nanoGPT's model and loop, and greedy decoding against GPT-2 of transformers, interleaved.

Neither is a dependency: --nanogpt names a folder with nanoGPT's model.py, and decoding wants transformers installed.

python tests/benchmarks/against_peers.py training --nanogpt ../nanoGPT --context 256
python tests/benchmarks/against_peers.py decoding --layers 4 --dim 128 --heads 4 --tokens 256
"""

import argparse
import contextlib
import importlib.util
import io
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

import zoo
from zoo.data.source import Batch, Source
from zoo.files.environment import describe_environment
from zoo.model.precision import round_weights
from zoo.plugin.registry import get_registry
from zoo.train.machine import prepare_machine, resolve_auto
from zoo.train.session import model_for
from zoo.train.settings import Settings
from zoo.train.step import TrainingStep

VOCABULARY = 65
PROMPT = 16


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


def zoo_step(settings: Settings) -> Callable[[], object]:
    source = RandomTokens(VOCABULARY, batch=settings.batch, context=settings.context)
    return partial(TrainingStep(model_for(source, settings, get_registry()).train(), source, settings), 0)


def nanogpt_step(folder: Path, sizes: dict[str, int]) -> Callable[[], object]:
    """A step as nanoGPT's train.py makes it on a CPU: in float32, with its own model and optimizer."""
    spec = importlib.util.spec_from_file_location("nanogpt_model", folder / "model.py")
    if spec is None or spec.loader is None:
        sys.exit(f"there is no model.py of nanoGPT in {folder}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    config = module.GPTConfig(
        block_size=sizes["context"],
        vocab_size=VOCABULARY,
        n_layer=sizes["layers"],
        n_head=sizes["heads"],
        n_embd=sizes["dim"],
        dropout=0.0,
        bias=False,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        model = module.GPT(config)
        optimizer = model.configure_optimizers(0.1, 1e-3, (0.9, 0.99), "cpu")
    inputs, targets = torch.randint(VOCABULARY, (2, sizes["batch"], sizes["context"]))

    def step() -> None:
        _, loss = model(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def training(options: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """A step of nanoGPT, and of each mixer in each precision, compiled or not."""
    sizes = {name: getattr(options, name) for name in ("layers", "dim", "heads", "context", "batch")}
    candidates = {"nanoGPT fp32": nanogpt_step(options.nanogpt, sizes)}
    for mixer in options.mixers:
        for variant in options.variants:
            precision, _, compiled = variant.partition("+")
            asked = Settings(**sizes, threads=options.threads, mixer=mixer, precision=precision)
            settings = resolve_auto(asked).model_copy(update={"compile": bool(compiled)})
            prepare_machine(settings)
            candidates[f"{mixer} {variant}"] = zoo_step(settings)
    return candidates


def decoding(options: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """So many tokens after a prompt, the likeliest each time, by GPT-2 with its cache and by each mixer."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=options.context,
        n_embd=options.dim,
        n_layer=options.layers,
        n_head=options.heads,
        bos_token_id=0,
        eos_token_id=None,
        pad_token_id=0,
    )
    prompt, candidates = torch.randint(VOCABULARY, (1, PROMPT)), {}
    for precision in options.precisions:
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        peer = GPT2LMHeadModel(config).eval().to(dtype)
        candidates[f"GPT-2 {precision}"] = _greedy(peer, prompt, options.tokens)
        for mixer in options.mixers:
            sizes = {name: getattr(options, name) for name in ("layers", "dim", "heads", "context")}
            model = zoo.build_model(mixer, vocab_size=VOCABULARY, **sizes).eval()
            round_weights(model, precision)
            candidates[f"{mixer} {precision}"] = _continued(model, prompt, options.tokens)
    return candidates


def _greedy(model: torch.nn.Module, prompt: torch.Tensor, tokens: int) -> Callable[[], object]:
    mask = torch.ones_like(prompt)
    asked = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False, "use_cache": True}
    return lambda: model.generate(prompt, attention_mask=mask, **asked)


def _continued(model: torch.nn.Module, prompt: torch.Tensor, tokens: int) -> Callable[[], object]:
    return lambda: zoo.generate(model, prompt, tokens=tokens, temperature=0)


def measure(candidates: dict[str, Callable[[], object]], warm_up: int, repeats: int) -> dict[str, float]:
    """The median seconds of each, run in turn."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for call in candidates.values():
        for _ in range(warm_up):
            call()
    for _ in range(repeats):
        for name, call in candidates.items():
            begin = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["training", "decoding"])
    parser.add_argument("--nanogpt", type=Path, help="a folder with nanoGPT's model.py")
    for name, default in [("layers", 6), ("dim", 384), ("heads", 6), ("context", 512), ("batch", 8), ("tokens", 256)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3, help="each gives a ratio of medians")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--mixers", nargs="+", default=["dot-product", "correlation"])
    parser.add_argument("--variants", nargs="+", default=["fp32", "fp32+compile", "bf16", "bf16+compile"])
    parser.add_argument("--precisions", nargs="+", default=["fp32"])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    if options.what == "training" and options.nanogpt is None:
        parser.error("training wants --nanogpt, a folder with nanoGPT's model.py")
    torch.set_num_threads(options.threads)
    candidates = training(options) if options.what == "training" else decoding(options)
    runs = [measure(candidates, 0 if number else 3, options.repeats) for number in range(options.runs)]
    first = next(iter(candidates))
    for name in candidates:
        ratios = "  ".join(f"{run[first] / run[name]:5.2f}" for run in runs)
        print(f"{name:30s} {1e3 * statistics.median(run[name] for run in runs):9.1f} ms   {ratios} x {first}")
    if options.json:
        flags = " ".join(sys.argv[1:]).partition(" --json")[0]
        told = {"flags": flags, "seconds": runs, "repeats": options.repeats, "environment": environment()}
        options.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def environment() -> dict[str, object]:
    told = describe_environment(plugins={}, data_sha256="")
    return {name: told[name] for name in ("zoo", "python", "torch", "cpu")}


if __name__ == "__main__":
    main()
