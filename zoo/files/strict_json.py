"""The one way to write JSON: text that every parser reads; and to read it from a file that anyone may have written."""

import json
import math
import re
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")


def to_json(content: Any, *, indent: int | None = 2) -> str:
    """A JSON value as text that ends in a newline.

    JSON has no word for NaN and the infinities, and strict parsers refuse those that Python writes: they become null.
    Bytes of a path that are not UTF-8, which Python keeps as lone surrogates, are written as ``\\udce9``, which reads
    back as it was.

    Args:
        content: of JSON's types.
        indent: spaces a level; None for one line.
    """
    text = json.dumps(_finite(content), indent=indent, ensure_ascii=False, allow_nan=False) + "\n"
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def from_json(text: str | bytes) -> Any:
    """The value that JSON text holds.

    Raises:
        ValueError: it is no JSON, or nested deeper than Python reads.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
