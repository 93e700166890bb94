"""Curves of runs are read from their logs, and told apart by short labels."""

import json
from pathlib import Path

import numpy as np
import pytest

import zoo
from zoo.errors import UsageError
from zoo.lab.evaluation.curves import labels_of, read_overlay
from zoo.lab.evaluation.overlay import draw_overlay
from zoo.lab.size import measure_training_flops

CONFIG = {"mixer": "dot-product", "dim": 16, "context": 16, "batch": 2, "accumulate": 1, "data": "a.txt", "lr": 0.001}


def logged(folder, rows=6, **settings):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | settings))
    metrics = [
        {"step": step, "tokens": 32 * step, "train_loss": 3 / step, "lr": 0.001}
        | ({"validation_loss": 4 / step, "validation_accuracy": 0.1 * step} if step % 2 == 0 else {})
        for step in range(1, rows + 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
    timings = [{"step": step, "seconds": 0.5 * step} for step in range(1, rows + 1)]
    (folder / "timings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in timings))
    return folder


@pytest.mark.parametrize(
    ("x", "y", "points"),
    [
        ("steps", "validation", [(2, 2), (4, 1), (6, 4 / 6)]),
        ("tokens", "loss", [(32, 3), (64, 1.5), (96, 1), (128, 0.75), (160, 0.6), (192, 0.5)]),
        ("seconds", "accuracy", [(1, 20), (2, 40), (3, 60)]),
    ],
)
def test_what_is_drawn_against_what(tmp_path, x, y, points):
    (curve,) = read_overlay([logged(tmp_path / "run")], x=x, y=y).curves
    assert list(zip(curve.x, curve.y, strict=True)) == [pytest.approx(point) for point in points]


@pytest.mark.slow
def test_operations_are_those_of_the_training_steps(own_world, tmp_path):
    (tmp_path / "text.txt").write_text("the cat sat on the mat. " * 40)
    data = zoo.load_data(tmp_path / "text.txt", tokenizer="char")
    model = zoo.build_model("dot-product", vocab_size=data.vocab_size, dim=16, layers=1, heads=2, context=16)
    run = zoo.save_run(model, tmp_path / "run", data=data)
    logged(tmp_path / "logs")
    for name in ("metrics.jsonl", "timings.jsonl"):
        (tmp_path / "logs" / name).rename(run / name)
    (curve,) = read_overlay([run], x="flops").curves
    per_token = measure_training_flops(model, length=16)
    batch = zoo.load_run(run).settings.batch
    assert curve.x.tolist() == [step * batch * 16 * per_token for step in (2, 4, 6)]


def test_a_comparison_stands_for_its_runs_that_count(tmp_path):
    comparison = tmp_path / "comparison"
    for seed in range(2):
        logged(comparison / "runs" / "00-a" / f"run-lr0.001-seed{seed}", seed=seed)
    logged(comparison / "runs" / "00-a" / "sweep-lr0.001-seed2", seed=2)
    (comparison / "comparison.json").write_text("{}")
    assert [c.label for c in read_overlay([comparison]).curves] == ["dot-product, seed=0", "dot-product, seed=1"]


@pytest.mark.parametrize(
    ("configs", "labels"),
    [
        ([{"mixer": "a"}, {"mixer": "b"}], ["a", "b"]),
        ([{"mixer": "a", "lr": 0.001}, {"mixer": "a", "lr": 0.01}], ["a, lr=0.001", "a, lr=0.01"]),
        ([{"mixer": "a", "seed": 0, "threads": 1}, {"mixer": "a", "seed": 0}], ["a, r0", "a, r1"]),
        ([{"mixer": "a", "seed": 0}, {"mixer": "b"}, {"mixer": "a", "seed": 1}], ["a, seed=0", "b", "a, seed=1"]),
        ([{"mixer": "a"} | dict.fromkeys("bcde", i) for i in range(2)], ["a, r0", "a, r1"]),
    ],
)
def test_labels_are_short_and_distinct(configs, labels):
    assert labels_of(configs, [Path(f"runs/r{i}") for i in range(len(configs))]) == labels


def test_runs_in_folders_of_one_name_are_told_apart():
    assert labels_of([{"mixer": "a"}] * 2, [Path("x/r"), Path("y/r")]) == ["a, x/r", "a, y/r"]


def test_losses_of_other_targets_are_pointed_out(tmp_path):
    paths = [logged(tmp_path / "a"), logged(tmp_path / "b", data="b.txt")]
    assert read_overlay(paths).notes == ("the runs differ in data: their losses are not those of the same targets",)
    assert read_overlay(paths, y="accuracy").notes == ()
    paths = [paths[0], logged(tmp_path / "c", rows=1)]
    overlay = read_overlay(paths)
    assert overlay.notes == (f"{tmp_path / 'c'} has no validation loss yet, and is left out",)
    assert len(overlay.curves) == 1


def test_the_lines_are_the_curves(tmp_path):
    paths = [logged(tmp_path / "a"), logged(tmp_path / "b", mixer="involution")]
    overlay = read_overlay(paths)
    axes = draw_overlay(overlay).axes[0]
    assert [line.get_label() for line in axes.lines] == ["dot-product", "involution"]
    assert np.array_equal(axes.lines[0].get_ydata(), overlay.curves[0].y)
    assert axes.get_ylabel() == "validation loss"
    assert len({line.get_color() for line in axes.lines}) == 2


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"x": "step"}, r"`x`=step \(did you mean 'steps'\?\): it should be one of steps, tokens, seconds, flops"),
        ({"y": "losses"}, r"`y`=losses \(did you mean 'loss'\?\)"),
        ({"y": "gradient-norm"}, r"none of the runs has a norm of the gradient yet: choose another `y`, or other runs"),
    ],
)
def test_mistakes(tmp_path, options, text):
    with pytest.raises(UsageError, match=f"^{text}"):
        read_overlay([logged(tmp_path / "run")], **options)


def test_what_is_no_run(tmp_path):
    (tmp_path / "else").mkdir()
    with pytest.raises(UsageError, match=r"else is neither a run nor a comparison"):
        read_overlay([tmp_path / "else"])
    with pytest.raises(UsageError, match=r"there is no run at .*nowhere: no such folder"):
        read_overlay([tmp_path / "nowhere"])
    run = logged(tmp_path / "run")
    (run / "metrics.jsonl").write_text("{\n")
    with pytest.raises(UsageError, match=r"metrics.jsonl is damaged in line 1"):
        read_overlay([run])
