"""Every snippet of docs/tutorial.md is run, in its order, in a folder of its own.

To save time, models are trained for fewer steps than the page says (`SHORTENED`), so that the figures of the comparison
are not those of the page. The environment exists already: the commands that make it are left out.
"""

import re
import shlex
from pathlib import Path

import pytest

from .distributions import Program

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line for language, text in BLOCKS if not language for line in text.splitlines()]
SHORTENED = {"--steps 300": "--steps 4", "steps:400": "steps:4"}
INSTALLS = ("python3 -m venv ", "pip install ")
BROKEN = "zoo check ./mine.py:LookBack"
"""The command that is to fail, before the class is put right."""


def run(command, folder):
    """What a command prints; it has the exit code that the page leads one to expect."""
    for long, short in SHORTENED.items():
        command = command.replace(long, short)
    done = Program(folder, "", forked=True)(*shlex.split(command)[1:])
    assert done.returncode == (3 if command == BROKEN else 0), f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def without_figures(text):
    """The lines of an output, without the seconds and the figures in them."""
    return {re.sub(r"\d+(\.\d+)? s(?= )|\|Δ\| = \S+", "", line).strip() for line in text.splitlines()}


def test_the_page_is_made_of_what_this_test_knows():
    assert {language for language, _ in BLOCKS} == {"", "python", "text"}
    zoo = [command for command in COMMANDS if not command.startswith(INSTALLS)]
    assert all(command.startswith("zoo ") for command in zoo)
    assert len(COMMANDS) - len(zoo) == len(INSTALLS)
    assert BROKEN in zoo
    assert all(any(long in command for command in zoo) for long in SHORTENED)


@pytest.mark.slow
def test_the_page_does_what_it_says(tmp_path):
    mine, printed = tmp_path / "mine.py", ""
    for language, text in BLOCKS:
        if language == "python" and text.startswith("import"):
            mine.write_text(text, encoding="utf-8")
        elif language == "python":
            source = mine.read_text(encoding="utf-8")
            mine.write_text(source[: source.index("    def forward")] + text, encoding="utf-8")
        elif language == "text" and text.startswith("failed"):
            assert without_figures(text) <= without_figures(printed)
        elif language == "text":
            assert patterns(text) == patterns(printed) == ["dot-product", "look-back, dot-product"]
        else:
            printed = "".join(run(line, tmp_path) for line in text.splitlines() if not line.startswith(INSTALLS))
    for file in re.findall(r"`((?:runs|comparisons)/look-back/[\w./]+)`", PAGE):
        assert (tmp_path / file).is_file()
    for file in ("results.csv", "results.json", "environment.json"):
        assert (tmp_path / "comparisons" / "look-back" / file).is_file()
    assert (tmp_path / "look-back" / "pyproject.toml").is_file()


def patterns(printed):
    """The first column of the table of a comparison."""
    rows = printed[printed.index("\npattern ") :].strip().splitlines()[1:]
    return [re.split(r" {2,}", row)[0] for row in rows[:2]]
