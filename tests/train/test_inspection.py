import json

import pytest

from zoo.train.inspection import FOLDER, INDEX, Figure, picture_name, read_inspection

PART = {"part": "0.a", "share": 0.25, "loss_without": None, "difference": -0.5, "accuracy_without": 0.125}
PANEL = {"part": "0.a", "title": "weights", "reading": "Read.", "picture": "01-weights"}
TABLE = {
    "step": 1000,
    "tokens": 16384,
    "loss": 1.25,
    "accuracy": 0.5,
    "parts": [PART],
    "metrics": {"0.a.load": [1, 2], "0.a.entropy": 0.123456},
    "panels": [PANEL | {"part": None, "title": "overview"}, PANEL],
    "failures": [{"part": "0.a", "mixer": "a", "distribution": "acme", "error": "E: no"}],
}


@pytest.fixture
def run(tmp_path):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / INDEX).write_text(json.dumps(TABLE))
    (tmp_path / FOLDER / "01-weights.svg").write_text("<?xml?>\n<svg>drawn</svg>")
    return tmp_path


def test_an_inspection_is_read_as_the_report_shows_it(run):
    section = read_inspection(run)
    assert section.about == (
        "After step 1,000, measured on 16,384 validation targets. The whole model: loss 1.2500 nats per token, "
        "accuracy 50.0%."
    )
    assert section.rows == [("0.a", "0.250", "n/a", "-0.5000", "12.5%")]
    assert section.metrics == [("0.a.entropy", "0.1235")]
    assert section.overview == [Figure("overview", "Read.", "<svg>drawn</svg>")]
    failed = Figure("no panels", "The panels of a, from acme, failed: E: no")
    assert section.figures == {"0.a": [Figure("weights", "Read.", "<svg>drawn</svg>"), failed]}


def test_a_picture_that_is_gone_is_told(run):
    (run / FOLDER / "01-weights.svg").unlink()
    (figure,) = read_inspection(run).overview
    assert figure == Figure("overview", "Read. The picture is missing: run `zoo inspect` again.")


DAMAGE = [{"parts": [1]}, {"metrics": []}, {"accuracy": 10**400}, {"panels": [3]}]


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "null", "[" * 9999, *(json.dumps(TABLE | damage) for damage in DAMAGE)]
)
def test_a_damaged_index_is_no_inspection(run, content):
    (run / FOLDER / INDEX).write_text(content)
    assert read_inspection(run) is None


def test_a_run_without_an_inspection_has_no_section(tmp_path):
    assert read_inspection(tmp_path) is None


@pytest.mark.parametrize("name", ["../01-weights", "a/b", "", "a.svg", None, 3])
def test_a_name_that_leads_elsewhere_is_refused(name):
    with pytest.raises(ValueError, match="names no picture"):
        picture_name({"picture": name})
