"""Pictures that look alike, and come out the same to the byte when they are drawn again."""

import base64
import hashlib
import html
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.errors import UsageError
from zoo.files.atomic import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GRID = "#e2e2e2"
QUIET = "#555555"

GUESS_LINE: dict[str, Any] = {"color": QUIET, "linestyle": (0, (2, 2)), "linewidth": 1.2, "zorder": 1}
"""How the accuracy that guessing gives is drawn, wherever an accuracy is."""

_NAME = re.compile(r' id="([^"]*)"')
_REFERENCE = re.compile(r'(?:href="|url\()#([^")]+)')
_SIZE = re.compile(r'\bwidth="([\d.]+)pt" height="[\d.]+pt"')

_PIXELS_PER_POINT = 1.7
"""How large a picture is in a page that has room: text of 10 points as high as the page's own."""

_PIXELS_PER_POINT_BESIDE_TEXT = 1.3
"""How large it is in a notebook, whose text is smaller."""


@dataclass(frozen=True)
class Picture:
    """A picture. A notebook shows it; `save` writes it; `figure` is for matplotlib.

    Attributes:
        title: what it shows.
    """

    title: str
    _draw: "Callable[[], Figure]"

    def figure(self) -> "Figure":
        """A new figure of matplotlib, to be changed."""
        return self._draw()

    def save(self, path: str | Path) -> Path:
        """Write a PNG or an SVG file, as the ending of its name says.

        Raises:
            UsageError: another ending.
            ZooError: it cannot be written.
        """
        path = Path(path)
        form = path.suffix.removeprefix(".")
        if form not in _NOTES:
            raise UsageError(f"{path.name!r} should end in {' or '.join(f'.{form}' for form in _NOTES)}")
        write_atomically(path, render(self._draw, form))
        return path

    @property
    def image(self) -> str:
        """An ``<img>`` element with all of it inside: its style and its names touch nothing else of a page."""
        document = render(self._draw, "svg")
        size = _SIZE.search(document.decode("utf-8"))
        width = f' style="max-width: {_PIXELS_PER_POINT_BESIDE_TEXT * float(size[1]):.0f}px"' if size else ""
        content = base64.b64encode(document).decode("ascii")
        return f'<img alt="{html.escape(self.title)}"{width} src="data:image/svg+xml;base64,{content}">'

    def __repr__(self) -> str:
        return f"Picture({self.title!r})"

    def _repr_svg_(self) -> str:
        return render(self._draw, "svg").decode("utf-8")


class Look(NamedTuple):
    """How one of several series is drawn: by its colour, and without colours by its line and its marker."""

    color: str
    line: str | tuple[int, tuple[int, ...]]
    marker: str


# The colours can be distinguished with every kind of colour vision (Okabe & Ito 2008).
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = ("-", (0, (5, 1)), (0, (1, 1)), (0, (4, 1, 1, 1)))
_MARKERS = "osD^vXP*<>h"
# What matplotlib would write into the file beside the picture.
_NOTES = {"png": ["Software"], "svg": ["Date", "Creator", "Format", "Type"]}


def look(index: int) -> Look:
    """How the thing of that number is drawn; it takes 308 before two look the same."""
    return Look(_COLORS[index % len(_COLORS)], _LINES[index % len(_LINES)], _MARKERS[index % len(_MARKERS)])


def new_figure(width: float = 7.2, height: float = 4.2) -> "Figure":
    """An empty figure of that size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def plain_axes(axes: "Axes", *, grid: str = "y") -> None:
    """A quiet frame: a light grid behind what is drawn, and no lines above and on the right."""
    axes.grid(axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def render(draw: Callable[[], "Figure"], form: str) -> bytes:
    """A picture as a file of that form, ``"png"`` or ``"svg"``.

    Args:
        draw: makes the figure. It is called where matplotlib has its own defaults, whatever the reader's matplotlibrc
            says, and where a ``$`` in a text is a ``$``.
        form: of the file.
    """
    return _render(draw, form)[form]


def _render(draw: Callable[[], "Figure"], *forms: str) -> dict[str, bytes]:
    """The picture in several forms, drawn once."""
    import matplotlib as mpl
    from matplotlib import style

    # With a fixed salt the same picture gives the same file.
    with style.context("default"), mpl.rc_context({"font.size": 10, "svg.hashsalt": "zoo", "text.parse_math": False}):
        figure = draw()
        return {form: _file(figure, form) for form in forms}


def _file(figure: "Figure", form: str) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format=form, metadata=dict.fromkeys(_NOTES[form]))
    return file.getvalue()


def svg_element(draw: Callable[[], "Figure"]) -> str:
    """A picture as an ``<svg>`` element, to stand in a page."""
    return svg_of(render(draw, "svg").decode("utf-8"))


def svg_of(document: str) -> str:
    """The ``<svg>`` element of an SVG file, to stand in a page beside others.

    Its parts have names that no other picture has, so that none is clipped as another one is; what nothing refers to
    has none. It fills the width of the page, but a small one is not blown up.
    """
    element = document[document.index("<svg") :]
    element = _SIZE.sub(lambda size: f'style="max-width: {_PIXELS_PER_POINT * float(size[1]):.0f}px"', element, count=1)
    used = set(_REFERENCE.findall(element))
    own = hashlib.sha256(element.encode()).hexdigest()[:8]
    named = _NAME.sub(lambda found: f' id="{own}-{found[1]}"' if found[1] in used else "", element)
    return _REFERENCE.sub(lambda found: f"{found[0][: -len(found[1])]}{own}-{found[1]}", named)


def save_picture(draw: Callable[[], "Figure"], stem: Path) -> tuple[Path, Path]:
    """Write a picture twice: ``stem.svg`` for the page, ``stem.png`` for the slides.

    Raises:
        ZooError: a file cannot be written.
    """
    paths = stem.with_name(f"{stem.name}.svg"), stem.with_name(f"{stem.name}.png")
    files = _render(draw, "svg", "png")
    for path in paths:
        write_atomically(path, files[path.suffix[1:]])
    return paths
