import signal

import pytest


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch):
    """Executors that never answer are given up soon: sound ones answer within a second."""
    monkeypatch.setattr("zoo.testing.laws.executor.PATIENCE", 10.0)


@pytest.fixture(autouse=True)
def _handlers_kept():
    """Those that a control takes stay taken where a law that would put them back is weakened."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
