"""Commands that plugins add to the program."""

import pytest

from zoo.cli.main import app
from zoo.plugin.commands import BUILT_IN
from zoo.plugin.known import COMMAND, KNOWN

from ..distributions import Program, install  # noqa: TID252 - pytest finds the parts of the tests by where they are

GREETER = """
import typer
import zoo

def greet(name: str = "you") -> None:
    '''Greet somebody.

    At length.
    '''
    if name == "nobody":
        raise zoo.UsageError("`name`=nobody should be somebody")
    print("hello", name)

many = typer.Typer(help="Greet many.")

@many.command()
def all() -> None:
    '''Greet all.'''
    print("hello all")

@many.command()
def some() -> None:
    '''Greet some.'''

@zoo.hookimpl
def zoo_commands(app):
    app.command()(greet)
    app.add_typer(many, name="greet-many")
"""

ADDS = """
import zoo

@zoo.hookimpl
def zoo_commands(app):
    app.command({name!r})(lambda: print("the other"))
"""


@pytest.fixture
def program(tmp_path):
    (tmp_path / "site").mkdir()
    install(tmp_path / "site", "greeter", GREETER)
    return Program(tmp_path, "greeter,other", forked=True)


def test_the_commands_that_no_plugin_replaces_are_those_of_the_program():
    assert tuple(info.name for info in app.registered_commands) == BUILT_IN


def test_a_plugin_adds_commands(program):
    assert program("greet", "--name", "me").stdout == "hello me\n"
    assert program("greet-many", "all").stdout == "hello all\n"
    help_of = program("greet", "--help").stdout
    assert help_of.startswith("Usage: zoo greet [OPTIONS]\n\nGreet somebody.\n\nAt length.\n")
    assert "--name NAME" in help_of
    wrong = program("greet", "--name", "nobody")
    assert (wrong.returncode, wrong.stderr) == (2, "error: --name nobody should be somebody\n")


def test_the_help_lists_them_once_they_were_loaded_and_does_not_load_them(program):
    assert "Commands of plugins" not in program("--help").stdout
    program("plugins")
    (program.folder / "site" / "greeter.py").write_text("raise SystemExit('loaded')", encoding="utf-8")
    lines = program("--help").stdout.splitlines()
    start = lines.index("Commands of plugins:")
    assert lines[start + 1 : start + 3] == ["  greet       Greet somebody.", "  greet-many  Greet many."]


def test_the_help_forgets_a_plugin_that_was_removed(program):
    program("plugins")
    for path in (program.folder / "site").glob("*.dist-info/*"):
        path.unlink()
    (program.folder / "site" / "greeter-1.2.dist-info").rmdir()
    assert "Commands of plugins" not in program("--help").stdout


def test_a_command_of_two_plugins_is_asked_for_by_its_distribution(program):
    install(program.folder / "site", "other", ADDS.format(name="greet"))
    wrong = program("greet")
    assert wrong.returncode == 2
    assert wrong.stderr == (
        "error: the command 'greet' is given by greeter 1.2 (entry point 'greeter') and other 1.2 (entry point "
        "'other'): write zoo greeter:greet or zoo other:greet\n"
    )
    assert program("other:greet").stdout == "the other\n"
    assert program("greeter:greet").stdout == "hello you\n"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (ADDS.format(name="train"), "its command 'train' is one of the zoo's own: give it another name"),
        (ADDS.format(name="Greet me"), "'Greet me' is no name for a command: use lower-case letters, digits and '-'"),
        (ADDS.format(name="a") + "    app.command('a')(print)\n", "it gives the command 'a' twice"),
        (ADDS.format(name="a") + "    1 / 0\n", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_plugin_whose_commands_cannot_be_is_broken_and_harms_nothing(program, source, error):
    install(program.folder / "site", "other", source)
    assert error in program("plugins").stdout
    assert program("greet").stdout == "hello you\n"
    assert program("train", "--help").stdout.startswith("Usage: zoo train")


def test_a_command_that_is_not_installed_is_told_with_the_remedy(program):
    wrong = program("export", "run")
    assert wrong.returncode == 4
    assert wrong.stderr == "error: the command 'export' comes with a plugin: pip install zoo-transformers\n"


def test_a_mistyped_command_is_told_as_ever(program):
    wrong = program("trian")
    assert wrong.returncode == 2
    assert wrong.stderr == "error: no such command 'trian'. Did you mean 'train'?\ntry: zoo --help\n"


def test_what_is_known_of_the_plugins_of_this_repository_is_no_command_of_the_zoo():
    assert not set(KNOWN[COMMAND]) & set(BUILT_IN)
