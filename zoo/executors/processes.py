"""Processes of this machine, which come back after they were killed."""

import atexit
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from queue import SimpleQueue
from typing import Any, NamedTuple

from zoo import Executor


class _Call(NamedTuple):
    """A call, and where its result goes."""

    future: Future[Any]
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    named: dict[str, Any]


class Processes(Executor):
    """Processes of this machine, each of which makes one call after the other.

    With the `ProcessPoolExecutor` of Python a process that is killed takes all others with it, and those that run
    cannot be ended. Here it takes its own call, and the next call gets a new process. They ignore the signals that a
    terminal sends to all, and end with the process that started them.

    Args:
        jobs: processes at most.
    """

    def __init__(self, *, jobs: int = 1) -> None:
        self._context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        self._jobs, self._closed, self._ended = jobs, False, False
        self._lock = threading.Lock()
        self._calls = SimpleQueue[_Call | None]()
        self._open = 0
        self._threads, self._processes = list[threading.Thread](), list[BaseProcess]()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a call made as soon as a process is free."""
        future = Future[Any]()
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if not self._threads:
                atexit.register(self.terminate)  # Python would ask processes to end that do not listen, and wait
            self._calls.put(_Call(future, fn, args, kwargs))
            self._open += 1
            if self._open > len(self._threads) < self._jobs:
                self._threads.append(threading.Thread(target=self._serve, daemon=True))
                self._threads[-1].start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; by default wait for those that were taken."""
        with self._lock:
            closed, self._closed = self._closed, True
        if cancel_futures:
            while not self._calls.empty():
                if call := self._calls.get():
                    call.future.cancel()
        if not closed or cancel_futures:
            for _ in self._threads:
                self._calls.put(None)
        for thread in self._threads if wait else ():
            thread.join()
        if wait:
            atexit.unregister(self.terminate)

    def terminate(self) -> None:
        """Kill the processes."""
        self.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._ended = True
            for process in self._processes:
                process.kill()
        for thread in self._threads:
            thread.join()
        atexit.unregister(self.terminate)

    def _serve(self) -> None:
        """What a thread of the leader does: it hands one call after the other to a process of its own."""
        _mask_signals()
        process, pipe = None, None
        while (call := self._calls.get()) is not None:
            if call.future.set_running_or_notify_cancel():
                if process is None or pipe is None:
                    process, pipe = self._start()
                try:
                    self._make(call, pipe)
                except (EOFError, OSError):
                    process.join()
                    call.future.set_exception(_gone(process))
                    process, pipe = None, None
            with self._lock:
                self._open -= 1
        if process is not None and pipe is not None:
            with suppress(OSError):
                pipe.send(None)
            process.join()
            pipe.close()

    @staticmethod
    def _make(call: _Call, pipe: Connection) -> None:
        """Have a process make a call.

        Raises:
            EOFError, OSError: the process is gone.
        """
        try:
            pipe.send(call[1:])
        except OSError:
            raise
        except Exception as error:  # it cannot be pickled
            call.future.set_exception(error)
            return
        failed, result = pipe.recv()
        (call.future.set_exception if failed else call.future.set_result)(result)

    def _start(self) -> tuple[BaseProcess, Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs,), daemon=True)
        with self._lock:
            process.start()
            self._processes = [*(other for other in self._processes if other.is_alive()), process]
            if self._ended:
                process.kill()
        theirs.close()
        return process, ours


def _gone(process: BaseProcess) -> BrokenExecutor:
    return BrokenExecutor(
        f"a process that made runs was ended from outside (exit code {process.exitcode}), perhaps because memory ran "
        "out: fewer `jobs` need less"
    )


def _mask_signals() -> None:
    """Have the processes that this thread starts begin without the signals that the leader handles for all."""
    if hasattr(signal, "pthread_sigmask"):
        resource_tracker.ensure_running()  # starting it later would unmask the signals
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})


def _work(pipe: Connection) -> None:
    """What a process does: one call after the other, until there is None, or the leader is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_die_with_the_leader, daemon=True).start()
    with suppress(EOFError, BrokenPipeError):  # the leader has gone
        while (call := pipe.recv()) is not None:
            function, arguments, named = call
            try:
                made = (False, function(*arguments, **named))
                pickled = ForkingPickler.dumps(made)
            except Exception as error:
                pickled = ForkingPickler.dumps((True, _portable(error)))
            pipe.send_bytes(pickled)


def _portable(error: Exception) -> Exception:
    """The error itself if it can be pickled, or one that says the same."""
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _die_with_the_leader() -> None:
    """Without the leader nothing takes the results, and a resumed comparison has to find the runs free."""
    leader = multiprocessing.parent_process()
    assert leader is not None
    leader.join()
    os._exit(1)
