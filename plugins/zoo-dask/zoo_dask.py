"""The runs of a comparison on Dask: in processes of this machine, or on a cluster whose scheduler has an address."""

import concurrent.futures
import logging
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

import zoo

if TYPE_CHECKING:
    import distributed

_SECONDS_TO_ANSWER = 10
_SECONDS_TO_END = 5


class Dask(zoo.Executor):
    """Makes calls on the workers of a Dask cluster, one at a time on each of its threads.

    Without an address a cluster of `jobs` processes is started on this machine. Dask restarts a worker that dies, and
    the zoo hands its run in again.

    Options:
        address: of a scheduler, as ``tcp://HOST:PORT``; empty starts a cluster here.

    Raises:
        ValueError: something else than an address.
    """

    def __init__(self, *, jobs: int = 1, address: str = "") -> None:
        if address and not re.fullmatch(r"([a-z]+://)?[^\s/]+:\d+", address):
            raise ValueError(f"address={address!r} should read tcp://HOST:PORT")
        self._jobs, self._address = jobs, address
        self.local = not address
        self._client: distributed.Client | None = None
        self._cluster: distributed.LocalCluster | None = None
        self._tasks = dict["distributed.Future", concurrent.futures.Future[Any]]()
        self._closed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        """Have a call made by the next worker that is free.

        Raises:
            UsageError: no scheduler answers at the address.
            RuntimeError: after `shutdown`.
        """
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if self._client is None:
            self._client = self._connect()
        future = concurrent.futures.Future[Any]()
        future.set_running_or_notify_cancel()  # a worker may have begun at any time, so that nothing is cancelled
        task = self._client.submit(partial(fn, *args, **kwargs), pure=False)
        self._tasks[task] = future
        task.add_done_callback(self._pass_on)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; by default wait for those that were taken, and end what was started here."""
        del cancel_futures  # none waits that Dask would tell from those that are being made
        self._closed = True
        if wait:
            concurrent.futures.wait(list(self._tasks.values()))
            self._disconnect()

    def terminate(self) -> None:
        """Give all calls up. Workers of this machine end at once; others hear of it when their call ends."""
        self._closed = True
        if self._client is not None and self._tasks:
            self._client.cancel(list(self._tasks), force=True)
        self._disconnect()

    def _connect(self) -> "distributed.Client":
        import dask
        from distributed import Client, LocalCluster

        if self.local:
            # A loss is told at once: which run to hand in again, and how often, is for the zoo to say.
            with dask.config.set({"distributed.scheduler.allowed-failures": 0}), _interrupts_blocked():
                self._cluster = LocalCluster(
                    n_workers=self._jobs,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=0,  # by default a run would be killed that takes more than its share
                    dashboard_address=":0",
                    silence_logs=logging.CRITICAL,
                )
            return Client(self._cluster)
        try:
            return Client(self._address, timeout=_SECONDS_TO_ANSWER)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise zoo.UsageError(
                f"no Dask scheduler answers at {self._address} ({reason}): start one with `dask scheduler`, or give "
                "the address of another"
            ) from None

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        cluster, self._cluster = self._cluster, None
        if client is not None:
            client.close(timeout=_SECONDS_TO_END)
        if cluster is not None:
            cluster.close(timeout=_SECONDS_TO_END)
        for future in self._tasks.values():
            if not future.done():
                future.set_exception(BrokenExecutor("the connection to the Dask cluster was closed"))
        self._tasks.clear()

    def _pass_on(self, task: "distributed.Future") -> None:
        """Hand over what became of a call."""
        future = self._tasks.pop(task, None)
        if future is None or future.done():
            return
        if task.cancelled():
            future.set_exception(BrokenExecutor("the Dask scheduler has given the run up, or is gone"))
        elif (error := task.exception()) is not None:
            future.set_exception(_in_short(error))
        else:
            future.set_result(task.result())


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Keep Ctrl-C from threads and processes that are started meanwhile: the zoo has every run saved."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # starting it later would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_short(error: BaseException) -> BaseException:
    """What a call raised, or in a line that its worker has died, of which Dask says a paragraph."""
    from distributed.scheduler import KilledWorker

    if isinstance(error, KilledWorker):
        return BrokenExecutor(f"the Dask worker {error.last_worker.address} has died, perhaps because memory ran out")
    return error


@zoo.hookimpl
def zoo_executors() -> dict[str, type[zoo.Executor]]:
    """The executor by its name."""
    return {"dask": Dask}
