"""The training step, which the trainer makes, and whoever measures how long it takes."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from zoo.data.source import IGNORE, Batch, Source
from zoo.errors import UsageError, ZooError
from zoo.model.backbone import CROSS_ENTROPY, Backbone, ModelOutput
from zoo.model.metrics import combine_metrics
from zoo.plugin.isolation import seed_torch
from zoo.train.engine.engine import make_engine
from zoo.train.engine.ranks import Ranks
from zoo.train.evaluate import autocast
from zoo.train.not_finite import Cause, explain_not_finite
from zoo.train.optimizer import learning_rate, make_optimizer
from zoo.train.segments import losses_by_segment
from zoo.train.settings import Settings

T = TypeVar("T")


class Update(NamedTuple):
    """What a step measured.

    Attributes:
        loss: cross-entropy over all targets of the step, nats per target.
        gradient_norm: before clipping.
    """

    loss: float
    gradient_norm: float


class MicroBatch(NamedTuple):
    """What is run at once, and its number among those of all steps."""

    number: int
    batch: Batch


class NotFiniteError(ZooError):
    """The loss or the gradient of a step is not finite; the parameters are as they were before the step.

    Attributes:
        loss: of the step, nats per target.
        offsets: of every sequence of the step, by micro-batch.
        part: which made the first number that is not finite, e.g. ``"0.correlation"``; None if none did.
    """

    def __init__(
        self, message: str, *, loss: float = math.nan, offsets: Sequence[list[int]] = (), part: str | None = None
    ) -> None:
        super().__init__(message)
        self.loss, self.offsets, self.part = loss, offsets, part


class TrainingStep:
    """One update of a model's parameters, a pure function of the settings, the number of the step and the weights.

    The loss of a step is the cross-entropy summed over all its targets, divided by their number, however they are
    distributed over micro-batches. An auxiliary loss is averaged over the micro-batches.

    Args:
        model: in training mode, on its device.
        source: draws the batches.
        settings: without ``auto``.
        ranks: the processes that share the micro-batches out; one by default, which runs all of them.
    """

    def __init__(self, model: Backbone, source: Source, settings: Settings, ranks: Ranks | None = None) -> None:
        self.model, self.source, self.settings, self.ranks = model, source, settings, ranks or Ranks()
        if settings.segment is not None and self.ranks.count > 1:
            raise UsageError(f"`segment`={settings.segment} is for one process, and there are {self.ranks.count}")
        self.device, self.lengths = next(model.parameters()).device, settings.lengths
        model.activation_checkpointing = settings.activation_checkpointing
        self.engine = make_engine(model, settings, self.ranks)  # before the optimizer: it may replace the parameters
        self.forward = self.engine.forward
        self.optimizer = make_optimizer(model, settings)
        self.parameters = [parameter for parameter in model.parameters_along_stream() if parameter.requires_grad]

    def __call__(self, step: int) -> Update:
        """Make the update that follows `step` updates.

        Raises:
            NotFiniteError: the loss or the gradient is not finite; no parameter was changed.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.settings, step)
        own = self._draw(step)  # all of them first: the weight of each depends on the targets of the others
        counts = self._of_all_ranks([count_targets(micro.batch) for micro in own])
        weights = target_weights(counts)
        outputs = self._backward(own, weights[self.engine.own_share])
        norm = self.engine.clip_gradients(self.parameters)  # all have been launched: only now wait for them
        pairs = self._of_all_ranks([(mean.item(), metrics) for mean, metrics in outputs])
        loss = sum(weight * mean for weight, (mean, _) in zip(weights, pairs, strict=True))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self._not_finite(step, Update(loss, norm), own, weights[self.engine.own_share])
        self._seed(-1 - step)  # what an update draws, e.g. new weights of an expert, is the same on all ranks
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.model.after_update(combine_metrics(metrics for _, metrics in pairs))
        if self.engine.average is not None:
            self.engine.average.update(step + 1)
        return Update(loss, norm)

    def context(self, step: int) -> int:
        """Tokens of each sequence of the step that follows so many."""
        return self.settings.context if self.lengths is None else self.lengths.length(step, self.settings.seed)

    def tokens(self, step: int) -> int:
        """All tokens of that step."""
        return self.settings.batch * self.settings.accumulate * self.context(step)

    def _seed(self, number: int) -> None:
        """Make all global randomness of a micro-batch, e.g. dropout, a function of the seed and its number."""
        seed_torch((self.settings.seed * 1_000_003 + number) % 2**63)

    def _draw(self, step: int) -> list[MicroBatch]:
        """The micro-batches of a step that this rank runs, numbered through all steps."""
        settings = self.settings
        context = self.context(step)
        numbers = range(step * settings.accumulate, (step + 1) * settings.accumulate)[self.engine.own_share]
        return [
            MicroBatch(
                number,
                self.source.draw(context=context, batch=settings.batch, seed=settings.seed, step=number),
            )
            for number in numbers
        ]

    def _of_all_ranks(self, values: list[T]) -> list[T]:
        """What the ranks have of their micro-batches, in the order of these."""
        return [value for of_rank in self.ranks.gather(values) for value in of_rank]

    def _backward(self, own: Sequence[MicroBatch], weights: Sequence[float]) -> list[tuple[Tensor, dict[str, Tensor]]]:
        """Make the gradient of the step; returns the mean cross-entropy of each micro-batch and its metrics."""
        outputs: list[tuple[Tensor, dict[str, Tensor]]] = []
        for index, (micro, weight) in enumerate(zip(own, weights, strict=True), start=1):
            self._seed(micro.number)
            with self.engine.accumulating(last=index == len(own)):
                outputs.append(self._backward_one(micro.batch, weight))
        return outputs

    def _backward_one(self, batch: Batch, weight: float) -> tuple[Tensor, dict[str, Tensor]]:
        if self.settings.segment is None:
            output = self._run(self.forward, batch)
            self._objective(weight, output).backward()
            return output.losses[CROSS_ENTROPY].detach(), output.metrics
        mean = torch.zeros((), device=self.device)
        tokens, targets = _copied(batch.inputs, self.device), _copied(batch.targets, self.device)
        for loss in losses_by_segment(self.model, tokens, targets, self.settings.segment, self.settings.precision):
            (weight * loss).backward()
            mean += loss.detach()
        return mean, {}

    def _run(self, forward: Callable[..., ModelOutput], batch: Batch) -> ModelOutput:
        inputs, targets = _copied(batch.inputs, self.device), _copied(batch.targets, self.device)
        where = None if batch.where is None else _copied(batch.where, self.device)
        documents = {} if batch.documents is None else {"documents": _copied(batch.documents, self.device)}
        with autocast(self.device, self.settings.precision):
            return forward(inputs, targets, where, **documents)

    def _objective(self, weight: float, output: ModelOutput) -> Tensor:
        """What a micro-batch adds to the loss of the step."""
        share = 1 / self.settings.accumulate
        terms = [(weight if name == CROSS_ENTROPY else share) * value for name, value in output.losses.items()]
        return sum(terms[1:], terms[0])

    def _not_finite(
        self, step: int, update: Update, own: Sequence[MicroBatch], weights: Sequence[float]
    ) -> NotFiniteError:
        loss, norm = update
        culprit = "gradient" if math.isfinite(loss) else "loss"
        offsets = self._of_all_ranks([micro.batch.offsets.tolist() for micro in own])
        first = ", ".join(str(offset) for offset in offsets[0][:8])
        cause = next(filter(None, self.ranks.gather(self._cause(own, weights))), None)
        why = f"{cause.text}. " if cause is not None else ""
        advice = "Try a lower `lr`, or a longer `warmup`. " if cause is None or cause.part is None else ""
        return NotFiniteError(
            f"the {culprit} of step {step + 1} is not finite (loss {loss}, gradient norm {norm}); the update was not "
            f"made. {why}{advice}Batch offsets: {first}{', …' if len(offsets[0]) > 8 else ''} (all of them in "
            "events.jsonl)",
            loss=loss,
            offsets=offsets,
            part=None if cause is None else cause.part,
        )

    def _cause(self, own: Sequence[MicroBatch], weights: Sequence[float]) -> Cause | None:
        """Which part made the first number that is not finite: this rank's share is run once more, watched.

        Not of a model in parts, which all ranks must run to the same end.
        """
        if self.engine.sharded:
            return None
        for micro, weight in zip(own, weights, strict=True):
            self._seed(micro.number)
            with suppress(Exception):  # the first failure is the one to report
                forward, objective = partial(self._run, self.model, micro.batch), partial(self._objective, weight)
                if cause := explain_not_finite(self.model, forward, objective):
                    return cause
        return None


def _copied(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on another device. A GPU is not waited for, which a copy from pageable memory does."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def count_targets(batch: Batch) -> int:
    """How many positions of a batch have a target."""
    return int((batch.targets != IGNORE).sum()) if batch.where is None else len(batch.where)


def target_weights(counts: Sequence[int]) -> list[float]:
    """By what the mean losses of micro-batches are multiplied, so that they add up to the mean over all targets.

    Args:
        counts: targets of each micro-batch.

    Returns:
        Their shares of all targets; exactly 1.0 for a single micro-batch.
    """
    total = sum(counts)
    return [count / total for count in counts]
