import pytest


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch):
    """Executors that never answer are given up soon: sound ones answer within a second."""
    monkeypatch.setattr("zoo.testing.laws.executor.PATIENCE", 10.0)
