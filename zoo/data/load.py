"""From what ``--data`` says to what a model learns from: a text, or a task with its options."""

from pathlib import Path

from zoo.data.dataset import prepare
from zoo.data.documents import Documents
from zoo.data.source import Source
from zoo.data.task_data import TaskData
from zoo.data.text import corpus_call
from zoo.errors import PluginError, UsageError
from zoo.model.create import create
from zoo.plugin.kinds import TASK
from zoo.plugin.pattern import Call, parse_call
from zoo.plugin.registry import Registry, get_registry
from zoo.task import Task


def load_source(
    data: str,
    *,
    tokenizer: str,
    validation_fraction: float,
    documents: Documents = "joined",
    registry: Registry | None = None,
) -> Source:
    """The text or the task that `data` names, ready to train on.

    Args:
        data: a task, with options in brackets if any; or a text, see `zoo.data.text.load_text`.
        tokenizer: for a text, see `zoo.data.tokenize.make_tokenizer`.
        validation_fraction: of a text, see `zoo.data.dataset.prepare`.
        documents: of a text, see `zoo.data.text.load_text`.
        registry: where to look for tasks; the installed plugins by default.

    Raises:
        UsageError: a task, a text or a tokenizer that cannot be had.
        PluginError: the task's plugin is broken or missing, or the task itself fails.
    """
    call = task_call(data, registry)
    if call is None:
        return prepare(data, tokenizer, validation_fraction=validation_fraction, documents=documents)
    return TaskData(create_task(call, registry), str(call))


def task_call(data: str, registry: Registry | None = None) -> Call | None:
    """The task that `data` names, with its options; None if it names a text.

    A corpus keeps its name, then come the tasks; a file that has the name of a task is reached as ``./name``.

    Raises:
        UsageError: options in brackets that cannot be read, or behind a name that is neither a task nor a file.
        PluginError: the plugin that should give the task is broken or missing.
    """
    if not data or corpus_call(data, registry) is not None or set(data) & set("/\\~") or data.startswith("."):
        return None
    tasks = (registry or get_registry())[TASK]
    name, bracket, _ = data.partition("(")
    bracket = bracket if data.rstrip().endswith(")") else ""  # a file may well be called "notes (1).txt"
    plain = name.strip().rpartition(":")[2].replace("_", "-")
    known = any(entry.name == plain for entry in tasks.entries)
    if not known and Path(data).exists():
        return None
    if not (known or bracket or ":" in name):
        try:
            tasks.find(name)
        except UsageError:  # no task; as a text it is told what else there is
            return None
    call = parse_call(data)
    tasks.find(call.name)
    return call


def create_task(task: str | Call, registry: Registry | None = None) -> Task:
    """A task from its name and options, e.g. ``"mqar(pairs=8, length=128)"``.

    Raises:
        UsageError: an unknown name or option, or a value that the task refuses.
        PluginError: the task's plugin is broken or missing, or the task itself fails.
    """
    call = parse_call(task) if isinstance(task, str) else task
    entry = (registry or get_registry())[TASK].find(call.name)
    made: Task = create(entry, call.keywords)
    for name in ("vocab_size", "length", "test_examples"):
        if not (isinstance(getattr(made, name, None), int) and getattr(made, name) >= 1):
            raise PluginError(f"{entry.name}, from {entry.origin}, has no {name} of 1 or more: its __init__ sets it")
    return made
