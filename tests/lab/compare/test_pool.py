"""Runs that are lost on the way are handed in again, and one run has one writer."""

import threading
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from zoo import Executor
from zoo.errors import UsageError, ZooError
from zoo.files.atomic import locked
from zoo.files.claim import Claim, LostClaimError
from zoo.lab.compare import job as jobs
from zoo.lab.compare import pool as pools
from zoo.lab.compare.folder import Folder
from zoo.lab.compare.job import Job, make_run
from zoo.lab.compare.pool import Pool, working
from zoo.lab.compare.progress import newest_step, read_progress
from zoo.lab.compare.request import Budget, check_request
from zoo.lab.compare.session import GridInterrupted, create_comparison, plan_request, run_comparison
from zoo.lab.compare.trial import Outcome
from zoo.plugin.kinds import MIXER
from zoo.plugin.registry import forget, get_registry

from ...executors import in_this_process  # noqa: TID252 - pytest finds the parts of the tests by where they are
from .samples import request

TINY = {"layers": 1, "dim": 16, "heads": 1, "device": "cpu", "batch": 2, "evaluation_tokens": 64}
TINY |= {"final_evaluation_tokens": 64, "sample_tokens": 0, "warmup": 1}


UNSAID = {name: value for name, value in TINY.items() if name != "device"}


class Scripted(Executor):
    """Ends its calls as it is told: an exception, or None to make the call."""

    def __init__(self, *ends):
        self.ends, self.calls, self.ended = list(ends), [], ""

    def submit(self, fn, /, job):
        self.calls.append(job)
        future = Future()
        end = self.ends.pop(0) if self.ends else None
        if isinstance(end, Exception):
            future.set_exception(end)
        elif end != "waits":
            future.set_result(fn(job) if end is None else end)
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.ended += "shutdown "

    def terminate(self):
        self.ended += "terminated"


@pytest.fixture
def made(tmp_path):
    """A comparison of one run that takes a moment."""
    return create_comparison(request("dot-product", seeds=1, settings=TINY), root=tmp_path, out=tmp_path / "out")


def job_of(made, **changes):
    plan_, folder = made
    (trial,) = plan_.results(0, plan_.only_lr(0))
    return replace(Job(trial, folder.path, folder.trial(plan_, trial), plan_.settings(trial)), **changes)


def to_the_end(executor, made, notice=print):
    with working(executor, made[1], jobs=1, notice=notice) as pool:
        pool.submit(job_of(made))
        while pool.are_busy:
            ended, _ = pool.poll()
    return ended


@pytest.mark.slow
def test_a_lost_run_is_handed_in_again(made):
    notices = []
    executor = Scripted(RuntimeError("the node\nis gone"), RuntimeError("again"))
    ended = to_the_end(executor, made, notices.append)
    assert [outcome.is_over for _, outcome in ended] == [True]
    assert len(executor.calls) == 3
    assert notices[0] == f"a run was lost and is resumed: the node is gone ({job_of(made).folder})"
    assert executor.ended == "shutdown "


def test_one_that_is_lost_at_the_same_place_again_and_again_ends_the_comparison(made):
    executor = Scripted(*[RuntimeError("memory")] * 4)
    with pytest.raises(ZooError, match=r"^the run in .* was lost 4 times at the same place: memory$"):
        to_the_end(executor, made)
    assert executor.ended == "terminated"
    assert made[1].is_to_stop


def test_an_executor_that_is_gone_is_told_in_a_line(made, monkeypatch):
    executor = Scripted()
    monkeypatch.setattr(executor, "submit", lambda *_: (_ for _ in ()).throw(ConnectionError("the\nscheduler is gone")))
    with pytest.raises(ZooError, match=r"^the executor takes no more runs: the scheduler is gone$"):
        to_the_end(executor, made)
    assert executor.ended == "terminated"


@pytest.mark.slow
def test_one_that_comes_further_each_time_may_be_lost_more_often(made, monkeypatch):
    step = iter(range(1, 100))
    monkeypatch.setattr(pools, "newest_step", lambda folder: next(step))
    executor = Scripted(*[RuntimeError("spot")] * 9)
    to_the_end(executor, made)
    assert len(executor.calls) == 10


@pytest.mark.slow
def test_what_lies_in_the_folder_counts_and_not_what_the_executor_says(made):
    job = job_of(made)
    assert make_run(job).is_over
    with working(Scripted(RuntimeError("lost after the end")), made[1], jobs=1, notice=lambda _: None) as pool:
        pool.submit(job)
        ended, _ = pool.poll()
    assert ended[0][1].summary is not None


def test_as_many_at_a_time_as_jobs_and_those_that_wait_are_cancelled_by_a_stop(made):
    executor = Scripted("waits", "waits")
    with working(executor, made[1], jobs=2, notice=lambda _: None) as pool:
        for _ in range(5):
            pool.submit(job_of(made))
        assert len(executor.calls) == 2
        pool.stop()
        assert not pool.are_busy
        assert made[1].is_to_stop
        pool.submit(job_of(made))
        assert not pool.are_busy
    assert not made[1].is_to_stop


@pytest.mark.slow
def test_a_stop_file_that_anybody_makes_stops_the_comparison(made, monkeypatch):
    in_this_process(monkeypatch)
    poll = Pool.poll

    def touched(self):
        (made[1].path / "stop").touch()
        return poll(self)

    monkeypatch.setattr(Pool, "poll", touched)
    monkeypatch.setattr(jobs, "_SECONDS_BETWEEN_LOOKS", 0.0)
    with pytest.raises(GridInterrupted):
        run_comparison(*made)
    monkeypatch.setattr(Pool, "poll", poll)
    assert run_comparison(*made).data[0].arms[0].estimate is not None
    assert not (made[1].path / "stop").exists()


@pytest.mark.slow
def test_a_run_that_is_delivered_twice_has_one_writer(made, monkeypatch):
    """Two threads make the same run: one does, and the other waits and gives the same outcome."""
    job, starts, begun = job_of(made), [], threading.Event()
    run_trial = jobs.run_trial

    def slow(*arguments, **named):
        starts.append(1)
        begun.wait(10)
        return run_trial(*arguments, **named)

    monkeypatch.setattr(jobs, "run_trial", slow)
    outcomes = []
    threads = [threading.Thread(target=lambda: outcomes.append(make_run(job))) for _ in range(2)]
    for thread in threads:
        thread.start()
    threads[0].join(1.0)
    assert starts == [1]
    begun.set()
    for thread in threads:
        thread.join()
    assert starts == [1]
    assert outcomes[0] == outcomes[1] != Outcome()
    assert not job.claim.exists()


@pytest.mark.slow
def test_a_writer_that_has_lost_its_claim_writes_no_more_and_takes_what_the_other_makes(made, monkeypatch):
    job, whole = job_of(made), None
    check, lost = Claim.check, []

    def once(self):
        if not lost:
            lost.append((job.folder / "config.json").exists())
            raise LostClaimError("another process has taken over")
        check(self)

    monkeypatch.setattr(Claim, "check", once)
    whole = make_run(job)
    assert lost == [True]
    assert whole.summary is not None


@pytest.mark.slow
def test_a_folder_in_which_another_process_works_is_waited_for(made, monkeypatch):
    job = job_of(made)
    job.folder.mkdir(parents=True)
    (job.folder / "checkpoints" / "step-00000001").mkdir(parents=True)
    waits, really_sleep = [], jobs.time.sleep

    def sleep(seconds):
        if seconds < 0.1:  # of whoever waits for a process
            really_sleep(seconds)
            return
        waits.append(seconds)
        held.__exit__(None, None, None)
        (job.folder / "checkpoints" / "step-00000001").rmdir()

    monkeypatch.setattr(jobs.time, "sleep", sleep)
    (job.folder / "config.json").write_text("{}")
    held = locked(job.folder)
    held.__enter__()
    monkeypatch.setattr("zoo.train.run_directory.RunDirectory.check_resumable", lambda self: None)
    assert make_run(job).is_over
    assert len(waits) == 1


def test_a_worker_that_does_not_see_the_folder_says_so(made, tmp_path):
    error = make_run(job_of(made, comparison=tmp_path / "elsewhere"))
    assert isinstance(error, UsageError)
    assert "does not see" in str(error)
    assert "shared" in str(error)
    error = make_run(job_of(made, working_directory=str(tmp_path / "elsewhere")))
    assert "does not see" in str(error)


def test_a_worker_sees_paths_and_plugins_as_the_leader_does(made, tmp_path, monkeypatch):
    file = tmp_path / "mine.py"
    file.write_text("import zoo\n\nclass Mine(zoo.TokenMixer):\n    def forward(self, x):\n        return x\n")
    seen, here = [], Path.cwd()

    def look(job):
        seen.append((Path.cwd(), get_registry()[MIXER].find("mine").cls.__name__))
        return Outcome()

    monkeypatch.setenv("ZOO_PLUGIN_FILES", "")
    monkeypatch.setattr(jobs, "_made", look)
    make_run(job_of(made, working_directory=str(tmp_path), plugin_files=str(file)))
    assert seen == [(tmp_path, "Mine")]
    assert Path.cwd() == here
    forget()


def test_a_plugin_that_is_not_there_is_told(made):
    missing = {"lost-mixer": {"distribution": "lost", "version": "1"}}
    error = make_run(job_of(made, plugins=missing))
    assert isinstance(error, ZooError)
    assert "lost" in str(error)


def test_an_error_that_cannot_be_pickled_still_arrives(made, monkeypatch):
    class LocalError(Exception):
        pass

    monkeypatch.setattr(jobs, "_made", lambda job: (_ for _ in ()).throw(LocalError("why")))
    assert str(make_run(job_of(made))) == "LocalError: why"


def test_how_far_a_run_is(made, tmp_path):
    job = job_of(made)
    assert (read_progress(job), newest_step(job.folder)) == (None, -1)
    job.folder.mkdir(parents=True)
    with Claim(job.claim, interval=0.01) as claim:
        claim.tell(step=3)
        claim.take()
        assert read_progress(job).loss is None
        rows = '{"step": 2, "validation_loss": 1.5, "validation_accuracy": 0.25}\n{"step": 3, "train_loss": 1.0}\n{"st'
        (job.folder / "metrics.jsonl").write_text(rows)
        progress = read_progress(job)
    assert (progress.step, progress.steps, progress.loss, progress.accuracy) == (3, job.settings.steps, 1.5, 0.25)


def test_elsewhere_the_machine_is_left_open(monkeypatch):
    """Device, precision and threads are settled by whoever makes the run."""

    class Far(Executor):
        local = False

    monkeypatch.setattr("zoo.lab.compare.planning.create_executor", lambda name, jobs: Far())
    monkeypatch.setattr("zoo.lab.compare.request.create_executor", lambda name, jobs: Far())
    far = request("dot-product", jobs=None, settings=TINY | {"device": "cuda:7", "threads": 3})
    made = plan_request(far)
    for arm in made.arms:
        assert (arm.settings.device, arm.settings.threads) == ("cuda:7", 3)
    left_open = (
        plan_request(request("dot-product", data=("python-stdlib",), jobs=None, settings=UNSAID)).arms[0].settings
    )
    assert (left_open.device, left_open.precision, left_open.threads) == ("auto", "auto", None)
    assert made.jobs == made.runs
    with pytest.raises(UsageError, match="a budget of seconds is measured on this machine"):
        check_request(request("dot-product", budget=Budget("seconds", 3.0)))
    monkeypatch.undo()
    with pytest.raises(UsageError, match="write `jobs`"):
        plan_request(far)


def test_the_folder_forgets_an_old_request_to_stop(tmp_path):
    folder = Folder(tmp_path)
    folder.ask_to_stop()
    with working(Scripted(), folder, jobs=1, notice=print):
        assert not folder.is_to_stop
