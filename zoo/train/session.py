"""A training run from beginning to end: started from settings, or resumed from its directory."""

import math
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from zoo.data.score import Score
from zoo.data.source import Source
from zoo.data.tokenize import tokenizer_as_json
from zoo.files.environment import describe_environment
from zoo.model.backbone import Backbone
from zoo.model.build import build_model, build_seeded
from zoo.model.faults import explaining
from zoo.model.parameters import count_parameters
from zoo.plugin.registry import Registry, get_registry
from zoo.train.causality import check_causal
from zoo.train.checkpoint import without_tensors
from zoo.train.choosing import choose_fastest
from zoo.train.engine.ranks import Ranks
from zoo.train.find_data import FROM, find_run_source, source_of, text_path
from zoo.train.finetune import Origin
from zoo.train.interrupts import Interrupts
from zoo.train.listener import Listener
from zoo.train.loop import Trainer
from zoo.train.machine import prepare_machine, resolve_auto
from zoo.train.optimizer import check_optimizer
from zoo.train.plugins import check_plugins, plugins_of, recorded_plugins, with_recorded_origins
from zoo.train.prolonging import before_the_decay, find_checkpoint, find_finished, report_rise
from zoo.train.read_only import seen_by
from zoo.train.report import finish
from zoo.train.reports import Reports
from zoo.train.run_directory import RunDirectory
from zoo.train.scores import write_scores
from zoo.train.segments import check_segments
from zoo.train.settings import Settings, validate
from zoo.train.shell import quote
from zoo.train.summary import Summary, write_summary
from zoo.train.utilisation import utilisation


class Interrupted(Exception):  # noqa: N818 - nothing went wrong
    """The user stopped the run; it was saved and can be resumed."""

    def __init__(self, run: Path, step: int) -> None:
        self.run, self.step = run, step
        super().__init__(f"stopped after step {step}, saved; resume with: zoo train --resume {quote(str(run))}")


def start(
    settings: Settings,
    *,
    root: Path,
    out: Path | None = None,
    listener: Listener | None = None,
    interrupts: Interrupts | None = None,
    pages: bool = True,
    found: tuple[Source, str | None] | None = None,
    ranks: Ranks | None = None,
    report: str | None = None,
    origin: Origin | None = None,
) -> Summary:
    """Train a new model.

    Args:
        settings: may still hold ``auto``.
        root: the folder in which the run directory is made, unless `out` names the run directory itself.
        out: must not exist yet.
        listener: is called as it goes.
        interrupts: who may stop it; Ctrl-C by default.
        pages: whether to write the curve and the report; they can be written later.
        found: the data, and the absolute path of the text, where `find_source` has found them already.
        ranks: the processes that train it, all of which call this; one by default.
        report: the reporters, see `zoo.train.reports.read_reporters`.
        origin: a run from whose weights this one starts; `zoo.train.finetune.settings_from` gives the settings.

    Raises:
        ZooError: of the kind that says whose fault it is.
        Interrupted: Ctrl-C; everything is saved.
    """
    ranks = ranks or Ranks()
    with ranks.together():
        asked, settings = settings, resolve_auto(settings, ranks)
        device = prepare_machine(settings, ranks)
        check_optimizer(settings)
        reports = Reports.of(report, ranks, listener or Listener())
        if origin is None:
            source, text = found or (source_of(settings), text_path(settings.data))
        else:
            source, text = origin.source(settings, get_registry()), text_path(settings.data)
        model = model_for(source, settings, get_registry()).to(device)
        if origin is not None:
            origin.fill(model, source)
        if ranks.count == 1:  # many would each choose for themselves
            build = partial(model_for, source, settings, get_registry())
            settings = choose_fastest(
                asked, settings, source, model, build=lambda: build().to(device), listener=listener or Listener()
            )
    environment = _environment(settings, source) | {"data_path": text} | ({"report": report} if report else {})
    environment |= {} if origin is None else {FROM: origin.record}
    run = ranks.first(partial(RunDirectory.create, root, mixer=settings.mixer, config=settings.model_dump(), out=out))
    run = seen_by(ranks, run)
    with run.discarded_on_failure(), run.lock():
        run.write_environment(environment)
        if source.tokenizer is not None:
            run.write_tokenizer(tokenizer_as_json(source.tokenizer))
        trainer = Trainer(model, source, settings, run, listener or Listener(), ranks, reports)
        return _drive(trainer, "started", interrupts, pages)


def resume(
    path: Path,
    *,
    steps: int | None = None,
    data: str | None = None,
    listener: Listener | None = None,
    interrupts: Interrupts | None = None,
    pages: bool = True,
    ranks: Ranks | None = None,
    report: str | None = None,
) -> Summary:
    """Resume a run from its newest sound checkpoint, to its last step or to a later one.

    One that has finished stays as it is: its figures are given back, and `listener` hears how to train it longer.

    Args:
        path: of the run.
        steps: the last step; None leaves it.
        data: where its text lies now, to be remembered; None looks where it was typed and where it lay.
        listener, interrupts, pages, ranks: as in `start`. The ranks may be more or fewer than before.
        report: other reporters than before; ``none`` for none.

    Raises:
        UsageError: no run there, no sound checkpoint, fewer steps than were made, or data that has changed or moved.
        PluginError: a plugin that the run used is missing or broken.
        Interrupted: Ctrl-C; everything is saved.
    """
    ranks, listener = ranks or Ranks(), listener or Listener()
    with ranks.together():
        run = seen_by(ranks, RunDirectory.open(path))
        run.check_resumable()
    with run.lock():
        if (finished := ranks.first(partial(find_finished, run, steps))) is not None:
            text = f"the run has finished its {finished.steps:,} steps and stays as it is"
            listener.notice(f"{text}; `steps`={2 * finished.steps} trains it longer")
            return finished
        return _drive(_restored(run, steps, data, listener, ranks, report), "resumed", interrupts, pages)


def model_of(
    settings: Settings,
    registry: Registry,
    *,
    vocab_size: int,
    make_readout: Callable[[int], nn.Module | None] = lambda _dim: None,
) -> Backbone:
    """The model that the settings describe, freshly initialised from their seed.

    Raises:
        UsageError: as `zoo.model.build.build_model`, and a mixer that is not causal where the objective takes none.
        PluginError: as `zoo.model.build.build_model`.
    """

    def build() -> Backbone:
        readout = make_readout(settings.dim)  # before the model: so its parameters have been drawn ever since
        return build_model(
            settings.mixer,
            vocab_size=vocab_size,
            dim=settings.dim,
            layers=settings.layers,
            heads=settings.heads,
            context=settings.context,
            channel_mixer=settings.channel_mixer,
            residual=settings.residual,
            positions=settings.positions,
            dropout=settings.dropout,
            tie_embeddings=settings.tie_embeddings,
            readout=readout,
            registry=registry,
        )

    _ = settings.pattern  # imports the parser here, and not within the build, which would be made twice for it
    model = build_seeded(settings.seed, build)
    check_causal(model, settings, registry)
    check_segments(model, settings)
    return model


def model_for(source: Source, settings: Settings, registry: Registry) -> Backbone:
    """The same, with the vocabulary and the readout of what it is to learn."""
    return model_of(settings, registry, vocab_size=source.vocab_size, make_readout=source.readout)


def summarize(trainer: Trainer, seconds: float) -> Summary:
    """The figures of a run that has ended."""
    made = trainer.settings.tokens(trainer.step)
    ema_loss, ema_accuracy = trainer.final_average
    return Summary(
        run=str(trainer.run.path),
        mixer=trainer.settings.mixer,
        parameters=count_parameters(trainer.model),
        steps=trainer.step,
        train_loss=trainer.train_loss,
        validation_loss=trainer.validation_loss,
        bits_per_byte=trainer.source.bits_per_byte(trainer.validation_loss),
        unigram_loss=trainer.measure_unigram_loss(trainer.settings.final_evaluation_tokens),
        validation_accuracy=trainer.validation_accuracy,
        accuracies=trainer.test(),
        guess_levels=trainer.source.guess_levels(trainer.tested_lengths),
        tokens_per_second=made / trainer.seconds if trainer.seconds else math.nan,
        seconds=seconds,
        metric=trainer.source.metric,
        unit=trainer.source.unit,
        writes_text=trainer.source.writes_text,
        ema_validation_loss=ema_loss,
        ema_validation_accuracy=ema_accuracy,
    )


def _restored(  # noqa: PLR0917 - what `resume` is given
    run: RunDirectory, steps: int | None, data: str | None, listener: Listener, ranks: Ranks, report: str | None
) -> Trainer:
    """The trainer of a saved run, at its newest sound checkpoint."""
    recorded = run.environment.get("report")
    report = recorded if report is None else report
    with ranks.together():
        saved = validate(run.config)
        device = prepare_machine(saved, ranks)
    checkpoint = ranks.first(partial(find_checkpoint, run, saved, steps, listener), without_tensors)
    settings = saved.model_copy(update={"steps": steps or saved.steps})
    with ranks.together():
        changed = check_plugins(recorded_plugins(run))
        registry = with_recorded_origins(run.environment)
        reports = Reports.of(report, ranks, listener)
        source, place = find_run_source(run, settings, registry, given=data)
        model = model_for(source, settings, registry).to(device)
    if place != run.environment.get("data_path") or report != recorded:
        run.write_environment(run.environment | {"data_path": place, "report": report})
    trainer = Trainer(model, source, settings, run, listener, ranks, reports)
    for name, change in changed.items():
        listener.notice(change)
        run.append_event("plugin changed", plugin=name, how=change)
    going_back = partial(before_the_decay, run, checkpoint, saved, settings, listener)
    checkpoint = ranks.first(going_back, without_tensors)
    for log in trainer.restore(checkpoint):
        listener.notice(f"{log} is not what it was at the checkpoint: it was changed since")
    ranks.first(run.metrics, lambda _rows: [])  # a line that cannot be read is reported before the run, not at its end
    report_rise(run, saved, settings, checkpoint.step, listener)
    run.write_config(settings.model_dump())
    return trainer


def _drive(trainer: Trainer, kind: str, interrupts: Interrupts | None, pages: bool) -> Summary:
    with trainer.reports:
        summary = _to_the_end(trainer, kind, interrupts, pages)
        trainer.reports.finish(summary)
    return summary


def _to_the_end(trainer: Trainer, kind: str, interrupts: Interrupts | None, pages: bool) -> Summary:
    run, ranks, began = trainer.run, trainer.ranks, time.perf_counter()
    earlier = sum(event.get("seconds", 0.0) for event in run.events())
    caught = interrupts or Interrupts(
        lambda: trainer.listener.notice("stopping after this step; Ctrl-C again stops now")
    )
    with explaining(), caught, ranks.watched():
        run.append_event(kind, step=trainer.step, ranks=ranks.count, host=platform.node())
        ranks.first(partial(trainer.reports.open, run))
        finished = trainer.train(caught)
        seconds = time.perf_counter() - began
        run.append_event("finished" if finished else "interrupted", step=trainer.step, seconds=seconds)
    if not finished:
        raise Interrupted(run.path, trainer.step)
    with explaining(), ranks.watched():
        scores = trainer.final_score
        summary = summarize(trainer, earlier + time.perf_counter() - began)
        if pages:  # a run without may be one of several at a time, each of which has a part of the machine
            measure = partial(utilisation, trainer.training_step, steps=trainer.step, seconds=trainer.seconds)
            summary = replace(summary, utilisation=ranks.first(measure))
    ranks.first(partial(_write_results, run, scores, summary, pages=pages))
    return summary


def _write_results(run: RunDirectory, scores: Score, summary: Summary, *, pages: bool) -> None:
    write_scores(run.path, scores)
    if pages:
        finish(run, summary)
    else:
        write_summary(run.path, summary)


def _environment(settings: Settings, source: Source) -> dict[str, Any]:
    return describe_environment(plugins=plugins_of(settings), data_sha256=source.sha256, device=settings.device)
