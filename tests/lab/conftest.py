from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from zoo.plugin.registry import forget


@pytest.fixture
def own_world(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No plugins but the built-in ones, a cache of its own, and the threads as they were."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ZOO_PLUGINS", "")
    monkeypatch.setenv("ZOO_CACHE", str(cache))
    forget()
    threads = torch.get_num_threads()
    yield cache
    torch.set_num_threads(threads)
    forget()
