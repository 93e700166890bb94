"""The one way to write JSON: text that every parser reads."""

import json
import math
from typing import Any


def to_json(content: Any, *, indent: int | None = 2) -> str:
    """A JSON value as text that ends in a newline.

    JSON has no word for NaN and the infinities, and strict parsers refuse those that Python writes: they become null.

    Args:
        content: of JSON's types.
        indent: spaces a level; None for one line.
    """
    return json.dumps(_finite(content), indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
