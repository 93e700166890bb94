from collections.abc import Callable
from pathlib import Path

import pytest

from zoo.train.settings import Settings

TINY = {
    "layers": 1,
    "dim": 16,
    "heads": 2,
    "context": 16,
    "batch": 2,
    "steps": 20,
    "warmup": 5,
    "dropout": 0.1,
    "log_every": 3,
    "evaluate_every": 7,
    "evaluation_tokens": 64,
    "final_evaluation_tokens": 128,
    "checkpoint_every": 5,
    "sample_tokens": 8,
    "threads": 1,
    "device": "cpu",
    "precision": "fp32",
}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("\n".join(f"def function_{i}(x):\n    return x * {i * i}\n" for i in range(200)))
    return path


@pytest.fixture
def tiny(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Settings of a run that takes a tenth of a second."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return lambda **changes: Settings(**TINY | {"mixer": "dot-product", "data": str(text)} | changes)
