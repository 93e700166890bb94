import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zoo.errors import ZooError
from zoo.files import environment as environment_module
from zoo.files.environment import describe_environment
from zoo.train.curve import curve_svg, draw_curve, loss_range, smoothed
from zoo.train.report import finish, format_duration, write_report
from zoo.train.run_directory import RunDirectory
from zoo.train.summary import summary_from_json

pytestmark = pytest.mark.pictures

HOSTILE = '<script>alert(1)</script> & "quoted" \'</pre>'
SUMMARY = {
    "run": "runs/x",
    "mixer": "correlation*3, dot-product",
    "parameters": 812345,
    "steps": 1000,
    "train_loss": 1.3654,
    "validation_loss": 1.49512,
    "bits_per_byte": 2.157,
    "tokens_per_second": 31234.5,
    "seconds": 112.3,
}
VOID = {"meta", "link", "br", "hr", "img"}


class Page(HTMLParser):
    """The elements of a page in order, its text, and whether every element is closed where it should be."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.attributes, self.text, self._open, self.balanced = [], [], {}, [], True
        self.feed(source)
        self.close()
        self.balanced = self.balanced and not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend(attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_endtag(self, tag):
        self.balanced = self.balanced and bool(self._open) and self._open.pop() == tag

    def handle_data(self, data):
        if self._open:
            self.text.setdefault(self._open[-1], []).append(data)


def rows(steps, first=5.0, last=1.5):
    losses = last + (first - last) * np.exp(-np.arange(steps) / max(1, steps / 20))
    return [
        {"step": step + 1, "train_loss": float(loss)}
        | ({"validation_loss": float(loss) + 0.5} if step % 50 == 0 else {})
        for step, loss in enumerate(losses)
    ]


@pytest.fixture
def run(tmp_path):
    run = RunDirectory.create(tmp_path, mixer="x", config={"mixer": "x", "dim": 128, "compile": False, "layers": None})
    run.write_environment({"torch": "2.13", "cpu": {"name": "Deep Thought"}, "git": None})
    for row in rows(30):
        run.append_metrics(row)
    run.append_sample(10, "\n  first <b>\n")
    run.append_sample(30, f"{HOSTILE}\x00\x1b[31m\r\n")
    run.append_event("started", step=0)
    return run


def page_of(run, **changes):
    source = write_report(run, summary_from_json({**SUMMARY, **changes})).read_text(encoding="utf-8")
    page = Page(source)
    assert page.balanced
    return source, page


@pytest.mark.slow
def test_the_report_shows_everything_that_a_person_looks_for(run):
    _, page = page_of(run)
    assert page.text["h1"] == ["correlation*3, dot-product"]
    assert page.text["dt"][:2] == ["validation loss", "compression"]
    assert page.text["dd"] == ["1.4951", "2.157", "1.3654", "812,345", "1,000", "31,234", "1 min 52 s"]
    assert page.tags.count("svg") == 1
    cells = dict(zip(page.text["th"], page.text["td"], strict=False))
    assert cells["dim"] == "128"
    assert cells["compile"] == "no"
    assert cells["layers"] == "none"
    assert cells["cpu.name"] == "Deep Thought"
    pre = page.text["pre"]
    assert f"zoo generate {run.path} --tokens 300" in pre
    assert f"zoo train --resume {run.path} --steps 2000" in pre
    assert f"zoo train --config {run.path / 'config.json'}" in pre
    assert "started (step 0)" in page.text["td"]


@pytest.mark.slow
def test_samples_stand_as_they_were_written_the_last_one_first(run):
    source, page = page_of(run)
    # Browsers drop one newline after <pre>: the one that the template puts there.
    assert page.text["pre"][0] == f"\n{HOSTILE}\N{SYMBOL FOR NULL}\N{SYMBOL FOR ESCAPE}[31m\n"
    assert source.index("after step 30") < source.index("Earlier samples (1)") < source.index("after step 10")
    assert "<pre>\n\n  first &lt;b&gt;\n</pre>" in source


@pytest.mark.slow
def test_nothing_that_a_run_holds_becomes_markup(run):
    run.write_config({HOSTILE: HOSTILE})
    run.write_environment({HOSTILE: {HOSTILE: HOSTILE}})
    run.append_event(HOSTILE)
    source, page = page_of(run, mixer=HOSTILE)
    assert "script" not in page.tags
    assert source.count("&lt;script&gt;") >= 8
    assert page.text["h1"] == page.text["title"][0].split(" \N{EN DASH} ")[:1] == [HOSTILE]


@pytest.mark.slow
def test_the_report_asks_nobody_for_anything(run):
    source, page = page_of(run)
    assert {"script", "iframe", "img"}.isdisjoint(page.tags)
    links = [value for name, value in page.attributes if name in ("src", "href", "xlink:href")]
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)
    assert set(re.findall(r"https?://[^\s\"<]+", source)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "@import" not in source
    assert "url(" not in source.replace("url(#", "")


@pytest.mark.slow
def test_figures_that_a_run_lacks_are_shown_as_such(run):
    _, page = page_of(run, validation_loss=math.nan, bits_per_byte=None, tokens_per_second=math.inf)
    assert [page.text["dd"][index] for index in (0, 1, 5)] == ["n/a"] * 3


def test_a_run_without_samples_says_so(tmp_path):
    run = RunDirectory.create(tmp_path, mixer="x", config={})
    run.write_environment({})
    _, page = page_of(run)
    assert "No sample was made." in page.text["p"]


def test_commands_can_be_pasted_whatever_the_folder_is_called(tmp_path):
    run = RunDirectory.create(tmp_path, mixer="x", config={}, out=tmp_path / "it's here")
    run.write_environment({})
    _, page = page_of(run)
    assert any("it'\"'\"'s here' --tokens" in text for text in page.text["pre"])


@pytest.mark.slow
def test_finishing_a_run_writes_what_a_person_opens(run):
    finish(run, summary_from_json(SUMMARY))
    assert {"report.html", "loss.png", "metrics.csv"} <= {path.name for path in run.path.iterdir()}


@pytest.mark.slow
def test_a_report_that_cannot_be_written_is_told(run):
    (run.path / "report.html").mkdir()
    with pytest.raises(ZooError, match=r"cannot write .*report\.html: Is a directory"):
        write_report(run, summary_from_json(SUMMARY))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (112.3, "1 min 52 s"),
        (3599.6, "1 h 00 min"),
        (11100, "3 h 05 min"),
        (math.nan, "n/a"),
    ],
)
def test_durations_are_written_for_people(seconds, text):
    assert format_duration(seconds) == text


def picture(path):
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    return pixels[: int(0.85 * len(pixels))]  # without the legend


def pixels_near(image, colour, tolerance=12):
    return int((np.abs(image - np.array(colour)).max(-1) <= tolerance).sum())


BLUE, VERMILLION = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 3, 200, 10_000])
def test_both_losses_are_seen_however_many_points(tmp_path, steps):
    draw_curve(rows(steps), tmp_path / "loss.png", title="correlation $\\nope$ & _")
    image = picture(tmp_path / "loss.png")
    assert min(image.shape[:2]) > 500
    assert pixels_near(image, BLUE) >= 20
    assert pixels_near(image, VERMILLION) >= 20


@pytest.mark.slow
@pytest.mark.parametrize(
    "metrics",
    [
        [],
        [{"step": 1, "train_loss": None}],
        [{"step": 1, "train_loss": math.nan, "validation_loss": math.inf}],
        [{"step": 1, "validation_loss": 2.0}],
        [{"step": 1, "train_loss": 2.0}, {"step": 2, "train_loss": math.nan}],
        [{"step": step, "train_loss": 0.0} for step in range(30)],
    ],
)
def test_odd_metrics_are_drawn_without_complaint(metrics):
    assert curve_svg(metrics, title="x").startswith("<svg")
    assert curve_svg(metrics, title="x").rstrip().endswith("</svg>")


@pytest.mark.slow
def test_the_picture_is_a_function_of_the_run_alone(tmp_path):
    for name in ("a.png", "b.png"):
        draw_curve(rows(30), tmp_path / name, title="x")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert curve_svg(rows(30), title="x") == curve_svg(rows(30), title="x")


@pytest.mark.slow
def test_drawing_opens_no_window_and_starts_no_pyplot():
    code = "import sys; from zoo.train.curve import curve_svg; curve_svg([], title=''); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "matplotlib.figure" in modules
    assert {"matplotlib.pyplot", "tkinter", "torch"}.isdisjoint(modules)


def test_first_losses_that_tower_over_the_rest_are_cut():
    training = np.concatenate([np.linspace(300, 2, 10), np.linspace(2, 1.5, 190)])
    low, high = loss_range(training, np.array([250.0, 2.1, 1.8, 1.7]))
    assert 1.3 < low < 1.5
    assert 2.1 < high < 4


def test_a_wild_loss_in_the_middle_is_cut_but_a_divergence_is_shown():
    calm = np.linspace(2, 1.5, 100)
    wild, diverged = calm.copy(), calm.copy()
    wild[50], diverged[-1] = 1e6, 1e6
    nothing = np.array([])
    assert loss_range(wild, nothing)[1] < 3
    assert loss_range(diverged, nothing)[1] > 1e6
    assert loss_range(nothing, nothing) is None


@given(st.lists(st.floats(0, 20), max_size=60), st.lists(st.floats(0, 20), max_size=5))
def test_the_range_holds_the_last_losses(training, validation):
    shown = loss_range(np.array(training), np.array(validation))
    assert (shown is None) == (not training and not validation)
    for losses in (training, validation):
        assert not losses or shown[0] < losses[-1] < shown[1]


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=300))
def test_smoothing_is_the_mean_over_a_window(values):
    array = np.array(values)
    line = smoothed(array)
    reach = max(1, len(values) // 40)
    for index in {0, len(values) // 3, len(values) - 1}:
        near = min(reach, index)
        assert line[index] == pytest.approx(array[index - near : index + near + 1].mean(), abs=1e-9)


def test_the_environment_is_told_in_json(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plugins = {"correlation": {"distribution": "mixer-zoo", "version": "1"}}
    told = describe_environment(plugins=plugins, data_sha256="abc", device="cpu")
    assert json.loads(json.dumps(told)) == told
    assert told["plugins"] == plugins
    assert told["data_sha256"] == "abc"
    assert told["python"] == ".".join(map(str, sys.version_info[:3]))
    assert told["threads"]["intra_op"] == 1
    assert told["cpu"]["name"]
    assert told["device"] == "cpu"
    assert told["git"] is None


def git(*arguments):
    identity = ["-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


def test_the_revision_of_the_folder_is_told_and_whether_it_was_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git("init")
    assert environment_module._git_revision() is None
    (tmp_path / "file").write_text("a")
    git("add", "file")
    git("commit", "-m", "x")
    (tmp_path / "runs").touch()  # what is not tracked, e.g. the run itself, is no change
    clean = environment_module._git_revision()
    assert re.fullmatch("[0-9a-f]{40}", clean["revision"])
    assert clean["dirty"] is False
    (tmp_path / "file").write_text("b")
    assert environment_module._git_revision() == {**clean, "dirty": True}


def test_a_machine_without_git_is_described_too(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment_module._git_revision() is None


def test_the_processor_is_named_from_what_linux_tells(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Deep Thought @ 7.5: MHz\nmodel name\t: Other\n")
    assert environment_module._linux_cpu_name(tmp_path / "cpuinfo") == "Deep Thought @ 7.5: MHz"
    assert environment_module._linux_cpu_name(tmp_path / "missing") is None
