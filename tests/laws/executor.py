"""Executors that judge the laws: sound ones, and ones that break a law."""

import os
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

from zoo import Executor, UsageError
from zoo.executors.processes import Processes

from .any_kind import option_controls


class Workers(Processes):
    """Processes, which each control bends in one place."""

    def submit(self, fn, /, *args, **kwargs):
        return super().submit(fn, *args, **kwargs)


class Unavailable(Executor):
    """A cluster that does not answer."""

    def submit(self, fn, /, *args, **kwargs):
        raise UsageError("the cluster does not answer: start it")


class Elsewhere(Processes):
    """Processes that the zoo cannot look at, as if they were on other machines."""

    local = False


SOUND = [Processes, Workers, Unavailable, Elsewhere]


# results


class SameProcess(Executor):
    """Threads."""

    def __init__(self, *, jobs=1):
        self.threads = ThreadPoolExecutor(jobs)

    def submit(self, fn, /, *args, **kwargs):
        return self.threads.submit(fn, *args, **kwargs)

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.threads.shutdown(wait, cancel_futures=cancel_futures)


def swallowed(fn, args):
    try:
        return fn(*args)
    except Exception:
        return None


class SwallowsErrors(Workers):
    """A worker that prints what went wrong."""

    def submit(self, fn, /, *args, **kwargs):
        return super().submit(swallowed, fn, args)


class GivesText(Workers):
    """Results as text."""

    def submit(self, fn, /, *args, **kwargs):
        return self._changed(super().submit(fn, *args, **kwargs))

    def _changed(self, future):
        changed = Future()
        changed.set_running_or_notify_cancel()
        future.add_done_callback(lambda _: self._settle(future, changed))
        return changed

    def _settle(self, future, changed):
        error = future.exception()
        if error is not None:
            changed.set_exception(error)
        else:
            result = future.result()
            changed.set_result(result if isinstance(result, int) else str(result))


# side-by-side


class OneAtATime(Workers):
    """One process, whatever was asked for."""

    def __init__(self, *, jobs=1):
        super().__init__(jobs=1)


class OwnFolders(Workers):
    """Each call in a folder that only its process sees."""

    def submit(self, fn, /, *args, **kwargs):
        if fn is exec and "mine" in args[1] and "one" in args[1]["mine"]:
            args = (args[0], args[1] | {"mine": os.devnull, "seconds": 1.0})
        return super().submit(fn, *args, **kwargs)


# lost-process


class NeverTells(GivesText):
    """A future that does not end when its process does."""

    def _settle(self, future, changed):
        error = future.exception()
        if error is None:
            changed.set_result(future.result())
        elif "ended from outside" not in str(error):
            changed.set_exception(error)


class BreaksForGood(Executor):
    """The pool of Python, of which nothing is left after a loss."""

    def __init__(self, *, jobs=1):
        self.jobs, self.pool = jobs, None

    def submit(self, fn, /, *args, **kwargs):
        self.pool = self.pool or ProcessPoolExecutor(self.jobs, get_context("spawn"))
        return self.pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait=True, *, cancel_futures=False):
        if self.pool is not None:
            self.pool.shutdown(wait, cancel_futures=cancel_futures)


class SaysAllIsWell(GivesText):
    """A lost call that has a result."""

    def _settle(self, future, changed):
        error = future.exception()
        if error is not None and "ended from outside" in str(error):
            changed.set_result(None)
        else:
            changed.set_exception(error) if error is not None else changed.set_result(future.result())


# shutdown


class ForgetsCalls(Workers):
    """A shutdown that drops what waits."""

    def shutdown(self, wait=True, *, cancel_futures=False):
        super().shutdown(wait, cancel_futures=True)


class StaysOpen(Workers):
    """Calls are taken after shutdown, and never made."""

    closed = False

    def submit(self, fn, /, *args, **kwargs):
        return Future() if self.closed else super().submit(fn, *args, **kwargs)

    def shutdown(self, wait=True, *, cancel_futures=False):
        super().shutdown(wait, cancel_futures=cancel_futures)
        self.closed = True


# terminate


class WaitsForCalls(Workers):
    """A terminate that is a shutdown."""

    def terminate(self):
        self.shutdown()


class LetsThemRun(Workers):
    """A terminate that only takes no more calls."""

    def terminate(self):
        self.shutdown(wait=False, cancel_futures=True)


# cancel


class CancelsWhatRuns(GivesText):
    """Futures that do not know that their calls have begun."""

    def _changed(self, future):
        changed = Future()
        future.add_done_callback(lambda _: changed.cancelled() or self._settle(future, changed))
        return changed

    def _settle(self, future, changed):
        error = future.exception()
        changed.set_exception(error) if error is not None else changed.set_result(future.result())


class CancelsAndKills(Workers):
    """Cancelling answers no, and ends the process all the same."""

    def submit(self, fn, /, *args, **kwargs):
        future = super().submit(fn, *args, **kwargs)
        future.cancel = self.terminate
        return future


# starts-nothing


class StartsAThread(Workers):
    """A thread that listens from the beginning."""

    def __init__(self, *, jobs=1):
        super().__init__(jobs=jobs)
        threading.Thread(target=time.sleep, args=(1,), daemon=True, name="listening").start()


class StartsAProcess(Workers):
    """A call before anybody asks."""

    def __init__(self, *, jobs=1):
        super().__init__(jobs=jobs)
        super().submit(time.sleep, 1)


BROKEN = [
    ("results", SameProcess),
    ("results", SwallowsErrors),
    ("results", GivesText),
    ("side-by-side", OneAtATime),
    ("side-by-side", OwnFolders),
    ("lost-process", NeverTells),
    ("lost-process", BreaksForGood),
    ("lost-process", SaysAllIsWell),
    ("shutdown", ForgetsCalls),
    ("shutdown", StaysOpen),
    ("terminate", WaitsForCalls),
    ("terminate", LetsThemRun),
    ("cancel", CancelsWhatRuns),
    ("cancel", CancelsAndKills),
    ("starts-nothing", StartsAThread),
    ("starts-nothing", StartsAProcess),
    *option_controls(Workers, "submit", paper=False),
]
