import json
import math
from dataclasses import asdict

import pytest

from zoo.errors import UsageError
from zoo.files.logs import row_line
from zoo.train.summary import Summary, read_summary, summary_from_json, write_summary

WHOLE = Summary(
    run="runs/x",
    mixer="correlation",
    parameters=1234,
    steps=7,
    train_loss=1.5,
    validation_loss=1.75,
    bits_per_byte=math.nan,
    unigram_loss=math.nan,
    validation_accuracy=0.5,
    accuracies={"length": {"12": 0.5, "24": 0.25}},
    guess_levels={"length": {"12": 0.125, "24": 0.0625}},
    tokens_per_second=math.nan,
    seconds=2.0,
    metric="accuracy",
    unit="nats per target",
    writes_text=False,
)


def same(one, other):
    return row_line(asdict(one)) == row_line(asdict(other))


def test_it_reads_back_as_it_was(tmp_path):
    assert read_summary(tmp_path) is None
    write_summary(tmp_path, WHOLE)
    assert same(read_summary(tmp_path), WHOLE)
    assert json.loads((tmp_path / "summary.json").read_text())["bits_per_byte"] is None
    assert (WHOLE.value, WHOLE.guess) == (0.5, 0.125)


@pytest.mark.parametrize("change", [{"parameters": "many"}, {"mixer": None}, {"unit": 3}, {"writes_text": 1}])
def test_a_figure_of_another_type_is_noticed(change):
    with pytest.raises(ValueError, match=f"{next(iter(change))} should be of type "):
        summary_from_json(json.loads(row_line(asdict(WHOLE))) | change)


def test_a_changed_bit_is_noticed(tmp_path):
    write_summary(tmp_path, WHOLE)
    path = tmp_path / "summary.json"
    path.write_text(path.read_text().replace("1.75", "1.25"))
    with pytest.raises(UsageError, match="is damaged"):
        read_summary(tmp_path)


@pytest.mark.parametrize(
    ("changes", "metric", "unit", "writes_text"),
    [
        ({}, "accuracy", "nats per target", False),
        ({"accuracies": {}, "guess_levels": {}}, "loss", "nats per token", True),
        ({"accuracies": {}, "unigram_loss": 3.0}, "loss", "nats per masked token", False),
    ],
)
def test_what_earlier_versions_did_not_write_follows_from_the_figures(changes, metric, unit, writes_text):
    saved = json.loads(row_line(asdict(WHOLE))) | changes
    for name in ("metric", "unit", "writes_text"):
        del saved[name]
    read = summary_from_json(saved)
    assert (read.metric, read.unit, read.writes_text) == (metric, unit, writes_text)


def test_the_first_versions_knew_no_accuracy_and_later_ones_may_know_more():
    names = ("run", "mixer", "parameters", "steps", "train_loss", "validation_loss", "bits_per_byte", "seconds")
    saved = {name: getattr(WHOLE, name) for name in names} | {"bits_per_byte": 2.0, "from_the_future": 1}
    read = summary_from_json(saved)
    assert (read.steps, read.value, read.accuracies, read.metric) == (7, 1.75, {}, "loss")
    assert math.isnan(read.validation_accuracy)
    assert math.isnan(read.guess)


@pytest.mark.parametrize(
    "damage", [[], {}, {"steps": None}, {"validation_loss": "low"}, {"accuracies": None}, {"accuracies": {"length": 1}}]
)
def test_what_is_no_summary_is_refused(damage):
    saved = {**json.loads(row_line(asdict(WHOLE))), **damage} if damage else damage
    with pytest.raises(ValueError, match="should"):
        summary_from_json(saved)
