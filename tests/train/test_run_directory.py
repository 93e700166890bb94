import errno
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import UsageError, ZooError
from zoo.files import atomic
from zoo.files.atomic import write_atomically
from zoo.files.logs import Sample
from zoo.train.run_directory import RunDirectory

PATTERN = "(correlation(max_lag=4), involution)*2, dot-product(heads=2, window=64)"
CONFIG = {"mixer": PATTERN, "layers": 4, "lr": 1e-3, "data": "Füße"}


@pytest.fixture
def run(tmp_path):
    return RunDirectory.create(tmp_path / "runs", mixer=PATTERN, config=CONFIG)


def texts(run, *names):
    return {name: (run.path / name).read_bytes() for name in names}


def test_a_run_is_named_by_time_pattern_and_settings(run):
    name = r"\d{8}-\d{6}-correlation-max-lag-4-involution-2-dot-[0-9a-f]{8}"
    assert re.fullmatch(name, run.path.name)
    assert RunDirectory.open(run.path).config == CONFIG


def test_other_settings_give_another_name(tmp_path):
    runs = [RunDirectory.create(tmp_path, mixer="x", config={"seed": seed}) for seed in (0, 1)]
    assert len({run.path.name[-8:] for run in runs}) == 2


def test_the_same_run_started_many_times_in_a_second_gets_folders_of_its_own(tmp_path):
    runs = [RunDirectory.create(tmp_path, mixer="?", config=CONFIG) for _ in range(3)]
    assert len({run.path for run in runs}) == 3
    assert re.fullmatch(r"\d{8}-\d{6}-run-[0-9a-f]{8}(-\d+)?", runs[2].path.name)


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_an_out_that_exists_is_refused_and_left_alone(tmp_path, kind):
    out = tmp_path / "my run"
    {"folder": out.mkdir, "file": out.touch, "dangling link": lambda: out.symlink_to("nowhere")}[kind]()
    with pytest.raises(UsageError) as caught:
        RunDirectory.create(tmp_path, mixer="x", config=CONFIG, out=out)
    assert str(caught.value) == (
        f"{out} exists: choose another `out`, or continue it with `zoo train --resume '{out}'`"
        if kind == "folder"
        else f"{out} is no folder: choose another `out`"
    )
    assert not (out / "config.json").exists()


def test_a_place_that_takes_no_folder_is_told_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError) as caught:
        RunDirectory.create(tmp_path / "file", mixer="x", config=CONFIG)
    assert caught.value.exit_code == 2
    assert re.fullmatch(r"cannot make the run directory .*: .+; choose another place with `out`", str(caught.value))


def test_a_full_disk_is_nobodys_mistake(tmp_path, monkeypatch):
    def mkdir(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(ZooError, match=r"No space left on device; choose another place with `out`") as caught:
        RunDirectory.create(tmp_path, mixer="x", config=CONFIG)
    assert caught.value.exit_code == 1


def test_a_disk_that_fills_on_creation_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ZooError, match=r"cannot write .*manifest\.json: No space left on device; what was saved"):
        RunDirectory.create(tmp_path, mixer="x", config=CONFIG, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def full_disk(_descriptor):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("prepare", "text"),
    [
        (lambda _: None, "there is no run at {run}: no such folder; `zoo train` prints where it puts a run"),
        (lambda run: run.mkdir(), "{run} is not a run: it holds no config.json; name a folder that `zoo train` made"),
        (lambda run: config(run, "{"), "is damaged (Expecting property name"),
        (lambda run: config(run, "[1]"), "is damaged (it should hold an object of names and values): put back a good"),
        (lambda run: config(run, b"\xff\xfe\xff"), "put back a good copy"),
    ],
)
def test_what_is_no_run_is_not_opened(tmp_path, prepare, text):
    path = tmp_path / "run"
    prepare(path)
    with pytest.raises(UsageError) as caught:
        RunDirectory.open(path)
    assert text.format(run=path) in str(caught.value)
    assert "\n" not in str(caught.value)


def config(run, content):
    run.mkdir()
    (run / "config.json").write_bytes(content if isinstance(content, bytes) else content.encode())


def test_tables_are_read_back_as_they_were_written(run):
    run.write_config({**CONFIG, "steps": 7})
    run.write_environment({"torch": "2", "plugins": {"a": {"version": "1"}}})
    run.write_tokenizer({"kind": "char", "characters": "ab\n\u2028"})
    again = RunDirectory.open(run.path)
    assert again.config["steps"] == 7
    assert again.environment["plugins"] == {"a": {"version": "1"}}
    assert again.tokenizer["characters"] == "ab\n\u2028"


def test_a_missing_table_is_told(run):
    with pytest.raises(UsageError, match=r"env\.json is missing: put it back, or start a new run"):
        _ = run.environment


def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, "old")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ZooError):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_written_through_a_link_in_the_place_of_a_file_on_its_way(tmp_path):
    path, victim = tmp_path / "file", tmp_path / "victim"
    victim.write_text("old")
    (tmp_path / ".file.partial").symlink_to(victim)
    write_atomically(path, "new")
    assert (path.read_text(), victim.read_text(), path.is_symlink()) == ("new", "old", False)


HOLD = """
import sys
from pathlib import Path
from pathlib import Path
from zoo.train.run_directory import RunDirectory
with RunDirectory(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_two_processes_cannot_share_a_run_and_a_killed_one_lets_go(run):
    command = [sys.executable, "-c", HOLD, str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UsageError) as caught, run.lock():
            pass
        assert str(caught.value) == f"another process is at work in {run.path}: wait until it ends, or stop it"
        holder.kill()
        holder.wait()
        with run.lock() as held:
            assert held is run


def test_a_start_does_not_remove_the_folder_in_which_another_process_is_at_work(run):
    other = RunDirectory(run.path)
    with run.lock(), pytest.raises(UsageError, match="another process"), other.discarded_on_failure(), other.lock():
        pass
    assert run.config == CONFIG


def test_a_lock_is_free_again_after_an_error(run):
    with pytest.raises(KeyError), run.lock():
        raise KeyError
    with run.lock():
        pass


def test_rows_come_back_exactly_and_what_is_not_finite_as_none(run):
    run.append_metrics({"step": 1, "train_loss": 0.1 + 0.2, "lr": 1e-300})
    run.append_metrics({"step": 2, "train_loss": math.nan, "validation_loss": math.inf})
    assert run.metrics() == [
        {"step": 1, "train_loss": 0.1 + 0.2, "lr": 1e-300},
        {"step": 2, "train_loss": None, "validation_loss": None},
    ]
    assert run.write_metrics_csv().read_text() == (
        "step,train_loss,lr,validation_loss\n1,0.30000000000000004,1e-300,\n2,,,\n"
    )


def test_events_have_a_time_and_mend_a_torn_line(run):
    run.append_event("started", step=0)
    with (run.path / "events.jsonl").open("a") as log:
        log.write('{"time": "20')
    run.append_event("fell back", reason="a\u2028b")
    events = run.events()
    assert [event["event"] for event in events] == ["started", "fell back"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", events[0]["time"])
    assert events[1]["reason"] == "a\u2028b"


def test_a_row_being_written_is_left_out_and_a_damaged_one_is_told(run):
    log = run.path / "metrics.jsonl"
    log.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert [row["step"] for row in run.metrics()] == [1, 2]
    for line in ("what", '{"stap": 2}', '{"step": "2"}', '{"step": 2, "lr": "1"}', "[" * 9999, "3", "{}"):
        log.write_text(f'{{"step": 1}}\n{line}\n')
        with pytest.raises(UsageError, match=r"metrics\.jsonl is damaged in line 2: fix or remove that line"):
            run.metrics()


@pytest.mark.parametrize("change", [{"time": 3}, {"event": None}, {"seconds": "1.5"}])
def test_an_event_without_what_every_event_has_is_told(run, change):
    event = {"time": "2025-01-31T00:00:00Z", "event": "finished", "seconds": 1.5}
    (run.path / "events.jsonl").write_text(f"{json.dumps(event)}\n{json.dumps(event | change)}\n")
    with pytest.raises(UsageError, match=r"events\.jsonl is damaged in line 2: fix or remove that line"):
        run.events()


@given(samples=st.lists(st.tuples(st.integers(0, 10**6), st.text(st.characters(codec="utf-8")))))
def test_samples_are_told_apart_whatever_the_model_wrote(tmp_path_factory, samples):
    run = RunDirectory(tmp_path_factory.mktemp("run"))
    for step, text in [*samples, (9, "=== step 1, 2 characters ===\nab\n\n\r\n")]:
        run.append_sample(step, text)
    assert run.samples()[:-1] == samples
    assert run.samples()[-1].step == 9


def test_half_of_a_character_in_a_sample_does_not_stop_the_run(run):
    run.append_sample(1, "a\udc80b")
    assert run.samples() == [Sample(1, "a?b")]


def test_a_header_with_thousands_of_digits_is_none(run):
    run.append_sample(1, "ab")
    with (run.path / "samples.txt").open("a") as log:
        log.write(f"=== step {'9' * 5000}, 2 characters ===\nab\n\n")
    assert run.samples() == [Sample(1, "ab")]


def log_steps(run, steps):
    for step in steps:
        run.append_metrics({"step": step, "train_loss": 1 / step})
        run.append_timing({"step": step, "seconds": step * 0.5})
        run.append_sample(step, f"text {step} ü\n")


@given(kept=st.integers(0, 4), lost=st.integers(0, 3), torn=st.binary(max_size=30))
def test_a_killed_and_resumed_run_ends_with_the_same_logs(tmp_path_factory, kept, lost, torn):
    names = ("metrics.jsonl", "samples.txt", "timings.jsonl")
    whole, killed = (RunDirectory(tmp_path_factory.mktemp("run")) for _ in range(2))
    log_steps(whole, range(1, 8))
    log_steps(killed, range(1, 1 + kept))
    offsets = json.loads(json.dumps(killed.log_offsets()))
    log_steps(killed, range(1 + kept, 1 + kept + lost))
    for name in names:
        with (killed.path / name).open("ab") as log:
            log.write(torn)
    assert killed.truncate_logs(offsets) == ()
    log_steps(killed, range(1 + kept, 8))
    assert texts(killed, *names) == texts(whole, *names)


def test_offsets_are_those_of_the_files_and_each_is_synced(run, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    log_steps(run, [1, 2])
    offsets = run.log_offsets()
    names = ("metrics.jsonl", "samples.txt", "timings.jsonl")
    assert offsets == {name: (run.path / name).stat().st_size for name in names}
    assert {(run.path / name).stat().st_ino for name in names} | {run.path.stat().st_ino} == set(synced)


def test_a_log_in_which_a_bit_has_changed_is_named(run):
    log_steps(run, [1, 2, 3])
    offsets = run.log_offsets()
    checksums = run.log_checksums(offsets)
    log_steps(run, [4])
    assert run.truncate_logs(offsets, checksums) == ()
    content = bytearray((run.path / "metrics.jsonl").read_bytes())
    content[5] ^= 1
    (run.path / "metrics.jsonl").write_bytes(content)
    assert run.truncate_logs(offsets, checksums) == ("metrics.jsonl",)
    assert run.truncate_logs(offsets) == ()  # as of a checkpoint of an earlier version


def test_a_log_that_lost_lines_is_named_and_left_with_whole_lines(run):
    log_steps(run, [1, 2, 3])
    offsets = run.log_offsets()
    (run.path / "metrics.jsonl").write_text('{"step": 1}\n{"st')
    (run.path / "samples.txt").unlink()
    assert run.truncate_logs(offsets) == ("metrics.jsonl", "samples.txt")
    log_steps(run, [4])
    assert [row["step"] for row in run.metrics()] == [1, 4]
    assert run.samples() == [(4, "text 4 ü\n")]


def test_a_full_disk_while_logging_is_told_in_one_line(run, monkeypatch):
    monkeypatch.setattr(atomic, "_itself", lambda path: Path("/dev/full").open("ab"))  # noqa: SIM115
    with pytest.raises(ZooError, match=r"cannot write .*metrics\.jsonl: No space left on device; what was saved"):
        run.append_metrics({"step": 1})


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="the system follows every link")
def test_nothing_is_logged_through_a_link(run, tmp_path):
    log_steps(run, [1, 2])
    offsets = run.log_offsets()
    log, victim = run.path / "metrics.jsonl", tmp_path / "victim"
    log.rename(victim)
    log.symlink_to(victim)
    before = victim.read_text()
    for write in (lambda: run.append_metrics({"step": 3}), lambda: run.truncate_logs(offsets), run.log_offsets):
        with pytest.raises(
            ZooError, match=r"^cannot write .*metrics\.jsonl: it is a link to another file: put that in"
        ):
            write()
    assert victim.read_text() == before


def test_checkpoints_that_are_a_link_are_not_added_to(run, tmp_path):
    run.write_environment({})
    (tmp_path / "elsewhere").mkdir()
    run.checkpoints.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=r"checkpoints is a link to another folder: put that in its place$"):
        run.check_resumable()
