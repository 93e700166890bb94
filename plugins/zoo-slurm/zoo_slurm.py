"""The runs of a comparison as jobs of a SLURM cluster, handed to it by submitit."""

import concurrent.futures
import pickle
import re
import shutil
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Future
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import zoo

FOLDER = ".zoo-slurm"
"""In the working directory: what jobs are given, what they give back, and what they print."""

_SECONDS_BETWEEN_LOOKS, _SECONDS_TO_ANSWER = 2.0, 60.0
_SECONDS_FOR_FILES = 10.0
"""A network file system shows the result of a job a while after the job has left the queue."""

_SECONDS_UNTIL_ASKED_AGAIN = (2.0, 10.0, 30.0)
_BUSY = ("Socket timed out", "Unable to contact slurm controller", "temporarily unable", "temporarily unavailable")
"""What SLURM says of itself and not of the job. One that it took nevertheless finds that its run has a writer."""

_ENDING = "CG"
"""The state of a job whose processes are gone, or are on a machine that does not answer."""

_OPTIONS = {
    "partition": (r"[\w.,-]*", "the name of a partition"),
    "memory": (r"(\d+([KMGT]B?)?)?", "an amount like 8GB"),
    "account": (r"[\w.,-]*", "the name of an account"),
}


class _Call(Future[Any]):
    """What a job gives. It can be cancelled until the job begins."""

    def __init__(self, job: str, withdraw: Callable[["_Call"], bool]) -> None:
        super().__init__()
        self.job, self.left = job, 0.0
        self._withdraw = withdraw

    def cancel(self) -> bool:
        """Take the job out of the queue, if it still waits there."""
        if not self._withdraw(self) or not super().cancel():
            return False
        return not self.set_running_or_notify_cancel()


class Slurm(zoo.Executor):
    """Makes each call as a job of SLURM, which is handed in with ``sbatch`` and looked for with ``squeue``.

    SLURM's accounting is not needed: a job that left the queue without a result is lost, and the zoo hands its run in
    again. The working directory has to be on a file system that the nodes share.

    Options:
        partition: where the jobs wait; empty for the one that is the default there.
        time: minutes after which SLURM ends a job; its run is handed in again, and goes on where it has saved.
        cpus: of each run, and the threads that it uses.
        gpus: of each run.
        memory: of each run, as ``8GB``; empty for what is the default there.
        account: that is charged; empty for the user's own.

    Raises:
        ValueError: a number that is too small, or something else than a name or an amount.
    """

    local = False

    def __init__(
        self, *, partition: str = "", time: int = 240, cpus: int = 1, gpus: int = 0, memory: str = "", account: str = ""
    ) -> None:
        for name, number, least in (("time", time, 1), ("cpus", cpus, 1), ("gpus", gpus, 0)):
            if number < least:
                raise ValueError(f"{name}={number} should be {least} or more")
        for name, text in (("partition", partition), ("memory", memory), ("account", account)):
            pattern, what = _OPTIONS[name]
            if not re.fullmatch(pattern, text):
                raise ValueError(f"{name}={text!r} should be {what}")
        asked = {"partition": partition, "mem": memory, "account": account, "gpus_per_node": gpus}
        self._parameters: dict[str, Any] = {name: value for name, value in asked.items() if value}
        self._parameters |= {"time": time, "cpus_per_task": cpus, "nodes": 1, "job_name": "zoo", "use_srun": False}
        # The node may have more cores than were asked for, and which run is made again is for the zoo to say.
        self._parameters |= {"setup": [f"export OMP_NUM_THREADS={cpus}"], "additional_parameters": {"no-requeue": True}}
        self._lock, self._ended = threading.RLock(), threading.Event()
        self._calls, self._folder = dict[str, _Call](), Path()
        self._jobs: Any = None
        self._thread: threading.Thread | None = None
        self._closed, self._lost = False, False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Hand a job in.

        Raises:
            UsageError: SLURM is not installed here, does not take such a job, or is too busy for half a minute.
            RuntimeError: after `shutdown`.
        """
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        made = partial(fn, *args, **kwargs)
        for wait in _SECONDS_UNTIL_ASKED_AGAIN:
            try:
                return self._hand_in(made)
            except zoo.UsageError as error:
                if not any(text in str(error) for text in _BUSY):
                    raise
            time.sleep(wait)
        return self._hand_in(made)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; by default wait for those that were taken."""
        self._closed, calls = True, tuple(self._calls.values())
        for call in calls if cancel_futures else ():
            call.cancel()
        if wait and self._thread is not None:
            concurrent.futures.wait(calls)
            self._tidy()

    def terminate(self) -> None:
        """Have SLURM end all jobs of this executor."""
        self._closed = True
        with self._lock:
            calls, self._calls = self._calls, {}
        if calls:
            with _interrupts_blocked(), suppress(OSError, subprocess.SubprocessError):
                _run("scancel", *calls)
        for call in calls.values():
            if call.running() or call.set_running_or_notify_cancel():
                call.set_exception(BrokenExecutor(f"the SLURM job {call.job} was cancelled"))
        if self._thread is not None:
            self._tidy()

    def _prepare(self) -> Any:
        if missing := [name for name in ("sbatch", "squeue", "scancel", "srun") if shutil.which(name) is None]:
            raise zoo.UsageError(
                f"{missing[0]} is not installed here: compare on a machine from which SLURM jobs are submitted, or on "
                "another executor"
            )
        import submitit

        self._folder = Path.cwd() / FOLDER / uuid.uuid4().hex[:8]
        jobs = submitit.SlurmExecutor(folder=self._folder)
        jobs.update_parameters(**self._parameters)
        return jobs

    def _hand_in(self, made: Callable[[], Any]) -> _Call:
        with _interrupts_blocked():
            if self._jobs is None:
                self._jobs = self._prepare()
            with _refusals_in_short():
                job = self._jobs.submit(_make, made).job_id
            call = _Call(job, self._withdraw)
            with self._lock:
                self._calls[job] = call
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, daemon=True)
                self._thread.start()
        return call

    def _tidy(self) -> None:
        """End the thread, and remove the files, unless they may say why a job was lost."""
        assert self._thread is not None
        self._ended.set()
        self._thread.join()
        if not self._lost:
            shutil.rmtree(self._folder, ignore_errors=True)
            with suppress(OSError):  # another comparison has its files there
                self._folder.parent.rmdir()

    def _look(self) -> None:
        """What the thread does: it sees jobs begin, end, and get lost."""
        with _interrupts_blocked():
            while not self._ended.wait(_SECONDS_BETWEEN_LOOKS):
                with self._lock:
                    calls = tuple(self._calls.values())
                if calls:
                    states, results = _states([call.job for call in calls]), self._results()
                    for call in calls:
                        self._look_at(call, states, results)

    def _look_at(self, call: _Call, states: Mapping[str, str] | None, results: Collection[str]) -> None:
        with self._lock:
            if call.job not in self._calls:
                pass  # it was cancelled meanwhile
            elif _result_of(call) in results:
                self._end(call, *_read(self._folder / _result_of(call)))
            elif states is None:
                pass  # SLURM does not answer at the moment
            elif states.get(call.job, _ENDING) == _ENDING:
                call.left = call.left or time.monotonic()
                if time.monotonic() - call.left > _SECONDS_FOR_FILES:
                    self._lost = True
                    self._end(call, True, BrokenExecutor(self._what_is_known(call)))
            elif states[call.job] != "PD" and not call.running():
                call.set_running_or_notify_cancel()

    def _end(self, call: _Call, failed: bool, result: Any) -> None:
        del self._calls[call.job]
        if call.running() or call.set_running_or_notify_cancel():
            (call.set_exception if failed else call.set_result)(result)

    def _what_is_known(self, call: _Call) -> str:
        said = ""
        with suppress(OSError):
            lines = (self._folder / f"{call.job}_0_log.err").read_text(errors="replace").splitlines()
            said = "".join(f": {line[:120]}" for line in lines[-1:])
        return f"the SLURM job {call.job} ended without a result{said}"

    def _results(self) -> set[str]:
        """The files that there are. Asked for one by one, a network file system would remember that they were not."""
        with suppress(OSError):
            return {path.name for path in self._folder.iterdir()}
        return set()

    def _withdraw(self, call: _Call) -> bool:
        """Cancel a job that waits; whether it did."""
        with self._lock, _interrupts_blocked():
            if call.running() or call.done():
                return False
            with suppress(OSError, subprocess.SubprocessError):
                _run("scancel", "-t", "PENDING", call.job)
            states = _states([call.job])
            if states is None or call.job in states or _result_of(call) in self._results():
                return False
            self._calls.pop(call.job, None)
            return True


def _make(call: Callable[[], Any]) -> tuple[bool, Any]:
    """What a job does: it makes a call. Whether that raised, and what, or what it gave."""
    # With this signal submitit raises an error in the middle of the run, which looks like one of its own.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        return False, call()
    except Exception as error:
        return True, error


def _result_of(call: _Call) -> str:
    return f"{call.job}_0_result.pkl"


def _read(path: Path) -> tuple[bool, Any]:
    """What a job has left: whether its call raised, and what, or what it gave."""
    try:
        ended, result = pickle.loads(path.read_bytes())
    except Exception as error:
        return True, RuntimeError(f"the result of a SLURM job cannot be read: {error}")
    if ended == "success":
        return cast(tuple[bool, Any], result)
    return True, RuntimeError(result.strip().splitlines()[-1])


def _states(jobs: Collection[str]) -> dict[str, str] | None:
    """The state of each job that is in the queue; None where SLURM does not answer."""
    try:
        return dict(line.split() for line in _run("squeue", "-h", "-o", "%i %t", "-j", ",".join(jobs)).splitlines())
    except subprocess.CalledProcessError as error:
        return {} if "Invalid job id" in error.stderr else None  # of one alone that is not there
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS_TO_ANSWER, check=True).stdout


@contextmanager
def _refusals_in_short() -> Iterator[None]:
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        yield
    except (FailedJobError, FailedSubmissionError, OSError, subprocess.SubprocessError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        reason = next((line for line in said if "error:" in line), said[0]).strip()
        raise zoo.UsageError(f"SLURM does not take a job: {reason}") from None


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Have the programs that are started meanwhile not hear of Ctrl-C, at which the zoo saves every run."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@zoo.hookimpl
def zoo_executors() -> dict[str, type[zoo.Executor]]:
    """The executor by its name."""
    return {"slurm": Slurm}
