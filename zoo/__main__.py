"""``python -m zoo``: the command line, e.g. for ``torchrun -m zoo train``."""

from zoo.cli.main import main

main()
