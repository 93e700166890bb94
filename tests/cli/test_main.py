import io
import re
import subprocess
import sys
import time
from importlib import import_module
from importlib.metadata import version

import pytest

from zoo.cli import main
from zoo.cli.streams import tolerate_narrow_encodings
from zoo.plugin.commands import BUILT_IN

COMMANDS = BUILT_IN
HEAVY = ("torch", "pydantic", "pluggy", "lark", "matplotlib", "numpy", "jinja2", "mixers")


def test_help_lists_the_commands(zoo):
    result = zoo("--help")
    assert result.code == 0
    rows = result.out.split("Commands:")[1].split("\n\n")[0].split("\n")[1:]
    assert [re.split("  +", row.strip())[0] for row in rows] == [*COMMANDS]
    assert zoo() == result


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_is_plain_text(zoo, command):
    result = zoo(command, "--help", terminal=True)
    assert result.code == 0
    assert result.out.startswith(f"Usage: zoo {command} [OPTIONS]")
    assert "\x1b" not in result.out
    assert max(map(len, result.out.splitlines())) <= 100


def test_help_waits_for_nothing_heavy():
    script = f"import sys; from zoo.cli.main import run; run(['--help']); print(set(sys.modules) & {set(HEAVY)!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.slow
def test_help_takes_less_than_half_a_second():
    took = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "from zoo.cli.main import run; run(['--help'])"], check=True, stdout=-3)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.5


def test_version(zoo):
    assert zoo("--version").out == f"zoo {version('mixer-zoo')}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], ["no such command 'trian'", "'train'", "try: zoo --help"]),
        (["--nonsense"], ["no such option", "--nonsense", "try: zoo --help"]),
        (["train", "--mixr", "x"], ["--mixr", "--mixer", "try: zoo train --help"]),
        (["train", "--dim", "wide"], ["'--dim'", "valid integer", "try: zoo train --help"]),
        (["train", "--dim"], ["--dim", "requires an argument", "try: zoo train --help"]),
        (["train", "extra"], ["unexpected extra argument", "extra", "try: zoo train --help"]),
        (["info"], ["missing argument", "NAME", "try: zoo info --help"]),
        (["generate"], ["missing argument", "RUN", "try: zoo generate --help"]),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line_and_a_hint(zoo, arguments, words):
    result = zoo(*arguments)
    assert result.code == 2
    assert result.out == ""
    first, second = result.err.splitlines()
    assert first.startswith("error: ")
    assert second.startswith("try: ")
    for word in words:
        assert word in result.err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (RuntimeError("two\nlines"), 1, ["bug", "RuntimeError: two lines", "zoo --debug"]),
        (OSError(28, "No space left on device", "/data/x"), 1, ["/data/x: No space left on device"]),
        (PermissionError(13, "Permission denied"), 1, ["Permission denied"]),
        (MemoryError(), 1, ["out of memory", "--batch"]),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), 1, ["out of memory", "--batch"]),
        (KeyboardInterrupt(), 130, ["interrupted"]),
        (BrokenPipeError(32, "Broken pipe"), 0, []),
    ],
)
def test_a_failure_has_a_line_and_an_exit_code(zoo, monkeypatch, error, code, words):
    import_module("zoo.describe.mixers")  # what is imported later would keep the registry that fails
    monkeypatch.setattr("zoo.plugin.registry.get_registry", _raising(error))
    result = zoo("list")
    assert result.code == code
    assert len(result.err.splitlines()) == bool(words)
    assert "Traceback" not in result.err
    for word in words:
        assert word in result.err


def test_debug_shows_the_traceback(zoo, monkeypatch):
    monkeypatch.setattr("zoo.plugin.registry.get_registry", _raising(RuntimeError("deep down")))
    result = zoo("--debug", "list")
    assert result.code == 1
    assert "Traceback" in result.err
    assert "raise error" in result.err
    assert "zoo --debug" not in result.err


def test_debug_shows_the_traceback_of_a_mistake_too(zoo):
    result = zoo("--debug", "info", "nonsense")
    assert result.code == 2
    assert "Traceback" in result.err
    assert result.err.splitlines()[-1].startswith("error: no mixer is named 'nonsense'")


def test_colours_are_for_terminals(zoo, monkeypatch):
    plain, coloured = zoo("info", "nonsense"), zoo("info", "nonsense", terminal=True)
    assert "\x1b" not in plain.err
    assert "\x1b[1;31merror:" in coloured.err
    monkeypatch.setenv("NO_COLOR", "1")
    assert "31m" not in zoo("info", "nonsense", terminal=True).err


def test_a_stream_of_few_characters_shows_question_marks(monkeypatch):
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    tolerate_narrow_encodings()
    for stream in streams:
        print("a…b", file=stream, flush=True)
        assert stream.buffer.getvalue() == b"a?b\n"


def test_main_exits_with_the_code(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["zoo", "--version"])
    with pytest.raises(SystemExit) as stop:
        main.main()
    assert stop.value.code == 0


def _raising(error):
    def fail():
        raise error

    return fail
