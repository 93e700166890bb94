"""What the mixer zoo finds of zoo-lm-eval: a command.

Nothing here imports the harness or torch, for which no other command should wait.
"""

from typing import TYPE_CHECKING

import zoo

if TYPE_CHECKING:
    import typer


@zoo.hookimpl
def zoo_commands(app: "typer.Typer") -> None:
    """``zoo evaluate``."""
    from zoo_lm_eval_plugin.command import evaluate

    app.command("evaluate")(evaluate)
