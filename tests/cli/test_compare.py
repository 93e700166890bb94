import io
import json
import re
from contextlib import contextmanager, redirect_stderr
from functools import partial
from pathlib import Path

import pytest

from zoo.cli import compare_display
from zoo.cli.compare_display import Board, Lines, live_listener
from zoo.lab.compare.planning import make_plan
from zoo.lab.compare.pool import Pool
from zoo.lab.compare.progress import RunProgress
from zoo.lab.compare.request import Request
from zoo.lab.compare.trial import Outcome
from zoo.train.loop import Trainer
from zoo.train.summary import summary_from_json

from ..executors import in_this_process  # noqa: TID252 - pytest finds the parts of the tests by where they are

COPY = "delayed-copy(length=12, vocab=4, delay=2)"
SEVEN_HEADS = "dot-product(heads=7)"
"""Has no mistake in it, and cannot be built at a width of 16."""

TINY = ["--data", COPY, "--dim", "16", "--layers", "1", "--heads", "1", "--device", "cpu", "--budget", "steps:4"]
TINY += ["--set", "batch=2", "--set", "evaluation_tokens=64", "--set", "final_evaluation_tokens=64", "--jobs", "1"]

BAD = """
    import torch
    from zoo import TokenMixer, hookimpl

    class NotFinite(TokenMixer):
        def forward(self, x):
            return x * float("nan")

    class Raises(TokenMixer):
        def forward(self, x):
            if self.training and x.shape[0] == 2:
                raise RuntimeError("no\\nluck")
            return x

    class RaisesAlways(TokenMixer):
        def forward(self, x):
            raise RuntimeError("never")

    @hookimpl
    def zoo_mixers():
        return {"not-finite": NotFinite, "raises": Raises, "raises-always": RaisesAlways}
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Other processes and pictures are tried elsewhere."""
    in_this_process(monkeypatch)
    monkeypatch.setattr(Trainer, "test", lambda self: {"length": {"12": self.validation_accuracy}})
    monkeypatch.setattr("zoo.lab.compare.report.pictures_of", lambda results, _: {r.data: [] for r in results.data})


@pytest.mark.slow
def test_tables_and_files(zoo, tmp_path):
    out = tmp_path / "out"
    result = zoo("compare", "dot-product", "correlation", *TINY, "--seeds", 2, "--out", out)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].startswith(f"{COPY}: ")
    assert re.search(r": (All reached|\S+ is ahead with) ", lines[0])
    assert [line.split()[0] for line in lines[2:5]] == ["pattern", "dot-product", "correlation"]
    assert f"report   {out / 'report.html'}" in lines
    err = result.err.splitlines()
    assert err[0] == "4 runs, 1 at a time"
    assert re.fullmatch(rf"1/4  {re.escape(COPY)}  dot-product  lr 0\.002  seed 0  [\d.]+ %  0:0\d", err[1])
    assert len(err) == 5
    written = {path.name for path in out.iterdir()}
    assert {
        "comparison.json",
        "results.csv",
        "results.json",
        "timings.csv",
        "report.html",
        "environment.json",
    } <= written


@pytest.mark.slow
def test_settings_without_a_limit_leave_json_that_parses_strictly(zoo, tmp_path):
    out = tmp_path / "out"
    settings = ["--set", "clip=inf", "--set", "positions=none", "--set", "channel_mixer=none", "--set", "layers=none"]
    result = zoo("compare", "correlation", *TINY, *settings, "--out", out, "--json")
    assert result.code == 0, result.err
    strict = partial(json.loads, parse_constant=pytest.fail)
    strict(result.out)
    for path in out.rglob("*.json"):
        strict(path.read_text())
    (arm,) = strict((out / "comparison.json").read_text())["arms"]
    chosen = {name: arm["settings"][name] for name in ("clip", "positions", "channel_mixer", "layers")}
    assert chosen == {"clip": None, "positions": "none", "channel_mixer": "none", "layers": 1}
    again = zoo("compare", "correlation", *TINY, *settings, "--out", out)
    assert again.code == 0, again.err


@pytest.mark.slow
def test_json_is_one_object(zoo, tmp_path):
    out = tmp_path / "out"
    result = zoo("compare", "correlation", *TINY, "--out", out, "--json")
    told = json.loads(result.out)
    assert told.pop("folder") == str(out)
    assert told == json.loads((out / "results.json").read_text())


@pytest.mark.slow
def test_a_finished_one_tells_its_results_again(zoo, tmp_path):
    out = tmp_path / "out"
    first = zoo("compare", "correlation", *TINY, "--out", out)
    again, resumed = zoo("compare", "correlation", *TINY, "--out", out), zoo("compare", "--resume", out)
    assert (again.code, resumed.code) == (0, 0)
    assert first.out == again.out == resumed.out
    assert resumed.err == "1 run, 1 at a time\n"


@pytest.mark.slow
def test_the_folder_is_named_after_the_time(zoo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert zoo("compare", "correlation", *TINY).code == 0
    (folder,) = (tmp_path / "comparisons").iterdir()
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{8}", folder.name)


@pytest.mark.slow
def test_a_dry_run_shows_the_sizes_and_makes_nothing(zoo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = [*TINY, "--lrs", "1e-3,1e-2", "--seeds", 3, "--dry-run"]
    result = zoo("compare", "dot-product", "correlation", *flags, "--match", "params")
    assert result.code == 0
    heads, first, second = result.out.splitlines()
    assert heads.split()[-5:] == ["parameters", "FLOPs/token", "state", "steps", "match"]
    assert first.split()[-2] == second.split()[-2] == "4"
    assert first.split()[-1] == "1.000"
    heads, *_ = zoo("compare", "dot-product", "correlation", *flags).out.splitlines()
    assert heads.split()[-1] == "steps"
    assert result.err == "10 runs, 1 at a time, seeds 0, 1, 2\n"
    told = json.loads(zoo("compare", "dot-product", "correlation", *flags, "--json").out)
    assert (told["seeds"], told["sweep_seed"], [arm["pattern"] for arm in told["arms"]]) == (
        [0, 1, 2], 3, ["dot-product", "correlation"]
    )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_dry_run_of_what_cannot_be_built(zoo):
    result = zoo("compare", "correlation", SEVEN_HEADS, *TINY, "--dry-run")
    assert result.code == 1
    assert "heads=7" in result.err
    assert max(map(len, result.out.splitlines())) < 160


@pytest.mark.slow
def test_the_others_go_on_and_the_code_is_1(zoo, tmp_path, distribution):
    distribution("bad-mixers", BAD)
    out = tmp_path / "out"
    patterns = ["correlation", "not-finite", "raises", "raises-always", SEVEN_HEADS]
    result = zoo("compare", *patterns, *TINY, "--out", out)
    assert result.code == 1
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert [line.split()[1] for line in errors] == ["not-finite", "raises", "raises-always", SEVEN_HEADS]
    for line, cause in zip(
        errors, ["is not finite", "RuntimeError: no luck", "RuntimeError: never", "heads=7"], strict=True
    ):
        assert cause in line
    told = json.loads((out / "results.json").read_text())["data"][0]["arms"]
    assert [arm["estimate"] is not None for arm in told] == [True, False, False, False, False]
    page = (out / "report.html").read_text()
    assert "What failed" in page
    assert "RuntimeError: never" in page
    assert zoo("compare", "--resume", out).code == 1


@pytest.mark.slow
def test_json_where_one_has_failed_is_still_one_object(zoo, tmp_path):
    result = zoo("compare", "correlation", SEVEN_HEADS, *TINY, "--out", tmp_path / "out", "--json")
    assert result.code == 1
    assert "heads=7" in json.loads(result.out)["data"][0]["arms"][1]["error"]


def test_a_mistake_in_any_pattern_is_refused_at_once(zoo, tmp_path):
    result = zoo("compare", "correlation", "corelation", *TINY, "--out", tmp_path / "out")
    assert result.code == 2
    assert "no mixer is named 'corelation' (did you mean 'correlation'?)" in result.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["there is nothing to compare", "zoo compare correlation dot-product"]),
        (["correlation", "--seeds", "0"], ["--seeds 0 should be from 1 to 1000"]),
        (["correlation", "--jobs", "0"], ["--jobs 0 should be from 1 to 256"]),
        (["correlation", "--data", "mqqar"], ["there is no data 'mqqar'", "zoo tasks"]),
        (["correlation", "--data", "mqar(pares=2)"], ["pares", "did you mean 'pairs'"]),
        (["correlation", "--data", "mqar(length=16, pairs=8)"], ["length=16 should be an even number, 32 or more"]),
        (["correlation", "--data", "mqar(vocab=8, length=16, pairs=2)"], ["vocab=8 should be more than the 16"]),
        (["correlation", "--data", "/no/such.txt"], ["there is no data '/no/such.txt'"]),
        (["correlation", "--data", "MAD", "--data", "MAD"], ["is named twice; name it once"]),
        (["correlation", "--data", "mqar", "--data", "mqar()"], ["the data 'mqar' is named twice"]),
        (["correlation", "correlation()"], ["the pattern 'correlation' is named twice"]),
        (["correlation", "--tier", "smok"], ["no tier is named 'smok'", "did you mean 'smoke'"]),
        (["correlation", "--match", "parms"], ["--match 'parms'", "did you mean 'params'"]),
        (["correlation", "--budget", "steps:x"], ["--budget 'steps:x' should read steps:2000"]),
        (["correlation", "--solved", "0"], ["--solved '0' should be an accuracy above 0 and up to 1: 99% or 0.99"]),
        (["correlation", "--solved", "110%"], ["--solved '110%' should be an accuracy above 0"]),
        (["correlation", "--solved", "all"], ["--solved 'all' should be an accuracy above 0"]),
        (
            ["correlation", "--solved", "90%", "--data", "python-stdlib"],
            ["--solved is an accuracy of a task", "python-"],
        ),
        (["correlation", "involution", "--noise-floor"], ["--noise-floor is measured on one pattern, and there are 2"]),
        (["correlation", "--noise-floor", "--seeds", "4"], ["--seeds 4 are too few for --noise-floor, which takes 5"]),
        (["correlation", "--lrs", "fast"], ["--lrs 'fast' should be numbers above 0"]),
        (["correlation", "--set", "foo=1"], ["there is no setting 'foo'"]),
        (["correlation", "--set", "foo"], ["--set 'foo' should read --set key=value"]),
        (["correlation", "--set", "steps=3"], ["write --budget steps:…"]),
        (["correlation", "--dim", "0"], ["dim=0 should be"]),
        (["correlation", "--optimizer", "moun"], ["no optimizer is named 'moun' (did you mean 'muon'?)"]),
        (["correlation", "--set", "beta2=0.9"], ["write --optimizer 'adamw(beta2=0.9)'"]),
        (["--resume", "x", "--optimizer", "sgd"], ["leave out --optimizer"]),
        (
            ["correlation", "--resume", "x"],
            ["--resume goes on", "as it was planned: leave out PATTERN"],
        ),
        (["--resume", "x", "--tier", "smoke", "--dry-run"], ["leave out --tier, --dry-run"]),
        (["--resume", "x"], ["x holds no comparison"]),
        (["correlation("], ["expected"]),
        (["correlation", "--device", "nonsense"], ["device 'nonsense' cannot be used here", "--device cpu"]),
        (["involution(kernel_size=1)", "--match", "state"], ["the first pattern has no state"]),
        (["x", "y"], ["no mixer is named 'x'"]),
    ],
)
def test_mistakes_are_told_and_leave_nothing(zoo, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    data = [] if "--data" in arguments or "--resume" in arguments else ["--data", COPY]
    result = zoo("compare", *arguments, *data)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("error: ")
    for word in words:
        assert word in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_folder_that_holds_something_else_or_another_comparison(zoo, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    result = zoo("compare", "correlation", *TINY, "--out", tmp_path)
    assert result.code == 2
    assert "holds other files" in result.err
    out = tmp_path / "o ut"
    zoo("compare", "correlation", *TINY, "--out", out)
    result = zoo("compare", "involution", *TINY, "--out", out)
    assert result.code == 2
    assert f"resume that one: zoo compare --resume '{out}'" in result.err


def test_a_place_that_cannot_be_written(zoo, tmp_path):
    (tmp_path / "file").write_text("")
    result = zoo("compare", "correlation", *TINY, "--out", tmp_path / "file" / "out")
    assert result.code == 2
    assert "cannot make the folder" in result.err
    assert "choose another place with --out" in result.err


@pytest.mark.slow
def test_a_stop_prints_how_to_go_on(zoo, tmp_path, monkeypatch):
    monkeypatch.setattr(Pool, "poll", lambda self: (self.stop(), ([], []))[1])
    out = tmp_path / "a folder"
    result = zoo("compare", "correlation", *TINY, "--out", out)
    assert (result.code, result.out) == (130, "")
    assert result.err.splitlines()[-1] == f"stopped, every run saved; resume with: zoo compare --resume '{out}'"


def test_a_full_disk_prints_how_to_go_on(zoo, tmp_path, monkeypatch):
    from zoo.errors import ZooError

    def full(self):
        raise ZooError("cannot write x: No space left on device")

    monkeypatch.setattr(Pool, "poll", full)
    result = zoo("compare", "correlation", *TINY, "--out", tmp_path / "out")
    assert result.code == 1
    assert result.err.splitlines()[-2:] == [
        f"what was saved stands; resume with: zoo compare --resume {tmp_path / 'out'}",
        "error: cannot write x: No space left on device",
    ]


# How it is shown


class Terminal(io.StringIO):
    def isatty(self):
        return True


@contextmanager
def screen():
    """In the place of stderr: pytest puts its own there before each test."""
    with redirect_stderr(Terminal()) as stream:
        yield stream


@pytest.fixture(autouse=True)
def _terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("LINES", "30")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(compare_display, "SECONDS_BETWEEN_FRAMES", 0.0)


def plain(stream):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())


def planned(*patterns, **changes):
    given = {"tier": "smoke", "seeds": 2, "lrs": (1e-3, 1e-2), "jobs": 2, "settings": {"dim": 16, "layers": 1}}
    return make_plan(Request(patterns, (COPY,), **given | changes))


def summary(accuracy):
    figures = {"steps": 1, "accuracies": {"length": {}}, "validation_accuracy": accuracy, "validation_loss": 1.0}
    return summary_from_json(figures | {"seconds": 65.0})


def test_a_table_is_for_terminals_only(monkeypatch):
    with screen(), live_listener() as listener:
        assert isinstance(listener, Board)
    monkeypatch.setenv("TERM", "dumb")
    with screen(), live_listener() as listener:
        assert isinstance(listener, Lines)
    with redirect_stderr(io.StringIO()), live_listener() as listener:
        assert isinstance(listener, Lines)


@pytest.mark.slow
def test_the_table_shows_what_has_ended_and_what_is_under_way():
    made = planned("dot-product", SEVEN_HEADS, "correlation")
    with screen() as stream, live_listener() as board:
        board.begin(made)
        for trial, accuracy in zip((*made.sweeps(0), made.results(0, 1e-2)[0]), (0.1, 0.2, 0.975), strict=True):
            board.ended(trial, Outcome(summary=summary(accuracy)), found=False)
        board.ended(made.sweeps(2)[0], Outcome(error="ValueError: [red]no"), found=False)
        board.progress(RunProgress(made.sweeps(2)[1], 20, 400))
        board.moment()
        first = plain(stream)
        board.progress(RunProgress(made.sweeps(2)[1], 60, 400, 0.25, 1.5))
        board.moment()
    first = re.sub(r" +", " ", first)
    assert "dot-product 3/4 97.5 %" in first
    assert f"{SEVEN_HEADS} failed" in first
    assert "correlation 1/4 step 20/400" in first
    assert "4/8 runs, 0:00, about 0:00 left" in first
    assert "step 60/400 25.0 %" in plain(stream)
    assert "nats" not in plain(stream)


def test_a_notice_does_not_come_in_the_middle_of_a_line():
    with screen() as stream, live_listener() as board:
        board.begin(planned("correlation"))
        with board.speaker.speaking():
            board.notice("saving every run")
            assert "saving every run" not in plain(stream)
        assert "note: saving every run" in plain(stream)


def test_a_line_for_each_run(capsys):
    made, lines = planned("correlation"), Lines()
    lines.begin(made)
    lines.ended(made.sweeps(0)[0], Outcome(summary=summary(0.5)), found=True)
    lines.ended(made.sweeps(0)[1], Outcome(summary=summary(0.5)), found=False)
    lines.ended(made.results(0, 1e-2)[0], Outcome(error="ValueError: no"), found=False)
    assert capsys.readouterr().err.splitlines() == [
        "4 runs, 2 at a time",
        f"2/4  {COPY}  correlation  trying lr 0.01  seed 2  50.0 %  1:05",
        f"3/4  {COPY}  correlation  lr 0.01  seed 0  failed: ValueError: no",
    ]


@pytest.mark.slow
def test_a_whole_one_on_a_terminal(zoo, tmp_path):
    result = zoo("compare", "correlation", *TINY, "--out", tmp_path / "out", terminal=True)
    assert result.code == 0
    assert "validation accuracy (%)" in result.out
    assert str(Path(tmp_path) / "out" / "report.html") in result.out.replace("\n", "")


def test_solve_rates_and_letters(zoo, tmp_path):
    out = tmp_path / "out"
    result = zoo("compare", "identity", "dot-product", *TINY, "--seeds", "3", "--solved", "10%", "--out", out)
    assert result.code == 0
    told = json.loads((out / "results.json").read_text())["data"][0]
    assert told["solved"] == 0.1
    assert all(arm["solve_rate"]["seeds"] == 3 and 0 <= arm["solve_rate"]["low"] < 1 for arm in told["arms"])
    assert {arm["letters"] for arm in told["arms"]} <= {"a", "b", "ab"}
    assert "solved (10.0 %)" in result.out
    assert "group" in result.out
    assert "Clopper and Pearson" in (out / "report.html").read_text()
    assert "--solved 0.1" in json.loads((out / "results.json").read_text())["command"]


def test_a_noise_floor(zoo, tmp_path):
    out = tmp_path / "out"
    result = zoo("compare", "dot-product", *TINY, "--noise-floor", "--seeds", "5", "--out", out)
    assert result.code == 0
    assert "resolved by 10 seeds (points)" in result.out
    floor = json.loads((out / "results.json").read_text())["data"][0]["arms"][0]["noise_floor"]
    assert floor["seeds"] == 5
    assert floor["low"] < floor["spread"] < floor["high"]
    assert "<h2>Noise floor</h2>" in (out / "report.html").read_text()
    plan = json.loads(zoo("compare", "dot-product", "--data", COPY, "--noise-floor", "--dry-run", "--json").out)
    assert len(plan["seeds"]) == 20
