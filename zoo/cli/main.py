"""The command line: which commands there are, and what a failure looks like."""

import gc
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.bench import bench
from zoo.cli.bench_model import bench_model
from zoo.cli.check import check
from zoo.cli.compare import compare
from zoo.cli.completing import SHELL_VARIABLE
from zoo.cli.completion import completion
from zoo.cli.data import data
from zoo.cli.doctor import doctor
from zoo.cli.eval import evaluate
from zoo.cli.files import for_one_command, use_files
from zoo.cli.generate import generate
from zoo.cli.help import MAX_WIDTH, Command, Group
from zoo.cli.info import info
from zoo.cli.inspect import inspect
from zoo.cli.list import list_members
from zoo.cli.new_plugin import new_plugin
from zoo.cli.output import INTERRUPTED, close_stdout, say
from zoo.cli.parameters import use_flags_of, with_flags
from zoo.cli.plan import plan
from zoo.cli.plot import plot
from zoo.cli.plugin_commands import remember_plugins
from zoo.cli.plugins import plugins
from zoo.cli.report import report
from zoo.cli.runs import runs
from zoo.cli.streams import prepare_streams
from zoo.cli.tasks import tasks
from zoo.cli.threads import choose_waiting, count_others
from zoo.cli.train import TrainCommand, train
from zoo.errors import ElsewhereError, PluginError, ZooError, is_out_of_memory
from zoo.train.engine.launch import choose_log_level

# typer exports one kind of its usage errors; the others share this base.
_CommandLineError: type[Exception] = typer.BadParameter.__mro__[1]

_COMPUTING = {"train", "generate", "check", "inspect", "eval", "bench", "compare"}
"""The commands that compute for a while, for which it is worth a look at what else the machine does."""

app = typer.Typer(
    name="zoo",
    add_completion=False,
    cls=Group,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": MAX_WIDTH},
    epilog="More: zoo COMMAND --help",
)
app.command("train", cls=TrainCommand)(train)
app.command("generate", cls=Command)(generate)
app.command("list", cls=Command)(list_members)
app.command("info", cls=Command)(info)
app.command("check", cls=Command)(check)
app.command("inspect", cls=Command)(inspect)
app.command("eval", cls=Command)(evaluate)
app.command("runs", cls=Command)(runs)
app.command("plot", cls=Command)(plot)
app.command("bench", cls=Command)(bench)
app.command("bench model", cls=Command)(bench_model)
app.command("compare", cls=Command)(compare)
app.command("report", cls=Command)(report)
app.command("plan", cls=Command)(plan)
app.command("tasks", cls=Command)(tasks)
app.command("data", cls=Command)(data)
app.command("plugins", cls=Command)(plugins)
app.command("new-plugin", cls=Command)(new_plugin)
app.command("doctor", cls=Command)(doctor)
app.command("completion", cls=Command)(completion)


@dataclass
class Invocation:
    """What holds for the whole command line."""

    debug: bool = False
    arguments: tuple[str, ...] = ()


@app.callback()
def options(
    context: typer.Context,
    plugin: Annotated[
        list[Path] | None,
        typer.Option("--plugin", "-p", metavar="FILE", help="A Python file with members to register. Repeatable."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """A zoo of token mixers: write one class, register it, and train, check and compare it."""
    context.obj.debug = debug
    if context.invoked_subcommand is not None:
        use_flags_of(context.command.get_command(context, context.invoked_subcommand))  # type: ignore[attr-defined]
    if plugin and context.invoked_subcommand is not None:
        use_files(plugin)
    if version:
        _print_version()
    elif context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """The console script ``zoo``."""
    if SHELL_VARIABLE in os.environ:  # where the program was installed before `zoo.__main__` looked for it
        from zoo.cli.completing.answer import respond

        sys.exit(respond())
    gc.set_threshold(10_000)  # importing torch makes a million objects that stay: looking through them takes a tenth
    prepare_streams()
    if _COMPUTING & set(sys.argv[1:]):  # flags of `zoo` itself may stand before the command
        choose_waiting(os.environ, others=count_others())
        choose_log_level(os.environ)
    code = run(sys.argv[1:])
    if "zoo.plugin.registry" in sys.modules:
        with suppress(KeyboardInterrupt):
            remember_plugins()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Args:
        arguments: without the program's name.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong usage or settings, 3 a check says no, 4 a plugin is broken or missing,
        130 interrupted.
    """
    invocation = Invocation(arguments=tuple(arguments))
    command = typer.main.get_command(app)
    try:
        with for_one_command(), command.make_context("zoo", list(arguments), obj=invocation) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader, e.g. `head`, has had enough
        close_stdout()
    except BaseException as error:  # what a mixer raises may be SystemExit, or pytest's Skipped
        if invocation.debug:
            traceback.print_exc()
        return _report(error, arguments)
    return 0


def _report(error: BaseException, arguments: Sequence[str]) -> int:
    """Tell a failure in a line; returns its exit code."""
    if not isinstance(error, _CommandLineError) and "torch" in sys.modules:  # without torch no mixer has run
        from zoo.model.faults import explain

        error = explain(error) or error
    if isinstance(error, ElsewhereError):
        return error.exit_code
    if isinstance(error, ZooError):
        # the text of a plugin is its own, and means none of our parameters
        text = str(error) if isinstance(error, PluginError) else with_flags(str(error))
        return _fail(text, error.exit_code)
    if isinstance(error, _CommandLineError):
        return _report_usage(error, arguments)
    if isinstance(error, OSError):
        return _fail(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
    if is_out_of_memory(error):
        return _fail("out of memory: try a smaller --batch or --context; `zoo train --dry-run` says what a run needs")
    cause = f"{type(error).__name__}: {' '.join(str(error).split())}"
    hint = "" if "--debug" in arguments else "; see where with: zoo --debug …"
    return _fail(f"this is a bug, in the zoo or in a plugin: {cause}{hint}")


def _report_usage(error: BaseException, arguments: Sequence[str]) -> int:
    context = getattr(error, "ctx", None)  # some of typer's errors do not know theirs
    path = context.command_path if context else " ".join(["zoo", *(a for a in arguments[:1] if a[:1] != "-")])
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    message = message.replace("Input should be", "it should be").split(", unable to parse")[0].rstrip(".")
    _fail(message[:1].lower() + message[1:])
    say(f"try: {path} --help")
    return 2


def _fail(text: str, code: int = 1) -> int:
    say(text, label="error:", style="bold red")
    return code


def _print_version() -> None:
    from importlib.metadata import version

    print(f"zoo {version('mixer-zoo')}")
