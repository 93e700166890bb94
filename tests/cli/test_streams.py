"""Streams that are closed, that nobody reads, or that take no text of the kind; nothing is lost with them."""

import io
import json
import os
import subprocess
import sys

import pytest

from zoo.cli.streams import prepare_streams, tolerate_narrow_encodings

ZOO = [sys.executable, "-c", "from zoo.cli.main import main; main()"]


def in_a_shell(redirection, *arguments, **environment):
    """Run a command line with what a shell does to its streams; what is left of them is captured."""
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", *ZOO, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, env=os.environ | environment)


def ended_well(run):
    events = [json.loads(line)["event"] for line in (run / "events.jsonl").read_text().splitlines()]
    return events == ["started", "finished"] and (run / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_bug(redirection):
    done = in_a_shell(redirection, "--help")
    assert (done.returncode, done.stderr) == (0, b"")
    assert bool(done.stdout) == (">&-" not in redirection.replace("2>&-", ""))


@pytest.mark.slow
def test_a_mistake_without_a_place_to_tell_it_has_its_exit_code():
    assert in_a_shell("2>&-", "trian").returncode == 2


def test_a_file_does_not_become_stderr(tmp_path):
    """A descriptor that is closed is the next one that is given out."""
    script = "from zoo.cli.streams import prepare_streams as p; p(); f = open('file', 'wb'); print(f.fileno() > 2)"
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", script]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout == b"True\n"


def test_words_that_nobody_reads_are_lost_and_nothing_else(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        prepare_streams()
        for _ in range(3):
            print("x" * 100_000, file=sys.stderr, flush=True)
        assert sys.stderr.fileno() == writer
        monkeypatch.undo()


@pytest.mark.slow
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "2>&1 >&- | head -n 1"])
def test_a_run_goes_on_without_a_reader_and_is_saved(tmp_path, tiny, redirection):
    run = tmp_path / "run"
    done = in_a_shell(redirection, "train", *tiny, "--set", "evaluate_every=1", "--out", run)
    assert b"bug" not in done.stdout + done.stderr
    assert done.returncode == 0
    assert ended_well(run)


@pytest.mark.slow
def test_a_reader_of_the_summary_that_has_gone_is_no_failure(tmp_path, tiny):
    """Drawn by rich, which would end the process with exit code 1."""
    command = f'exec "$@" 2>{tmp_path / "words"}'
    with subprocess.Popen(
        ["sh", "-c", command, "sh", *ZOO, "train", *tiny, "--out", str(tmp_path / "run")], stdout=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.wait(timeout=120) == 0
    assert ended_well(tmp_path / "run")


@pytest.mark.slow
def test_a_prompt_from_a_closed_stdin(zoo, finished, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    result = zoo("generate", finished, "--prompt", "-")
    assert (result.code, result.out) == (2, "")
    assert result.err == "error: --prompt - reads the prompt from stdin, which is closed: pipe a text into it\n"
    assert zoo("generate", finished, "--prompt", "def", "--tokens", 1).code == 0


@pytest.mark.slow
def test_a_prompt_that_is_no_text(zoo, finished, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9"), encoding="utf-8"))
    result = zoo("generate", finished, "--prompt", "-")
    assert (result.code, result.out) == (2, "")
    assert "is not UTF-8 text" in result.err


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_path_that_is_not_utf8_is_shown_as_json_writes_it(monkeypatch, encoding):
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    tolerate_narrow_encodings()
    for stream in streams:
        print(json.dumps(os.fsdecode(b"caf\xe9"), ensure_ascii=False), file=stream, flush=True)
        assert stream.buffer.getvalue() == b'"caf\\udce9"\n'
        assert os.fsencode(json.loads(stream.buffer.getvalue())) == b"caf\xe9"
