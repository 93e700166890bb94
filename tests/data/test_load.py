import numpy as np
import pytest

from zoo.data.dataset import Dataset
from zoo.data.load import create_task, load_source, task_call
from zoo.errors import PatternError, PluginError, UsageError
from zoo.plugin.catalogue import Entry
from zoo.plugin.kinds import TASK
from zoo.plugin.registry import Origin, Plugin, Registry
from zoo.task import Examples, Task

ORIGIN = Origin("acme", "1.0", "acme")


class Count(Task):
    """Count.

    Options:
        length: tokens.
    """

    def __init__(self, length: int = 4):
        if length < 2:
            raise ValueError(f"length={length} should be 2 or more")
        self.length, self.vocab_size = length, 9

    def draw(self, generator, examples, *, length, test):
        inputs = generator.integers(0, 9, (examples, length))
        return Examples(inputs, inputs)


class Sizeless(Task):
    """Says nothing of its size."""


class Failing(Task):
    """Cannot be built."""

    def __init__(self):
        raise RuntimeError("out of order")


TASKS = {"count-up": Count, "sizeless": Sizeless, "failing": Failing}
REGISTRY = Registry(
    [
        Plugin(ORIGIN, tuple(Entry(name, cls, ORIGIN, TASK) for name, cls in TASKS.items())),
        Plugin(Origin("bolt", "2", "bolt"), error="ImportError: gone"),
    ]
)


def load(data):
    return load_source(data, tokenizer="byte", validation_fraction=0.1, registry=REGISTRY)


WAYS = ["count-up", "count_up", "acme:count-up", "count-up(length=4)", " count-up ( length = 4 )"]


@pytest.mark.parametrize("data", WAYS)
def test_ways_to_name_a_task(data):
    source = load(data)
    assert source.vocab_size == 9
    assert source.task.length == 4
    assert source.name == str(task_call(data, REGISTRY))
    assert source.name in {"count-up", "acme:count-up", "count-up(length=4)"}
    assert source.readout(8) is None
    assert source.tokenizer is None


def test_a_text_is_a_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("count-up", "count-up(1)", "other"):
        (tmp_path / name).write_text("one two three four " * 20)
    for data in ("./count-up", str(tmp_path / "count-up"), "other"):
        assert isinstance(load(data), Dataset)
    assert task_call("python-stdlib", REGISTRY) is None
    assert task_call("count-up", REGISTRY) is not None  # the task's name comes first


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        (
            "count-up(lenght=3)",
            UsageError,
            "count-up has no option 'lenght' (did you mean 'length'?); its",
        ),
        ("count-up(length=1)", UsageError, "count-up: length=1 should be 2 or more"),
        ("count-up(length='a')", UsageError, "count-up: option length='a' should be a valid integer"),
        ("count-down(length=3)", UsageError, "no task is named 'count-down' (did you mean 'count-up'?)"),
        ("count-up(length=)", PatternError, "count-up(length=)"),
        ("count-up(", PatternError, "count-up("),
        ("sizeless", PluginError, "sizeless, from acme 1.0 (entry point 'acme'), has no vocab_size of 1 or more"),
        (
            "failing",
            PluginError,
            "(entry point 'acme'), failed to build: RuntimeError: out of order",
        ),
        ("bolt", PluginError, "task 'bolt' should come from bolt 2 (entry point 'bolt'), which is broken"),
        ("gone:count", PluginError, "task gone:count needs the distribution 'gone'"),
    ],
)
def test_mistakes(data, kind, text):
    with pytest.raises(kind) as caught:
        load(data)
    assert text in str(caught.value)


def test_a_task_from_its_name_alone():
    assert create_task("count-up(length=7)", REGISTRY).length == 7
    generator = np.random.default_rng(0)
    assert create_task("count-up", REGISTRY).draw(generator, 2, length=3, test=False).inputs.shape == (2, 3)


def test_an_unknown_word_hints_at_tasks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"^there is no data 'mqra' \(did you mean 'mqar'\?\): expected python-stdlib"):
        load_source("mqra", tokenizer="byte", validation_fraction=0.1)


class Counted(Count):
    """Count, under other names, too.

    Options:
        length: tokens.
    """

    aliases = ("tally", "count-up")
    suite = ("numbers", "MAD of ours")


def test_another_name_finds_a_task_and_its_own_is_kept():
    registry = Registry([Plugin(ORIGIN, (Entry("count", Counted, ORIGIN, TASK),))])
    for name in ("tally", "count-up", "count_up", "acme:tally"):
        assert str(task_call(f"{name}(length=6)", registry)) == "count(length=6)"
        assert create_task(f"{name}(length=6)", registry).length == 6
    assert str(task_call("count(length=6)", registry)) == "count(length=6)"
    assert load_source("tally", tokenizer="byte", validation_fraction=0.1, registry=registry).name == "count"
    with pytest.raises(UsageError, match="no task is named 'tallies'"):
        create_task("tallies", registry)


def test_a_name_goes_before_another_name():
    other = Origin("other", "1.0", "other")
    tally = Entry("tally", Count, other, TASK)
    registry = Registry([Plugin(ORIGIN, (Entry("count", Counted, ORIGIN, TASK),)), Plugin(other, (tally,))])
    assert registry[TASK].find("tally") is tally
    assert str(task_call("tally", registry)) == "tally"
    assert str(task_call("acme:tally", registry)) == "count"


def test_a_task_of_several_suites():
    registry = Registry([Plugin(ORIGIN, (Entry("count", Counted, ORIGIN, TASK), Entry("plain", Count, ORIGIN, TASK)))])
    assert registry.suites == ("MAD of ours", "numbers")
    assert registry.suite("Numbers") == registry.suite("numbers") == ("count",)
    assert registry.suite("letters") == ()
