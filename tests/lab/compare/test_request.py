import shlex

import pytest

from zoo.errors import PatternError, UsageError
from zoo.lab.compare.request import (
    Budget,
    Request,
    check_request,
    read_budget,
    read_data,
    read_lrs,
    read_match,
    read_patterns,
)
from zoo.train.resolve import read_assignments

from .samples import COPY, MQAR, request


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("steps:2000", Budget("steps", 2000)),
        ("seconds:90", Budget("seconds", 90)),
        ("seconds:1.5m", Budget("seconds", 90)),
        ("flops:1e13", Budget("flops", 1e13)),
        ("flops:1.23456789e12", Budget("flops", 1.23456789e12)),
    ],
)
def test_budgets(text, budget):
    assert read_budget(text) == budget
    assert read_budget(str(budget)) == budget


@pytest.mark.parametrize(
    "text",
    ["", "steps", "steps:", "steps:1.5", "steps:0", "steps:-1", "steps:1e10", "seconds:x", "seconds:0", "flops:nan",
     "flops:inf", "tokens:5", "steps:5:6"],
)  # fmt: skip
def test_budgets_that_cannot_be_are_told_with_one_that_can(text):
    with pytest.raises(UsageError, match="should read steps:2000, seconds:90 or flops:1e13") as error:
        read_budget(text)
    assert repr(text) in str(error.value)


def test_learning_rates_stand_in_order_and_once():
    assert read_lrs("3e-3,1e-3, 0.001") == (0.001, 0.003)


@pytest.mark.parametrize("text", ["", "1e-3,", "x", "0", "-1e-3", "inf", "nan", "1e-3;2e-3"])
def test_learning_rates_that_cannot_be_are_told(text):
    with pytest.raises(UsageError, match="should be numbers above 0 with commas"):
        read_lrs(text)


def test_what_is_matched():
    assert [read_match(text) for text in ("none", "params", "flops", "state")] == ["none", "params", "flops", "state"]
    with pytest.raises(
        UsageError, match=r"'parms' should be one of none, params, flops, state \(did you mean 'params'"
    ):
        read_match("parms")


def test_patterns_are_made_canonical():
    assert read_patterns(["dot_product( window = 4 )", "correlation*2"]) == ("dot-product(window=4)", "correlation*2")
    with pytest.raises(PatternError):
        read_patterns(["dot-product("])


def test_a_suite_stands_for_its_tasks():
    mad = read_data(["MAD"])
    assert len(mad) == 6
    assert {"compression", "memorization", "selective-copying"} < set(mad)
    assert read_data(["mad"]) == mad
    assert read_data(["python-stdlib", "MAD"]) == ("python-stdlib", *mad)


def test_tasks_are_made_canonical_and_texts_left():
    assert read_data(["mqar(vocab=64,length = 16,pairs=2)", "./a text.txt"]) == (MQAR, "./a text.txt")
    assert read_data(["delayed_copy"]) == ("delayed-copy",)
    with pytest.raises(UsageError):
        read_data(["mqar(vocab"])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"patterns": ()}, "nothing to compare: name one pattern or more"),
        ({"patterns": ("correlation", "involution", "correlation")}, "the pattern 'correlation' is named twice"),
        ({"patterns": tuple(f"dot-product(window={n})" for n in range(1, 66))}, "65 patterns are too many"),
        ({"data": (COPY, COPY)}, f"the data {COPY!r} is named twice"),
        ({"seeds": 0}, "`seeds`=0 should be from 1 to 1000"),
        ({"seeds": 1001}, "`seeds`=1001 should be"),
        ({"jobs": 0}, "`jobs`=0 should be from 1 to 256"),
        ({"settings": {"seed": 3}}, "the setting seed is not for a comparison: write `seeds`"),
        ({"settings": {"lr": 1e-3}}, "the setting lr is not for a comparison: write `lrs`"),
        ({"settings": {"steps": 3}}, "write `budget`=steps:…"),
        ({"settings": {"max_time": "9s"}}, "write `budget`=seconds:…"),
        ({"settings": {"mixer": "x"}}, "the patterns are the arguments"),
        ({"settings": {"data": "x"}}, "write `data`"),
        ({"settings": {"threads": 1}}, "write `jobs`"),
    ],
)
def test_requests_that_cannot_be_are_refused(wrong, words):
    with pytest.raises(UsageError) as error:
        check_request(Request(**{"patterns": ("correlation",), "data": (COPY,), "tier": "smoke"} | wrong))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def parsed(command):
    """The request that a command line makes, read without the command line."""
    words = shlex.split(command)[2:]
    first = next(index for index, word in enumerate(words) if word.startswith("--"))
    given = {}
    for flag, value in zip(words[first::2], words[first + 1 :: 2], strict=True):
        given.setdefault(flag, []).append(value)
    one = {flag: values[0] for flag, values in given.items()}
    return Request(
        patterns=read_patterns(words[:first]),
        data=read_data(given["--data"]),
        tier=one["--tier"],
        seeds=int(one["--seeds"]) if "--seeds" in one else None,
        lrs=read_lrs(one["--lrs"]) if "--lrs" in one else None,
        match=read_match(one.get("--match", "none")),
        budget=read_budget(one["--budget"]) if "--budget" in one else None,
        settings=read_assignments(given.get("--set", ())),
        jobs=int(one["--jobs"]) if "--jobs" in one else None,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seeds": None, "lrs": None, "jobs": None, "settings": {}},
        {"lrs": (0.00123456789, 0.0012345679), "budget": Budget("flops", 1.23456789e12), "match": "state"},
        {
            "settings": {
                "compile": False,
                "layers": "none",
                "positions": "none",
                "dropout": 0.1,
                "activation_checkpointing": True,
                "clip": 1e-7,
            }
        },
        {"settings": {"tokenizer": "bpe(vocab_size=300)", "channel_mixer": "mlp(hidden=7)", "device": "none"}},
        {"settings": {"tokenizer": " 1 ", "positions": "true"}},
        {"data": ("it's a $text.txt", MQAR), "budget": Budget("seconds", 90)},
    ],
)
def test_the_command_makes_the_same_request_again(changes):
    made = request('dot-product(window=4, note="it\'s <b> $x$")', "correlation*2, involution", **changes)
    assert parsed(made.command) == made
