"""Reporters beside a run: they get what is logged, and the run does not depend on them."""

import csv
import json
import shutil

import pytest

import zoo
from zoo.errors import UsageError, ZooError
from zoo.plugin.registry import forget
from zoo.train.interrupts import Interrupts
from zoo.train.listener import Listener
from zoo.train.reports import read_reporters, replay
from zoo.train.run_directory import RunDirectory
from zoo.train.session import Interrupted, resume, start


class Collects(zoo.Reporter):
    """Keeps all calls.

    Options:
        fails: the call that raises.
        refuses: whether it cannot be opened.
    """

    calls: list

    def __init__(self, *, fails: str = "", refuses: bool = False) -> None:
        self.fails, self.refuses = fails, refuses

    def open(self, run, rows):
        type(self).calls = []
        if self.refuses:
            raise zoo.UsageError("log in first: collects login")
        self._keep("open", run, rows)

    def row(self, row):
        self._keep("row", row)

    def sample(self, step, text):
        self._keep("sample", step, text)

    def finish(self, figures):
        self._keep("finish", figures)

    def close(self):
        self._keep("close")

    def _keep(self, name, *given):
        self.calls.append((name, *given))
        if name == self.fails:
            raise SystemExit("the\nserver is gone")


class Notices(Listener):
    def __init__(self):
        self.texts = []

    def notice(self, text):
        self.texts.append(text)


class StopsAfter(Listener):
    """Ctrl-C after so many steps."""

    def __init__(self, steps):
        self.steps, self.interrupts = steps, Interrupts()

    def progress(self, progress):
        self.interrupts.requested = progress.step >= self.steps


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", "")
    forget()
    zoo.register("collects", Collects)
    yield
    forget()


@pytest.fixture
def run(tiny, tmp_path):
    def begin(report, **how):
        start(tiny(), root=tmp_path, out=tmp_path / "run", report=report, pages=False, **how)
        return RunDirectory(tmp_path / "run")

    return begin


def named(name):
    return [call for call in Collects.calls if call[0] == name]


def test_a_reporter_gets_what_is_logged_and_the_figures_at_the_end(run):
    made = run("collects")
    (_, of, rows), *_ = Collects.calls
    assert (of.path, of.name, rows) == (made.path, "run", [])
    assert of.settings == made.config
    assert of.environment == made.environment
    assert [row for _, row in named("row")] == made.metrics()
    assert [tuple(sample) for _, *sample in named("sample")] == [tuple(sample) for sample in made.samples()]
    assert [name for name, *_ in Collects.calls[-2:]] == ["finish", "close"]
    assert Collects.calls[-2][1] == json.loads((made.path / "summary.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("fails", ["open", "row", "sample", "finish", "close"])
def test_one_that_raises_is_reported_once_and_the_run_is_whole(run, fails, tmp_path, tiny):
    notices = Notices()
    made = run(f"collects(fails={fails}), csv", listener=notices)
    (text,) = [text for text in notices.texts if "reporter" in text]
    name = f"collects(fails={fails})"
    assert text == (
        f"the reporter {name} has failed and gets nothing any more (SystemExit: the server is gone); metrics.jsonl has "
        "everything"
    )
    assert len(named(fails)) <= 2  # a close that failed is not tried again, and any other call is followed by a close
    assert rows_of_table(made) == made.metrics()
    start(tiny(), root=tmp_path, out=tmp_path / "other", pages=False)
    assert (made.path / "metrics.jsonl").read_bytes() == (tmp_path / "other" / "metrics.jsonl").read_bytes()


def test_one_that_cannot_begin_leaves_no_run(run, tmp_path):
    with pytest.raises(UsageError, match=r"^log in first: collects login$"):
        run("collects(refuses=true)")
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_resumed_keeps_its_reporters_until_it_gets_others(run, tmp_path):
    stops = StopsAfter(11)
    with pytest.raises(Interrupted):
        run("collects", listener=stops, interrupts=stops.interrupts)
    assert Collects.calls[-1] == ("close",)
    assert not named("finish")
    resume(tmp_path / "run", pages=False)
    made = RunDirectory(tmp_path / "run")
    (_, _, before), *_ = Collects.calls
    assert before
    assert [*before, *(row for _, row in named("row"))] == made.metrics()
    assert [tuple(sample) for _, *sample in named("sample")] == [tuple(sample) for sample in made.samples()]
    Collects.calls = []
    resume(tmp_path / "run", steps=25, report="none", pages=False)
    assert Collects.calls == []
    resume(tmp_path / "run", steps=30, pages=False)
    assert Collects.calls == []
    resume(tmp_path / "run", steps=35, report="csv", pages=False)
    assert rows_of_table(made) == made.metrics()


def test_the_key_of_a_run_stays_when_it_is_resumed_or_moved_and_is_its_own(run, tmp_path, tiny):
    run("collects")
    key = Collects.calls[0][1].key
    shutil.move(tmp_path / "run", tmp_path / "elsewhere" / "run")
    replay(RunDirectory(tmp_path / "elsewhere" / "run"), "collects")
    assert Collects.calls[0][1].key == key
    start(tiny(seed=1), root=tmp_path, out=tmp_path / "another", report="collects", pages=False)
    assert Collects.calls[0][1].key != key
    assert len(key) == 16


def test_a_replay_gives_all_rows_samples_and_figures(run):
    made = run(None)
    assert replay(made, "collects, csv") == ("collects", "csv")
    assert [name for name, *_ in Collects.calls] == ["open", *["sample"] * len(made.samples()), "finish", "close"]
    assert list(Collects.calls[0][2]) == made.metrics() == rows_of_table(made)


def test_a_replay_that_fails_says_so_and_closes(run):
    made = run(None)
    Collects.calls = []
    with pytest.raises(
        ZooError, match=r"^the reporter collects\(fails=finish\) has failed: SystemExit: the server is gone$"
    ):
        replay(made, "collects(fails=finish)")
    assert named("close")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("colects", r"^no reporter is named 'colects' \(did you mean 'collects'\?\); there are: collects, csv$"),
        ("collects(x=1)", r"^collects has no option 'x'; its options: fails, refuses$"),
        ("csv, csv", r"^`report`='csv, csv' names csv twice$"),
        ("csv*2", r"^`report`='csv\*2' names csv twice$"),
        ("csv + collects", r"^`report`='csv \+ collects' should be names with commas between them, e.g. tensorboard"),
        ("csv/collects", r"^`report`='csv/collects' should be names with commas between them"),
        ("wandb", "^reporter 'wandb' comes with a plugin: pip install zoo-wandb$"),
        ("csv(", "csv"),
    ],
)
def test_a_text_that_names_no_reporters_is_refused(text, error):
    with pytest.raises(ZooError, match=error):
        read_reporters(text)


@pytest.mark.parametrize("text", [None, "", "none"])
def test_no_reporter(text):
    assert read_reporters(text) == {}


def test_a_table_gets_more_columns_with_a_row_that_has_more(run, tmp_path):
    reporter, seen = read_reporters("csv")["csv"], zoo.ReportedRun(tmp_path, "a", "k", {}, {})
    reporter.open(seen, [{"step": 1, "x": 0.1}])
    reporter.row({"step": 2, "x": None})
    reporter.row({"step": 3, "x": 1e-300, "y": 2.0})
    assert (tmp_path / "live.csv").read_text() == "step,x,y\n1,0.1,\n2,,\n3,1e-300,2.0\n"
    assert reporter.read(seen) == [{"step": 1, "x": 0.1}, {"step": 2}, {"step": 3, "x": 1e-300, "y": 2.0}]


def test_tables_of_several_runs_lie_side_by_side(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reporter = read_reporters("csv(folder=tables)")["csv(folder=tables)"]
    reporter.open(zoo.ReportedRun(tmp_path / "a", "a", "0123", {}, {}), [{"step": 1}])
    assert (tmp_path / "tables" / "a-0123.csv").read_text() == "step\n1\n"


def rows_of_table(run):
    """The rows of live.csv; what a row does not have is left out there."""
    with (run.path / "live.csv").open(newline="") as file:
        return [{name: json.loads(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]
