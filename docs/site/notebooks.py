"""The notebooks of docs/ as pages: their texts and code, which the tests run; their results are not kept."""

import json
from collections.abc import Iterator
from pathlib import Path

from links import Site
from prose import code


def add_notebooks(site: Site, root: Path) -> None:
    """Add a page for each notebook, with its name."""
    for path in sorted((root / "docs").glob("*.ipynb")):
        text = "\n\n".join(_cells(path))
        site.add(path.stem, f"{text}\n", origin=f"docs/{path.name}")


def _cells(path: Path) -> Iterator[str]:
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        yield code(text, "python") if cell["cell_type"] == "code" else text
    yield f"This page is the notebook `docs/{path.name}`, to run and to change."
