"""CONTRIBUTING.md has a recipe for every kind, and its examples work."""

import json
import re
from pathlib import Path

import pytest

from zoo import compare
from zoo.plugin import hookspecs
from zoo.plugin.files import ENVIRONMENT, load_file
from zoo.plugin.kinds import EXECUTOR, KINDS, REPORTER
from zoo.plugin.registry import forget, get_registry
from zoo.testing import check_member
from zoo.train.session import start
from zoo.train.settings import validate

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^### `([\w-]+)`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
EXAMPLES = {name: re.search(r"^```python\n(.*?)^```", recipe, re.M | re.S)[1] for name, recipe in RECIPES.items()}
NAMES = [kind.name for kind in KINDS]

TINY = {"mixer": "dot-product", "data": "text.txt", "dim": 16, "heads": 1, "layers": 1, "context": 8, "batch": 2}
TINY |= {"steps": 2, "evaluation_tokens": 16, "final_evaluation_tokens": 16, "sample_tokens": 4}
TINY |= {"device": "cpu", "precision": "fp32", "threads": 1}


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The file of a kind's recipe, loaded as a plugin."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))

    def load(name):
        path = tmp_path / "mine.py"
        path.write_text(EXAMPLES[name], encoding="utf-8")
        monkeypatch.setenv(ENVIRONMENT, str(path))
        forget()
        (entry,) = load_file(path).members
        return path, entry

    yield load
    monkeypatch.undo()
    forget()


def test_every_kind_has_a_recipe_and_no_other():
    assert list(RECIPES) == NAMES


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_a_recipe_says_where_everything_goes(kind):
    recipe = RECIPES[kind.name]
    assert kind.hook in vars(hookspecs)
    folder, plugin = re.search(r"goes to `([\w/]+/)`", recipe)[1], re.search(r"in `([\w/]+\.py)`", recipe)[1]
    assert plugin == f"{folder}plugin.py"
    assert f"def {kind.hook}()" in (ROOT / plugin).read_text(encoding="utf-8")
    assert "documented by" in recipe
    for test in re.findall(r"`(tests/[\w/.]+)`", recipe):
        assert (ROOT / test).exists()
    assert re.search(r"`tests/|`zoo check|`zoo\.testing", recipe)


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_the_example_of_a_recipe_is_a_member_that_says_what_it_is(kind, example):
    _, entry = example(kind.name)
    assert entry.kind is kind
    assert get_registry()[kind].find(entry.name).cls is entry.cls
    assert entry.summary
    assert all(option.meaning for option in entry.options)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in (EXECUTOR, REPORTER)], ids=str)
def test_the_example_of_a_recipe_trains(kind, example):
    path, entry = example(kind.name)
    Path("text.txt").write_text("1 and 2\n" * 60)
    setting = {"corpus": "data", "task": "data", "hybrid": "mixer"}.get(kind.name, kind.name.replace("-", "_"))
    length = {"context": 16} if kind.name == "task" else {}
    settings = validate(TINY | {setting: entry.name} | length)
    assert start(settings, root=Path(), out=Path("run"), pages=False).steps == 2
    recorded = json.loads(Path("run/env.json").read_text())["plugins"]
    used = {"mixer": [entry.name], "hybrid": []}  # a run holds the pattern of a hybrid, and does without its file
    assert [name for name, plugin in recorded.items() if plugin.get("file") == str(path)] == used.get(
        kind.name, [f"{kind.name}:{entry.name}"]
    )


@pytest.mark.slow
def test_the_example_of_an_executor_makes_the_runs_of_a_comparison(example):
    _, entry = example("executor")
    settings = {"dim": 16, "layers": 1, "evaluation_tokens": 64, "final_evaluation_tokens": 64, "device": "cpu"}
    made = compare(["dot-product"], data="parity(length=8)", on=entry.name, budget="steps:2", out="out", **settings)
    assert made.results.data[0].arms[0].estimate is not None


@pytest.mark.slow
def test_the_example_of_a_reporter_is_told_of_a_run(example):
    _, entry = example("reporter")
    Path("text.txt").write_text("1 and 2\n" * 60)
    start(validate(TINY), root=Path(), out=Path("run"), pages=False, report=entry.name)
    assert Path("run/lines.jsonl").read_text() == Path("run/metrics.jsonl").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_the_example_of_a_recipe_keeps_the_laws(example, kind):
    _, entry = example(kind.name)
    results = check_member(kind.name, entry.cls, examples=3, skip=["terminate"] if kind is EXECUTOR else [])
    assert {result.law: result.message for result in results if result.status == "failed"} == {}
