"""The pages of the site, and the links between them.

A text of the repository links to files as they lie there. On the site some of these files are pages, some are cut into
several, and code is none: `Site` knows where everything is, and rewrites the links. A link that leads nowhere is an
error.
"""

import os
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from prose import outside_of_code, title_of, with_known_languages

ROOT = Path(__file__).parents[2]
PICTURES = (".svg", ".png")
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^)\s]+)\)")
_CODE_OR_LINK = re.compile(rf"(?:(`+)(?!`)(?:(?!\n\n).)*?(?<!`)\1(?!`))|{_LINK.pattern}", re.DOTALL)


class PageError(Exception):
    """A page has no title, or a link that leads nowhere."""


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        place: where it is on the site, without an ending: ``mixers/gla``.
        text: Markdown.
        origin: the file of the repository that its links are relative to.
    """

    place: str
    text: str
    origin: str


@dataclass
class Site:
    """All pages and pictures.

    Attributes:
        pages: by their place.
        homes: place and heading of a page, by the file and heading of the repository that it shows.
        drawn: pictures that are made for the site, SVG by their name in ``docs/``.
        copied: pictures of the repository that some page shows.
    """

    pages: dict[str, Page] = field(default_factory=dict)
    homes: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    drawn: dict[str, str] = field(default_factory=dict)
    copied: set[str] = field(default_factory=set)

    def add(self, place: str, text: str, *, origin: str | None = None, anchors: Iterable[str] = ()) -> None:
        """Add a page.

        Args:
            place: where it is on the site.
            text: Markdown, with links as they are written in the file it is from.
            origin: that file; by default as if it were ``docs/<place>.md``.
            anchors: headings of that file for whose sections this page stands. Without any it stands for all of it.
        """
        own = f"docs/{place}.md"
        self.pages[place] = Page(place, text, origin or own)
        self.homes.setdefault((own, ""), (place, ""))
        for anchor in anchors or [""]:
            self.homes[(origin or own, anchor)] = (place, "")

    def write(self, folder: Path) -> None:
        """Write all pages and pictures, with the links between them.

        Raises:
            PageError: a page has no title, or a link that leads nowhere.
        """
        for page in self.pages.values():
            if not title_of(page.text):
                raise PageError(f"{page.origin} has no title: begin it with a line `# …`")
            path = folder / f"{page.place}.md"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._linked(page), encoding="utf-8")
        drawn = {name: svg.encode() for name, svg in self.drawn.items()}
        for name, content in (drawn | {name: (ROOT / name).read_bytes() for name in self.copied}).items():
            path = folder / _picture_place(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def _linked(self, page: Page) -> str:
        def link(found: re.Match[str]) -> str:
            ticks, *parts = found.groups()
            return found[0] if ticks else self._link(page, *parts)

        return with_known_languages(outside_of_code(page.text, lambda text: _CODE_OR_LINK.sub(link, text)))

    def _link(self, page: Page, mark: str, label: str, target: str) -> str:
        label = _LINK.sub(lambda found: self._link(page, *found.groups()), label)  # a picture that is a link
        if re.match(r"[a-z]+:", target):
            return f"{mark}[{label}]({target})"
        path, _, anchor = target.partition("#")
        file = posixpath.normpath(posixpath.join(posixpath.dirname(page.origin), path)) if path else page.origin
        if (ROOT / file / "README.md").is_file():
            file += "/README.md"
        if (home := self._home(file, anchor)) is not None:
            place, anchor = home
            if label.removeprefix("docs/") == posixpath.basename(path):  # a name of a file says nothing on the site
                label = title_of(self.pages[place].text)
            return f"{mark}[{label}]({_relative(f'{place}.md', page)}{'#' if anchor else ''}{anchor})"
        if file.endswith(PICTURES) and (file in self.drawn or (ROOT / file).is_file()):
            self.copied |= {file} - set(self.drawn)
            return f"{mark}[{label}]({_relative(_picture_place(file), page)})"
        if not (ROOT / file).exists():
            raise PageError(f"{page.origin} links to {target}, which is neither a page nor a file")
        return label if file in label or posixpath.basename(file) in label else f"{label} (`{file}`)"

    def _home(self, file: str, anchor: str) -> tuple[str, str] | None:
        """Where a heading of a file is: on a page of its own, or on that of the file."""
        if (file, anchor) in self.homes:
            return self.homes[file, anchor]
        if (file, "") in self.homes:
            return self.homes[file, ""][0], anchor
        return None


def _relative(path: str, page: Page) -> str:
    return os.path.relpath(path, posixpath.dirname(page.place) or ".")


def _picture_place(name: str) -> str:
    return f"pictures/{name.removeprefix('docs/')}"
