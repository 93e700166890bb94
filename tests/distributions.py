"""Distributions made on the fly, and the ``zoo`` program beside them."""

import os
import subprocess
import sys
import textwrap
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


class Program:
    """The program in a process of its own, which finds the distributions of one folder beside the built-in one.

    Args:
        folder: where it is run; the distributions are in its folder ``site``, and the cache in ``cache``.
        plugins: the distributions that are allowed, with commas.
    """

    def __init__(self, folder: Path, plugins: str) -> None:
        self.folder = folder
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
        return subprocess.run(
            [PROGRAM, *map(str, arguments)],
            cwd=self.folder,
            capture_output=True,
            encoding="utf-8",
            env=self._environment | environment,
            check=False,
        )
