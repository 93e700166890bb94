"""The names that members and commands may have, and that of the entry points which give them."""

import re
from typing import Any

GROUP = "zoo"
"""The entry-point group and the name of the pluggy project."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
NAME_RULE = "use lower-case letters, digits and '-'"


def is_name(name: Any) -> bool:
    """Whether a pattern could spell it."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None
