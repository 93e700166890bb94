"""Ctrl-C, taken politely: the first time at the end of the step, the second time at once."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


class Interrupts:
    """Turns the first SIGINT, and any SIGTERM, into a request that a loop looks at between two steps.

    A SIGINT after that raises KeyboardInterrupt where the program stands. Signals that were ignored, as under
    ``nohup``, stay so. Python handles signals in its main thread only: in any other one this does nothing.

    Args:
        notice: called at the first interrupt, to say that it was received.
    """

    def __init__(self, notice: Callable[[], None] | None = None) -> None:
        self.requested = False
        self._notice = notice
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: it was not set from Python

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        first, self.requested = not self.requested, True
        if first and self._notice is not None:
            self._notice()
