import io
import re
from contextlib import contextmanager, redirect_stderr

import pytest

from zoo.cli import progress
from zoo.cli.progress import Bar, Lines, live_display
from zoo.errors import ZooError
from zoo.train.listener import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@contextmanager
def terminal():
    """In the place of stderr: pytest puts its own there before each test."""
    with redirect_stderr(Terminal()) as stream:
        yield stream


@pytest.fixture(autouse=True)
def _screen(monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_FRAMES", 0.0)


def at(step, steps=10):
    return Progress(step, steps, loss=2.5, tokens_per_second=12345.6, seconds_left=75.0)


def plain(stream):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())


def test_a_bar_is_for_terminals_only(monkeypatch):
    with terminal(), live_display() as listener:
        assert isinstance(listener, Bar)
    with live_display() as listener:
        assert isinstance(listener, Lines)
    monkeypatch.setenv("TERM", "dumb")
    with terminal(), live_display() as listener:
        assert isinstance(listener, Lines)


def test_the_bar_shows_where_the_run_stands():
    with terminal() as screen, live_display() as listener:
        listener.progress(at(3))
    assert "step  3/10" in plain(screen)
    assert "loss 2.500  12,346 tokens/s  1:15 left" in plain(screen)


def test_samples_stand_above_the_bar_and_steer_nothing():
    sample = "\n".join(["first\x1b[2Jline", "[bold]no markup[/bold]", "x" * 200, *"abcdefgh"])
    with terminal() as screen, live_display() as listener:
        listener.progress(at(3))
        listener.evaluation(3, 1.25, 0.5, sample)
    lines = [line.split("\r")[-1].rstrip() for line in plain(screen).split("\n")]
    assert "step 3  validation loss 1.250  accuracy 50.0%" in lines
    assert "  first\ufffd[2Jline" in lines
    assert "  [bold]no markup[/bold]" in lines
    assert f"  {'x' * 67}…" in lines
    assert "  e" in lines
    assert "  f" not in lines


def test_lines_come_now_and_then(capsys, monkeypatch):
    clock = iter([0.0, 9.9, 10.1, 10.2, 19.0, 20.3, 20.4])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    lines = Lines()
    for step in (1, 2, 3, 4):
        lines.progress(at(step))
    assert capsys.readouterr().err.splitlines() == [
        "step 2/10  loss 2.500  12,346 tokens/s  1:15 left",
        "step 4/10  loss 2.500  12,346 tokens/s  1:15 left",
    ]


def test_evaluations_always_have_a_line(capsys):
    lines = Lines()
    lines.progress(at(3))
    lines.evaluation(3, 1.25, 0.5, "sample")
    assert capsys.readouterr().err == "step 3/10  validation loss 1.250  accuracy 50.0%\n"


def test_the_last_sample_stands_at_the_end(capsys):
    with live_display() as listener:
        listener.evaluation(3, 1.25, 0.5, "not the last")
        listener.evaluation(6, 1.25, 0.5, "\n".join(["first\x1b[2J\tline", "", "x" * 200, *"abcdefgh"]))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines[:2]] == ["step 3/0", "step 6/0"]
    assert lines[2:] == ["  first\ufffd[2J   line", "", f"  {'x' * 97}…", "  a", "  b", "  c", "  d", "  e"]


def test_a_run_that_fails_shows_no_sample(capsys):
    def fail():
        with live_display() as listener:
            listener.evaluation(3, 1.25, 0.5, "sample")
            raise ZooError("no")

    with pytest.raises(ZooError):
        fail()
    assert "sample" not in capsys.readouterr().err


@pytest.mark.parametrize("kind", [Lines, Bar])
def test_a_notice_waits_for_the_end_of_the_line(capsys, kind):
    listener = kind()
    listener.notice("at once")
    assert capsys.readouterr().err == "note: at once\n"
    with listener.speaking():
        listener.notice("first")
        listener.notice("second")
        assert capsys.readouterr().err == ""
    assert capsys.readouterr().err == "note: first\nnote: second\n"
