import json
import shutil
from dataclasses import replace
from datetime import datetime

import pytest

from zoo.errors import PluginError, UsageError, ZooError
from zoo.files.atomic import writing
from zoo.lab.compare import report
from zoo.lab.compare import trial as trial_module
from zoo.lab.compare.folder import Folder
from zoo.lab.compare.grid import Grid, GridListener, chosen_lr
from zoo.lab.compare.plan import Trial
from zoo.lab.compare.pool import Pool
from zoo.lab.compare.request import Budget
from zoo.lab.compare.results import gather
from zoo.lab.compare.session import GridInterrupted, create_comparison, open_comparison, run_comparison
from zoo.lab.compare.trial import Outcome, read_outcome, run_trial
from zoo.train.interrupts import Interrupts
from zoo.train.listener import Listener
from zoo.train.loop import Trainer
from zoo.train.summary import summary_from_json

from .samples import COPY, TINY, plan, request, summary, write_run

pytestmark = pytest.mark.usefixtures("in_this_process")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(Trainer, "test", lambda self: {"length": {"12": self.validation_accuracy}})
    monkeypatch.setattr(report, "pictures_of", lambda results, folder: {result.data: [] for result in results.data})


class Recorder(GridListener):
    def __init__(self):
        self.told = []

        self.notices = []

    def ended(self, trial, outcome, *, found):
        self.told.append((trial.arm, trial.sweep, trial.lr, trial.seed, found))

    def notice(self, text):
        self.notices.append(text)


def started(tmp_path, *patterns, **changes):
    given = {"budget": Budget("steps", 6), "settings": TINY | {"warmup": 1}} | changes
    return create_comparison(request(*patterns, **given), root=tmp_path, out=tmp_path / "out")


def saved(folder):
    return {name: (folder.path / name).read_bytes() for name in ("results.json", "results.csv")}


@pytest.mark.slow
def test_each_arm_sweeps_first_and_then_takes_what_came_off_best(tmp_path):
    made, folder = started(tmp_path, lrs=(1e-3, 1e-2))
    recorder = Recorder()
    results = run_comparison(made, folder, recorder)
    assert [entry[:4] for entry in recorder.told[:2]] == [(0, True, 1e-3, 2), (0, True, 1e-2, 2)]
    assert len(recorder.told) == made.runs == 8
    for arm in results.data[0].arms:
        by_lr = {trial.lr: outcome.summary for trial, outcome in arm.sweep.items()}
        best = min(by_lr, key=lambda lr: (-by_lr[lr].validation_accuracy, by_lr[lr].validation_loss))
        assert arm.lr == best
        assert [(trial.lr, trial.seed) for trial in arm.runs] == [(best, 0), (best, 1)]
        values = [outcome.summary.validation_accuracy for outcome in arm.runs.values()]
        assert arm.estimate.mean == pytest.approx(sum(values) / 2)


def test_the_seed_of_the_sweep_is_never_counted(tmp_path):
    """Whatever the sweep comes to, the mean is that of the other seeds."""
    made, folder = plan("correlation", lrs=(1e-3, 1e-2), seeds=2), Folder(tmp_path)
    for trial in made.sweeps(0):
        write_run(folder, made, trial, summary(1.0, loss=trial.lr))
    for trial in made.results(0, 1e-3):
        write_run(folder, made, trial, summary(0.25))
    (arm,) = gather(made, folder).data[0].arms
    assert (arm.lr, arm.estimate.mean, arm.estimate.seeds) == (1e-3, 0.25, 2)


@pytest.mark.parametrize(
    ("outcomes", "best"),
    [
        ([summary(0.5), summary(0.75), summary(0.5)], 1e-2),
        ([summary(0.5, 3.0), summary(0.5, 2.0), summary(0.4, 1.0)], 1e-2),  # equal shares: the lower loss
        ([summary(0.5), summary(0.5), summary(0.5)], 1e-3),
        ([None, None, summary(0.1)], 1e-1),
        ([None, None, None], 1e-3),
        ([summary(None, 2.0), summary(None, 1.5), summary(None, 1.9)], 1e-2),
        ([summary(None, 2.0), summary(None, 1.0) | {"validation_loss": None}, summary(None, 1.9)], 1e-1),
    ],
)
def test_the_learning_rate_that_is_chosen(outcomes, best):
    made = plan("correlation", lrs=(1e-3, 1e-2, 1e-1))
    found = {
        trial: Outcome(summary=summary_from_json(told)) if told else Outcome(error="no")
        for trial, told in zip(made.sweeps(0), outcomes, strict=True)
    }
    assert chosen_lr(made, 0, found) == best
    found.pop(made.sweeps(0)[1])
    assert chosen_lr(made, 0, found) is None


@pytest.mark.slow
def test_what_is_there_is_not_made_again(tmp_path, monkeypatch):
    made, folder = started(tmp_path, lrs=(1e-3, 1e-2))
    run_comparison(made, folder)
    whole = saved(folder)
    shutil.rmtree(folder.trial(made, Trial(1, run_comparison(made, folder).data[0].arms[1].lr, 1, sweep=False)))
    recorder = Recorder()
    run_comparison(*open_comparison(folder.path), recorder)
    assert [entry[-1] for entry in recorder.told].count(False) == 1
    assert saved(folder) == whole
    monkeypatch.setattr(Pool, "submit", lambda self, job: pytest.fail("it was made again"))
    run_comparison(*open_comparison(folder.path))
    assert saved(folder) == whole


@pytest.mark.slow
@pytest.mark.parametrize("ended", [0, 1, 5])
def test_an_interrupted_one_ends_as_a_whole_one(tmp_path, monkeypatch, ended):
    request_ = {"lrs": (1e-3, 1e-2)}
    made, folder = started(tmp_path / "whole", **request_)
    run_comparison(made, folder)
    whole, poll, count = saved(folder), Pool.poll, iter(range(100))

    def interrupted(self):
        if next(count) == ended:
            self.stop()
            return [], []
        return poll(self)

    monkeypatch.setattr(Pool, "poll", interrupted)
    made, folder = started(tmp_path / "cut", **request_)
    with pytest.raises(GridInterrupted):
        run_comparison(made, folder)
    assert f"Not finished: {ended} of 8 runs have ended" in (folder.path / "report.html").read_text()
    assert json.loads((folder.path / "results.json").read_text())["command"] == made.command
    monkeypatch.setattr(Pool, "poll", poll)
    run_comparison(*started(tmp_path / "cut", **request_))
    assert saved(folder) == whole
    assert "Not finished" not in (folder.path / "report.html").read_text()


@pytest.mark.slow
def test_no_time_is_in_the_results(tmp_path, monkeypatch):
    """Two comparisons that take different times say the same."""
    made, folder = started(tmp_path / "a")
    run_comparison(made, folder)
    clock = iter(range(10**6))
    monkeypatch.setattr("zoo.train.loop.time.perf_counter", lambda: 7.0 * next(clock))
    again, other = started(tmp_path / "b")
    run_comparison(again, other)
    assert saved(folder) == saved(other)
    assert (folder.path / "timings.csv").read_bytes() != (other.path / "timings.csv").read_bytes()


@pytest.mark.slow
def test_a_run_that_fails_stops_no_other_and_is_not_tried_again(tmp_path, monkeypatch):
    made, folder = started(tmp_path)
    update = Trainer._update

    def broken(self):
        if self.settings.mixer == "correlation" and self.settings.seed == 1:
            raise RuntimeError("no\nluck")
        return update(self)

    monkeypatch.setattr(Trainer, "_update", broken)
    results = run_comparison(made, folder)
    first, second = results.data[0].arms
    assert (first.error, second.error) == (None, "seed 1: RuntimeError: no luck")
    assert (first.estimate.seeds, second.estimate.seeds) == (2, 1)
    assert results.data[0].judgements[0].difference.seeds == 1
    monkeypatch.setattr(Trainer, "_update", update)
    assert run_comparison(made, folder).data[0].arms[1].error == "seed 1: RuntimeError: no luck"


@pytest.mark.slow
def test_a_rate_at_which_training_breaks_down_is_not_chosen(tmp_path):
    made, folder = started(tmp_path, lrs=(1e-3, 1e30))
    for arm in run_comparison(made, folder).data[0].arms:
        failed = {trial.lr: outcome.error for trial, outcome in arm.sweep.items()}
        assert "is not finite" in failed[1e30]
        assert (arm.lr, arm.error, arm.estimate.seeds) == (1e-3, None, 2)


@pytest.mark.slow
def test_a_full_disk_says_nothing_of_a_mixer(tmp_path, monkeypatch):
    made, folder = started(tmp_path)

    def full(*args, **kwargs):
        with writing(tmp_path / "x"):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(trial_module, "start", full)
    with pytest.raises(ZooError, match=r"No space left on device"):
        run_comparison(made, folder)
    assert not list(folder.path.rglob("failure.json"))


@pytest.mark.slow
def test_data_that_has_changed_since_is_refused(tmp_path, monkeypatch):
    text = tmp_path / "text.txt"
    text.write_text("def answer(question):\n    return 42\n\n" * 60)
    made, folder = started(tmp_path, data=(str(text),), settings=TINY | {"context": 16})
    text.write_text("def answer(question):\n    return 43\n\n" * 60)
    with pytest.raises(UsageError, match=r"has changed since the comparison began"):
        run_comparison(made, folder)
    text.unlink()
    with pytest.raises(UsageError, match=r"the data .*text\.txt' of the comparison is not there: put it back"):
        run_comparison(made, folder)
    assert not list(folder.path.rglob("failure.json"))


def test_a_mixer_that_is_gone_is_told(tmp_path):
    made, folder = plan("no-such-mixer", "dot-product"), Folder(tmp_path)
    there = replace(made, plugins={"no-such-mixer": {"distribution": "mixer-zoo", "version": "1"}})
    with pytest.raises(UsageError, match=r"no mixer is named 'no-such-mixer'"):
        run_comparison(there, folder)
    gone = replace(made, plugins={"task:fading": {"distribution": "fading-lab", "version": "1"}})
    with pytest.raises(PluginError, match=r"task fading-lab:fading needs the distribution 'fading-lab'"):
        run_comparison(gone, folder)


@pytest.mark.slow
def test_a_mixer_in_another_version_is_told(tmp_path):
    made, folder = started(tmp_path)
    recorder = Recorder()
    run_comparison(made, folder, recorder)
    assert recorder.notices == []
    older = {name: origin | {"version": "0.0.7"} for name, origin in made.plugins.items() if name == "correlation"}
    run_comparison(replace(made, plugins=made.plugins | older), folder, recorder)
    (notice,) = recorder.notices
    assert notice.startswith("correlation comes from mixer-zoo ")
    assert "came from 0.0.7 when this began: runs that are made from now on" in notice


@pytest.mark.slow
def test_two_processes_do_not_share_a_folder(tmp_path):
    made, folder = started(tmp_path)
    with folder.lock(), pytest.raises(UsageError, match=r"another process is at work in .*: wait until it ends"):
        run_comparison(made, folder)


# What lies in the folder of a run


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("summary.json", "{"),
        ("summary.json", "[]"),
        ("summary.json", "{}"),
        ("summary.json", json.dumps(summary(0.5) | {"accuracies": None})),
        ("summary.json", json.dumps(summary(0.5) | {"validation_loss": "low"})),
        ("summary.json", "\ud83d"),
        ("failure.json", "{}"),
        ("failure.json", "3"),
    ],
)
def test_a_damaged_file_of_a_run_says_what_to_do(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UsageError, match=r"is damaged: remove the folder .*, and the run is made again") as error:
        read_outcome(tmp_path)
    assert str(tmp_path / name) in str(error.value)


def test_a_run_without_files_is_not_over(tmp_path):
    assert read_outcome(tmp_path / "none") == Outcome()
    assert not read_outcome(tmp_path / "none").is_over


def asked():
    interrupts = Interrupts()
    interrupts.requested = True
    return interrupts


@pytest.mark.slow
def test_a_stop_before_the_first_run_begins_leaves_nothing(tmp_path):
    made, folder = started(tmp_path)
    trial = made.results(0, 1e-3)[0]
    path = folder.trial(made, trial)
    assert run_trial(path, made.settings(trial), listener=Listener(), interrupts=asked()) == Outcome()
    assert not path.exists()


@pytest.mark.slow
def test_a_run_without_a_checkpoint_begins_anew(tmp_path):
    made, folder = started(tmp_path)
    trial = made.results(0, 1e-3)[0]
    path = folder.trial(made, trial)
    path.mkdir(parents=True)
    (path / "config.json").write_text("{")
    outcome = run_trial(path, made.settings(trial), listener=Listener(), interrupts=Interrupts())
    assert outcome.summary.steps == 6


@pytest.mark.slow
def test_a_run_whose_checkpoints_are_all_damaged_says_what_to_do(tmp_path):
    made, folder = started(tmp_path)
    path = folder.trial(made, made.results(0, 1e-3)[0])
    (path / "checkpoints" / "step-00000000").mkdir(parents=True)
    (path / "config.json").write_text(made.settings(made.results(0, 1e-3)[0]).model_dump_json())
    with pytest.raises(UsageError, match=r"cannot resume the run in .*; remove the folder") as error:
        run_comparison(made, folder)
    assert str(path) in str(error.value)
    assert not list(folder.path.rglob("failure.json"))


def test_runs_at_learning_rates_that_look_alike_have_folders_of_their_own(tmp_path):
    made = plan("correlation", lrs=(0.001, 0.0010000001))
    assert len({Folder(tmp_path).trial(made, trial) for trial in made.sweeps(0)}) == 2


def test_all_runs_have_folders_of_their_own(tmp_path):
    patterns = ("correlation*2", "correlation*3", "correlation(max_lag=1)", "involution")
    made = plan(*patterns, data=(COPY, COPY.replace("12", "14")), lrs=(1e-3, 1e-2))
    trials = [t for index in range(8) for lr in made.lrs for t in (*made.sweeps(index), *made.results(index, lr))]
    assert len({Folder(tmp_path).trial(made, trial) for trial in trials}) == len(set(trials)) == 8 * (2 + 6)


# The folder of the comparison


@pytest.mark.slow
def test_another_comparison_in_the_folder_is_refused(tmp_path):
    made, _ = started(tmp_path)
    with pytest.raises(UsageError, match=r"holds another comparison .*: choose another `out`, or resume that one"):
        started(tmp_path, seeds=3)
    assert started(tmp_path)[0] == made


def test_a_folder_that_holds_something_else_is_refused_before_anything_is_worked_out(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    monkeypatch.setattr("zoo.lab.compare.session.make_plan", lambda request: pytest.fail("worked out"))
    with pytest.raises(UsageError, match=r"out holds other files: choose another `out`, so that nothing"):
        started(tmp_path)
    (tmp_path / "out" / "letter.txt").rename(tmp_path / "letter")
    (tmp_path / "out").rmdir()
    (tmp_path / "letter").rename(tmp_path / "out")
    with pytest.raises(UsageError, match=r"out is a file: choose another `out`"):
        started(tmp_path)
    assert (tmp_path / "out").read_text() == "dear"


@pytest.mark.slow
def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match=r"cannot make the folder .*: Not a directory; choose another place with `out`"):
        create_comparison(request(), root=tmp_path, out=tmp_path / "file" / "out")


@pytest.mark.slow
def test_an_empty_folder_is_taken_and_one_without_a_name_is_named_by_time(tmp_path):
    (tmp_path / "out").mkdir()
    assert started(tmp_path)[1].path == tmp_path / "out"
    folder = create_comparison(request(), root=tmp_path / "root")[1]
    assert folder.path.parent == tmp_path / "root"
    assert len(folder.path.name) == len("20250131-120000-12345678")


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "is damaged"), ("[]", "comparison's plan"), ("3", "is damaged"), ('{"format": 1}', "plan is damaged"),
     ('{"format": 2}', "has format 2")],
)  # fmt: skip
def test_a_damaged_plan_is_told(tmp_path, text, words):
    (tmp_path / "comparison.json").write_text(text)
    with pytest.raises(UsageError, match=words):
        open_comparison(tmp_path)


@pytest.mark.slow
def test_a_relative_text_is_found_from_another_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "here" / "text.txt").write_text("def answer(question):\n    return 42\n" * 60)
    monkeypatch.chdir(tmp_path / "here")
    settings = TINY | {"warmup": 1, "context": 8}
    made, folder = started(tmp_path, data=("text.txt",), seeds=2, settings=settings)
    monkeypatch.chdir(tmp_path / "there")
    made, folder = open_comparison(folder.path)
    results = run_comparison(made, folder)
    assert all(outcome.summary for arm in results.data[0].arms for outcome in arm.runs.values())
    environments = [json.loads(path.read_text()) for path in folder.path.rglob("env.json")]
    assert {told["data_path"] for told in environments} == {str(tmp_path / "here" / "text.txt")}
    (tmp_path / "here" / "text.txt").unlink()
    with pytest.raises(UsageError, match=r"the data 'text.txt' of the comparison is not there, looked for .*there"):
        run_comparison(made, folder)


@pytest.mark.slow
def test_a_plan_of_before_has_no_paths(tmp_path):
    made, folder = started(tmp_path)
    told = json.loads((folder.path / "comparison.json").read_text())
    del told["paths"]
    (folder.path / "manifest.json").unlink()
    (folder.path / "comparison.json").write_text(json.dumps(told))
    assert open_comparison(folder.path)[0] == made


@pytest.mark.slow
def test_a_flipped_bit_in_the_plan_or_in_a_result_is_noticed(tmp_path):
    made, folder = started(tmp_path)
    trial = made.results(0, 1e-3)[0]
    run = folder.trial(made, trial)
    run_trial(run, made.settings(trial), listener=Listener(), interrupts=Interrupts())
    for path, read in ((folder.path / "comparison.json", lambda: open_comparison(folder.path)),
                       (run / "summary.json", lambda: read_outcome(run))):  # fmt: skip
        content = path.read_bytes()
        for place in range(0, len(content), 9):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
            with pytest.raises(UsageError, match=rf"{path.name} is damaged: it has changed since it was written; put"):
                read()


def test_nothing_to_go_on_with(tmp_path):
    with pytest.raises(UsageError, match=r"holds no comparison; `zoo compare` prints where it puts one"):
        open_comparison(tmp_path)


def test_is_over_counts_all_runs(tmp_path):
    made = plan("correlation", lrs=(1e-3, 1e-2), seeds=1)
    grid = Grid(made, Folder(tmp_path))
    for trial in (*made.sweeps(0), *made.results(0, 1e-2)):
        assert not grid.is_over
        grid.outcomes[trial] = Outcome(error="x")
    assert grid.is_over


def test_comparisons_that_start_in_the_same_second_have_folders_of_their_own(tmp_path, monkeypatch):
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2025, 1, 2, 3, 4, 5, tzinfo=tz)

    monkeypatch.setattr("zoo.lab.compare.folder.datetime", Clock)
    made, _ = started(tmp_path)
    names = [Folder.create(made, root=tmp_path / "runs", out=None).path.name for _ in range(3)]
    assert names == [names[0], f"{names[0]}-2", f"{names[0]}-3"]
