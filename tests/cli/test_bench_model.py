import json
import re
import signal
import subprocess
import sys

import pytest

from zoo.cli import bench_display
from zoo.plugin.local import register

TINY = ["--layers", "1", "--dim", "16", "--heads", "2", "--context", "8", "--batch", "2", "--vocab-size", "11"]
TINY += ["--repeats", "1", "--threads", "1", "--device", "cpu"]


def test_tables_and_files(zoo, tmp_path):
    out = tmp_path / "out"
    result = zoo("bench", "model", "identity", *TINY, "--what", "decode,train", "--out", out)
    assert result.code == 0, result.err
    titles = [line.split(":")[0] for line in result.out.splitlines() if "sequences" in line]
    assert titles == ["decode", "train"]
    for name in ("dot-product", "plain gpt2", "identity"):
        assert len(re.findall(rf"^{name}(?: |$)", result.out, re.MULTILINE)) == 2  # a long row wraps behind the name
    assert max(map(len, result.out.splitlines())) <= 100
    assert result.err.endswith(f"report: {out / 'report.html'}\n")
    assert {path.name for path in out.iterdir()} >= {"bench.csv", "bench.json", "report.html", "bench-roofline.png"}


def test_json(zoo, tmp_path):
    result = zoo("bench", "model", "identity", *TINY, "--what", "evaluation", "--out", tmp_path / "out", "--json")
    told = json.loads(result.out)
    assert told.pop("folder") == str(tmp_path / "out")
    assert told == json.loads((tmp_path / "out" / "bench.json").read_text())
    assert [cell["candidate"] for cell in told["cells"]] == ["dot-product", "plain gpt2", "identity"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["corelation"], ["no mixer is named 'corelation'", "did you mean 'correlation'"]),
        (["correlation", "--what", "trian"], ["--what 'trian': nothing of that name", "did you mean 'train'"]),
        (["correlation", "--what", "memory"], ["choose of train, evaluation, prefill, decode"]),
        (["correlation", "--dim", "18", "--heads", "4"], ["--dim 18 cannot be shared out among --heads 4"]),
        (["correlation", "--context", "1"], ["--context 1 should be 2 or more"]),
        (["correlation", "--vocab-size", "0"], ["--vocab-size 0 should be 2 or more"]),
        (["correlation*2, dot-product", "--layers", "2"], ["layers=2", "3"]),
        (["correlation", "--layers", "0"], ["--layers 0 should be 1 or more"]),
        (["correlation", "--precision", "fp16"], ["should be fp32 or bf16"]),
        (["correlation", "--device", "tpu"], ["should be auto, cpu or cuda"]),
        (["correlation", "--lengths", "8"], ["no such option", "--lengths", "try: zoo bench model --help"]),
        ([], ["missing argument", "PATTERN", "try: zoo bench model --help"]),
    ],
)
def test_mistakes_have_a_line_and_leave_no_folder(zoo, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    result = zoo("bench", "model", *arguments)
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("error: ")
    for word in words:
        assert word in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_mixer_called_model_is_reached(zoo, tmp_path):
    from zoo import TokenMixer

    class Model(TokenMixer):
        """Writes what it reads."""

        def forward(self, x):
            return x

    register("model", Model)
    sizes = ("--lengths", "4", "--dim", "16", "--heads", "2", "--repeats", "1", "--threads", "1", "--device", "cpu")
    given = (*sizes, "--what", "forward", "--out", tmp_path / "out", "--json")
    result = zoo("bench", *given, "--", "model")
    assert result.code == 0, result.err
    assert [cell["candidate"] for cell in json.loads(result.out)["cells"]] == ["plain sdpa", "model"]


def test_its_help_is_its_own(zoo):
    assert "zoo bench model --help" in " ".join(zoo("bench", "--help").out.split())
    own = zoo("bench", "model", "--help").out
    assert own.startswith("Usage: zoo bench model [OPTIONS] PATTERN …\n")
    assert "--lengths" not in own


def test_stopped_before_anything_was_measured_nothing_is_written(zoo, tmp_path, monkeypatch):
    def stop(self, kind, length, name):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench_display.Lines, "turn", stop)
    result = zoo("bench", "model", "identity", *TINY, "--out", tmp_path / "out")
    assert (result.code, result.out, result.err) == (130, "", "interrupted\n")
    assert list(tmp_path.iterdir()) == []


NOTICED = """
from zoo.cli import bench_display
from zoo.cli.main import main
from zoo.lab.bench import machine
bench_display.Lines.pause, machine._SECONDS, machine._MATRICES, machine._COPIES = 0.0, 0.02, (32,), (2**12,)
main()
"""


@pytest.mark.slow
def test_ctrl_c_writes_what_was_measured(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-c", NOTICED, "bench", "model", "identity", *TINY[:-6], "--threads", "1"]
    command += ["--repeats", "1000", "--what", "train,decode", "--out", str(out)]
    bench = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert bench.stderr is not None
    turns = (line for line in bench.stderr if "train at 8 tokens: identity" in line)
    for _ in range(4):
        next(turns)
    bench.send_signal(signal.SIGINT)
    printed, words = bench.communicate(timeout=60)
    assert bench.returncode == 130
    assert "marked as incomplete" in words
    assert "note: It was interrupted" in printed
    written = json.loads((out / "bench.json").read_text())
    assert written["complete"] is False
    assert {cell["what"] for cell in written["cells"]} == {"train"}
