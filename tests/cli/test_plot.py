"""``zoo plot`` writes a picture of the curves, and never over a file."""

import json

import pytest

from .test_runs import made


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "runs" / "a", "dot-product", loss=2.0, started=1)
    made(tmp_path / "runs" / "b", "mamba2", loss=1.0, started=2)
    return tmp_path


def test_a_picture_and_the_points(zoo, runs):
    result = zoo("plot", "runs/a", "latest", "--out", "curves.svg", "--json")
    assert result.code == 0, result.err
    table = json.loads(result.out)
    assert [(c["label"], c["x"], c["y"]) for c in table.pop("curves")] == [
        ("dot-product", [10.0], [2.0]),
        ("mamba2", [10.0], [1.0]),
    ]
    assert table == {"picture": "curves.svg", "x": "steps", "y": "validation", "unit": ""}
    assert (runs / "curves.svg").is_file()


def test_without_a_name_the_first_that_is_free(zoo, runs):
    assert zoo("plot", "runs/a").out.split() == ["picture", "curves.png"]
    assert zoo("plot", "runs/a").out.split() == ["picture", "curves-2.png"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["runs/a", "--out", "note.png"], "note.png exists: choose another --out"),
        (["runs/a", "--out", "a.jpg"], "--out a.jpg should end in .png or .svg"),
        (["runs/a", "--out", "no/a.png"], "--out no/a.png: there is no folder no; make it first"),
        (["runs/a", "--x", "time"], "--x time: it should be one of steps, tokens, seconds, flops"),
        (
            ["runs/a", "--y", "acuracy"],
            "--y acuracy (did you mean 'accuracy'?): it should be one of validation, loss, ",
        ),
        (
            ["runs/a", "--y", "accuracy"],
            "none of the runs has a validation accuracy yet: choose another --y, or other ",
        ),
        (["runs"], "runs is neither a run nor a comparison"),
        (["nowhere"], "there is no run at nowhere: no such folder; see zoo runs"),
    ],
)
def test_mistakes(zoo, runs, arguments, text):
    (runs / "note.png").write_text("mine")
    result = zoo("plot", *arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"error: {text}")
    assert len(result.err.splitlines()) == 1
    assert [path.name for path in runs.iterdir() if path.is_file()] == ["note.png"]
    assert (runs / "note.png").read_text() == "mine"
