"""The laws of executors: calls are made in other processes, and the loss of one is noticed and costs nothing else."""

import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from zoo.errors import UsageError
from zoo.executor import Executor
from zoo.testing.law import Law, by_id, law
from zoo.testing.laws import member, options
from zoo.testing.member import MemberCase
from zoo.testing.violation import LawViolation, NotApplicable

JOBS = 2
PATIENCE = 120.0
"""Seconds in which a call begins, or is known to be lost: a process may have to be started, or a queue to be asked."""

LEAVING = 10.0
"""Seconds in which a process of this machine ends, once that was asked for."""

# Calls are given as text, so that whoever makes them needs nothing but Python.
_MEET = """
import os, pathlib, time
mine, theirs, end = pathlib.Path(mine), pathlib.Path(theirs), time.monotonic() + seconds
mine.write_text(f"{os.getpid()}\\n")
while not theirs.exists():
    if time.monotonic() > end:
        raise TimeoutError("nobody came")
    time.sleep(0.05)
"""
_DIE = "import os, signal; os.kill(os.getpid(), getattr(signal, 'SIGKILL', signal.SIGTERM))"


class ExecutorCase(MemberCase):
    """A case of an executor."""

    def create(self) -> Executor:
        """A new one, for two calls at a time."""
        return cast(Executor, self.subject.create(self.options, jobs=JOBS))

    def use(self) -> None:
        """Make a call."""
        with self.open() as executor:
            _result(_submit(executor, pow, 2, 3))

    @contextmanager
    def open(self) -> Iterator[Executor]:
        """A new one, of which nothing is left afterwards."""
        executor = self.create()
        try:
            yield executor
        finally:
            executor.terminate()

    @contextmanager
    def folder(self, executor: Executor) -> Iterator[Path]:
        """A folder that the calls see: for those on other machines it is made in the working directory."""
        with tempfile.TemporaryDirectory(dir=None if executor.local else Path.cwd()) as folder:
            yield Path(folder)


@law(
    "results",
    bug="The exception of a call that is printed by the worker, and not given to the future: every run ended well.",
    limit=1,
    varies=False,
)
def results(case: ExecutorCase) -> None:
    """A call is made in another process, and gives its result, or raises what it raised."""
    with case.open() as executor:
        _check_elsewhere(executor)
        if _result(_submit(executor, divmod, 7, 2)) != (3, 1):
            raise LawViolation("divmod(7, 2) gives something else than (3, 1)")
        error = _error(_submit(executor, int, "no number"))
        if not isinstance(error, ValueError) or "no number" not in str(error):
            raise LawViolation(f"int('no number') gives {error!r}, not the ValueError that it raises")


@law(
    "side-by-side",
    bug="A pool of one process whatever `jobs` says: the comparison takes four times as long on four cores.",
    limit=1,
    varies=False,
)
def side_by_side(case: ExecutorCase) -> None:
    """As many calls as `jobs` says are made at the same time, and see the same files."""
    with case.open() as executor, case.folder(executor) as folder:
        _check_elsewhere(executor)
        one, other = folder / "one", folder / "other"
        futures = [_meet(executor, one, other), _meet(executor, other, one)]
        for future in futures:
            if (error := _error(future, 2 * PATIENCE)) is not None:
                raise LawViolation(f"two calls that wait for each other's files do not meet: {error!r}")


@law(
    "lost-process",
    bug="A worker that runs out of memory and is killed: its future never ends, and the comparison waits overnight.",
    limit=1,
    varies=False,
)
def lost_process(case: ExecutorCase) -> None:
    """The future of a call whose process dies fails, and calls after that are made."""
    with case.open() as executor:
        _check_elsewhere(executor)
        if (error := _error(_submit(executor, exec, _DIE, {}))) is None:
            raise LawViolation("a call whose process was killed has a result")
        if isinstance(error, _LateError):
            raise LawViolation(f"the future of a call whose process was killed has not ended after {PATIENCE:g} s")
        try:
            again = _result(_submit(executor, divmod, 7, 2))
        except Exception as failure:
            raise LawViolation(f"after a process was killed no call is made: {failure!r}") from None
        if again != (3, 1):
            raise LawViolation(f"after a process was killed divmod(7, 2) gives {again!r}")


@law(
    "starts-nothing",
    bug="A cluster that is started in __init__: `zoo compare --dry-run` waits for it, and leaves it behind.",
    grade="finish",
    limit=1,
    varies=False,
)
def starts_nothing(case: ExecutorCase) -> None:
    """Making one starts nothing: neither a process nor a thread, before there is a call."""
    before = _started()
    executor = case.create()
    after = _started()
    executor.shutdown()
    if started := sorted(name for key, name in after.items() if key not in before):
        raise LawViolation(f"__init__ starts {', '.join(started)}")


@law(
    "shutdown",
    bug="Workers that outlive the comparison: the next one finds the memory taken.",
    limit=1,
    varies=False,
)
def shutdown(case: ExecutorCase) -> None:
    """Shutdown waits for the calls that were handed over, takes no more, and leaves no process on this machine."""
    with case.open() as executor:
        process = _check_elsewhere(executor)
        futures = [_submit(executor, time.sleep, 0.1) for _ in range(2 * JOBS)]
        if not _ends(executor.shutdown):
            raise LawViolation(f"shutdown has not ended after {PATIENCE:g} s")
        if unfinished := [future for future in futures if not future.done() or _error(future) is not None]:
            raise LawViolation(f"after shutdown {len(unfinished)} of {len(futures)} calls have no result")
        try:
            executor.submit(divmod, 7, 2)
        except RuntimeError:
            pass
        else:
            raise LawViolation("submit takes a call after shutdown; a RuntimeError should say no")
        if executor.local and not _is_gone(process):
            raise LawViolation("a process is left after shutdown")


@law(
    "terminate",
    bug="A second Ctrl-C that waits until all runs have ended, or leaves them running unseen.",
    limit=1,
    varies=False,
)
def terminate(case: ExecutorCase) -> None:
    """Terminate does not wait for calls that are being made; on this machine it ends them."""
    with case.open() as executor, case.folder(executor) as folder:
        _check_elsewhere(executor)
        future = _meet(executor, folder / "begun", folder / "end")
        try:
            process = _wait_until_made(folder / "begun", future)
            if not _ends(executor.terminate, PATIENCE / 2):
                raise LawViolation("terminate waits for a call that is being made")
            if executor.local and not _is_gone(process):
                raise LawViolation("a call is still being made after terminate")
        finally:
            (folder / "end").touch()


@law(
    "cancel",
    bug="A future that can be cancelled while its call runs: the comparison forgets a run that goes on.",
    limit=1,
    varies=False,
)
def cancel(case: ExecutorCase) -> None:
    """A call that has begun cannot be cancelled, and its result comes."""
    with case.open() as executor, case.folder(executor) as folder:
        _check_elsewhere(executor)
        future = _meet(executor, folder / "begun", folder / "end")
        _wait_until_made(folder / "begun", future)
        cancelled = future.cancel()
        (folder / "end").touch()
        if cancelled:
            raise LawViolation("Future.cancel is True for a call that is being made")
        if (error := _error(future)) is not None:
            raise LawViolation(f"a call that could not be cancelled gives {error!r}")


class _LateError(TimeoutError):
    """A future that has not ended."""


def _submit(executor: Executor, function: Any, *arguments: Any) -> "Future[Any]":
    """Hand a call over. `NotApplicable` if there is nothing here that could make it."""
    try:
        return executor.submit(function, *arguments)
    except UsageError as error:
        raise NotApplicable(str(error)) from None


def _meet(executor: Executor, mine: Path, theirs: Path) -> "Future[Any]":
    """A call that makes a file, and ends when there is another one."""
    return _submit(executor, exec, _MEET, {"mine": str(mine), "theirs": str(theirs), "seconds": PATIENCE})


def _error(future: "Future[Any]", seconds: float = 0.0) -> BaseException | None:
    """What a call raised; None if it gave a result."""
    try:
        return future.exception(seconds or PATIENCE)
    except TimeoutError:
        return _LateError("it has not ended")


def _result(future: "Future[Any]") -> Any:
    error = _error(future)
    if error is not None:
        raise error
    return future.result()


def _check_elsewhere(executor: Executor) -> int:
    """The process that makes calls, which must not be this one."""
    process = int(_result(_submit(executor, os.getpid)))
    if executor.local and process == os.getpid():
        raise LawViolation("calls are made in the process that asks for them")
    return process


def _ends(call: Any, seconds: float = 0.0) -> bool:
    """Whether a call ends in time."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds or PATIENCE)
    return not thread.is_alive()


def _wait_until_made(path: Path, future: "Future[Any]") -> int:
    """Wait until a call of `_meet` is being made; the process that makes it."""
    end = time.monotonic() + PATIENCE
    while not path.exists() or not (text := path.read_text()).endswith("\n"):
        if time.monotonic() > end or future.done():
            raise LawViolation(f"a call is not made: {_error(future)!r}")
        time.sleep(0.02)
    return int(text)


def _is_gone(process: int) -> bool:
    """Whether a process of this machine ends within some seconds."""
    end = time.monotonic() + LEAVING
    while time.monotonic() < end:
        try:
            os.kill(process, 0)
        except OSError:
            return True
        time.sleep(0.1)
    return False


def _started() -> dict[int | str, str]:
    """The threads of this process, and the processes that it has started, as far as the system tells."""
    found: dict[int | str, str] = {id(thread): f"the thread {thread.name}" for thread in threading.enumerate()}
    for path in Path("/proc/self/task").glob("*/children"):
        found |= {child: f"the process {child}" for child in path.read_text().split()}
    return found


EXECUTOR_LAWS: Mapping[str, Law] = by_id(
    [
        results,
        side_by_side,
        lost_process,
        shutdown,
        terminate,
        cancel,
        starts_nothing,
        options.options_round_trip,
        member.options_refused,
        options.docstring,
    ]
)
"""By id."""
