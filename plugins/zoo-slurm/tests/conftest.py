import pytest
import zoo_slurm

from . import fake_slurm


@pytest.fixture(autouse=True)
def queue(tmp_path, monkeypatch):
    """SLURM's programs on this machine, and the folder of their jobs."""
    queue = tmp_path / "queue"
    fake_slurm.install(tmp_path / "bin", queue)
    monkeypatch.setenv("FAKE_SLURM", str(queue))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setattr(zoo_slurm, "_SECONDS_BETWEEN_LOOKS", 0.1)
    monkeypatch.setattr(zoo_slurm, "_SECONDS_FOR_FILES", 0.5)
    monkeypatch.setattr(zoo_slurm, "_SECONDS_UNTIL_ASKED_AGAIN", (0.0, 0.0, 0.0))
    monkeypatch.chdir(tmp_path)
    return queue
