"""Runs of the program, in processes of their own that reach no other machine."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

SETTINGS = ["dim=16", "layers=1", "heads=2", "context=16", "batch=2", "threads=1", "log_every=3", "evaluate_every=20"]
SETTINGS += ["checkpoint_every=10", "evaluation_tokens=64", "final_evaluation_tokens=64", "sample_tokens=8"]

# Of every Python process: an address that is not of this machine cannot be reached.
_NO_NETWORK = """
import socket

def alone(connect):
    def check(self, address):
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a connection to {address}")
        return connect(self, address)
    return check

socket.socket.connect = alone(socket.socket.connect)
socket.socket.connect_ex = alone(socket.socket.connect_ex)
"""


class Program:
    """``zoo`` in a folder, with a text to learn."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(_NO_NETWORK)
        (folder / "text.txt").write_text(
            "\n".join(f"def f{i}(x):\n    return x < {i * i} or '|ü`'\n" for i in range(200))
        )
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "ZOO_CACHE": str(folder / "cache"), **environment}
        self.environment["PYTHONPATH"] = str(folder / "site")

    def start(self, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "zoo", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, **pipes)

    def run(self, *arguments: str) -> str:
        """What it printed, and on stderr after that."""
        process = self.start(*arguments)
        printed, warned = process.communicate(timeout=300)
        assert process.returncode == 0, warned
        assert "Traceback" not in warned
        return printed + warned

    def training(self, report: str, steps: int = 40, name: str = "run") -> list[str]:
        """The arguments of a run that takes a moment."""
        settings = [part for setting in SETTINGS for part in ("--set", setting)]
        given = ["--data", "text.txt", "--tokenizer", "byte", "--steps", str(steps), "--device", "cpu", "--out", name]
        return ["train", "--mixer", "dot-product", *given, *settings, "--report", report]

    def kill_in_the_middle(self, report: str, steps: int, rows: int) -> None:
        """Begin a run, and kill it when it has logged so many rows."""
        process = self.start(*self.training(report, steps))
        end = time.monotonic() + 300
        while len(self.logged()) < rows:
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.005)
        process.kill()
        process.communicate()
        assert self.logged()[-1]["step"] < steps

    def logged(self, name: str = "run") -> list[dict]:
        """The rows of metrics.jsonl, without what is null."""
        path = self.folder / name / "metrics.jsonl"
        *lines, _ = path.read_text().split("\n") if path.exists() else [""]
        return [{key: value for key, value in json.loads(line).items() if value is not None} for line in lines]
