"""What every built-in task says of itself."""

import inspect
from importlib.metadata import entry_points

import pytest

from zoo import Task
from zoo.plugin.options import options_of
from zoo.tasks.plugin import zoo_tasks
from zoo.train.resolve import load_preset
from zoo.train.settings import Settings, validate

TASKS = zoo_tasks()

NAMES = {
    "mqar", "in-context-recall", "fuzzy-recall", "noisy-recall", "selective-copying", "compression", "memorization",
    "induction", "delayed-copy", "parity", "word-problem", "needle", "phonebook",
    "flip-flop", "undo-flip-flop", "state-recall", "dyck", "palindrome", "stack", "sorting", "counting",
    "automata", "copy", "ngram-lookup", "hops", "arithmetic", "topological-order",
}  # fmt: skip

MAD = {"in-context-recall", "fuzzy-recall", "noisy-recall", "selective-copying", "compression", "memorization"}

SHARED = {"length": int, "vocab": int, "examples": int | None, "test_lengths": tuple[int, ...]}


def test_the_entry_point_gives_all_tasks():
    (point,) = [point for point in entry_points(group="zoo") if point.name == "tasks"]
    given = point.load().zoo_tasks()
    assert set(given) == NAMES
    assert all(issubclass(cls, Task) for cls in given.values())


SUITES = {
    "MAD": MAD,
    "recall": {
        "copy", "ngram-lookup",
        "mqar", "in-context-recall", "fuzzy-recall", "noisy-recall", "induction", "delayed-copy", "needle",
        "phonebook",
        "state-recall",
    },
    "extrapolation": {
        "copy", "ngram-lookup",
        "needle", "phonebook", "parity", "word-problem", "undo-flip-flop", "state-recall", "dyck", "palindrome",
        "stack", "sorting", "counting",
    },
    "state": {
        "arithmetic", "parity", "word-problem", "flip-flop", "undo-flip-flop", "state-recall", "dyck", "palindrome",
        "stack", "sorting", "counting",
    },
    "in-context": {"automata"},
    "depth": {"hops", "arithmetic", "topological-order"},
}  # fmt: skip


def test_the_suites_are_what_they_say():
    found = {}
    for name, cls in TASKS.items():
        for suite in (cls.suite,) if isinstance(cls.suite, str) else cls.suite:
            found.setdefault(suite, set()).add(name)
    found.pop("", None)
    assert found == SUITES


def test_the_base_setting_of_mad():
    sizes = {name: (t.length, t.vocab_size, t.train_examples, t.test_examples) for name in MAD for t in [TASKS[name]()]}
    assert sizes == {
        "in-context-recall": (128, 16, 12800, 1280),
        "fuzzy-recall": (128, 16, 12800, 1280),
        "noisy-recall": (128, 32, 12800, 1280),
        "selective-copying": (256, 16, 12800, 1280),
        "compression": (32, 16, 12800, 1280),
        "memorization": (32, 256, 256, 1280),
    }
    assert [name for name in NAMES if not TASKS[name].disjoint] == ["memorization"]


@pytest.mark.parametrize("name", TASKS)
def test_every_option_is_typed_and_explained(name):
    options = options_of(TASKS[name])
    assert options
    for option in options:
        assert option.meaning, f"{name}: {option.name} is not explained"
        assert not option.required
        assert option.annotation == SHARED.get(option.name, option.annotation)
        assert option.check(option.default, name) == option.default
    assert {option.name for option in options} >= {"length", "examples"}


@pytest.mark.parametrize("name", TASKS)
def test_the_docstring_has_its_parts_in_order(name):
    doc = inspect.cleandoc(TASKS[name].__doc__)
    places = [doc.index(part) for part in ("\n\n    ", "\nOptions:\n", "\nRaises:\n", "\nSource:")]
    assert places == sorted(places)
    assert doc.split("\n\n")[0].endswith(".")
    assert TASKS[name].paper
    assert TASKS[name].paper == "unpublished" or TASKS[name].paper.split("arXiv:")[1] in doc


@pytest.mark.parametrize("name", TASKS)
def test_settings_are_those_of_a_run_and_leave_the_rest_to_it(name):
    settings = TASKS[name].settings
    assert not set(settings) & {"steps", "lr", "seed", "precision"}
    validated = validate({**load_preset("quick"), **settings})
    assert {key: getattr(validated, key) for key in settings} == dict(settings)
    assert validated.dim % validated.heads == 0
    assert set(settings) <= set(Settings.model_fields)


def test_the_protocols_that_others_published():
    assert TASKS["mqar"].settings == {
        "layers": 2, "heads": 1, "channel_mixer": "none", "dim": 64, "weight_decay": 0.1,
    }  # fmt: skip
    for name in MAD:
        assert TASKS[name].settings == {"dim": 128, "layers": 2, "heads": 16, "channel_mixer": "swiglu", "batch": 128}


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("odd", [0, 1])
def test_every_token_has_a_symbol_of_its_own(name, odd):
    sizes = {option.name for option in options_of(TASKS[name])}
    task = TASKS[name](**{"vocab": 80 + odd} if "vocab" in sizes else {})
    symbols = [task.symbol(token) for token in range(task.vocab_size)]
    assert len(set(symbols)) == task.vocab_size
    assert not any(character.isspace() for symbol in symbols for character in symbol)
    assert all(symbols)


@pytest.mark.parametrize("name", TASKS)
def test_only_compression_has_a_readout(name):
    assert (TASKS[name]().readout(8) is not None) == (name == "compression")
