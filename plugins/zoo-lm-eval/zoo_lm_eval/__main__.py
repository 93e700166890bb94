"""``python -m zoo_lm_eval``: the command line of the harness, ``lm_eval``, which knows the model ``zoo`` here."""

import sys

from lm_eval.__main__ import cli_evaluate

import zoo_lm_eval  # noqa: F401 - registers the model
from zoo.errors import ZooError


def main() -> None:
    """Run it; a mistake in what the zoo was asked for is one line."""
    try:
        cli_evaluate()
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
