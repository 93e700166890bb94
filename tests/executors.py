"""An executor for tests: it makes one call after the other in this process, when somebody waits for it."""

from concurrent.futures import Future

from zoo import Executor
from zoo.lab.compare import grid, pool


class InThisProcess(Executor):
    """Other processes take seconds to begin."""

    def __init__(self):
        self.calls = []

    def submit(self, fn, /, *args):
        future = Future()
        self.calls.append((future, fn, args))
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.calls.clear()

    def wait(self, futures, **_):
        """In the place of that of `concurrent.futures`: make a call, and tell whose futures are done."""
        while self.calls:
            future, function, arguments = self.calls.pop(0)
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*arguments))
                except Exception as error:
                    future.set_exception(error)
                break
        return {future for future in futures if future.done()}, set()


def in_this_process(monkeypatch, executor=None):
    """Have comparisons made by such an executor."""
    executor = executor or InThisProcess()
    monkeypatch.setattr(grid, "create_executor", lambda name, jobs: executor)
    monkeypatch.setattr(pool, "wait", executor.wait)
    return executor
