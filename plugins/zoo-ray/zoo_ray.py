"""The runs of a comparison on Ray: in processes of this machine, or on a cluster that has an address."""

import concurrent.futures
import logging
import math
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import zoo

if TYPE_CHECKING:
    import ray

_SECONDS_TO_ANSWER = 10
_STORE = 100_000_000
"""Bytes for objects on this machine: a run hands over its settings and a few figures."""

_MAX = 1024
"""CPUs or GPUs of a run; no machine has more."""

_LOST = {
    "WorkerCrashedError": "a Ray worker has died, perhaps because memory ran out",
    "OutOfMemoryError": "Ray has ended a worker since the memory of its machine runs out",
    "NodeDiedError": "a machine of the Ray cluster is gone",
    "LocalRayletDiedError": "the Ray node of a run is gone",
    "TaskCancelledError": "the run was withdrawn before it began",
}
"""What Ray says in a paragraph, by the name of its exception."""


class _Call(Future[Any]):
    """What Ray makes of a call. A worker may begin at any time, so that it never says it was cancelled."""

    def __init__(self, withdraw: Callable[["_Call"], None]) -> None:
        super().__init__()
        self._withdraw = withdraw
        self.set_running_or_notify_cancel()

    def cancel(self) -> bool:
        """Withdraw the call if it waits, at which it soon fails. One that has begun hears nothing of it."""
        self._withdraw(self)
        return False


class Ray(zoo.Executor):
    """Makes each call as a task of Ray, which chooses the machine.

    Without an address Ray is started on this machine, with a worker for each of `jobs` calls, and ended with the
    comparison. Lost tasks are not retried by Ray: the zoo hands them in again. A connection to Ray that the process
    has already is used, and left.

    Options:
        address: of a cluster: ``HOST:PORT``, ``ray://HOST:PORT``, or ``auto`` for the one that this machine is part of;
            empty starts Ray here.
        cpus: that each run reserves.
        gpus: that each run reserves, which are then the only ones that it sees; a fraction shares one.

    Raises:
        ValueError: something else than an address, or an amount that Ray does not reserve.
    """

    def __init__(self, *, jobs: int = 1, address: str = "", cpus: float = 1, gpus: float = 0) -> None:
        if address and not re.fullmatch(r"auto|(ray://)?[^\s/:]+:\d+", address):
            raise ValueError(f"address={address!r} should read auto, HOST:PORT or ray://HOST:PORT")
        for name, amount in (("cpus", cpus), ("gpus", gpus)):
            if not 0 <= amount <= _MAX or (amount > 1 and amount != int(amount)):
                raise ValueError(f"{name}={amount} should be a fraction of 1, or a whole number up to {_MAX}")
        self._jobs, self._address, self._cpus, self._gpus = jobs, address, cpus, gpus
        self.local = not address
        self._task: Any = None
        self._lock = threading.RLock()
        self._calls = dict[_Call, "ray.ObjectRef"]()
        self._closed, self._connected_here = False, False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a call made as soon as Ray has a place for it.

        Raises:
            UsageError: no cluster answers at the address, or it has another version of Ray or Python.
            RuntimeError: after `shutdown`.
        """
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if self._task is None:
            self._task = self._connect()
        call = _Call(self._withdraw)
        with self._lock:
            reference = self._task.remote(fn, args, kwargs)
            self._calls[call] = reference
        reference.future().add_done_callback(lambda made: self._end(call, made))
        return call

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; by default wait for those that were taken, and end what was started here."""
        self._closed = True
        if cancel_futures:
            for call in tuple(self._calls):
                call.cancel()
        if wait:
            concurrent.futures.wait(tuple(self._calls))
            self._disconnect()

    def terminate(self) -> None:
        """Have the workers killed that make calls."""
        self._closed = True
        for call in tuple(self._calls):
            self._withdraw(call, force=True)
        if not self.local:  # the request has to be out before the connection ends
            concurrent.futures.wait(tuple(self._calls), _SECONDS_TO_ANSWER)
        self._disconnect()

    def _connect(self) -> Any:
        """Ray's handle of the function that makes calls, once there is a connection."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # lines that Ray would print among those of the zoo
        import ray

        if not ray.is_initialized():
            with _handlers_kept():
                self._start(ray)
            self._connected_here = True
        options = {"num_cpus": self._cpus, "num_gpus": self._gpus, "max_retries": 0, "name": "zoo-run"}
        return ray.remote(_make).options(**options)

    def _start(self, ray: Any) -> None:
        quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        if self.local:
            cpus = max(1, math.ceil(self._jobs * self._cpus))
            ray.init("local", num_cpus=cpus, object_store_memory=_STORE, include_dashboard=False, **quiet)
            found = ray.cluster_resources().get("GPU", 0)
            if self._gpus > found:
                ray.shutdown()
                raise zoo.UsageError(f"gpus={self._gpus:g} for a run, but Ray finds {found:g} on this machine")
            return
        try:
            if self._address != "auto":
                host, port = self._address.removeprefix("ray://").rsplit(":", 1)
                socket.create_connection((host, int(port)), _SECONDS_TO_ANSWER).close()  # Ray takes a minute to give up
            ray.init(self._address, **quiet)
        except (OSError, RuntimeError, ValueError, ImportError, OverflowError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise zoo.UsageError(
                f"no Ray cluster can be joined at {self._address} ({reason}): start one with `ray start`, or give the "
                "address of another"
            ) from None

    def _disconnect(self) -> None:
        if self._connected_here:
            import ray

            ray.shutdown()
            self._connected_here = False
        self._task = None
        with self._lock:
            calls, self._calls = tuple(self._calls), {}
        for call in calls:
            if not call.done():
                call.set_exception(BrokenExecutor("the connection to Ray was closed"))

    def _withdraw(self, call: _Call, *, force: bool = False) -> None:
        import ray

        with self._lock:
            if (reference := self._calls.get(call)) is not None:
                with suppress(Exception):  # where Ray is gone there is nothing to withdraw
                    ray.cancel(reference, force=force)

    def _end(self, call: _Call, made: "Future[Any]") -> None:
        """Hand over what became of a call."""
        with self._lock:
            if self._calls.pop(call, None) is None:
                return
        if (error := made.exception()) is not None:
            call.set_exception(_in_short(error))
        else:
            call.set_result(made.result())


def _make(function: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """What a worker does."""
    # Ray asks a task to end with this signal, but runs are asked by the zoo, and save first.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return function(*arguments, **named)
    finally:
        signal.signal(signal.SIGINT, before)


def _in_short(error: BaseException) -> BaseException:
    """What a call raised, or in a line why there is no result."""
    from ray.exceptions import RayError, RayTaskError

    if isinstance(error, RayTaskError):
        cause = error.cause
        return cause if isinstance(cause, BaseException) else error
    if isinstance(error, RayError):
        first = (str(error).strip().splitlines() or [""])[0]
        return BrokenExecutor(_LOST.get(type(error).__name__, f"Ray has lost the run: {type(error).__name__}: {first}"))
    return error


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Put back what Ray takes for itself: at SIGTERM the zoo has every run saved."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


@zoo.hookimpl
def zoo_executors() -> dict[str, type[zoo.Executor]]:
    """The executor by its name."""
    return {"ray": Ray}
