import json
import re
import shlex

import pytest

from zoo.task import IGNORE, Task
from zoo.tasks.plugin import zoo_tasks

TEXTS = ["python-stdlib", "shakespeare"]

OWN = """
    import numpy as np
    from zoo import IGNORE, Examples, Task, hookimpl

    class Last(Task):
        '''Says again <b>at the end</b> what came first.

        Options:
            kinds: of tokens.

        Source: nobody.
        '''

        suite = "own"
        paper = "nobody 2025"
        settings = {"dim": 32}
        disjoint = False

        def __init__(self, *, kinds: int = 3):
            self.vocab_size, self.length, self.test_lengths = kinds, 5, (7,)

        def draw(self, generator, examples, *, length, test):
            inputs = np.full((examples, length), 2)
            targets = np.full_like(inputs, IGNORE)
            targets[:, 1] = 1
            targets[:, -1] = 0
            scored = np.zeros(inputs.shape, dtype=bool)
            scored[:, -1] = True
            return Examples(inputs, targets, scored, {"where": inputs})

        def symbol(self, token):
            return {0: "zero", 1: "one", 2: "<&>"}[token]

    @hookimpl
    def zoo_tasks():
        return {"last": Last}
"""


def test_the_list_is_every_task_in_order_and_the_texts(zoo):
    result = zoo("tasks")
    head, *lines = result.out.splitlines()
    assert head.split() == ["name", "kind", "summary", "suites", "paper", "from"]
    assert [line.split()[:2] for line in lines] == [
        *([name, "task"] for name in sorted(zoo_tasks())),
        *([name, "text"] for name in TEXTS),
    ]
    mqar = next(line for line in lines if line.startswith("mqar "))
    assert "Multi-query associative recall: keys" in mqar
    assert mqar.split()[-6:] == [*["Arora", "et", "al.", "2023,", "arXiv:2312.04927"], "mixer-zoo"]
    assert sum("  MAD" in line for line in lines) == 6
    assert "path of a UTF-8 text" in result.err


def test_the_list_as_json(zoo):
    listed = json.loads(zoo("tasks", "--json").out)
    for data in listed:
        assert set(data) == {"name", "aliases", "kind", "summary", "suites", "paper", "options", "origin"}
        assert list(data["origin"]) == ["distribution", "version", "entry_point"]
        assert data["summary"].endswith(".")
    assert [data["name"] for data in listed if data["kind"] == "text"] == TEXTS
    (mqar,) = [data for data in listed if data["name"] == "mqar"]
    assert {option["name"] for option in mqar["options"]} >= {"pairs", "vocab"}


@pytest.mark.parametrize(
    ("glob", "names"),
    [
        ("*y-recall", ["fuzzy-recall", "noisy-recall"]),
        ("fuzzy_*", ["fuzzy-recall"]),
        ("[mp][qy]*", ["mqar", "python-stdlib"]),
        ("mqa?", ["mqar"]),
        ("shake*", ["shakespeare"]),
        (
            "mad",
            ["compression", "fuzzy-recall", "in-context-recall", "memorization", "noisy-recall", "selective-copying"],
        ),
        ("none*", []),
    ],
)
def test_a_glob_lists_what_matches(zoo, glob, names):
    result = zoo("tasks", glob, "--json")
    assert [data["name"] for data in json.loads(result.out)] == names
    shown = zoo("tasks", glob)
    assert shown.code == 0
    assert [line.split()[0] for line in shown.out.splitlines()[1:]] == names
    assert ("no task and no text matches 'none*'" in shown.err) == (not names)


def test_a_page(zoo):
    result = zoo("tasks", "mqar(pairs=2, length=16)")
    assert (result.code, result.err) == (0, "")
    text = result.out
    assert text.startswith("mqar(pairs=2, length=16)\nMulti-query associative recall")
    rows = [line.split() for line in text.splitlines()]
    assert ["option", "type", "default", "meaning"] in rows
    assert any(row[:4] == ["vocab", "int", "8192", "how"] for row in rows)
    assert any(row[:4] == ["test_lengths", "tuple[int,", "...]", "()"] for row in rows)
    for words in (
        "vocabulary  8,192 tokens",
        "length      16 tokens\n",
        "drawn anew for every step",
        "3,000 examples",
        "by distance to the key",
        "dim=64, weight_decay=0.1, as the task asks; batch=64, steps=2000",
        "zoo train --data 'mqar(pairs=2, length=16)' --dry-run",
        "Zoology",
        "mqar.py",
    ):
        assert words in " ".join(text.split()) or words in text
    assert "`" not in text
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines() if line[:4].strip()) <= 100  # an equation is not wrapped


def drawn_line(result):
    """The words of the example."""
    return result.out.split("--seed ")[-1].split("\n\n")[1].split()


@pytest.mark.parametrize("name", [name for name in zoo_tasks() if name != "fuzzy-recall"])
def test_the_arrows_are_at_the_scored_positions_and_lead_to_the_answers(zoo, name):
    told = json.loads(zoo("tasks", name, "--json").out)
    task = zoo_tasks()[name]()
    example = told["example"]
    assert len(example["inputs"]) == example["length"] == task.length
    words = drawn_line(zoo("tasks", name))
    expected = []
    for token, target, scored in zip(example["inputs"], example["targets"], example["scored"], strict=True):
        assert target is not None or not scored
        expected.append(task.symbol(token) + (f"→{task.symbol(target)}" if scored else ""))
    assert words == expected
    assert any(example["scored"])


def test_the_answers_of_the_example_are_right(zoo):
    """By a hand-written solver of mqar: the value behind a key's first occurrence."""
    words = drawn_line(zoo("tasks", "mqar(pairs=4, length=32)", "--seed", 5))
    pairs = dict(zip(words[0:8:2], words[1:8:2], strict=True))
    asked = dict(word.split("→") for word in words if "→" in word)
    assert asked == pairs
    assert len(asked) == 4


def test_a_seed_draws_an_example_of_its_own(zoo):
    first, again, other = (zoo("tasks", "parity", "--seed", seed) for seed in (0, 0, 1))
    assert first == again
    assert drawn_line(first) != drawn_line(other)


@pytest.mark.parametrize(("data", "length"), [("parity", 80), ("parity", 7), ("mqar", 20)])
def test_another_length(zoo, data, length):
    result = zoo("tasks", data, "--length", length)
    assert len(drawn_line(result)) == length
    assert f"an example of the test, {length} tokens" in result.out


@pytest.mark.slow
def test_the_example_is_one_of_the_test_and_never_trained_on(zoo):
    import numpy as np

    from zoo.data.examples import is_for_test

    for seed in range(20):
        inputs = json.loads(zoo("tasks", "induction(length=16)", "--seed", seed, "--json").out)["example"]["inputs"]
        assert is_for_test(np.array([inputs])).all()


def test_the_settings_are_those_of_a_run(zoo):
    told = json.loads(zoo("tasks", "mqar", "--json").out)
    planned = json.loads(zoo("train", "--data", "mqar", "--dry-run", "--json").out)
    of_the_machine = {"device", "threads", "precision", "compile"}
    assert {name for name, value in planned["settings"].items() if told["settings"][name] != value} <= of_the_machine
    assert set(told["settings"]) == set(planned["settings"])
    assert told["own_settings"] == dict(zoo_tasks()["mqar"].settings)
    assert told["settings"]["context"] == told["length"] == 64


def test_colours_tell_scored_from_learned_from_the_rest(zoo, distribution, monkeypatch):
    distribution("own-tasks", OWN)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    text = zoo("tasks", "last", terminal=True).out
    scored, learned, dim = "\x1b[1;36m", "\x1b[33m", "\x1b[2m"
    line = next(line for line in text.splitlines() if "→zero" in line)
    assert f"{scored}<&>→zero" in line
    assert line.count(f"{learned}<&>") == 1
    assert line.count(f"{dim}<&>") == 3
    legend = text[text.index(line) + len(line) :].replace("\n", " ")
    assert f"{scored}a→b\x1b[0m at a the target is b, scored (1)" in legend
    assert f"{learned}a\x1b[0m has a target, learned and not scored (1)" in legend
    assert f"{dim}a\x1b[0m has no target (3)" in legend
    monkeypatch.setenv("NO_COLOR", "1")
    assert learned not in zoo("tasks", "last", terminal=True).out


def test_the_example_is_wrapped_to_the_terminal(zoo, monkeypatch):
    monkeypatch.setenv("COLUMNS", "44")
    text = re.sub(r"\x1b\[[\d;]*m", "", zoo("tasks", "word-problem", terminal=True).out)
    lines = [line for line in text.splitlines() if "→" in line]
    assert len(lines) > 8
    assert max(map(len, lines)) <= 44


def test_a_task_of_a_plugin(zoo, distribution):
    distribution("own-tasks", OWN)
    assert any(line.startswith("last ") and line.endswith("own-tasks") for line in zoo("tasks").out.splitlines())
    text = zoo("tasks", "own-tasks:last(kinds=4)").out
    assert "Says again <b>at the end</b> what came first." in text
    assert "\n<&> <&> <&> <&> <&>→zero\n" in text
    assert "5 tokens; also tested at 7" in text
    assert "dim=32, as the task asks" in text
    assert "of what was trained on" in text
    assert len(drawn_line(zoo("tasks", "last", "--length", 7))) == 7


def test_a_text_is_said_to_be_one(zoo):
    for name in ("shakespeare", "python_stdlib"):
        result = zoo("tasks", name)
        assert result.code == 0
        assert result.out.startswith(f"{name.replace('_', '-')} is a text: ")
        assert f"zoo train --data {name.replace('_', '-')}" in result.err
    assert json.loads(zoo("tasks", "shakespeare", "--json").out)["kind"] == "text"


MISTAKES = [
    ("mqr", 2, ["no task is named 'mqr'", "did you mean 'mqar'?", "word-problem"]),
    ("shakespear", 2, ["no task and no text is named 'shakespear'", "did you mean 'shakespeare'?", "zoo tasks"]),
    ("'mqar(pais=3)'", 2, ["no option 'pais'", "did you mean 'pairs'?"]),
    ("'mqar(pairs=many)'", 2, ["pairs='many'", "valid integer"]),
    ("'mqar(pairs=100)'", 2, ["length=64 should be an even number, 400 or more"]),
    ("mqar --length 7", 2, ["length=7 should be an even number, 16 or more"]),
    ("mqar --length 9000", 2, ["vocab=8192 should be more than the 9000 tokens"]),
    ("mqar --length 0", 2, ["--length 0 should be 1 or more"]),
    ("mqar --seed -1", 2, ["--seed -1 should be 0 or more"]),
    ("last --length 6", 2, ["last has no option for a length of 6: its sequences have 5 or 7"]),
    ("mqar,parity", 2, ["expected", "\n  mqar,parity\n", "^"]),
    ("./text.txt", 2, ["'./text.txt' is a text of yours, not a task", "zoo train --data ./text.txt"]),
    ("bad-tasks:echo", 4, ["echo", "bad-tasks 1.2", "broken: RuntimeError: out of order"]),
    ("missing-tasks:echo", 4, ["pip install missing-tasks"]),
    ("'last(kinds=2)'", 4, ["last(kinds=2) drew inputs from 2 to 2, with a vocabulary of 2"]),
    ("dumb", 4, ["the task dumb has no symbol for its token", "LookupError: words"]),
]

DUMB = """
    import numpy as np
    from zoo import Examples, Task, hookimpl

    class Dumb(Task):
        "Has no words."

        vocab_size, length = 9, 8

        def draw(self, generator, examples, *, length, test):
            inputs = generator.integers(9, size=(examples, length))
            return Examples(inputs, inputs)

        def symbol(self, token):
            raise LookupError("words")

    @hookimpl
    def zoo_tasks():
        return {"dumb": Dumb}
"""


@pytest.fixture
def place(tmp_path, monkeypatch, distribution):
    (tmp_path / "text.txt").write_text("words")
    monkeypatch.chdir(tmp_path)
    for name, source in {"own-tasks": OWN, "bad-tasks": "raise RuntimeError('out of order')", "dumb": DUMB}.items():
        distribution(name, source)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(("arguments", "code", "words"), MISTAKES, ids=[arguments for arguments, _, _ in MISTAKES])
def test_a_mistake(zoo, arguments, code, words):
    result = zoo("tasks", *shlex.split(arguments))
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith("error: ")
    assert len(result.err.splitlines()) in (1, 3)
    for word in words:
        assert word in result.err


@pytest.mark.usefixtures("place")
def test_a_broken_plugin_is_noted_beside_the_list(zoo):
    result = zoo("tasks", "m*")
    assert result.code == 0
    assert "note: not loaded, because broken: bad-tasks 1.2" in result.err


def test_a_target_that_is_none_is_not_the_mark_of_one(zoo):
    told = json.loads(zoo("tasks", "mqar", "--json").out)["example"]
    assert IGNORE not in told["targets"]
    assert [target is None for target in told["targets"]] == [not scored for scored in told["scored"]]
    assert issubclass(zoo_tasks()["mqar"], Task)


def test_the_tasks_of_a_suite(zoo):
    def names(*arguments):
        return [data["name"] for data in json.loads(zoo("tasks", *arguments, "--json").out)]

    recall = ["fuzzy-recall", "in-context-recall", "noisy-recall"]
    assert names("--suite", "mad") == sorted({*recall, "compression", "memorization", "selective-copying"})
    assert names("*recall", "--suite", "MAD") == recall


def test_a_suite_that_there_is_not_and_one_task_of_a_suite(zoo):
    result = zoo("tasks", "--suite", "recal")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(
        "error: no suite of tasks is named 'recal' (did you mean 'recall'?); there are: depth, "
    )
    result = zoo("tasks", "mqar", "--suite", "MAD")
    assert result.code == 2
    assert "--suite MAD chooses from a list, and mqar is one task" in result.err
