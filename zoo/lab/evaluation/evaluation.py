"""The whole evaluation of a run: how well it predicts, by position and by length."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.data.source import Source
from zoo.errors import PluginError, UsageError, is_out_of_memory
from zoo.lab.evaluation.data import source_for
from zoo.lab.evaluation.measure import measure_cut, measure_windows
from zoo.lab.evaluation.result import Evaluation, LengthResult
from zoo.model.faults import explaining
from zoo.run import Run, load_run
from zoo.train.evaluate import evaluate as evaluate_model
from zoo.train.machine import resolve_auto
from zoo.train.settings import validate

MULTIPLES = (1, 2, 4, 8)
"""Lengths at which a text is measured unless others are asked for, as multiples of the context."""

LENGTH_TOKENS = 65536
"""About how many tokens of a text are measured at each length, unless another number is asked for."""


def evaluate(
    run: Run | str | Path,
    *,
    data: str | Path | None = None,
    lengths: Sequence[int] | None = None,
    tokens: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Measure how well a trained model predicts, by position in the context and beyond it, as ``zoo eval`` does.

    Args:
        run: what `zoo.load_run` gave, or the folder of a run.
        data: another text, see `zoo.lab.evaluation.data.source_for`, or for a run that learned a task another task.
            None takes the run's own validation data.
        lengths: tokens of a sequence. None takes a text at 1, 2, 4 and 8 times the context, as far as the model and the
            text reach, and a task at the lengths at which it is tested.
        tokens: about how many of the data to measure on, at each length. None takes as many as the run's own last
            evaluation, and of a text 65,536 at each length.
        device: where a run that is given by its folder is loaded.
        precision: ``"fp32"`` or ``"bf16"``; ``"auto"`` takes that of the run.
        progress: is called with what is being done.

    Raises:
        UsageError: data that the model cannot read, or a length that it cannot take.
    """
    if not isinstance(run, Run):
        run = load_run(run, device=resolve_auto(validate({"device": device})).device)
    if tokens is not None and tokens < 1:
        raise UsageError(f"`tokens`={tokens} should be 1 or more")
    for length in lengths or ():
        _check_length(run, length)
    if lengths is not None and not lengths:
        raise UsageError("`lengths` is empty: name some, or leave it out")
    resolved = _precision(run, precision)
    source, own = source_for(run, None if data is None else str(data))
    report = progress or (lambda _text: None)
    study = _Study(run, source, own, resolved, tokens, report)
    chosen = None if lengths is None else tuple(sorted(set(lengths)))
    with explaining():
        return study.of_task(chosen) if source.metric == "accuracy" else study.of_text(chosen)


def _precision(run: Run, asked: str) -> str:
    settings = validate({"precision": asked})
    if settings.precision != "auto":
        return settings.precision
    recorded = run.settings.precision
    if recorded != "auto":
        return recorded
    device = str(next(run.model.parameters()).device)
    return resolve_auto(run.settings.model_copy(update={"device": device})).precision


def _check_length(run: Run, length: int) -> None:
    if length < 1:
        raise UsageError(f"`lengths`={length} should be 1 or more")
    longest = run.model.max_length
    if longest is not None and length > longest:
        raise UsageError(f"`lengths`={length} is more than the {longest} tokens that the model takes: choose less")


@dataclass(frozen=True)
class _Study:
    """One evaluation, with what it was asked for."""

    run: Run
    source: Source
    own: bool
    precision: str
    tokens: int | None
    report: Callable[[str], None]

    @property
    def limit(self) -> int | None:
        """About how many tokens to measure on at the training length."""
        return self.tokens or self.run.settings.final_evaluation_tokens

    def of_text(self, lengths: tuple[int, ...] | None) -> Evaluation:
        """Losses by position, at the context and at other lengths."""
        context, batch = self.run.settings.context, self.run.settings.batch
        if not _reaches(self.source, context):
            raise UsageError(
                f"{self.source.name!r} is too short: it has no more than the {context} tokens of one sequence that the "
                "model was trained on; pass a longer text to `data`"
            )
        self.report(f"measuring at the context, {context} tokens")
        windows = self.source.validation_batches(context=context, batch=batch, limit=self.limit)
        scores = measure_windows(self.run.model, windows, precision=self.precision)
        notes: list[str] = []
        fitting = self._fitting(notes) if lengths is None else self._checked(lengths)
        last = min(context, *fitting) if fitting else context
        of_lengths = tuple(self._of_lengths(fitting, last, notes)) if fitting not in ((), (context,)) else ()
        causal = self.run.settings.text_objective.causal
        curve = _by_position(of_lengths, causal=causal) if of_lengths else scores.losses
        return self._result(
            scores.loss,
            scores.accuracy,
            scores.targets,
            perplexity=_exp(scores.loss) if causal else math.nan,
            losses=curve,
            lengths=of_lengths,
            last=last if of_lengths else 0,
            notes=tuple(notes),
        )

    def of_task(self, lengths: tuple[int, ...] | None) -> Evaluation:
        """Accuracies at the lengths of a task."""
        settings, longest = self.run.settings, self.run.model.max_length or math.inf
        own_length = settings.context if self.own else self.source.task.length  # type: ignore[attr-defined]
        every = dict.fromkeys((own_length, *self.source.lengths)) if lengths is None else lengths
        fitting = [length for length in every if length <= longest]
        notes = [f"{length} tokens are more than the model takes, and left out" for length in every if length > longest]
        if not fitting:
            raise UsageError(f"the model takes at most {longest} tokens, and the task {self.source.name} has more")
        scores = {}
        for length in fitting:
            self.report(f"measuring at {length} tokens")
            try:
                batches = self.source.validation_batches(context=length, batch=settings.batch, limit=self.tokens)
                scores[length] = evaluate_model(self.run.model, batches, precision=self.precision)
            except PluginError as error:
                if lengths is None:
                    raise
                raise UsageError(f"`lengths`={length}: {error}") from error
        first, slices = scores[fitting[0]], scores[fitting[-1]].accuracies()
        by_length = {str(length): score.accuracy for length, score in scores.items()}
        return self._result(
            first.loss,
            first.accuracy,
            first.targets,
            accuracies={"length": by_length, **slices},
            guess_levels=self.source.guess_levels(fitting),
            notes=tuple(notes),
        )

    def _result(self, loss: float, accuracy: float, targets: int, **rest: object) -> Evaluation:
        run, source = self.run, self.source
        named = {"perplexity": math.nan, "bits_per_byte": source.bits_per_byte(loss)} | rest
        return Evaluation(
            run.path,
            run.settings.mixer,
            run.step,
            source.name,
            source.sha256,
            self.own,
            source.metric,
            source.unit,
            self.precision,
            run.settings.context,
            loss,
            accuracy=accuracy,
            targets=targets,
            **named,  # type: ignore[arg-type]
        )

    def _fitting(self, notes: list[str]) -> tuple[int, ...]:
        """The multiples of the context that the model takes and the text fills."""
        context, longest = self.run.settings.context, self.run.model.max_length
        every = [multiple * context for multiple in MULTIPLES]
        taken = [length for length in every if longest is None or length <= longest]
        if len(taken) < len(every):
            notes.append(f"the model takes at most {longest:,} tokens: longer sequences are left out")
        filled = [length for length in taken if _reaches(self.source, length)]
        if len(filled) < len(taken):
            notes.append(f"{self.source.name!r} is too short for sequences of {taken[len(filled)]:,} tokens and more")
        return tuple(filled)

    def _checked(self, lengths: tuple[int, ...]) -> tuple[int, ...]:
        for length in lengths:
            if not _reaches(self.source, length):
                raise UsageError(
                    f"`lengths`={length} is more than the text of {self.source.name!r} fills: choose less, or pass a "
                    "longer text to `data`"
                )
        return lengths

    def _of_lengths(self, lengths: tuple[int, ...], last: int, notes: list[str]) -> Iterator[LengthResult]:
        """The same targets at each length: the longest windows, cut."""
        settings, longest = self.run.settings, max(lengths)
        at_a_time = settings.batch * settings.context
        limit = self.tokens or LENGTH_TOKENS
        rows = max(1, at_a_time // longest)
        for length in lengths:
            self.report(f"measuring at {length:,} tokens")
            windows = self.source.validation_batches(context=longest, batch=rows, limit=limit)
            try:
                every, of_last = measure_cut(
                    self.run.model, windows, length=length, tokens=at_a_time, precision=self.precision
                )
            except Exception as error:
                if not is_out_of_memory(error) or length <= settings.context:
                    raise
                notes.append(f"there is not enough memory for one sequence of {length:,} tokens")
                return
            end = of_last.last(last)
            yield LengthResult(length, every.loss, every.accuracy, end.loss, end.accuracy, every.losses, every.targets)


def _by_position(lengths: Sequence[LengthResult], *, causal: bool) -> Sequence[float]:
    """The loss at each position, of a causal model from the shortest sequences that reach it: they are most."""
    if not causal:
        return lengths[-1].losses
    losses: list[float] = []
    for result in lengths:
        losses += result.losses[len(losses) :]
    return losses


def _reaches(source: Source, length: int) -> bool:
    """Whether a text fills a window of that length."""
    try:
        return next(iter(source.validation_batches(context=length, batch=1, limit=1)), None) is not None
    except ValueError:  # a `UsageError`, or numpy's own where masks are drawn
        return False


def _exp(loss: float) -> float:
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
