"""Small runs to damage, and what has to be the same after all."""

import hashlib
import importlib
import io
import json
import os
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from zoo.cli.main import run as run_command
from zoo.pages import picture
from zoo.plugin.registry import get_registry
from zoo.train.curve import curve_svg, draw_curve

TINY = {
    "layers": 1,
    "dim": 16,
    "heads": 2,
    "batch": 2,
    "warmup": 5,
    "dropout": 0.1,
    "log_every": 3,
    "evaluation_tokens": 64,
    "final_evaluation_tokens": 128,
    "sample_tokens": 8,
    "threads": 1,
    "device": "cpu",
    "precision": "fp32",
}
OF_THE_CLOCK = ("seconds", "tokens_per_second", "utilisation")
"""The figures of summary.json that two runs do not share."""

_PICTURE = b'<svg width="1pt" height="1pt"></svg>'


class Recipe(NamedTuple):
    """What a run is made of."""

    name: str
    settings: Mapping[str, object]
    text: bool = True


def recipes(folder: Path, *, steps: int) -> list[Recipe]:
    """Runs of several mixers, with and without buffers, on a text and on a task."""
    text = folder / "text.txt"
    text.write_text("\n".join(f"def function_{i}(x):\n    return x * {i * i}\n" for i in range(200)))
    often = {"steps": steps, "checkpoint_every": 5, "evaluate_every": 10}
    texts = {"data": str(text), "context": 16, **often}
    task = {"data": "mqar(pairs=2, length=16, vocab=64)", **often}
    return [
        Recipe("dot-product, text", {"mixer": "dot-product", **texts}),
        Recipe("leviathan-moe, text", {"mixer": "leviathan-moe", "tokenizer": "char", **texts}),
        Recipe("correlation + channel moe, task", {"mixer": "correlation/moe", **task}, text=False),
        Recipe("involution, masked", {"mixer": "involution", "objective": "masked", **texts}, text=False),
        Recipe("dot-product, muon", {"mixer": "dot-product", "optimizer": "muon", "schedule": "wsd", **texts}),
    ]


def train_command(recipe: Recipe, out: Path) -> list[str]:
    """The command line that starts the run in a folder or goes on with it."""
    settings = {**TINY, **recipe.settings}
    assignments = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    return ["train", *assignments, "--out", str(out), "--continue"]


class Result(NamedTuple):
    """What a command came back with; `code` is negative where a signal ended it."""

    code: int
    out: str
    err: str

    @property
    def is_refusal(self) -> bool:
        """Whether it failed as a command may: a known exit code and one line, which is no bug and no traceback."""
        errors = [line for line in self.err.splitlines() if line.startswith("error:")]
        torn = "Traceback" in self.err or "this is a bug" in self.err
        return self.code in {1, 2, 4} and len(errors) == 1 and not torn


def invoke(*arguments: object) -> Result:
    """Run one command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run_command([str(argument) for argument in arguments])
    return Result(code, out.getvalue(), err.getvalue())


@dataclass
class Child:
    """A fork of this process, which has imported torch already, that runs one command line.

    Args:
        arguments: of the command line.
        folder: where its stdout and stderr are kept meanwhile.
        prepare: is called in the child first.
    """

    arguments: list[str]
    folder: Path
    prepare: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        """Start it."""
        self.began = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks of a process with threads
            self.process = os.fork()
        if not self.process:
            self._become()

    def _become(self) -> None:
        code = 70
        try:
            for number, stream in ((1, self._stream("out")), (2, self._stream("err"))):
                os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
            if self.prepare:
                self.prepare()
            code = run_command(self.arguments)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _stream(self, name: str) -> Path:
        return self.folder / f".{name}-{os.getpid() if not self.process else self.process}"

    def kill(self) -> None:
        """End it as nothing can prevent."""
        os.kill(self.process, signal.SIGKILL)

    def wait(self) -> Result:
        """What it came back with."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        texts = []
        for name in ("out", "err"):
            path = self._stream(name)
            texts.append(path.read_text(encoding="utf-8", errors="replace") if path.exists() else "")
            path.unlink(missing_ok=True)
        return Result(code, *texts)


def prepare_process(folder: Path, *, draw: bool = True) -> None:
    """Set this process up as one that runs commands: one thread, a cache of its own, no plugins of others."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {"ZOO_CACHE": str(folder / "cache"), "ZOO_PLUGINS": "", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    import_all(folder / "warm.png")
    if not draw:
        picture._file = lambda _figure, _form: _PICTURE  # painting takes most of a small run


def import_all(page: Path) -> None:
    """Import what a run imports on its way, so that forks need not, and they are killed in other moments than those."""
    for name in ("zoo.train.continuing", "zoo.train.resolve", "zoo.run", "zoo.pages.page", "jinja2", "filelock"):
        importlib.import_module(name)
    get_registry()
    rows = [{"step": step, "train_loss": 1.0, "validation_loss": 1.0} for step in range(1, 30)]
    draw_curve(rows, page, title="x")
    curve_svg(rows, title="x")


def outcome(path: Path) -> dict[str, str]:
    """What has to be the same: the last checkpoint, the logs, the scores, the settings, and the figures.

    Of the pages it has to be so that they are there.
    """
    last = max((path / "checkpoints").glob("step-????????"))
    exact = [last / "model.safetensors", last / "optimizer.safetensors"]
    exact += [path / name for name in ("metrics.jsonl", "samples.txt", "scores.safetensors", "config.json")]
    found = {str(file.relative_to(path)): _digest(file) for file in exact}
    summary = path / "summary.json"
    figures = json.loads(summary.read_bytes()) if summary.exists() else {}
    found["summary.json"] = json.dumps({name: figures[name] for name in figures if name not in OF_THE_CLOCK})
    pages = ("report.html", "loss.png", "metrics.csv")
    return found | {name: "there" if (path / name).exists() else "missing" for name in pages}


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "missing"


def differences(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """The names of what is not the same."""
    return sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))


def files_of(folder: Path) -> dict[str, bytes]:
    """The content of every file in a folder, by its path within."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def replace_folder(source: Path, target: Path) -> None:
    """Make a folder a copy of another."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)
