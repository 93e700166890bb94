"""What a run is evaluated on: its own validation data, or other data that its model can read."""

from contextlib import suppress
from dataclasses import replace

from zoo.data.dataset import Dataset
from zoo.data.documents import SEPARATOR
from zoo.data.load import create_task, task_call
from zoo.data.open import Reading, open_streamed
from zoo.data.source import Source
from zoo.data.task_data import TaskData
from zoo.data.text import Text, load_text
from zoo.errors import UsageError
from zoo.plugin.pattern import Call
from zoo.plugin.registry import Registry
from zoo.run import Run
from zoo.train.find_data import find_run_source
from zoo.train.plugins import with_recorded_origins
from zoo.train.run_directory import RunDirectory


def source_for(run: Run, data: str | None) -> tuple[Source, bool]:
    """The data to evaluate a run on, and whether they are its own.

    Args:
        run: a loaded one.
        data: a text, encoded with the tokenizer of the run, or for a run that learned a task a task. A plain text is
            taken whole, of documents the part that a run would validate on. None takes the run's own validation data,
            and so does the text or the task that the run has learned.

    Raises:
        UsageError: data that is not available, or that the model cannot read.
    """
    directory = RunDirectory.open(run.path)
    registry = with_recorded_origins(directory.environment)
    if data is None and not run.settings.data:
        raise UsageError(f"{run.path} was saved without its data: name a text with `data`")
    call = None if data is None else task_call(data, registry)
    if run.tokenizer is None:
        return _task_for(run, directory, data, call, registry)
    if call is not None:
        raise UsageError(
            f"{run.path} learned a text and knows nothing of the task {call}: pass a text to `data`, or leave it out"
        )
    if data is None:
        return find_run_source(directory, run.settings, registry)[0], True
    text = _read(data, run, registry)
    if text.sha256 == directory.environment.get("data_sha256"):
        return find_run_source(directory, run.settings, registry, given=data)[0], True
    return run.settings.text_objective.source(text), False


def _task_for(
    run: Run, directory: RunDirectory, data: str | None, call: Call | None, registry: Registry
) -> tuple[Source, bool]:
    if data is not None and call is None:
        raise UsageError(
            f"{run.path} learned the task {run.settings.data} and reads no text: pass a task to `data`, or leave it out"
        )
    if call is None or call == task_call(run.settings.data, registry):
        return find_run_source(directory, run.settings, registry)[0], True
    task = TaskData(create_task(call, registry), str(call))
    if task.vocab_size != run.model.vocabulary:
        raise UsageError(
            f"the task {call} has {task.vocab_size} tokens, and the model of {run.path} {run.model.vocabulary}: "
            "pass a task of the same vocabulary"
        )
    return task, False


def _read(data: str, run: Run, registry: Registry) -> Source:
    """A text as the run reads texts. A single document is one, whatever the run does between documents."""
    settings = run.settings
    reading = Reading(
        settings.tokenizer,
        settings.validation_fraction,
        settings.documents,
        settings.text_field,
        settings.threads,
        fitted=run.tokenizer,
    )
    if settings.documents == "separate":
        with suppress(UsageError):  # there may be one document only; if it is something else, the next line says what
            return open_streamed(data, reading, registry) or _whole(
                run, load_text(data, documents="separate", registry=registry)
            )
    joined = replace(reading, documents="joined")
    return open_streamed(data, joined, registry) or _whole(run, load_text(data, registry=registry))


def _whole(run: Run, text: Text) -> Dataset:
    """All of a text."""
    assert run.tokenizer is not None
    tokens, size = run.tokenizer.encode(text.text), len(text.text.encode())
    separator = int(run.tokenizer.encode(SEPARATOR)[0]) if text.documents == "separate" else None
    return Dataset(text.name, text.sha256, run.tokenizer, tokens, tokens, size, size, separator)
