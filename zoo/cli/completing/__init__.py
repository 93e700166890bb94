"""Answers a shell that asks what may stand under the cursor, from what was remembered, without torch, typer or plugins.

A shell asks by running the program with three variables in the environment.
"""

SHELL_VARIABLE = "_ZOO_COMPLETE"
"""Which shell it is."""

LINE_VARIABLE = "_ZOO_LINE"
"""The line up to the cursor."""

BREAKS_VARIABLE = "_ZOO_BREAKS"
"""What splits words in bash."""
