"""The program: ``zoo``, and ``python -m zoo``, e.g. for ``torchrun -m zoo train``."""

import os
import sys


def main() -> None:
    """Run a command line, or answer a shell that completes one, for which the commands are not imported."""
    from zoo.cli.completing import SHELL_VARIABLE

    if SHELL_VARIABLE in os.environ:
        from zoo.cli.completing.answer import respond

        sys.exit(respond())
    from zoo.cli.main import main as run_command_line

    run_command_line()


if __name__ == "__main__":
    main()
