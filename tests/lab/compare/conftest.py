import pytest

from ...executors import (  # noqa: TID252 - pytest finds the parts of the tests by where they are
    in_this_process as have_in_this_process,
)


@pytest.fixture(autouse=True)
def _built_ins_only(own_world):
    """See the fixture."""


@pytest.fixture
def in_this_process(monkeypatch):
    """Makes one run after the other without other processes, which take seconds to begin."""
    return have_in_this_process(monkeypatch)
