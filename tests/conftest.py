import gc

import pytest


def pytest_configure(config):
    """Where `-n` hands the tests out to others none of this is needed, and it begins seconds sooner without."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        gc.disable()  # while everything is imported
        from . import process

        config.pluginmanager.register(process)


@pytest.fixture
def registered():
    """Registers classes by name, for one test."""
    from zoo.plugin.local import register
    from zoo.plugin.registry import forget

    yield register
    forget()


@pytest.fixture
def no_plugin_files(monkeypatch):
    """No plugin files but those that a test passes, which are forgotten after it."""
    from zoo.plugin.files import ENVIRONMENT
    from zoo.plugin.registry import forget
    from zoo.train.plugins import ALLOW_CHANGED

    monkeypatch.setenv(ENVIRONMENT, "")
    monkeypatch.setenv(ALLOW_CHANGED, "")
    forget()
    yield
    monkeypatch.undo()
    forget()
