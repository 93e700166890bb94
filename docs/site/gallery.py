"""The gallery: the pictures that pages show, and those of the figures that are committed in docs/results/."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from links import Site
from prose import anchor_of, cut

from zoo.lab.bench.plot import plot_svg
from zoo.lab.bench.request import KINDS
from zoo.lab.bench.result import Cell
from zoo.lab.compare.plots import draw_heat_map, draw_means
from zoo.lab.statistics import Estimate
from zoo.pages.picture import svg_element

MIN_LENGTHS = 3
"""Lengths from which a curve says something."""


def add_gallery(site: Site, root: Path) -> None:
    """Add the page, and draw its pictures."""
    results = root / "docs" / "results"
    sections = cut((results / "results.md.j2").read_text(encoding="utf-8"), 2)
    parts = [
        "# Gallery",
        "Pictures of the [results](results.md). `zoo compare`, `zoo bench` and `zoo train` draw such pictures.",
    ]
    for title, body in sections:
        shown = [*_shown(body), *(_drawn(site, results, body))]
        if title and shown:
            parts += [
                f"## {title}",
                *shown,
                f"[The figures, and how they were measured](results.md#{anchor_of(title)})",
            ]
    site.add("gallery", "\n\n".join(parts) + "\n")


def _shown(body: str) -> Iterator[str]:
    """The pictures of a section, each with its caption."""
    for caption, path in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", body):
        yield _figure(path, " ".join(caption.split()))


def _drawn(site: Site, results: Path, body: str) -> Iterator[str]:
    """Pictures of the figures that a section speaks of."""
    for folder in _folders(results, body):
        for name, (caption, svg) in _pictures(folder).items():
            file = f"docs/gallery/{folder.name}-{name}.svg"
            site.drawn[file] = svg
            yield _figure(file.removeprefix("docs/"), caption, look="picture small")


def _figure(path: str, caption: str, *, look: str = "picture") -> str:
    alternative = caption.replace("`", "").replace("[", "(").replace("]", ")")
    return f":::{{container}} {look}\n![{alternative}]({path})\n\n{caption}\n:::"


def _folders(results: Path, body: str) -> list[Path]:
    names = dict.fromkeys(re.findall(r'"([a-z0-9]+(?:-[a-z0-9]+)*-?)"', body))
    found = (path for name in names for path in sorted(results.glob(f"{name}*" if name.endswith("-") else name)))
    return [path for path in dict.fromkeys(found) if path.is_dir()]


def _pictures(folder: Path) -> dict[str, tuple[str, str]]:
    """Caption and SVG of each picture of a folder, by name."""
    found = {}
    if (folder / "results.json").is_file():
        found["results"] = _comparison(_read(folder / "results.json"))
    if (folder / "bench.json").is_file():
        found |= _bench(_read(folder / "bench.json"))
    return found


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _comparison(saved: Mapping[str, Any]) -> tuple[str, str]:
    data = [_data(one) for one in saved["data"]]
    patterns = [arm.arm.pattern for arm in data[0].arms]
    names = ", ".join(f"`{one.data}`" for one in data[:3]) + (" and others" if len(data) > 3 else "")
    draw = partial(draw_heat_map, data, patterns) if len(data) > 1 else partial(draw_means, data[0], patterns)
    metric = "Validation accuracy" if data[0].metric == "accuracy" else "Validation loss"
    seeds = len(saved["seeds"]) if isinstance(saved["seeds"], list) else saved["seeds"]
    layers = re.search(r"layers=(\d+)", saved["command"])
    depth = f"{layers[1]} layer{'' if layers[1] == '1' else 's'}, " if layers else ""
    return f"{metric} on {names}; {depth}{seeds} seed{'' if seeds == 1 else 's'}.", svg_element(draw)


def _data(saved: Mapping[str, Any]) -> Any:
    """As `zoo.lab.compare.plots` reads the results of a text or task."""
    arms = [_arm(arm, saved["metric"]) for arm in saved["arms"]]
    unit = "" if saved["metric"] == "accuracy" else "nats"
    return SimpleNamespace(data=saved["name"], metric=saved["metric"], unit=unit, guess=saved["guess"], arms=arms)


def _arm(saved: Mapping[str, Any], metric: str) -> Any:
    runs = saved["runs"]
    values = {run["seed"]: run[f"validation_{metric}"] for run in runs if run[f"validation_{metric}"] is not None}
    return SimpleNamespace(
        arm=SimpleNamespace(pattern=saved["pattern"]),
        estimate=Estimate(**saved["estimate"]) if saved["estimate"] else None,
        values=lambda _: values,
    )


def _bench(saved: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    cells = [_cell(cell) for cell in saved["cells"]]
    names = list(dict.fromkeys(cell.candidate for cell in cells))
    bench = SimpleNamespace(
        cells=cells,
        names=names,
        row=lambda kind, name: [cell for cell in cells if (cell.kind, cell.candidate) == (kind, name)],
    )
    found = {}
    for kind in dict.fromkeys(cell.kind for cell in cells):
        lengths = {cell.length for cell in cells if cell.kind == kind and cell.cost is not None}
        if len(lengths) >= MIN_LENGTHS:
            found[kind] = (f"{kind}: {KINDS[kind]}, against the length.", plot_svg(bench, kind))  # type: ignore[arg-type]
    return found


def _cell(saved: Mapping[str, Any]) -> Cell:
    seconds = tuple(saved["seconds"])
    return Cell(saved["candidate"], saved["what"], saved["length"], seconds=seconds, peak=saved["peak_bytes"])
