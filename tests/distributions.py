"""Distributions made on the fly, and the ``zoo`` program beside them."""

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import tomllib
import traceback
import warnings
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("zoo")


def install(site: Path, name: str, source: str) -> None:
    """Install a distribution of one module as real metadata in a folder that is on ``sys.path``."""
    module = name.replace("-", "_")
    info = site / f"{module}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[zoo]\n{name} = {module}\n", encoding="utf-8")
    (site / f"{module}.py").write_text(textwrap.dedent(source), encoding="utf-8")
    importlib.invalidate_caches()  # a folder may change twice within what its time can tell


def install_folder(site: Path, folder: Path) -> None:
    """Install the distribution whose sources are in a folder, as pip would: its packages, and its metadata."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, version = project["name"], project["version"]
    shutil.copytree(folder / "src", site, dirs_exist_ok=True)
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    points = [f"{point} = {module}" for point, module in project["entry-points"]["zoo"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[zoo]", *points, ""]), encoding="utf-8")


class Program:
    """The program in a process of its own, which finds the distributions of one folder beside the built-in one.

    Args:
        folder: where it is run; the distributions are in its folder ``site``, and the cache in ``cache``.
        plugins: the distributions that are allowed, with commas.
        forked: the process is a fork of this one, which has imported torch; that alone takes seconds.
    """

    def __init__(self, folder: Path, plugins: str, *, forked: bool = False) -> None:
        self.folder, self.forked = folder, forked
        paths = [str(folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ZOO_")},
            "PYTHONPATH": os.pathsep.join(paths),
            "ZOO_PLUGINS": plugins,
            "ZOO_CACHE": str(folder / "cache"),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }

    def __call__(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one command line."""
        words, environ = [str(argument) for argument in arguments], self._environment | environment
        if self.forked:
            return _run_in_fork(words, self.folder, environ)
        return subprocess.run(
            [PROGRAM, *words], cwd=self.folder, capture_output=True, encoding="utf-8", env=environ, check=False
        )


def _run_in_fork(words: list[str], folder: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out, tempfile.TemporaryFile("w+", encoding="utf-8") as err:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks of a process with threads
            process = os.fork()
        if not process:
            try:
                _become_the_program(words, folder, environ, out.fileno(), err.fileno())
            finally:
                os._exit(70)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(["zoo", *words], code, out.read(), err.read())


def _become_the_program(words: list[str], folder: Path, environ: dict[str, str], out: int, err: int) -> None:
    from zoo.cli.main import main
    from zoo.plugin.registry import forget

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - they live as long as the process
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.path[:0] = environ["PYTHONPATH"].split(os.pathsep)
    sys.argv = ["zoo", *words]
    importlib.invalidate_caches()
    forget()
    code = 1
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
