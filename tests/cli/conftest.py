import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import astuple, dataclass
from pathlib import Path

import pytest

from zoo.cli.main import run
from zoo.plugin.registry import forget

from ..distributions import install  # noqa: TID252 - pytest finds the parts of the tests by where they are

TEXT = "def answer(question):\n    return 42 if question else None\n\n" * 60


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


SAID: list[Result] = []
"""By the commands of the test that runs."""


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def invoke(*arguments: object, terminal: bool = False) -> Result:
    """Run one command line in this process."""
    out, err = (Terminal() if terminal else io.StringIO() for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    SAID.append(Result(code, out.getvalue(), err.getvalue()))
    return SAID[-1]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """What the commands of a test said stands below it if it fails."""
    report = yield
    if report.failed:
        report.sections += [(f"a command, exit code {code}", f"{out}{err}") for code, out, err in map(astuple, SAID)]
    if report.when == "teardown":
        SAID.clear()
    return report


@pytest.fixture(scope="module", autouse=True)
def _own_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of its own, and none of the plugins that happen to be installed beside the built-in one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("ZOO_PLUGINS", "")
        for name in ("ZOO_BLOCK_PLUGINS", "FORCE_COLOR", "NO_COLOR"):
            patch.delenv(name, raising=False)
        forget()
        yield
    forget()


@pytest.fixture(scope="session")
def zoo() -> Callable[..., Result]:
    return invoke


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="session")
def tiny(text_file: Path) -> list[str]:
    """The flags of a run that takes a moment."""
    flags = {"mixer": "dot-product", "heads": 2, "layers": 1, "dim": 16, "context": 16, "batch": 2, "steps": 3}
    settings = {"evaluation_tokens": 64, "final_evaluation_tokens": 64, "sample_tokens": 8, "log_every": 1}
    given = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    given += ["--data", str(text_file), "--tokenizer", "char", "--device", "cpu"]
    return given + [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny: list[str]) -> Path:
    """The folder of a run that has ended, not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    result = invoke("train", *tiny, "--out", out)
    assert result.code == 0, result.err
    return out


@pytest.fixture
def trained(finished: Path, tmp_path: Path) -> Path:
    """A copy of it that may be changed."""
    return shutil.copytree(finished, tmp_path / "trained")


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Install a distribution of one module, as real metadata on ``sys.path``."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(site))
    modules = set(sys.modules)

    def install_here(name: str, source: str) -> None:
        install(site, name, source)
        monkeypatch.setenv("ZOO_PLUGINS", f"{os.environ['ZOO_PLUGINS']},{name}")
        forget()

    yield install_here
    for module in set(sys.modules) - modules:
        if str(getattr(sys.modules[module], "__file__", "")).startswith(str(site) + os.sep):
            del sys.modules[module]
    forget()
