import csv
import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from zoo.lab.compare import plots
from zoo.lab.compare.export import results_as_json, results_table, timings_table
from zoo.lab.compare.folder import Folder
from zoo.lab.compare.plots import draw_heat_map, draw_means, draw_slices, pictures_of
from zoo.lab.compare.report import columns, rows, write_results
from zoo.lab.compare.results import gather, metric_of
from zoo.pages.picture import save_picture

from .samples import COPY, MQAR, TEXT, plan, size, summary, write_arm, write_run

pytestmark = pytest.mark.pictures

EVIL = 'dot-product(note="<script>alert(1)</script> $x^2$ & _under_")'


class Page(HTMLParser):
    """What a browser would see: tags, what they point at, and text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.text, self.ids = [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "xlink:href", "data", "action")]
        self.ids += [value for name, value in attributes if name == "id"]

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A comparison with all that may befall: a failure to build, a seed that failed, evil names, a text."""
    path = tmp_path_factory.mktemp("report") / "<b>out"
    path.mkdir()
    made = plan(
        "correlation", EVIL, "broken", data=(COPY, MQAR, TEXT), errors={"broken": "no <i>such</i> mixer"},
        lrs=(1e-3, 1e-2), command=f"zoo compare '{EVIL}'",
    )  # fmt: skip
    folder = Folder(path)
    for index, arm in enumerate(made.arms):
        for trial in made.sweeps(index):
            write_run(folder, made, trial, summary(0.5 + trial.lr, 1 - trial.lr))
        if arm.settings is not None:
            worse = None if arm.pattern == EVIL else 0.7
            write_runs(folder, made, index, (0.5 + index / 100, 0.6, worse))
    results = gather(made, folder)
    write_results(results, folder)
    return results, folder


def write_runs(folder, made, index, values):
    for trial, value in zip(made.results(index, 1e-2), values, strict=True):
        told = None if value is None else summary(value, 1 + value)
        points = [] if value is None else [(20, 1.0, value / 2, 2.0), (40, 2.0, value, 1 + value)]
        write_run(folder, made, trial, told, error="RuntimeError: <u>no</u>" if value is None else None, curve=points)


def page(written):
    text = (written[1].path / "report.html").read_text(encoding="utf-8")
    return text, Page(text)


@pytest.mark.slow
def test_names_are_escaped(written):
    text, seen = page(written)
    assert not {"script", "i", "u", "b"} & set(seen.tags)
    assert EVIL in seen.text
    assert "broken: no <i>such</i> mixer" in " ".join(seen.text.split())
    assert "seed 2: RuntimeError: <u>no</u>" in seen.text
    assert "<script" not in text


@pytest.mark.slow
def test_nothing_is_fetched_from_anywhere(written):
    text, seen = page(written)
    assert [link[:50] for link in seen.links if not link.startswith("#")] == ["data:,"]  # no icon
    assert "@import" not in text
    assert "url(http" not in text
    assert "src=" not in text
    anchors = [identity for identity in seen.ids if identity.startswith("data-")]
    assert len(anchors) == 3
    assert [link[1:] for link in seen.links if link.startswith("#data")] == anchors


@pytest.mark.slow
def test_the_page_holds_all_that_is_needed_to_make_it_again(written):
    _, seen = page(written)
    results, _ = written
    assert results.plan.command in seen.text
    assert "sha256" in seen.text
    for word in ("python", "torch", "zoo"):
        assert word in seen.text
    for sentence in ("Every pattern saw the same batches in the same order, on 3 seeds", "Sizes were not made",
                     "the learning rates 0.001, 0.01 were tried on a seed of their own (3), whose"):  # fmt: skip
        assert sentence in " ".join(seen.text.split())
    assert "Not finished" not in seen.text
    assert "Learning rates tried" in seen.text


@pytest.mark.slow
def test_names_in_pictures_are_never_maths(written):
    svg = (written[1].path / "plots" / "00-means.svg").read_text()
    assert "$x^2$" in svg
    assert "&lt;script&gt;" in svg
    assert "<script" not in svg


@pytest.mark.slow
def test_every_picture_is_there_twice(written):
    names = {path.name for path in (written[1].path / "plots").iterdir()}
    kinds = {"overview", *(f"{number}-{kind}" for number in ("00", "01", "02") for kind in ("curves", "means"))}
    assert names == {f"{kind}.{form}" for kind in kinds for form in ("svg", "png")}


@pytest.mark.slow
def test_the_table(written):
    rows = list(csv.DictReader((written[1].path / "results.csv").read_text().splitlines()))
    assert len(rows) == 3 * 2 * (2 + 3)
    assert {entry["kind"] for entry in rows} == {"sweep", "result"}
    first = rows[2]
    assert (first["pattern"], first["lr"], first["seed"], first["steps"]) == ("correlation", "0.01", "0", "40")
    assert (int(first["tokens"]), float(first["flops"])) == (40 * 2 * 12, 40 * 2 * 12 * 10_000)
    failed = [entry for entry in rows if entry["error"]]
    assert len(failed) == 3
    assert failed[0]["error"] == "RuntimeError: <u>no</u>"
    assert not {"seconds", "tokens_per_second"} & set(first)
    timed = list(csv.DictReader((written[1].path / "timings.csv").read_text().splitlines()))
    assert (len(timed), timed[0]["seconds"]) == (len(rows) - 3, "2.0")


@pytest.mark.slow
def test_the_json(written):
    told = json.loads((written[1].path / "results.json").read_text())
    assert told == json.loads(json.dumps(results_as_json(written[0])))
    assert [data["metric"] for data in told["data"]] == ["accuracy", "accuracy", "loss"]
    arm, evil, broken = told["data"][0]["arms"]
    assert (arm["lr"], arm["sweep"], arm["estimate"]["seeds"]) == (0.01, {"0.001": 0.501, "0.01": 0.51}, 3)
    assert arm["estimate"]["mean"] == pytest.approx((0.5 + 0.6 + 0.7) / 3)
    assert (evil["estimate"]["seeds"], evil["runs"][2]["error"]) == (2, "RuntimeError: <u>no</u>")
    assert (broken["error"], broken["size"], broken["runs"]) == ("no <i>such</i> mixer", None, [])
    assert "seconds" not in json.dumps(told)


@pytest.mark.slow
def test_a_row_of_the_table(written):
    results, _ = written
    first, _, broken = rows(results.data[0])
    assert dict(zip(columns(results.data[0]), first, strict=True)) == {
        "pattern": "correlation",
        "validation accuracy (%)": "60.0 ± 23.2 %",
        "guessing (%)": "49.5",
        "solved (99.0 %)": "0 of 3 (0 to 71 %)",
        "by seed": "50.0, 60.0, 70.0",
        "steps": "40",
        "lr": "0.01",
        "width": "16",
        "parameters": "2k",
        "FLOPs/token": "10k",
        "state": "500",
        "match": "1.000",
    }
    assert broken == ["broken", "failed", *["n/a"] * 10]


def test_where_nothing_was_matched_there_is_no_column_for_it(tmp_path):
    made = plan("correlation", seeds=1)
    made = replace(made, arms=tuple(replace(arm, ratio=None) for arm in made.arms))
    (result,) = gather(made, Folder(tmp_path)).data
    assert columns(result)[-1] == "state"
    assert [len(row) for row in rows(result)] == [len(columns(result))]


def test_the_metric_hangs_on_the_data_and_not_on_what_has_ended():
    assert [metric_of(data) for data in (MQAR, COPY, TEXT)] == ["accuracy", "accuracy", "loss"]


def test_nothing_has_ended_yet(tmp_path, monkeypatch):
    made = plan("correlation", seeds=1)
    results = gather(made, Folder(tmp_path))
    write_results(results, Folder(tmp_path), incomplete="0 of 1 runs have ended")
    assert results.data[0].metric == "accuracy"
    seen = Page((tmp_path / "report.html").read_text())
    assert "Not finished: 0 of 1 runs have ended" in seen.text
    assert "No run has a result." in seen.text
    assert results_table(results).strip() == timings_table(results).strip() == ""


# Pictures


def heat(tmp_path, values, data=(COPY, TEXT)):
    made, folder = plan(*values, data=data, seeds=1), Folder(tmp_path)
    for index, some in enumerate(value for column in zip(*values.values(), strict=True) for value in column):
        write_arm(folder, made, index, [some])
    results = gather(made, folder)
    return draw_heat_map(results.data, list(values))


def test_the_heat_map_shows_each_mean_and_shades_the_best_darkest(tmp_path):
    figure = heat(tmp_path, {"correlation": (0.25, 2.0), "involution": (1.0, 1.0), "dot-product": (None, 1.5)})
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == [
        "25.0 %", "2.000", "100.0 %", "1.000", "n/a", "1.500", "49.5 %", "n/a"
    ]  # fmt: skip
    shades = axes.collections[0].get_array().reshape(4, 2)
    assert shades[:2, 0].tolist() == [0.25, 1.0]
    assert shades[:3, 1].tolist() == [0.0, 1.0, 0.5]
    assert shades.mask[2, 0]
    names = ["correlation", "involution", "dot-product", "guessing"]
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert axes.yaxis_inverted()


def test_losses_that_are_all_the_same_are_neither_best_nor_worst(tmp_path):
    figure = heat(tmp_path, {"correlation": (0.25, 2.0), "involution": (1.0, 2.0)})
    assert figure.axes[0].collections[0].get_array().reshape(3, 2)[:2, 1].tolist() == [0.5, 0.5]


def means(tmp_path, data, *values):
    made, folder = plan("correlation", "involution", data=(data,), seeds=len(values[0])), Folder(tmp_path)
    for index, some in enumerate(values):
        write_arm(folder, made, index, some)
    (result,) = gather(made, folder).data
    (axes,) = draw_means(result, ["correlation", "involution"]).axes
    return result, axes


def test_bars_are_for_scales_that_begin_at_nought(tmp_path):
    _, axes = means(tmp_path / "a", COPY, [0.5, 0.6], [0.7, 0.8])
    assert sorted(bar.get_width() for bar in axes.patches) == pytest.approx([55, 75])
    assert axes.get_xlim()[0] == 0
    result, axes = means(tmp_path / "b", TEXT, [2.0, 2.1], [2.2, 2.3])
    assert not axes.patches
    assert "does not begin at 0" in axes.get_xlabel()
    low, high = axes.get_xlim()
    for arm in result.arms:
        assert low < arm.estimate.low < arm.estimate.high < high


def test_the_interval_is_drawn_and_that_of_one_seed_is_none(tmp_path):
    result, axes = means(tmp_path / "two", TEXT, [2.0, 2.1], [2.2, 2.3])
    ends = [bar.lines[2][0].get_segments()[0][:, 0].tolist() for bar in axes.containers]
    intervals = [[arm.estimate.low, arm.estimate.high] for arm in result.arms]
    assert ends == [pytest.approx(interval) for interval in reversed(intervals)]
    _, axes = means(tmp_path / "one", TEXT, [2.0], [2.0])
    assert not axes.containers
    assert axes.get_xlim()[0] < 2.0 < axes.get_xlim()[1]


def test_accuracies_by_slice_are_means_over_the_seeds(tmp_path):
    made, folder = plan("correlation", "involution", seeds=2), Folder(tmp_path)
    tables = ({"12": 1.0, "24": 0.5, "48": 0.25}, {"12": 1.0, "24": 0.25})
    for trial, table in zip(made.results(0, made.only_lr(0)), tables, strict=True):
        write_run(folder, made, trial, summary(1.0, accuracies={"length": table, "key": {"3": 0.5}}))
    results = gather(made, folder)
    names = {picture.name: picture.title for picture in pictures_of(results, folder)[COPY]}
    assert set(names) == {"00-means", "00-by-length"}
    assert names["00-by-length"].endswith("Training was at 12 tokens alone.")
    (axes,) = draw_slices(results.data[0], "length", ["correlation", "involution"]).axes
    line, guessing = axes.lines
    assert (list(guessing.get_xdata()), guessing.get_ydata()[0]) == ([12], pytest.approx(49.5, abs=0.1))
    assert list(line.get_xdata()) == [12, 24, 48]
    assert list(line.get_ydata()) == [100, 37.5, 25]


def test_long_names_are_broken_between_words_only():
    label = plots._label("dot-product(window=16)*3, correlation + involution, dot-product(window=64)")
    assert label.split("\n") == [
        "dot-product(window=16)*3,",
        "correlation + involution,",
        "dot-product(window=64)",
    ]
    assert plots._label("delayed-copy(length=12, vocab=4)", 20) == "delayed-copy(\nlength=12, vocab=4)"
    assert plots._label("texts/of/a/person.txt", 14) == "texts/of/a/\nperson.txt"


@pytest.mark.slow
def test_many_arms_with_long_names_draw_without_a_warning(tmp_path):
    """Warnings are errors here: matplotlib warns where a layout does not fit."""
    long = [
        f"correlation(max_lag={lag})*3, dot-product(window={lag}), involution(kernel_size=7)" for lag in range(1, 9)
    ]
    made, folder = plan(*long, data=(COPY, MQAR, TEXT)), Folder(tmp_path)
    for index in range(len(made.arms)):
        write_arm(folder, made, index, [0.5 + index / 100, 0.6, 0.7], accuracies={"length": {"12": 0.5, "24": 0.25}})
    for number, picture in enumerate(p for some in pictures_of(gather(made, folder), folder).values() for p in some):
        for path in save_picture(picture.draw, tmp_path / f"{number}"):
            assert path.stat().st_size > 5000


def test_experts_are_told(tmp_path):
    made, folder = plan("leviathan-moe", seeds=1), Folder(tmp_path)
    arm = made.arms[0]
    object.__setattr__(arm, "size", size(parameters=40_000, active_parameters=10_000))
    write_arm(folder, made, 0, [0.5])
    (result,) = gather(made, folder).data
    assert rows(result)[0][8] == "40k (10k active)"
