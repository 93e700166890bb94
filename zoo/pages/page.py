"""Pages to open in a browser: one file with one style, without scripts and without the network.

A policy in the head of each enforces both: the pictures come from a folder, which somebody else may have made.
"""

import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

# What HTML has no way to write: control characters, lone surrogates and the like.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def render_page(template: str, **values: Any) -> str:
    """A page from its template and what stands in it; every text is escaped.

    Args:
        template: ``package/file``, e.g. ``"zoo.train/report.html.j2"``. It extends ``"zoo.pages/page.html.j2"``, whose
            blocks are ``heading`` and ``main``, and which shows ``name`` below the heading.
        values: what the template names; all of it must be there.
    """
    return _environment().get_template(template).render(style=markup(_read("zoo.pages/page.css")), **values)


def render_fragment(template: str, **values: Any) -> str:
    """A part of a page of somebody else's, e.g. of a notebook: it takes over the colours and the fonts there.

    Args:
        template: as for `render_page`. It extends ``"zoo.pages/fragment.html.j2"``, whose block is ``main``.
        values: what the template names; all of it must be there.
    """
    return _environment().get_template(template).render(style=markup(_read("zoo.pages/fragment.css")), **values)


def markup(trusted: str) -> Any:
    """A text that stands in a page as it is, e.g. a picture."""
    from markupsafe import Markup

    return Markup(trusted)


def flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values to show, those of tables within the table too."""
    for name, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _value(value)


def printable(text: str) -> str:
    """The text with its control characters as the signs that Unicode has for them."""
    text = text.replace("\r\n", "\n")
    return _UNPRINTABLE.sub(lambda found: chr(0x2400 + ord(found[0])) if found[0] < " " else "\ufffd", text)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == {}:
        return "none"
    return printable(str(value))


def _environment() -> Any:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, loader=FunctionLoader(_read))


def _read(name: str) -> str:
    package, _, file = name.partition("/")
    return (resources.files(package) / file).read_text(encoding="utf-8")
