"""What `--on` names: an executor, with options or an address."""

from typing import cast

from zoo.errors import UsageError
from zoo.executor import Executor
from zoo.model.create import create
from zoo.plugin.kinds import EXECUTOR
from zoo.plugin.pattern import Call, parse_call
from zoo.plugin.registry import get_registry

DEFAULT = "processes"


def read_executor(text: str) -> str:
    """An executor in canonical form: ``processes``, ``slurm(partition=gpu)``, or ``dask:tcp://HOST:PORT``.

    Raises:
        UsageError: one that there is not, or options that it does not have.
        PluginError: its plugin is broken.
    """
    call = _call(text)
    get_registry()[EXECUTOR].find(call.name).check(call.keywords)
    return str(call)


def create_executor(text: str, *, jobs: int) -> Executor:
    """Make an executor, which starts nothing yet.

    Args:
        text: its name, with options in parentheses or an address behind a colon, if any.
        jobs: how many runs it will make at a time.

    Raises:
        UsageError: an unknown name or option, or a value that the executor refuses.
        PluginError: its plugin is broken or missing, or the executor itself fails.
    """
    call = _call(text)
    return cast(Executor, create(get_registry()[EXECUTOR].find(call.name), call.keywords, jobs=jobs))


def _call(text: str) -> Call:
    name, colon, address = text.strip().partition(":")
    entries = get_registry()[EXECUTOR].entries
    if not colon or not any(entry.name == name for entry in entries):
        return parse_call(text)
    if not address:
        raise UsageError(f"`on`={text!r} has no address behind the colon: leave the colon out, or give one")
    return Call(name, (("address", address),))
