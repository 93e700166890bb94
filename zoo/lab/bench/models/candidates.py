"""The candidates of a bench of whole models: the model of each pattern, and two baselines."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import nn

from zoo.data.source import Batch, Source
from zoo.lab.bench.candidates import build_each
from zoo.lab.bench.models.gpt2 import PlainGPT2
from zoo.lab.bench.models.request import ModelRequest
from zoo.model.build import build_model, build_seeded
from zoo.model.parameters import count_active_parameters, count_parameters
from zoo.plugin.pattern import parse
from zoo.train.evaluate import autocast
from zoo.train.optimizer import state_bytes
from zoo.train.settings import Settings, validate
from zoo.train.step import TrainingStep

BASELINE = "dot-product"
"""The pattern that all are compared with."""

GPT2 = "plain gpt2"
"""The name of the other baseline, which is no pattern."""


class RandomTokens(Source):
    """Sequences of random tokens, whose drawing takes as good as no time."""

    name, sha256, tokenizer = "random", "", None

    def __init__(self, vocab_size: int) -> None:
        self._vocab_size = vocab_size
        self.settings: dict[str, Any] = {}

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return self._vocab_size

    def check_context(self, context: int) -> None:
        """Any length will do."""

    def draw(self, *, context: int, batch: int, step: int, seed: int = 0) -> Batch:
        """Sequences that follow from the seed and the step."""
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        drawn = torch.randint(self._vocab_size, (batch, context + 1), generator=generator)
        return Batch(drawn[:, :-1], drawn[:, 1:], torch.arange(batch))

    def validation_batches(self, *, context: int, batch: int, limit: int | None = None) -> Iterator[Batch]:  # noqa: ARG002
        """One batch."""
        yield self.draw(context=context, batch=batch, step=0)


class Candidate(Protocol):
    """A model that can be built any number of times."""

    name: str
    layers: int

    def build(self) -> Any:
        """A new model, the same each time."""

    def training_step(self, model: Any, source: Source) -> Callable[[int], object]:
        """What makes a step of its training, by the number of the step."""

    def optimizer_bytes(self, model: Any) -> int:
        """Bytes that its optimizer keeps."""


class PatternModel:
    """The language model of a pattern, built and trained as ``zoo train`` does.

    Args:
        pattern: as the user wrote it.
        request: the sizes.
    """

    def __init__(self, pattern: str, request: ModelRequest) -> None:
        self.name, self.layers, self.pattern, self.request = str(parse(pattern)), request.layers, pattern, request
        names = ["layers", "dim", "heads", "context", "batch", "device", "precision", "compile", "threads", "seed"]
        self.settings: Settings = validate({"mixer": pattern, **{name: getattr(request, name) for name in names}})

    def build(self) -> Any:
        """A new model, the same each time."""
        request = self.request

        def build() -> nn.Module:
            return build_model(
                self.pattern,
                vocab_size=request.vocab_size,
                dim=request.dim,
                layers=request.layers,
                heads=request.heads,
                context=request.context,
            )

        return build_seeded(request.seed, build)

    def training_step(self, model: Any, source: Source) -> Callable[[int], object]:
        """The step of ``zoo train``."""
        return TrainingStep(model, source, self.settings)

    def optimizer_bytes(self, model: Any) -> int:
        """Bytes that its optimizer keeps."""
        return state_bytes(model, self.settings)


class GPT2Candidate:
    """The plain model like GPT-2 of these sizes, with a plain training step."""

    name = GPT2

    def __init__(self, request: ModelRequest) -> None:
        self.request, self.layers = request, request.layers

    def build(self) -> Any:
        """A new model, the same each time."""
        request = self.request
        sizes = {name: getattr(request, name) for name in ("dim", "layers", "heads", "context")}
        return build_seeded(request.seed, lambda: PlainGPT2(request.vocab_size, **sizes))

    def training_step(self, model: Any, source: Source) -> Callable[[int], object]:
        """Forward, backward, clipping, and torch's own fused AdamW."""
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, fused=True)
        request, device = self.request, next(model.parameters()).device
        forward = torch.compile(model) if request.compile else model

        def step(number: int) -> None:
            batch = source.draw(context=request.context, batch=request.batch, seed=request.seed, step=number)
            with autocast(device, request.precision):
                loss = forward(batch.inputs.to(device), batch.targets.to(device)).loss
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        return step

    def optimizer_bytes(self, model: Any) -> int:
        """Two averages of each gradient."""
        return 2 * sum(parameter.nbytes for parameter in model.parameters())


def build_candidates(request: ModelRequest) -> tuple[list[Candidate], list[dict[str, object]], dict[str, str]]:
    """The baselines and the candidates of the request, what there is to tell of them, and why others cannot be built.

    Raises:
        UsageError: none of the patterns can be built.
    """
    described: list[dict[str, object]] = []

    def candidate_of(candidate: Candidate) -> Candidate:
        model = candidate.build()
        counts = {"parameters": count_parameters(model), "active_parameters": count_active_parameters(model)}
        described.append({"name": candidate.name, "layers": candidate.layers, **counts})
        return candidate

    baselines = [candidate_of(PatternModel(BASELINE, request)), candidate_of(GPT2Candidate(request))]
    patterns = [pattern for pattern in request.patterns if str(parse(pattern)) != BASELINE]
    built, unbuilt = build_each(patterns, lambda pattern: candidate_of(PatternModel(pattern, request)), baselines)
    return built, described, unbuilt
