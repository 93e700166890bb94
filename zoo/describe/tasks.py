"""What there is to know of what ``--data`` may name: the registered tasks, and the built-in texts."""

from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.examples import Split
from zoo.data.load import create_task
from zoo.data.task_data import TaskData
from zoo.data.text import corpus_call
from zoo.describe.members import describe_entry
from zoo.describe.parts import parse_doc, source_file, tell_option, tell_origin
from zoo.errors import PluginError, UsageError, check_seed
from zoo.plugin import kinds
from zoo.plugin.options import did_you_mean
from zoo.plugin.pattern import Call, parse_call
from zoo.plugin.registry import Entry, Registry, get_registry
from zoo.task import IGNORE, Task
from zoo.train.resolve import resolve

TASK, TEXT = "task", "text"
"""The kinds of data."""


def is_glob(data: str) -> bool:
    """Whether it stands for all names that match: one of ``*?[`` is in it, before any options."""
    return bool(set(data.partition("(")[0]) & set("*?["))


def list_data(registry: Registry, glob: str = "*", *, suite: str | None = None) -> list[dict[str, Any]]:
    """The tasks whose name matches, or the suite of that name, in natural order, and behind them the texts.

    Args:
        registry: where to look.
        glob: with ``*``, ``?`` or ``[…]``.
        suite: only tasks of that suite.

    Returns:
        Of each its name, aliases, kind (`TASK` or `TEXT`), summary, suites, paper, options, origin.

    Raises:
        UsageError: no task is of that suite.
    """
    members = None if suite is None else members_of(suite, registry)
    named = [registry[kinds.TASK].find(name) for name in registry.suite(glob)] or registry[kinds.TASK].list(glob)
    tasks = [_entry(entry, registry) for entry in named]
    if members is not None:
        return [task for task in tasks if task["name"] in members]
    return tasks + [_text(entry, registry) for entry in registry[kinds.CORPUS].list(glob)]


def members_of(suite: str, registry: Registry) -> tuple[str, ...]:
    """The names of the tasks of a suite.

    Raises:
        UsageError: there is no such suite.
    """
    members = registry.suite(suite)
    if not members:
        known = ", ".join(registry.suites)
        raise UsageError(
            f"no suite of tasks is named {suite!r}{did_you_mean(suite, registry.suites)}; there are: {known}"
        )
    return members


def describe_data(data: str, *, seed: int = 0, length: int | None = None) -> dict[str, Any]:
    """Everything about one task, built with its options, or what `list_data` says of a text.

    Args:
        data: a task, with options in brackets if any, or a built-in text.
        seed: of the example; the same one draws the same.
        length: tokens of the example; None for the length at which the task trains.

    Returns:
        Of a task what `list_data` says, the parts of its docstring, its sizes, the settings that a run starts from, and
        the accuracy from which on it is ``solved``, the ``chance`` levels, see `zoo.data.guess.guess_levels`, and
        ``example``, see `draw_example`.

    Raises:
        UsageError: an unknown name or option, or sizes that the task refuses.
        PluginError: the task's plugin is broken or missing, or the task itself fails.
    """
    registry = get_registry()
    if corpus := corpus_call(data):
        return _text(registry[kinds.CORPUS].find(corpus.name), registry)
    call = _read_call(data)
    task, entry = create_task(call, registry), registry[kinds.TASK].find(call.name)
    return {
        **_entry(entry, registry),
        **parse_doc(entry.doc),
        "origin": {**tell_origin(entry), "file": source_file(entry)},
        "call": str(call),
        "vocab_size": task.vocab_size,
        "length": task.length,
        "test_lengths": list(task.test_lengths),
        "train_examples": task.train_examples,
        "test_examples": task.test_examples,
        "disjoint": task.disjoint,
        "solved": task.solved,
        "chance": TaskData(task, str(call)).guess_levels((task.length, *task.test_lengths)),
        "own_settings": dict(task.settings),
        "settings": resolve(flags={"data": str(call)}).model_dump(),
        "example": draw_example(call, seed=seed, length=length),
    }


def draw_example(call: Call, *, seed: int = 0, length: int | None = None) -> dict[str, Any]:
    """One sequence of a task's test, drawn at random.

    Args:
        call: the task, with its options.
        seed: 0 or more.
        length: its tokens; one at which the task neither trains nor tests is made its option ``length``.

    Returns:
        ``seed``, ``length``, the names of the ``slices``, and with one value a token: ``inputs``; ``targets``, None
        where there is none; ``scored``, whether the target counts; ``symbols`` and ``target_symbols``, inputs and
        targets as text.

    Raises:
        UsageError: a length or a seed that cannot be.
        PluginError: the task fails.
    """
    if seed < 0:
        raise UsageError(f"seed={seed} should be 0 or more")
    check_seed(seed)
    task = _task_of_length(call, length)
    length = task.length if length is None else length
    generator = np.random.Generator(np.random.Philox(key=seed))
    drawn = Split(task, str(call), length, test=True).draw(generator, 1)
    targets = [None if target == IGNORE else target for target in drawn.targets[0].tolist()]
    scored = drawn.targets != IGNORE if drawn.scored is None else drawn.scored
    return {
        "seed": seed,
        "length": length,
        "slices": list(drawn.slices),
        "inputs": drawn.inputs[0].tolist(),
        "targets": targets,
        "scored": [bool(counts) for counts in scored[0]],
        "symbols": [_symbol(task, call, token) for token in drawn.inputs[0].tolist()],
        "target_symbols": [None if target is None else _symbol(task, call, target) for target in targets],
    }


def _read_call(data: str) -> Call:
    """The call of a task, or a word on what else the name may be."""
    if set(data) & set("/\\~.") and Path(data).exists():
        raise UsageError(f"{data!r} is a text of yours, not a task: learn from it with zoo train --data {data}")
    call = parse_call(data)
    tasks, texts = get_registry()[kinds.TASK], get_registry()[kinds.CORPUS].names
    try:
        tasks.find(call.name)
    except UsageError:
        near = did_you_mean(call.name, [*texts, *tasks.names])
        if any(repr(text) in near for text in texts):
            raise UsageError(f"no task and no text is named {call.name!r}{near}; see all with: zoo tasks") from None
        raise
    return call


def _task_of_length(call: Call, length: int | None) -> Task:
    task = create_task(call)
    if length is None or length in (task.length, *task.test_lengths):
        return task
    try:
        return create_task(Call(call.name, tuple({**call.keywords, "length": length}.items())))
    except UsageError as error:
        if "length" in {option.name for option in get_registry()[kinds.TASK].find(call.name).options}:
            raise
        lengths = " or ".join(str(each) for each in (task.length, *task.test_lengths))
        raise UsageError(f"{call.name} has no option for a length of {length}: its sequences have {lengths}") from error


def _symbol(task: Task, call: Call, token: int) -> str:
    try:
        return str(task.symbol(token))
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        raise PluginError(f"the task {call} has no symbol for its token {token}: {cause}") from error


def _entry(entry: Entry[Any], registry: Registry) -> dict[str, Any]:
    return {
        "name": registry[kinds.TASK].display_name(entry),
        "kind": TASK,
        "aliases": list(entry.aliases),
        "summary": entry.summary,
        "suites": list(entry.suites),
        "paper": entry.cls.paper,
        "options": [tell_option(option) for option in entry.options],
        "origin": tell_origin(entry),
    }


def _text(entry: Entry[Any], registry: Registry) -> dict[str, Any]:
    described = describe_entry(entry, registry)
    return described | {"kind": TEXT, "aliases": [], "suites": []}
