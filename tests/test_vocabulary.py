"""Names, help and errors use the terms of the field, and files are short enough to read in one sitting."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    [
        *ROOT.glob("zoo/**/*.py"),
        *ROOT.glob("mixers/**/*.py"),
        *ROOT.glob("plugins/*/*.py"),
        *ROOT.glob("plugins/*/zoo_*/*.py"),
    ]
)
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])

COMMANDS = [*ROOT.glob("zoo/cli/**/*.py"), *ROOT.glob("plugins/*/zoo_*_plugin/command*.py")]
LIBRARY = [path for path in SOURCES if path not in COMMANDS]
"""What Python uses as well as the command line."""

NAMES = {
    "told": "format, message, report",
    "contestant": "candidate, baseline",
    "contestants": "candidates",
    "onlooker": "listener",
    "watcher": "listener",
    "durable": "atomic",
    "remembering": "with_recorded_origins",
    "settle": "resolve_auto",
    "offers": "panels",
    "hear": "poll, listen",
    "hire": "start",
    "staff": "pool",
    "deaf": "mask signals",
    "heldout": "validation",
    "befell": "event",
    "begun": "started",
    "broadest": "MAX_…",
    "fewest": "MIN_…",
    "restless": "MAX_SPREAD",
}
"""Words that are no part of a name, each with what is written instead."""

WHOLE_NAMES = {
    "Display": "Listener",
    "Shown": "PanelResult",
    "Failed": "PanelFailure",
    "Word": "Progress",
    "words.py": "format.py",
    "carry_on": "run",
    "go_on": "open",
    "held_out": "validation",
    "answers": "predictions, targets",
    "nodes": "(token, lag) pairs",
}
"""Names that are others' words elsewhere, but were private ones here."""

PHRASES = [
    r"\btold\b",
    r"\bcontestants?\b",
    r"\bonlookers?\b",
    r"\bheld[ -]out\b",
    r"\bhangs? on\b",
    r"\bmend(s|ed)?\b",
    r"\bcannot be had\b",
    r"\bstands? behind\b",
    r"\bshares? of (the )?attention\b",
    r"\b(came|come|comes) to\b",
    r"\b(befalls?|befell)\b",
    r"\bgone on with\b",
    r"\ba (person|stranger)\b",
]


COMMAND = re.compile(r"\bzoo [a-z]+[^`;,]*")
"""A whole command to type, up to where it ends in a sentence."""


@cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def words_of(name):
    return [word.lower() for part in name.split("_") for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", part)]


def names_in(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def found_in(paths, look):
    """What `look` finds, by the file in which it finds anything."""
    return {str(path.relative_to(ROOT)): found for path in paths if (found := look(path))}


def private_names(path):
    names = {path.name, *names_in(tree_of(path))}
    private = {name: NAMES[word] for name in names for word in words_of(name) if word in NAMES}
    return private | {name: WHOLE_NAMES[name] for name in names & set(WHOLE_NAMES)}


def test_names_are_terms_of_the_field():
    assert found_in(SOURCES, private_names) == {}


def strings_of(path):
    nodes = ast.walk(tree_of(path))
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def test_help_errors_and_docstrings_are_plain():
    assert found_in(SOURCES, lambda path: private_phrases(*strings_of(path))) == {}


def test_texts_of_the_library_name_parameters_and_no_flags():
    assert found_in(LIBRARY, lambda path: flags_in(path.read_text(encoding="utf-8"))) == {}


@pytest.mark.parametrize(
    ("source", "flags"),
    [
        ("raise UsageError(f'--jobs {jobs} should be from 1 to 256')", ["--jobs"]),
        ("raise UsageError(f'--{name} {size} should be 1 or more')", ["--…"]),
        ("raise UsageError(f'{path} exists: choose another --out, or type zoo train --resume {path}')", ["--out"]),
        ("raise UsageError(f'go on with `zoo train --resume {run} --steps {steps}`')", []),
        ("raise UsageError(f'`jobs`={jobs} should be from 1 to 256')", []),
        ("def command(self):\n    return ['--jobs', self.jobs]", []),
        ("_output('git', 'status', '--porcelain')", []),
    ],
)
def test_a_flag_is_found_in_a_text(source, flags):
    assert flags_in(source) == flags


def test_pages_are_plain():
    assert found_in(PAGES, lambda path: private_phrases(path.read_text(encoding="utf-8"))) == {}


def test_no_file_is_long():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {path: length for path, length in lengths.items() if length > 300} == {}


def private_phrases(*texts):
    found = [
        (match, text) for text in texts for phrase in PHRASES for match in re.finditer(phrase, text, re.IGNORECASE)
    ]
    return [text[max(0, match.start() - 40) : match.end() + 40] for match, text in found]


def flags_in(source):
    """The flags in the texts of a source, outside of whole commands and of what makes one, or runs another program."""
    return [
        flag
        for text in texts_in(ast.parse(source))
        for flag in re.findall(r"(?<![\w-])--[a-z…]+", COMMAND.sub("", text))
    ]


def texts_in(node):
    """Texts, without docstrings, which are for those who write code."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.FunctionDef) and node.name == "command":
        return
    if (
        isinstance(node, ast.Call)
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and node.args[0].value == "git"
    ):
        return
    if isinstance(node, ast.JoinedStr):
        yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from texts_in(child)
