"""``zoo completion``: the script with which a shell completes command lines of the zoo."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.completing.scripts import HOW_TO_USE, SCRIPTS
from zoo.cli.output import say
from zoo.errors import UsageError


def completion(
    shell: Annotated[
        str | None, typer.Argument(metavar="[SHELL]", help="bash, zsh or fish. [that of your account]")
    ] = None,
) -> None:
    """Print the script that completes commands in a shell.

    It completes commands, flags, the names of members and their options, presets, settings, runs and files. Each name
    is known once a command has loaded the plugins, e.g. `zoo list`. In the file that your shell reads when it starts:

    bash: eval "$(zoo completion bash)"

    zsh: eval "$(zoo completion zsh)"

    fish: zoo completion fish | source
    """
    name = Path(os.environ.get("SHELL", "")).name if shell is None else shell
    if name not in SCRIPTS:
        from zoo.plugin.options import did_you_mean

        if shell is None:
            raise UsageError(f"name a shell, of {', '.join(SCRIPTS)}: what SHELL={name!r} reads is not known")
        raise UsageError(
            f"there is no script for {name!r}{did_you_mean(name, SCRIPTS)}; there are: {', '.join(SCRIPTS)}"
        )
    print(SCRIPTS[name], end="")
    if sys.stdout.isatty():
        say(f"\nto use it, write: {HOW_TO_USE[name]}")
