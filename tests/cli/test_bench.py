import csv
import json
import signal
import subprocess
import sys

import pytest
import torch

from zoo.cli import bench_display

TINY = ["--lengths", "8,16,32", "--dim", "16", "--heads", "2", "--repeats", "2", "--threads", "1", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    for name, value in {"_SECONDS": 1e-4, "_MATRICES": (32,), "_COPIES": (2**12,)}.items():
        monkeypatch.setattr(f"zoo.lab.bench.machine.{name}", value)
    for name, value in {"MIN_SECONDS": 1e-4, "_WARM_SECONDS": 0.0}.items():
        monkeypatch.setattr(f"zoo.lab.bench.measure.{name}", value)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_tables_and_files(zoo, tmp_path):
    out = tmp_path / "out"
    result = zoo("bench", "correlation", *TINY, "--what", "decode,forward", "--out", out)
    assert result.code == 0, result.err
    titles = [line.split(":")[0] for line in result.out.splitlines() if "; " in line and line[0] in "ftdm"]
    assert titles == ["decode", "forward"]
    assert result.out.count("\ncorrelation ") == result.out.count("\nplain sdpa ") == 2
    assert max(map(len, result.out.splitlines())) <= 100
    assert result.err.endswith(f"report: {out / 'report.html'}\n")  # progress before it, on a slow machine
    rows = list(csv.DictReader((out / "bench.csv").read_text().splitlines()))
    assert len(rows) == 2 * 3 * 2


@pytest.mark.slow
def test_json(zoo, tmp_path):
    result = zoo("bench", "correlation", *TINY, "--what", "memory", "--out", tmp_path / "out", "--json")
    told = json.loads(result.out)
    assert told.pop("folder") == str(tmp_path / "out")
    written = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert told == written
    assert [cell["length"] for cell in told["cells"]] == [8, 8, 16, 16, 32, 32]


@pytest.mark.slow
def test_the_folder_is_named_after_time_and_patterns(zoo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert zoo("bench", "correlation", *TINY, "--what", "memory").code == 0
    (folder,) = (tmp_path / "bench").iterdir()
    assert folder.name.endswith("-correlation")


@pytest.mark.slow
def test_a_candidate_that_fails_is_told_and_the_code_is_1(zoo, tmp_path):
    out = tmp_path / "out"
    result = zoo("bench", "dot-product(heads=7)", "involution", *TINY, "--what", "memory", "--out", out)
    assert result.code == 1
    assert "failed: dot-product(heads=7): not built: dot-product: heads=7 does not divide" in result.out
    assert "\ninvolution " in result.out
    assert "dot-product(heads=7): not built: " in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["corelation"], ["no mixer is named 'corelation'", "did you mean 'correlation'"]),
        (["x", "y"], ["no mixer is named 'x'"]),
        (["correlation", "--lengths", "8,many"], ["--lengths", "whole numbers"]),
        (["correlation", "--what", "tran"], ["--what", "did you mean 'train'"]),
        (["correlation", "--repeats", "0"], ["--repeats 0 should be 1 or more"]),
        (["correlation", "--precision", "fp16"], ["should be fp32 or bf16"]),
        (["correlation", "--device", "tpu"], ["should be auto, cpu or cuda"]),
        (["correlation", "--dim", "18", "--heads", "4"], ["--dim 18 cannot be shared out among --heads 4"]),
        ([], ["missing argument", "PATTERN", "try: zoo bench --help"]),
    ],
)
def test_mistakes_are_told_and_leave_no_folder(zoo, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    result = zoo("bench", *arguments)
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("error: ")
    for word in words:
        assert word in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_not_touched(zoo, tmp_path):
    result = zoo("bench", "correlation", *TINY, "--out", tmp_path)
    assert result.code == 2
    assert "exists: choose another --out" in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_line_now_and_then(zoo, tmp_path, monkeypatch):
    monkeypatch.setattr(bench_display.Lines, "pause", 0.0)
    result = zoo("bench", "correlation", *TINY, "--what", "memory", "--out", tmp_path / "out")
    lines = result.err.splitlines()
    assert lines[0] == " 0 %  memory at 8 tokens: plain sdpa"
    assert lines[5] == "83 %  memory at 32 tokens: correlation"


@pytest.mark.slow
def test_on_a_terminal_the_line_is_gone_at_the_end(zoo, tmp_path, monkeypatch):
    monkeypatch.setattr(bench_display.LiveLine, "pause", 0.0)
    result = zoo("bench", "correlation", *TINY, "--what", "memory", "--out", tmp_path / "out", terminal=True)
    assert result.code == 0
    assert "83 %  memory at 32 tokens: correlation" in result.err
    assert result.err.splitlines()[-1].endswith(f"report: {tmp_path / 'out' / 'report.html'}")
    assert "\x1b[2K" in result.err


def test_stopped_before_anything_was_measured_nothing_is_written(zoo, tmp_path, monkeypatch):
    def stop(self, kind, length, name):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench_display.Lines, "turn", stop)
    result = zoo("bench", "correlation", *TINY, "--out", tmp_path / "out")
    assert (result.code, result.out, result.err) == (130, "", "interrupted\n")
    assert list(tmp_path.iterdir()) == []


TELLING = """
from zoo.cli import bench_display
from zoo.cli.main import main
from zoo.lab.bench import machine
bench_display.Lines.pause, machine._SECONDS, machine._MATRICES = 0.0, 0.02, (32,)
main()
"""


@pytest.mark.slow
def test_ctrl_c_writes_what_was_measured(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-c", TELLING, "bench", "dot-product", "--out", str(out), "--threads", "1"]
    command += ["--lengths", ",".join(str(64 * n) for n in range(1, 60)), "--what", "memory,train"]
    bench = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert bench.stderr is not None
    assert any("memory at 128 tokens" in line for line in bench.stderr)
    bench.send_signal(signal.SIGINT)
    told, words = bench.communicate(timeout=60)
    assert bench.returncode == 130
    assert "stopping after this call" in words
    assert "marked as incomplete" in words
    assert "note: It was interrupted" in told
    written = json.loads((out / "bench.json").read_text())
    assert written["complete"] is False
    assert 0 < len(written["cells"]) < 2 * 59 * 2
    assert "It was interrupted" in (out / "report.html").read_text()
