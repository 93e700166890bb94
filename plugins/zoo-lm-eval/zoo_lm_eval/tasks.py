"""From what ``--tasks`` says to tasks of the harness with their data."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import zoo
from zoo.plugin.options import did_you_mean

_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
_SUFFIXES = (".yaml", ".yml")
_NETWORK = {"aiohttp", "httpx", "httpx2", "httpcore", "httpcore2", "huggingface_hub", "requests", "urllib3"}
"""Libraries whose errors mean that something could not be downloaded."""


def split_tasks(text: str) -> list[str]:
    """The names, files and folders between commas.

    Raises:
        UsageError: nothing there, or a file or folder that does not exist.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise zoo.UsageError(
            f"`tasks`={text!r} should be names of tasks, YAML files or folders of them, separated by commas"
        )
    for part in parts:
        if is_path(part) and not Path(part).expanduser().exists():
            raise zoo.UsageError(f"there is no file or folder {part} with tasks")
    return parts


def is_path(part: str) -> bool:
    """Whether it stands for a file or a folder, and not for the name of a task."""
    return bool(set(part) & set("/\\~")) or part.endswith(_SUFFIXES) or Path(part).is_dir()


def work_offline(parts: list[str]) -> bool:
    """Keep the harness from asking the network where each task is a local file; whether that is so.

    It counts for the libraries that are imported after it. What the user has set in the environment stays.
    """
    local = all(is_path(part) for part in parts)
    if local and not any(name in os.environ for name in _OFFLINE):
        os.environ |= dict.fromkeys(_OFFLINE, "1")
    return local


def load_tasks(parts: list[str]) -> dict[str, Any]:
    """The tasks with their data, as ``lm_eval.evaluate`` takes them.

    Args:
        parts: of `split_tasks`. Names may have ``*`` in them; groups and tags of the harness are names too.

    Raises:
        UsageError: an unknown name, a file that is no task, or data that cannot be read or downloaded.
    """
    from lm_eval.tasks import TaskManager

    paths = [Path(part).expanduser() for part in parts if is_path(part)]
    folders = [path if path.is_dir() else path.parent for path in paths]
    names = [part for part in parts if not is_path(part)]
    specs = [spec for path in paths for spec in (_tasks_in(path) if path.is_dir() else [_task_file(path)])]
    _refuse_repeated(specs)
    # the harness comes with thousands of files, which are read only where one is named
    manager = TaskManager(include_path=list(map(str, folders)), include_defaults=bool(names))
    for name in names:
        found = manager.match_tasks([name])
        if not found:
            raise zoo.UsageError(_unknown(name, manager.all_tasks))
        specs += found
    return _load(manager, specs)


def _load(manager: Any, specs: list[str]) -> dict[str, Any]:
    from lm_eval.api.group import Group

    built: list[Any] = []
    for spec in dict.fromkeys(specs):
        try:
            loaded = manager.load([spec])
        except Exception as error:
            raise zoo.UsageError(_why_not_loaded(spec, error)) from error
        built += loaded["groups"].values() or loaded["tasks"].values()
    _refuse_repeated([item.name if isinstance(item, Group) else item.task_name for item in built])
    inner = {name for item in built if isinstance(item, Group) for name in item.child_names}
    try:
        return dict(manager.load([item for item in built if not isinstance(item, Group) or item.name not in inner]))
    except ValueError as error:  # a task that two groups have
        raise zoo.UsageError(f"the tasks overlap: {error}") from None


def _refuse_repeated(names: list[str]) -> None:
    """Refuse two tasks of one name, of which the harness would take either."""
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise zoo.UsageError(f"the task {twice[0]} is given twice: leave one of them out, or rename it")


def _tasks_in(folder: Path) -> list[str]:
    """The names of the tasks of a folder, by the names of their files. Groups are named by their file."""
    files = [path for path in sorted(folder.glob("**/*.yaml")) if "__pycache__" not in path.parts]
    found = [config["task"] for config in map(_read, files) if isinstance(config.get("task"), str)]
    if not found:
        raise zoo.UsageError(f"there is no task in the folder {folder}: a task is a .yaml file with a `task` in it")
    return found


def _task_file(path: Path) -> str:
    config = _read(path)
    if "task" not in config and "group" not in config:
        raise zoo.UsageError(f"{path} is no task: it has neither a `task` nor a `group`")
    return str(config["group"]) if "group" in config else str(path)  # the harness finds a group by its name alone


def _read(path: Path) -> dict[str, Any]:
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        return dict(load_yaml(path, resolve_func=False))
    except Exception as error:  # of YAML, of the file system, or of what the file includes
        raise zoo.UsageError(f"the task file {path} cannot be read: {first_line(error)}") from None


def _unknown(name: str, known: list[str]) -> str:
    return (
        f"there is no task {name!r}{did_you_mean(name, known)}; `lm_eval ls tasks` lists those of the harness, and a "
        "task of your own is the path of a YAML file or of a folder of them"
    )


def _why_not_loaded(spec: str, error: Exception) -> str:
    if _of_network(error):
        ask = "with HF_HUB_OFFLINE=0 in the environment" if os.environ.get(_OFFLINE[0]) == "1" else "with the network"
        return (
            f"the data of the task {spec} is not on this machine and cannot be downloaded ({first_line(error)}): run "
            f"it once {ask}, or give the path of a task whose data is local"
        )
    if isinstance(error, FileNotFoundError):
        return (
            f"the data of the task {spec} is not there: {first_line(error)}; paths in data_files start from the "
            "working directory"
        )
    if isinstance(error, KeyError) and error.args == (None,):
        return f"the task {spec} has a metric that the harness does not know, or one without its `aggregation`"
    return f"the task {spec} cannot be loaded: {type(error).__name__}: {first_line(error)}"


def _of_network(error: BaseException) -> bool:
    named = type(error).__module__.partition(".")[0] in _NETWORK or type(error).__name__ == "DatasetNotFoundError"
    return named or isinstance(error, ConnectionError | TimeoutError)


def first_line(error: BaseException) -> str:
    """What an error says, as one line that is not too long."""
    lines = " ".join(str(error).split())
    return lines if len(lines) <= 200 else lines[:199] + "…"
