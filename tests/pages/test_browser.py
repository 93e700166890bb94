"""Every kind of page in a real browser: quiet, alone, whole, and with hostile texts as texts."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..distributions import Program, install  # noqa: TID252 - pytest knows the parts of the tests by place
from ..executors import in_this_process  # noqa: TID252
from .chromium import PROGRAM, count_pages

pytestmark = [
    pytest.mark.slow,
    pytest.mark.pictures,
    pytest.mark.skipif(PROGRAM is None, reason="needs Chromium on the PATH"),
]

HOSTILE = """<script>alert(1)</script>&"$x^2$"""
"""Markup, a script, an entity, a quotation mark, and what matplotlib would take for mathematics."""

PLUGIN = f"""
    import numpy as np
    from zoo import IGNORE, Examples, Mixed, Panel, Task, TokenMixer, hookimpl

    HOSTILE = {HOSTILE!r}

    class Loud(TokenMixer):
        "Each token writes its read, and says so."

        def __init__(self, dim: int, *, word: str = "plain"):
            super().__init__()

        def forward(self, x):
            return Mixed(x, metrics={{HOSTILE: x.abs().mean()}})

        def panels(self, x):
            values = x[0, :4, :3]
            ticks = ([HOSTILE, "b", "c", "d"], [HOSTILE, "second", "third"])
            axes = (HOSTILE, "channel")
            return [
                Panel("map " + HOSTILE, "reading " + HOSTILE, values, "size " + HOSTILE, axes, ticks),
                Panel("lines " + HOSTILE, "reading " + HOSTILE, values, "size", axes, ticks, lines=True),
                Panel("bars", "reading", values[0], "size", axes[1:], ticks[1:]),
            ]

    class Rude(Task):
        "Says again what comes."

        vocab_size, length, test_lengths, test_examples = 3, 16, (32,), 64
        settings = {{"dim": 16, "heads": 2, "batch": 4}}

        def draw(self, generator, examples, *, length, test):
            inputs = generator.integers(3, size=(examples, length))
            return Examples(inputs, inputs, slices={{HOSTILE: inputs}})

        def symbol(self, token):
            return [HOSTILE, "&amp;", "$y_1$"][token]

    @hookimpl
    def zoo_mixers():
        return {{"loud": Loud}}

    @hookimpl
    def zoo_tasks():
        return {{"rude": Rude}}
"""

LOUD = f"loud(word={HOSTILE!r})"
SMALL = ["--layers", "1", "--dim", "16", "--heads", "2", "--device", "cpu", "--set", "log_every=2"]
TINY = [
    *SMALL,
    *["--context", "16", "--batch", "2", "--steps", "6", "--tokenizer", "char", "--set", "sample_tokens=120"],
]
TINY += ["--set", "evaluation_tokens=64", "--set", "final_evaluation_tokens=64"]


@dataclass(frozen=True)
class World:
    """The folders of one run of each command that writes a page."""

    folder: Path

    def page(self, name: str) -> Path:
        return self.folder / name / "report.html"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    install(folder / "site", "loud-mixers", PLUGIN)
    zoo = Program(folder, "loud-mixers", forked=True)
    text = folder / f"{HOSTILE.replace('/', '')} é.txt"
    text.write_text(f"{HOSTILE}\n" * 60, encoding="utf-8")
    task = ["--data", "rude", "--steps", "6", *SMALL]
    commands = {
        "text": ["train", "--mixer", LOUD, "--data", text, *TINY, "--out", "text"],
        "task": ["train", "--mixer", "correlation", *task, "--out", "task"],
        "inspected": ["train", "--mixer", f"{LOUD} + correlation", *task, "--out", "inspected"],
        "inspection": ["inspect", "inspected", "--tokens", "256"],
        "bench": [
            *["bench", LOUD, "correlation", "dot-product", "--lengths", "32,64,128", "--dim", "32", "--heads", "2"],
            *["--repeats", "2", "--threads", "1", "--device", "cpu", "--out", "bench"],
        ],
        "comparison": [
            *["compare", LOUD, "dot-product", "--data", "rude", "--data", "parity(length=8)", "--seeds", "2", *SMALL],
            *["--lrs", "1e-3,1e-2", "--budget", "steps:6", "--jobs", "1", "--out", "comparison"],
        ],
    }
    with pytest.MonkeyPatch.context() as patch:
        in_this_process(patch)
        patch.setattr("zoo.Task.test_examples", 200)
        for name, command in commands.items():
            done = zoo(*command)
            assert done.returncode == 0, f"{name}: {done.stderr}"
    return World(folder)


PAGES = ["text", "task", "inspected", "bench", "comparison"]
TABLES = {"text": 2, "task": 4, "inspected": 5, "bench": 10, "comparison": 6}
"""At least so many."""

DRAWINGS = {"text": 1, "task": 1, "inspected": 5, "bench": 4, "comparison": 3}
"""Likewise."""


@pytest.fixture(params=PAGES)
def kind(request):
    return request.param


@pytest.mark.parametrize("width", [420, 1400])
def test_it_is_quiet_and_needs_nothing_else(world, chromium, kind, width):
    visit = chromium.open(world.page(kind), width=width)
    assert visit.complaints == []
    assert visit.requests == []
    assert chromium.evaluate("document.scripts.length") == 0


def test_it_is_whole(world, chromium, kind):
    chromium.open(world.page(kind))
    assert chromium.evaluate("document.compatMode") == "CSS1Compat"
    heading = chromium.evaluate("document.querySelector('h1').textContent.trim()")
    assert chromium.evaluate("document.title") == f"{heading} \N{EN DASH} mixer zoo"
    assert chromium.evaluate("document.querySelectorAll('table').length") >= TABLES[kind]
    assert chromium.evaluate("document.querySelectorAll('main figure > svg').length") >= DRAWINGS[kind]
    for rule, found in BROKEN.items():
        assert chromium.evaluate(found) == [], rule


BROKEN = {
    "every table has cells": """
        [...document.querySelectorAll('table')].filter(table => !table.querySelector('td'))
            .map(table => table.outerHTML)
    """,
    "every picture is as wide as it should be": """
        [...document.querySelectorAll('details')].map(part => part.open = true),
        [...document.querySelectorAll('figure > svg')].map(svg => svg.getBoundingClientRect())
            .filter(box => box.width < 300 || box.height < 80).map(box => [box.width, box.height])
    """,
    "every picture says what it shows": """
        [...document.querySelectorAll('figure')].filter(figure => !figure.getAttribute('aria-label'))
            .map(figure => figure.outerHTML)
    """,
    "no name stands twice": """
        [...document.querySelectorAll('[id]')].map(part => part.id)
            .filter((name, index, all) => all.indexOf(name) != index)
    """,
    "what a link leads to, and what a picture uses, is there": """
        [...document.querySelectorAll('a, use')]
            .map(part => part.getAttribute('href') ?? part.getAttribute('xlink:href'))
            .filter(link => link.startsWith('#') && !document.getElementById(link.slice(1)))
    """,
    "what a picture is clipped by is there": """
        [...document.querySelectorAll('[clip-path]')].map(part => part.getAttribute('clip-path'))
            .filter(link => !document.getElementById(link.slice(5, -1)))
    """,
}


@pytest.mark.parametrize("width", [420, 1000, 1400])
def test_it_never_has_to_be_pushed_sideways(world, chromium, kind, width):
    chromium.open(world.page(kind), width=width)
    chromium.evaluate("[...document.querySelectorAll('details')].forEach(d => d.open = true)")
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width


def test_hostile_texts_are_texts(world, chromium, kind):
    chromium.open(world.page(kind))
    chromium.evaluate("[...document.querySelectorAll('details')].forEach(d => d.open = true)")
    text = chromium.evaluate("document.body.textContent")
    assert HOSTILE in text or kind in ("text", "bench")
    assert text.count("<script>alert(1)</script>") >= HOSTILE_PLACES[kind]
    assert chromium.evaluate("document.querySelector('main script, main iframe, main img')") is None


HOSTILE_PLACES = {"text": 2, "task": 2, "inspected": 8, "bench": 8, "comparison": 4}
"""At least so often stands the hostile text in a page: as heading, sample, command, setting, label of a picture."""


def test_a_sample_is_shown_as_it_was_written(world, chromium):
    """The samples of a small model of characters are made of markup."""
    chromium.open(world.page("text"))
    shown = chromium.evaluate("document.querySelector('main pre').textContent.trim()")
    written = (world.folder / "text" / "samples.txt").read_text(encoding="utf-8")
    assert len(shown) > 100
    assert shown in written
    assert len(set(shown) & set('<>&"$')) >= 3


def test_symbols_of_a_task_are_shown_as_they_are(world, chromium):
    chromium.open(world.page("task"))
    shown = chromium.evaluate("document.querySelector('main pre').textContent")
    words = set(re.split(r"[ →()\n]+", shown.replace(HOSTILE, "HOSTILE"))) - {""}
    assert words <= {"HOSTILE", "&amp;", "$y_1$"}
    assert "HOSTILE" in words


def test_it_prints(world, chromium, kind):
    chromium.open(world.page(kind))
    pdf = chromium.print_pdf()
    assert pdf.startswith(b"%PDF-")
    assert 1 <= count_pages(pdf) <= 12
