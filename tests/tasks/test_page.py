"""docs/tasks.md and the tasks say the same, and its plugin works."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from zoo import IGNORE, Task
from zoo.plugin.hookspecs import GROUP
from zoo.plugin.options import options_of
from zoo.plugin.pattern import parse_call
from zoo.tasks.plugin import zoo_tasks
from zoo.testing import check_member

from .solvers import SOLVERS
from .test_answers import check_shapes, drawn, scored_answers

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "tasks.md").read_text(encoding="utf-8")
PAGES = {"": PAGE} | {
    f"tasks/{path.name}": path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("tasks/*.md"))
}
"""All pages on tasks: the first lists those of the others, too."""
SECTION = re.compile(r"^## ([\w-]+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
SECTIONS = {name: text for page in PAGES.values() for name, text in SECTION.findall(page)}
TASKS = zoo_tasks()


def example(name):
    """The options of a section's example, what is read, and the answers by position."""
    called, reads, answers = re.search(
        r"^```\n(.+)\nreads +(.+)\nanswers +(.+)\n```", SECTIONS[name], re.MULTILINE
    ).groups()
    call = parse_call(called)
    assert call.name == name
    symbols, said = reads.split(), answers.split()
    assert len(symbols) == len(said)
    return call.keywords, symbols, {time: answer for time, answer in enumerate(said) if answer != "_"}


def test_every_task_has_a_section_and_a_row():
    rows = re.findall(r"^\| \[`([\w-]+)`\]\((tasks/[\w-]+\.md|)#\1\)", PAGE, re.MULTILINE)
    assert rows == [(name, where) for where, page in PAGES.items() for name, _ in SECTION.findall(page)]
    assert {name for name, _ in rows} == set(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_the_example_is_one_of_the_task_and_its_answers_are_right(name):
    options, symbols, answers = example(name)
    task = TASKS[name](**options)
    assert len(symbols) == task.length
    assert set(symbols) <= {task.symbol(token) for token in range(task.vocab_size)}
    facts = {f"k{key}": task.symbol(value) for key, value in enumerate(getattr(task, "value_of", []))}
    assert SOLVERS[name](symbols, **options, value_of=facts) == answers
    assert answers


@pytest.mark.parametrize("name", TASKS)
def test_the_table_lists_the_options_as_the_docstring_does(name):
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", SECTIONS[name], re.MULTILINE)
    assert rows == [(option.name, shown(option.default), option.meaning) for option in options_of(TASKS[name])]


def shown(default):
    if default is None:
        return "none"
    return str(default).lower() if isinstance(default, bool) else str(default)


@pytest.mark.parametrize("name", TASKS)
def test_the_source_and_the_slices_are_told(name):
    for number in re.findall(r"arXiv:([\d.]+\d)", TASKS[name].paper):
        assert f"https://arxiv.org/abs/{number}" in SECTIONS[name]
    told = SECTIONS[name] if "Slices:" in SECTIONS[name] else ""
    slices = drawn(TASKS[name](**{"named": True} if name == "delayed-copy" else {}), 0).slices
    assert all(f"`{counted}`" in told for counted in slices)
    assert bool(slices) == bool(told)


@pytest.fixture
def mirror():
    """The task of the plugin that the page shows."""
    (source,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    space = {}
    exec(source, space)
    return space["zoo_tasks"]()["mirror"]


def test_the_plugin_of_the_page_gives_a_task(mirror):
    assert issubclass(mirror, Task)
    assert all(option.meaning for option in options_of(mirror))
    task = mirror(length=10, vocab=6, test_lengths=(4,))
    for length in (10, 4):
        examples = drawn(task, 0, length=length)
        check_shapes(task, examples, (40, length))
        for symbols, answers in scored_answers(task, examples):
            begin = symbols.index("⟨back⟩")
            assert symbols[begin + 1 :] == ["·"] * (begin - 1)
            assert answers == dict(enumerate(reversed(symbols[:begin]), start=begin))
    # the answer at a place is the token as far from the end as it is from the beginning
    assert drawn(task, 0).slices["distance"][0].tolist() == [0] * 5 + [1, 3, 5, 7, 9]
    assert np.count_nonzero(drawn(task, 0).targets != IGNORE) == 40 * 5


@pytest.mark.slow
def test_the_plugin_of_the_page_keeps_the_laws(mirror):
    assert {result.status for result in check_member("task", mirror, strict=True)} == {"passed", "skipped"}


@pytest.mark.parametrize(
    ("options", "text"), [({"length": 3}, "a length of 3 should"), ({"vocab": 3}, "vocab=3 should")]
)
def test_the_plugin_of_the_page_refuses_as_the_others_do(mirror, options, text):
    with pytest.raises(ValueError, match=rf"^{text} be .* or more"):
        mirror(**options)


def test_the_project_of_the_page_has_the_zoo_s_entry_point():
    (source,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert tomllib.loads(source)["project"]["entry-points"][GROUP] == {"mirror": "zoo_mirror"}
