"""A training run from Python: what ``zoo train`` does, as an object."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from zoo.api.members import files_of, pattern_of, settings_of, threads_kept
from zoo.api.progress import Line, progress_line
from zoo.data.shards.progress import EncodingProgress, reporting_to
from zoo.errors import UsageError
from zoo.pages.page import markup, printable, render_fragment
from zoo.pages.picture import Picture
from zoo.plugin.classes import Layers, Member
from zoo.plugin.isolation import random_numbers_kept
from zoo.run import Run, load_run
from zoo.train.continuing import start_or_resume
from zoo.train.curve import curve_figure
from zoo.train.listener import Listener, Progress
from zoo.train.report import curve_levels, figures_of, format_duration
from zoo.train.resolve import resolve
from zoo.train.run_directory import RunDirectory
from zoo.train.session import Interrupted
from zoo.train.session import resume as resume_run
from zoo.train.session import start as start_run
from zoo.train.summary import Summary

_SAMPLE_LINES = 12


@dataclass(frozen=True)
class Trained:
    """A run that has ended. A notebook shows its curve, its figures and its last sample.

    Attributes:
        path: its folder, which the command line opens, too.
        summary: its figures.
        notices: what the user should know, e.g. that a checkpoint was damaged.
    """

    path: Path
    summary: Summary
    notices: tuple[str, ...] = field(default=(), repr=False)

    @cached_property
    def run(self) -> Run:
        """The trained model with its tokenizer, loaded at the first use.

        Raises:
            UsageError, PluginError: as `zoo.load_run`.
        """
        return load_run(self.path)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl, the oldest first: ``step``, ``train_loss``, ``lr``, … by name."""
        return RunDirectory(self.path).metrics()

    @property
    def report(self) -> Path:
        """The page of the run, to open in a browser."""
        return self.path / "report.html"

    def plot(self, *, titled: bool = True) -> Picture:
        """The loss against the step, with the mixer as the title or without one."""
        levels = curve_levels(self.summary)
        return Picture(
            f"loss of {printable(self.summary.mixer)} against the step",
            lambda: curve_figure(self.metrics, title=self.summary.mixer if titled else "", **levels),
        )

    def __repr__(self) -> str:
        summary = self.summary
        loss = f"validation loss {summary.validation_loss:.4f} {summary.unit}"
        accuracy = f", accuracy {summary.validation_accuracy:.1%}" if summary.metric == "accuracy" else ""
        return f"Trained({str(self.path)!r}: {loss}{accuracy} after {summary.steps:,} steps)"

    def _repr_html_(self) -> str:
        samples = RunDirectory(self.path).samples()
        sample = printable(samples[-1].text) if samples else ""
        lines = sample.strip("\n").splitlines()
        return render_fragment(
            "zoo.api/train.html.j2",
            mixer=printable(self.summary.mixer),
            figures=figures_of(self.summary),
            notices=[printable(text) for text in self.notices],
            picture=markup(self.plot(titled=False).image),
            sample="\n".join([*lines[:_SAMPLE_LINES], *(["…"] if len(lines) > _SAMPLE_LINES else [])]),
            path=printable(str(self.path)),
        )


def train(
    mixer: Layers | None = None,
    *,
    data: Member | None = None,
    steps: int | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    report: str | None = None,
    preset: str | None = None,
    config: str | Path | None = None,
    progress: bool = True,
    **settings: Any,
) -> Trained:
    """Train a model of token mixers, as ``zoo train`` does.

    A class may stand in the place of every name. It is registered in this process, so that the run can be resumed and
    loaded here; another process is passed the file in which it is defined.

    Args:
        mixer: a pattern, a class, ``partial(Class, option=…)``, or a list of layers; None for that of the preset.
        data: a text, a task, or the class of one.
        steps: updates of the parameters.
        out: the folder of the run, where the same call resumes what was stopped; None makes a new one in ``runs/``.
        resume: the folder of a run to go on with, by its own settings: with `steps` to a later last step, with `data`
            where its text was moved.
        report: reporters, e.g. ``"tensorboard"``; ``"none"`` for none.
        preset: where the settings start from.
        config: a TOML file of settings, over the preset.
        progress: show how far it is, in a notebook or on a terminal.
        settings: by name, over all of these: ``dim=64``, ``lr=1e-3``, ``max_time="2m"``.

    Raises:
        UsageError: a mistake in any setting, before anything is trained.
        PluginError: a plugin is missing or broken.
        KeyboardInterrupt: Ctrl-C, or the stop button of a notebook. After the first one the run stops after its step
            and is saved, and the text says how it is resumed.
    """
    given = {"mixer": mixer, "data": data, "steps": steps, **settings}
    if resume is not None:
        _refuse_beside_resume({**given, "out": out, "preset": preset, "config": config})
        call: Callable[..., Summary] = partial(
            resume_run, Path(resume), steps=_checked(steps), data=None if data is None else str(data)
        )
    else:
        call = _start(given, out=out, preset=preset, config=config)
    with progress_line(progress) as line, random_numbers_kept(), threads_kept():
        listener = _TrainingLine(line)
        with reporting_to(listener.encoding), files_of([] if mixer is None else [mixer]):
            try:
                summary = call(listener=listener, report=report)
            except Interrupted as stopped:
                raise KeyboardInterrupt(_how_to_resume(stopped)) from None
    return Trained(Path(summary.run), summary, tuple(line.notices))


def _start(
    given: Mapping[str, Any], *, out: str | Path | None, preset: str | None, config: str | Path | None
) -> Callable[..., Summary]:
    """The call that starts a run, or resumes that in `out`; the mistakes in its settings are found here."""
    named = settings_of(given)
    if given["mixer"] is not None:
        named["mixer"] = pattern_of(given["mixer"])
    resolved = resolve(preset=preset, file=None if config is None else Path(config), flags=named)
    if out is None:
        return partial(start_run, resolved, root=Path("runs"))
    return partial(start_or_resume, resolved, Path(out))


def _refuse_beside_resume(given: Mapping[str, Any]) -> None:
    extra = [f"`{name}`" for name, value in given.items() if value is not None and name not in {"steps", "data"}]
    if extra:
        raise UsageError(
            f"`resume` goes on with the settings of the run: leave out {', '.join(extra)}; only `steps` and `report` "
            "may change, and `data` where the text was moved"
        )


def _checked(steps: int | None) -> int | None:
    if steps is not None and (not isinstance(steps, int) or steps < 1):
        raise UsageError(f"steps={steps!r} should be a whole number, 1 or more")
    return steps


def _how_to_resume(stopped: Interrupted) -> str:
    return f"stopped after step {stopped.step:,}, saved; resume with: zoo.train(resume={str(stopped.run)!r})"


class _TrainingLine(Listener):
    """A run in a line."""

    def __init__(self, line: Line) -> None:
        self._line, self._validation = line, ""
        line.show("reading the data")

    def notice(self, text: str) -> None:
        """Pass it on."""
        self._line.notice(text)

    def progress(self, progress: Progress) -> None:
        """Show the step, the loss, the speed and the time that is left."""
        text, last = (
            f"step {progress.step:,}/{progress.steps:,}  loss {progress.loss:.3f}",
            progress.step == progress.steps,
        )
        speed = f"{progress.tokens_per_second:,.0f} tokens/s  {format_duration(progress.seconds_left)} left"
        text += "  last evaluation …" if last else f"{self._validation}  {speed}"
        self._line.show(text, progress.step, progress.steps, at_once=last)

    def encoding(self, progress: EncodingProgress) -> None:
        """Show how much of a text was encoded."""
        self._line.show(f"encoding {printable(progress.name)}", progress.done, progress.total)

    def evaluation(self, step: int, validation_loss: float, validation_accuracy: float, sample: str) -> None:  # noqa: ARG002
        """Show the validation loss in the lines of the next steps."""
        self._validation = f"  validation loss {validation_loss:.3f}  accuracy {validation_accuracy:.1%}"
