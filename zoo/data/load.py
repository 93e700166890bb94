"""From what ``--data`` says to what a model learns from: a text, or a task with its options."""

from dataclasses import replace
from pathlib import Path

from zoo.data.dataset import prepare
from zoo.data.documents import Documents
from zoo.data.mixture import is_mixture
from zoo.data.objective import DEFAULT_OBJECTIVE, read_objective
from zoo.data.open import Reading, absolute, open_streamed
from zoo.data.source import Source
from zoo.data.task_data import TaskData
from zoo.data.text import corpus_call
from zoo.errors import PluginError, UsageError
from zoo.model.create import create
from zoo.plugin.kinds import TASK
from zoo.plugin.pattern import Call, parse_call
from zoo.plugin.registry import Registry, get_registry
from zoo.task import Task
from zoo.tokenizer import Tokenizer


def load_source(
    data: str,
    *,
    tokenizer: str,
    validation_fraction: float,
    documents: Documents = "joined",
    text_field: str = "text",
    threads: int | None = None,
    objective: str = DEFAULT_OBJECTIVE,
    fitted: Tokenizer | None = None,
    registry: Registry | None = None,
) -> Source:
    """The text or the task that `data` names, ready to train on.

    Args:
        data: a task, with options in brackets if any; or a text, see `zoo.data.text.load_text`.
        tokenizer: for a text, see `zoo.data.tokenize.make_tokenizer`.
        validation_fraction: of a text, see `zoo.data.dataset.prepare`.
        documents: of a text, see `zoo.data.text.load_text`.
        text_field: of JSON lines and tables, where the text is.
        threads: of what is encoded to shards: so many processes at most.
        objective: what is learned from a text, see `zoo.data.objective.read_objective`; a task has its own.
        fitted: the tokenizer that `tokenizer` names, where it is to have a vocabulary that another text gave it.
        registry: where to look for tasks; the installed plugins by default.

    Raises:
        UsageError: a task, a text, a tokenizer or an objective that is not available.
        PluginError: the task's plugin is broken or missing, or the task itself fails.
    """
    call = task_call(data, registry)
    if call is None:
        reading = Reading(tokenizer, validation_fraction, documents, text_field, threads, fitted=fitted)
        text = open_streamed(data, reading, registry) or prepare(
            data, tokenizer, validation_fraction=validation_fraction, documents=documents, fitted=fitted
        )
        return read_objective(objective).source(text)
    if objective != DEFAULT_OBJECTIVE:
        raise UsageError(f"the task {call} has targets of its own: leave out objective={objective}")
    return TaskData(create_task(call, registry), str(call))


def load_data(
    data: str | Path,
    *,
    tokenizer: str = "byte",
    validation_fraction: float = 0.1,
    documents: Documents = "joined",
    text_field: str = "text",
) -> Source:
    """A text or a task to train a model on in a loop of your own.

    Args:
        data: a corpus, e.g. ``"python-stdlib"``; a task, e.g. ``"mqar(pairs=8, length=128)"``; a mixture, ``"mix(a=0.7,
            b=0.3)"``; or the path of UTF-8 text, ``.jsonl`` or ``.parquet``, of a folder or pattern of files, or of
            tokens.
        tokenizer: of a text: ``"byte"``, ``"char"``, ``"bpe(vocab_size=4096)"``, or the path of a ``tokenizer.json``.
        validation_fraction: of a text: the share at its end, or of its documents, that is not trained on.
        documents: of a text: whether its files are one text, ``"joined"``, or documents that do not see each other,
            ``"separate"``.
        text_field: of ``.jsonl`` and ``.parquet``: where the text is.

    Returns:
        Its ``vocab_size`` is what `build_model` asks for. ``draw(context=…, batch=…, step=…)`` gives a batch with
        ``inputs`` and ``targets``, ``(b, t)`` each; ``validation_batches(context=…, batch=…)`` gives those that are
        not trained on. A text has a ``tokenizer`` and its tokens, ``train`` and ``validation``, ``(t,)`` each.

    Raises:
        UsageError: a task, a text or a tokenizer that is not available.
        PluginError: a plugin that it needs is broken or missing.
    """
    if not isinstance(data, str | Path):
        raise UsageError(f"data is the name of a corpus or a task, or a path, not {type(data).__name__}")
    name = str(data)
    is_named = isinstance(data, str) and (corpus_call(data) is not None or task_call(data) is not None)
    if isinstance(data, Path) or (not is_named and _exists(Path(data).expanduser())):
        name = str(Path(data).expanduser().absolute())
    elif is_mixture(name):
        name = absolute(name)
    return load_source(
        name,
        tokenizer=tokenizer,
        validation_fraction=validation_fraction,
        documents=documents,
        text_field=text_field,
    )


def task_call(data: str, registry: Registry | None = None) -> Call | None:
    """The task that `data` names, with its options; None if it names a text.

    A corpus keeps its name, then come the tasks; a file that has the name of a task is reached as ``./name``.

    Raises:
        UsageError: options in brackets that cannot be read, or behind a name that is neither a task nor a file.
        PluginError: the plugin that should give the task is broken or missing.
    """
    if (
        not data
        or is_mixture(data)
        or corpus_call(data, registry) is not None
        or set(data) & set("/\\~")
        or data.startswith(".")
    ):
        return None
    tasks = (registry or get_registry())[TASK]
    name, bracket, _ = data.partition("(")
    bracket = bracket if data.rstrip().endswith(")") else ""  # a file may well be called "notes (1).txt"
    plain = name.strip().rpartition(":")[2].replace("_", "-")
    known = any(plain in (entry.name, *entry.aliases) for entry in tasks.entries)
    if not known and _exists(Path(data)):
        return None
    if not (known or bracket or ":" in name):
        try:
            tasks.find(name)
        except UsageError:  # no task; the error for texts lists what else there is
            return None
    call = parse_call(data)
    entry = tasks.find(call.name)
    if call.name.rpartition(":")[2].replace("_", "-") != entry.name:  # saved is the name itself
        return replace(call, name=tasks.display_name(entry))
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


def _exists(path: Path) -> bool:
    """Whether there is such a file or folder; there is none whose name is too long for one."""
    try:
        return path.exists()
    except OSError:
        return False
