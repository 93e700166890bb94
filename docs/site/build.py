"""Builds the site of the documentation: the pages of docs/, and those that are made of the code.

    python docs/site/build.py OUT                the site, OUT/index.html
    python docs/site/build.py OUT --sources      only the Markdown that the site is built from, without Sphinx

It needs `pip install -c constraints.txt ".[docs]"`, and no network. Exit code 1: a page is wrong, for example a link in
it leads nowhere. An earlier site in OUT is replaced; any other folder with something in it is refused.
"""

import argparse
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from command_pages import add_commands
from gallery import add_gallery
from jinja2 import Environment, StrictUndefined
from kind_pages import add_kinds, built_ins
from links import ROOT, PageError, Site
from mixer_pages import add_mixers
from notebooks import add_notebooks
from reference import add_reference

from zoo.plugin.kinds import KINDS
from zoo.testing.kinds import SUITES

HERE = Path(__file__).parent
MARK = ".mixer-zoo-site"
"""A file that shows that a folder is a site which may be replaced."""

GROUPS = {
    "Start": ["tutorial", "idea-to-page", "writing-a-mixer", "plugins", "glossary"],
    "Use": ["cli", "api", "pattern-language", "tasks", "data", "optimizers", "residuals", "scale"],
    "Members": ["mixers", "kinds"],
    "What was found": ["results", "gallery"],
    "In depth": ["contract", "laws", "reference", "design"],
    "Project": ["contributing", "changelog"],
}
"""The pages in the order of the sidebar; other pages of docs/ follow in the group `OTHERS`."""

OTHERS = "Use"
TOP = {"CONTRIBUTING.md": "contributing", "CHANGELOG.md": "changelog"}


def make_site() -> Site:
    """All pages, before they are written."""
    site = Site()
    below = {"mixers": add_mixers(site, ROOT), "cli": add_commands(site, ROOT), "kinds": add_kinds(site, ROOT)}
    add_gallery(site, ROOT)
    add_reference(site)
    add_notebooks(site, ROOT)
    for path in sorted((ROOT / "docs").glob("*.md")):
        if path.stem not in site.pages:
            site.add(path.stem, path.read_text(encoding="utf-8"))
    for name, place in TOP.items():
        site.add(place, (ROOT / name).read_text(encoding="utf-8"), origin=name)
    suites = {path: f"tasks/{path.stem}" for path in sorted((ROOT / "docs/tasks").glob("*.md"))}
    plugins = {path: f"plugins/{path.parent.name}" for path in sorted((ROOT / "plugins").glob("*/README.md"))}
    for path, place in (suites | plugins).items():
        site.add(place, path.read_text(encoding="utf-8"), origin=path.relative_to(ROOT).as_posix())
    below |= {"tasks": list(suites.values()), "plugins": list(plugins.values())}
    _add_sidebar(site, below)
    return site


def _add_sidebar(site: Site, below: dict[str, list[str]]) -> None:
    """Add the front page, which has the order of the pages, and to some pages those that stand below them."""
    for place, places in below.items():
        page = site.pages[place]
        site.pages[place] = replace(page, text=f"{page.text.rstrip()}\n\n{_contents(place, places)}")
    known = [place for places in GROUPS.values() for place in places]
    others = [place for place in site.pages if "/" not in place and place not in known]
    groups = {group: [*places, *(others if group == OTHERS else [])] for group, places in GROUPS.items()}
    contents = "\n".join(_contents("index", places, caption=group) for group, places in groups.items())
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    front = environment.from_string((HERE / "index.md").read_text(encoding="utf-8"))
    site.add("index", f"{front.render(_facts())}\n{contents}")
    site.homes["README.md", ""] = ("index", "")


def _contents(place: str, places: list[str], *, caption: str = "") -> str:
    """A part of the sidebar, as MyST writes it."""
    folder = place.rpartition("/")[0]
    lines = [f"/{one}" if folder else one for one in places]
    return "\n".join(
        ["```{toctree}", ":hidden:", *([f":caption: {caption}"] if caption else []), "", *lines, "```", ""]
    )


def _facts() -> dict[str, Any]:
    counts = {kind.name.replace("-", "_"): len(built_ins(kind)) for kind in KINDS}
    return {"count": counts, "laws": len(SUITES["mixer"].laws)}


def build_html(sources: Path, out: Path, scratch: Path) -> int:
    """Build the site with Sphinx; returns its exit code."""
    try:
        from sphinx.cmd.build import build_main
    except ImportError:
        print('error: Sphinx is missing: pip install -c constraints.txt ".[docs]"', file=sys.stderr)
        return 2
    flags = ["--quiet", "--fail-on-warning", "--keep-going", "--nitpicky", "--builder", "html"]
    return int(build_main([*flags, "--conf-dir", str(HERE), "--doctree-dir", str(scratch), str(sources), str(out)]))


def main() -> int:
    """Write the site, or what it is built from."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the site")
    parser.add_argument("--sources", action="store_true", help="write the Markdown that the site is built from")
    arguments = parser.parse_args()
    out: Path = arguments.out
    if out.exists() and not (out.is_dir() and ((out / MARK).is_file() or not any(out.iterdir()))):
        print(f"error: {out} exists and is no site: choose another folder, or remove it", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        sources, html = Path(scratch, "sources"), Path(scratch, "html")
        try:
            make_site().write(sources)
        except PageError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        if not arguments.sources and (failed := build_html(sources, html, Path(scratch, "doctrees"))):
            return failed
        made = sources if arguments.sources else html
        (made / MARK).touch()
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(made, out)
    print(out / ("index.md" if arguments.sources else "index.html"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
