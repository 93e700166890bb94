"""The training loop: from a model, data and settings to trained weights, a step at a time."""

import math
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from zoo.data.score import Score
from zoo.data.source import Source
from zoo.errors import UsageError
from zoo.model.backbone import Backbone
from zoo.train.checkpoint import Checkpoint, Commit, save_checkpoint
from zoo.train.contention import Contention
from zoo.train.engine.agreement import check_buffers_agree
from zoo.train.engine.ranks import Ranks
from zoo.train.evaluate import evaluate
from zoo.train.interrupts import Interrupts
from zoo.train.listener import Listener, Progress
from zoo.train.optimizer import decay_begins, learning_rate
from zoo.train.reports import Reports
from zoo.train.run_directory import RunDirectory
from zoo.train.saver import Saver
from zoo.train.settings import Settings
from zoo.train.shards import save_shards
from zoo.train.step import NotFiniteError, TrainingStep


@dataclass
class Trainer:
    """A run under way.

    Every step is a pure function of the settings and of the step before: batches and dropout are drawn from
    (seed, step), so that a resumed run needs no other state than the weights, the optimiser's and the counters, and
    ends bit for bit where an uninterrupted one does (same machine, same thread count).
    """

    model: Backbone
    source: Source
    settings: Settings
    run: RunDirectory
    listener: Listener = field(default_factory=Listener)
    ranks: Ranks = field(default_factory=Ranks)
    reports: Reports = field(default_factory=lambda: Reports({}, Listener()))
    step: int = 0
    seconds: float = 0.0
    validation_loss: float = math.nan
    validation_accuracy: float = math.nan
    train_loss: float = math.nan
    _loss_sum: float = 0.0
    _loss_count: int = 0

    def __post_init__(self) -> None:
        self.training_step = TrainingStep(self.model, self.source, self.settings, self.ranks)
        self.optimizer = self.training_step.optimizer
        self._score: Score | None = None
        self._unigram_loss = self.ema_loss = self.ema_accuracy = math.nan
        self._speed = 0.0
        self._left: int | None = None  # tokens, from the first step on
        self._saved_step = -1
        self._saver = Saver(background=self.ranks.count > 1)

    def train(self, interrupts: Interrupts) -> bool:
        """Train to the last step, or until the accuracy is reached, the time is over, or the run is interrupted.

        Returns:
            Whether the run reached its end rather than being interrupted.
        """
        try:
            return self._train(interrupts)
        finally:
            self._saver.wait()

    def _train(self, interrupts: Interrupts) -> bool:
        self.model.train()
        deadline = time.monotonic() + (self.settings.max_time or math.inf)
        contention = Contention()
        if self.step == 0:
            self.save()
        while self.step < self.settings.steps and not self.is_good_enough:
            self._timed_update()
            if slowed_down := contention.notice():
                self.listener.notice(slowed_down)
            out_of_time = self.ranks.gather(time.monotonic() >= deadline)[0]
            last = self.step == self.settings.steps or out_of_time
            evaluating = last or self.step % self.settings.evaluate_every == 0
            if evaluating:
                last = self._evaluate_now(last)
            if evaluating or self.step % self.settings.log_every == 0:
                self._log(with_validation=evaluating)
            interrupted = any(self.ranks.gather(interrupts.requested))  # a signal may reach some ranks only
            if last or interrupted or self._is_to_be_saved:
                self.save()
            if last or interrupted:
                return last
        return True

    @property
    def is_good_enough(self) -> bool:
        """Whether the validation accuracy has reached what the run is to stop at."""
        wanted = self.settings.stop_accuracy
        return wanted is not None and self.validation_accuracy >= wanted

    @property
    def _is_to_be_saved(self) -> bool:
        return self.step % self.settings.checkpoint_every == 0 or self.step == decay_begins(self.settings)

    def _evaluate_now(self, last: bool) -> bool:
        """Measure on some of the validation data, or on all of it if this is the end; returns whether it is."""
        if not last:
            self.evaluate(self.settings.evaluation_tokens)
        if last or self.is_good_enough:  # a part may flatter: it is all of it that counts
            self.evaluate(self.settings.final_evaluation_tokens)
        self._show()
        return last or self.is_good_enough

    def evaluate(self, limit: int | None) -> None:
        """Measure the loss and the accuracy on about so many validation tokens."""
        self._score = score = self.measure(limit)
        self._unigram_loss = self.measure_unigram_loss(limit)
        self.validation_loss, self.validation_accuracy = score.loss, score.accuracy
        self.ema_loss, self.ema_accuracy = self.measure_average(limit)

    def measure(self, limit: int | None) -> Score:
        """What the model scores on about so many validation tokens, sequence by sequence."""
        settings = self.settings
        validation = self.source.validation_batches(context=settings.context, batch=settings.batch, limit=limit)
        return evaluate(self.model, validation, precision=settings.precision, by_sequence=True, ranks=self.ranks)

    def measure_average(self, limit: int | None) -> tuple[float, float]:
        """The loss and the accuracy of the average of the weights, on the same tokens; NaN where there is none."""
        if (average := self.training_step.engine.average) is None:
            return math.nan, math.nan
        with average.in_place():
            score = self.measure(limit)
        return score.loss, score.accuracy

    def measure_unigram_loss(self, limit: int | None) -> float:
        """The loss that token frequencies alone give on about so many validation tokens; NaN where it is unknown."""
        loss = self.source.unigram_loss(context=self.settings.context, limit=limit)
        return math.nan if loss is None else loss

    @property
    def final_average(self) -> tuple[float, float]:
        """What `measure_average` gave in the last evaluation; measured again if the run has come back after it."""
        if self.settings.ema is not None and math.isnan(self.ema_loss):
            return self.measure_average(self.settings.final_evaluation_tokens)
        return self.ema_loss, self.ema_accuracy

    @property
    def final_score(self) -> Score:
        """That of the last evaluation, sequence by sequence; measured again if the run has come back after it."""
        if self._score is None:
            self._score = self.measure(self.settings.final_evaluation_tokens)
        return self._score

    @property
    def tested_lengths(self) -> tuple[int, ...]:
        """The training length, and the others at which the task is tested and that the model can take."""
        longest = self.model.max_length or math.inf
        return tuple(length for length in (self.settings.context, *self.source.lengths) if length <= longest)

    def test(self) -> dict[str, dict[str, float]]:
        """The accuracy at each of `tested_lengths`, and for each slice of the task at the last; empty for a text."""
        if self.source.metric != "accuracy":
            return {}
        settings, lengths = self.settings, {}
        slices: dict[str, dict[str, float]] = {}
        for length in self.tested_lengths:
            validation = self.source.validation_batches(context=length, batch=settings.batch)
            score = evaluate(self.model, validation, precision=settings.precision, ranks=self.ranks)
            lengths[str(length)], slices = score.accuracy, score.accuracies()
        return {"length": lengths, **slices}

    def _show(self) -> None:
        text = ""
        if self.settings.sample_tokens:
            seed = self.settings.seed + self.step
            text = self.source.sample(self.model, tokens=self.settings.sample_tokens, seed=seed)
            self.run.append_sample(self.step, text)
            self.reports.sample(self.step, text)
        self.listener.evaluation(self.step, self.validation_loss, self.validation_accuracy, text)

    def save(self) -> None:
        """Write a checkpoint of this moment, unless one was just written."""
        if self._saved_step == self.step:
            return
        engine, settings = self.training_step.engine, self.settings
        keep = {"keep": settings.keep_checkpoints, "keep_also": decay_begins(settings)}
        check_buffers_agree(self.model, self.ranks)
        if engine.saves_shards:
            commit = Commit(self.run.checkpoints, self.step, progress=self._progress(), **keep)
            save_shards(commit, engine.parts(self.optimizer), self.ranks)
        else:
            state, progress = engine.state(self.optimizer), self._progress()
            write = partial(save_checkpoint, self.run.checkpoints, self.step, tensors=state, progress=progress, **keep)
            if self.ranks.is_first:
                self._saver.save(write)
        self._saved_step = self.step

    def restore(self, checkpoint: Checkpoint) -> tuple[str, ...]:
        """Go on from a checkpoint; returns the logs that hold less than they did then.

        Raises:
            UsageError: it is of another model, or holds no progress.
        """
        _check_progress(checkpoint)
        engine = self.training_step.engine
        if checkpoint.shards is not None and engine.sharded:
            engine.load_parts(checkpoint.shards, self.optimizer)
        else:
            engine.load_state(checkpoint.tensors, self.optimizer)
        progress = checkpoint.progress
        self.step, self.seconds = checkpoint.step, progress["seconds"]
        self._loss_sum, self._loss_count = progress["loss_sum"], progress["loss_count"]
        self.train_loss = _number(progress.get("train_loss"))
        self.validation_loss = _number(progress.get("validation_loss"))
        self.validation_accuracy = _number(progress.get("validation_accuracy"))
        self._saved_step = checkpoint.step
        return self.run.truncate_logs(progress["logs"], progress.get("log_sha256"))

    def _progress(self) -> dict[str, Any]:
        offsets = self.run.log_offsets()
        return {
            "seconds": self.seconds,
            "loss_sum": self._loss_sum,
            "loss_count": self._loss_count,
            "train_loss": self.train_loss,
            "validation_loss": self.validation_loss,
            "validation_accuracy": self.validation_accuracy,
            "logs": offsets,
            "log_sha256": self.run.log_checksums(offsets),
        }

    def _timed_update(self) -> None:
        begin = time.perf_counter()
        loss = self._update()
        elapsed = time.perf_counter() - begin
        self.seconds += elapsed
        if self._left is None:
            self._left = self.settings.tokens(self.settings.steps) - self.settings.tokens(self.step - 1)
        made = self.training_step.tokens(self.step - 1)
        self._left -= made
        speed = made / elapsed
        self._speed = 0.95 * self._speed + 0.05 * speed if self._speed else speed
        self.listener.progress(Progress(self.step, self.settings.steps, loss, self._speed, self._left / self._speed))

    def _update(self) -> float:
        """One step of the optimiser; returns the cross-entropy of its batch."""
        try:
            loss, self.gradient_norm = self.training_step(self.step)
        except NotFiniteError as error:
            details = {"loss": str(error.loss), "offsets": error.offsets, "part": error.part}
            self.run.append_event("not finite", step=self.step, **details)
            raise
        self.step += 1
        self._loss_sum += loss
        self._loss_count += 1
        return loss

    def _log(self, *, with_validation: bool) -> None:
        self.train_loss = self._loss_sum / max(1, self._loss_count)
        self._loss_sum, self._loss_count = 0.0, 0
        row = {
            "step": self.step,
            "tokens": self.settings.tokens(self.step),
            "train_loss": self.train_loss,
            "lr": learning_rate(self.settings, self.step - 1),
            "gradient_norm": self.gradient_norm,
        }
        if with_validation:
            row |= {"validation_loss": self.validation_loss, "validation_accuracy": self.validation_accuracy}
            if self.settings.ema is not None:
                row |= {"ema_validation_loss": self.ema_loss, "ema_validation_accuracy": self.ema_accuracy}
            if math.isfinite(self._unigram_loss):
                row["unigram_loss"] = self._unigram_loss
        self.run.append_metrics(row)
        self.reports.row(row)
        self.run.append_timing({"step": self.step, "seconds": self.seconds, "tokens_per_second": self._speed})


def _check_progress(checkpoint: Checkpoint) -> None:
    progress = checkpoint.progress
    numbers = [progress.get(name) for name in ("seconds", "loss_sum", "loss_count")]
    numbers += [progress.get(name, 0.0) or 0.0 for name in ("train_loss", "validation_loss", "validation_accuracy")]
    offsets, checksums = progress.get("logs"), progress.get("log_sha256") or {}
    if isinstance(offsets, dict):
        numbers += offsets.values()
    tables = isinstance(offsets, dict) and isinstance(checksums, dict)
    if not tables or not all(isinstance(value, int | float) for value in numbers):
        raise UsageError(f"{checkpoint.path} holds no progress of a run: put back a good copy, or remove it")


def _number(value: float | None) -> float:
    return math.nan if value is None else value
