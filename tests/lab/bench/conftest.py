from collections.abc import Iterator

import pytest
import torch

from zoo.plugin.registry import forget


@pytest.fixture(autouse=True)
def _own_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No plugins but the built-in one, short measurements, and the threads as they were."""
    monkeypatch.setenv("ZOO_PLUGINS", "")
    forget()
    for name, value in {
        "machine._SECONDS": 1e-4,
        "machine._MATRICES": (32,),
        "machine._COPIES": (2**12, 2**14),
    }.items():
        monkeypatch.setattr(f"zoo.lab.bench.{name}", value)
    for name, value in {"MIN_SECONDS": 1e-4, "_WARM_SECONDS": 0.0}.items():
        monkeypatch.setattr(f"zoo.lab.bench.measure.{name}", value)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    forget()
