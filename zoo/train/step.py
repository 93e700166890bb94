"""The training step, which the trainer makes, and whoever measures how long it takes."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from zoo.data.source import IGNORE, Batch, Source
from zoo.errors import ZooError
from zoo.model.backbone import CROSS_ENTROPY, Backbone, ModelOutput
from zoo.model.metrics import combine_metrics
from zoo.plugin.isolation import seed_torch
from zoo.train.evaluate import autocast
from zoo.train.not_finite import Cause, explain_not_finite
from zoo.train.optimizer import learning_rate, make_optimizer
from zoo.train.settings import Settings


class Update(NamedTuple):
    """What a step measured.

    Attributes:
        loss: cross-entropy over all targets of the step, nats per target.
        gradient_norm: before clipping.
    """

    loss: float
    gradient_norm: float


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
    """

    def __init__(self, model: Backbone, source: Source, settings: Settings) -> None:
        self.model, self.source, self.settings = model, source, settings
        self.device = next(model.parameters()).device
        self.optimizer = make_optimizer(model, settings)
        self.parameters = [parameter for parameter in model.parameters_along_stream() if parameter.requires_grad]
        model.activation_checkpointing = settings.activation_checkpointing
        self.forward = self._compiled() if settings.compile else model

    def __call__(self, step: int) -> Update:
        """Make the update that follows `step` updates.

        Raises:
            NotFiniteError: the loss or the gradient is not finite; no parameter was changed.
        """
        self._seed(step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.settings, step)
        batches = self._draw(step)  # all of them first: the weight of each depends on the targets of the others
        weights = target_weights([count_targets(batch) for batch in batches])
        pairs = [self._backward(batch, weight) for batch, weight in zip(batches, weights, strict=True)]
        loss = sum(weight * mean.item() for weight, (mean, _) in zip(weights, pairs, strict=True))
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip).item()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self._not_finite(step, Update(loss, norm), batches)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.model.after_update(combine_metrics(metrics for _, metrics in pairs))
        return Update(loss, norm)

    def _compiled(self) -> Callable[..., ModelOutput]:
        # torch keeps what it compiled for earlier models of this process, and after eight gives up without an error
        torch.compiler.reset()
        return torch.compile(self.model)

    def _seed(self, step: int) -> None:
        """Make all global randomness of a step, e.g. dropout, a function of the seed and the step."""
        seed_torch((self.settings.seed * 1_000_003 + step) % 2**63)

    def _draw(self, step: int) -> list[Batch]:
        settings = self.settings
        numbers = range(step * settings.accumulate, (step + 1) * settings.accumulate)
        return [
            self.source.draw(context=settings.context, batch=settings.batch, seed=settings.seed, step=number)
            for number in numbers
        ]

    def _backward(self, batch: Batch, weight: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Add the gradient of a micro-batch to that of the step; returns its mean cross-entropy and its metrics."""
        output = self._run(self.forward, batch)
        self._objective(weight, output).backward()
        return output.losses[CROSS_ENTROPY].detach(), output.metrics

    def _run(self, forward: Callable[..., ModelOutput], batch: Batch) -> ModelOutput:
        inputs, targets = batch.inputs.to(self.device), batch.targets.to(self.device)
        where = None if batch.where is None else batch.where.to(self.device)
        with autocast(self.device, self.settings.precision):
            return forward(inputs, targets, where, **batch.documents_for(self.device))

    def _objective(self, weight: float, output: ModelOutput) -> Tensor:
        """What a micro-batch adds to the loss of the step."""
        share = 1 / self.settings.accumulate
        terms = [(weight if name == CROSS_ENTROPY else share) * value for name, value in output.losses.items()]
        return sum(terms[1:], terms[0])

    def _not_finite(self, step: int, update: Update, batches: Sequence[Batch]) -> NotFiniteError:
        loss, norm = update
        culprit = "gradient" if math.isfinite(loss) else "loss"
        offsets = [batch.offsets.tolist() for batch in batches]
        first = ", ".join(str(offset) for offset in offsets[0][:8])
        cause = self._cause(step, batches)
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

    def _cause(self, step: int, batches: Sequence[Batch]) -> Cause | None:
        """Which part made the first number that is not finite: its step is made once more, watched."""
        self._seed(step)
        for batch, weight in zip(batches, target_weights([count_targets(batch) for batch in batches]), strict=True):
            with suppress(Exception):  # the first failure is the one to report
                forward, objective = partial(self._run, self.model, batch), partial(self._objective, weight)
                if cause := explain_not_finite(self.model, forward, objective):
                    return cause
        return None


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
