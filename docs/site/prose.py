"""Texts of the code as Markdown, and Markdown that is cut, or changed outside of its code blocks."""

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence

_FENCE = re.compile(r"^( *)(`{3,}|~{3,})", re.MULTILINE)
_SECTION = re.compile(r"(Args|Attributes|Options|Raises|Returns|Yields|Errors|Cost|Sources?|Example):[ \t]*\n?")
_LISTED = {"Args", "Attributes", "Options", "Raises"}
LANGUAGES = ("bash", "json", "python", "text", "toml", "yaml")
"""Of code blocks, that are highlighted."""
_ITEM = re.compile(r"^(\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*): (.*)", re.DOTALL)


def parts_of(text: str) -> Iterator[tuple[bool, str]]:
    """The text in turns: whether a part is a code block, and the part."""
    lines: list[str] = []
    code, fence = False, ""
    for line in text.splitlines(keepends=True):
        found = _FENCE.match(line)
        if found and not code:
            yield False, "".join(lines)
            lines, code, fence = [line], True, found[2]
        elif found and found[2].startswith(fence) and line.strip() == found[2]:
            yield True, "".join([*lines, line])
            lines, code = [], False
        else:
            lines.append(line)
    yield code, "".join(lines)


def outside_of_code(text: str, change: Callable[[str], str]) -> str:
    """The text, changed where it is no code block."""
    return "".join(part if code else change(part) for code, part in parts_of(text))


def with_known_languages(text: str) -> str:
    """The text with code blocks in languages of the repository's own, as that of patterns, as plain text."""
    known = "|".join(LANGUAGES)
    own = re.compile(rf"^( *```)(?!(?:{known})$)[a-z]+$", re.MULTILINE)
    return "".join(own.sub(r"\1text", part, count=1) if code else part for code, part in parts_of(text))


def cut(text: str, level: int) -> list[tuple[str, str]]:
    """The sections at headings of a level: their titles and texts without them, first what stands before, without one.

    A heading of a higher level ends a section, and begins one with an empty title.
    """
    sections: list[tuple[str, list[str]]] = [("", [])]
    for code, part in parts_of(text):
        for line in part.splitlines(keepends=True):
            found = None if code else re.match(rf"(#{{1,{level}}}) (.+)", line)
            if found and len(found[1]) == level:
                sections.append((found[2].strip(), []))
            elif found and sections[-1][0]:
                sections.append(("", [line]))
            else:
                sections[-1][1].append(line)
    return [(title, "".join(lines)) for title, lines in sections]


def title_of(text: str) -> str:
    """The title of a page: its first heading."""
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def raise_headings(text: str, by: int) -> str:
    """The text with its headings higher by so many levels."""
    return outside_of_code(text, lambda part: re.sub(rf"^#{{{by}}}(?=#)", "", part, flags=re.MULTILINE))


def anchor_of(title: str) -> str:
    """What links to a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def markdown(text: str) -> str:
    """A text of the code as Markdown: what would be markup outside of code is escaped, and papers are links."""
    text = re.sub(
        r"(``.*?``|`[^`]*`|^[ ]*\* )|([*<\[\]_])",
        lambda found: found[1] or f"\\{found[2]}",
        text,
        flags=re.DOTALL | re.MULTILINE,
    )
    return re.sub(r"arXiv:(\d{4}\.\d{5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown."""
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def code(text: str, language: str = "text") -> str:
    """A code block."""
    return f"```{language}\n{text}\n```"


def docstring(text: str) -> str:
    """A docstring as Markdown: its sections in bold, with lists of names, and what is indented as code."""
    parts, section = [], ""
    for block in re.split(r"\n(?:[ \t]*\n)+", text):
        if found := _SECTION.match(block):
            section = found[1]
            parts += [f"**{section}**", _body(section, textwrap.dedent(block[found.end() :]))]
        elif block.startswith((" ", "\t")):
            body = textwrap.dedent(block).strip("\n")
            parts.append(_body(section, body) if section else code(body))
        else:
            section = ""
            parts.append(markdown(block))
    return "\n\n".join(parts)


def _body(section: str, text: str) -> str:
    if section not in _LISTED:
        return markdown(text)
    items = re.split(r"\n(?=\S)", text.strip("\n"))
    listed = [_ITEM.match(" ".join(item.split())) for item in items]
    return "\n".join(
        f"* `{found[1]}`: {markdown(found[2])}" if found else f"* {markdown(' '.join(item.split()))}"
        for item, found in zip(items, listed, strict=True)
    )
