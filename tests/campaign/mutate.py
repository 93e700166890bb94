"""Valid inputs, changed: bytes and characters at random, and JSON values where their structure matters."""

import copy
import random
from collections.abc import Sequence
from typing import Any

SCRIPT = "<script>alert(1)</script>"
"""A text that must stand in no page as it is."""

HOSTILE: list[Any] = [
    None,
    True,
    -1,
    0,
    2,
    10**30,
    -(10**400),
    1e308,
    float("nan"),
    float("inf"),
    "",
    "none",
    SCRIPT,
    "'\"><img src=x onerror=alert(1)>",
    "../../outside/canary.txt",
    "/dev/zero",
    "a\nb\r\x00\x1b[31m",
    "\ud800\u202e\u2028",
    "a" * 20_000,
    [],
    {},
    [[[[[]]]]],
    [0] * 500,
    {"name": SCRIPT},
    {SCRIPT: {SCRIPT: SCRIPT}},
]

_BYTES = [
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\n",
    b"\r",
    b'"',
    b"\\",
    b"\\ud800",
    b"e999",
    b"9" * 5000,
]
_BYTES += [b"[" * 3000, b'{"a":' * 3000, b"(" * 60, b"NaN", b"Infinity", b"-0", b"1_0", "٣".encode(), "²".encode()]


def mutated(text: bytes, others: Sequence[bytes], words: Sequence[bytes], chance: random.Random) -> bytes:
    """The text after one change or several.

    Args:
        text: a valid input, or one that was changed before.
        others: further inputs, of which it may get a part.
        words: what has a meaning in the language of the input.
        chance: decides.
    """
    for _ in range(1 + int(chance.expovariate(0.7))):
        start, stop = sorted(chance.randrange(len(text) + 1) for _ in range(2))
        way = chance.randrange(8)
        if way == 0 and text:
            place = min(start, len(text) - 1)
            text = text[:place] + bytes([text[place] ^ 1 << chance.randrange(8)]) + text[place + 1 :]
        elif way == 1:
            text = text[:start] + bytes([chance.randrange(256)]) + text[start + 1 :]
        elif way == 2:
            text = text[:start] + text[min(stop, start + 12) :]
        elif way == 3:
            text = text[:stop] + text[start:stop] + text[stop:]
        elif way == 4:
            other = chance.choice(others)
            text = text[:start] + other[chance.randrange(len(other) + 1) :]
        elif way == 5 and chance.random() < 0.1:
            text = text[:start] + chance.choice(_BYTES) + text[stop:]
        else:
            text = text[:start] + chance.choice(words) + text[min(stop, start + chance.randrange(4)) :]
    return text


def mutated_json(value: Any, chance: random.Random, *, hostile: Sequence[Any] = HOSTILE) -> Any:
    """A JSON value after one change or several: of a value within, of a name, or of what there is at all."""
    value = copy.deepcopy(value)
    for _ in range(1 + int(chance.expovariate(1.0))):
        holder, key = _place(value, chance)
        if holder is None:
            value = copy.deepcopy(chance.choice(hostile)) if chance.random() < 0.1 else value
            continue
        way = chance.randrange(6)
        if way == 0:
            del holder[key]
        elif way == 1 and isinstance(holder, dict):
            holder[chance.choice([SCRIPT, "", "x" * 300, "../x", "sha256", "steps"])] = holder.pop(key)
        elif way == 2:
            holder[key] = _near(holder[key], chance)
        else:
            holder[key] = copy.deepcopy(chance.choice(hostile))
    return value


def _place(value: Any, chance: random.Random) -> tuple[Any, Any]:
    """A holder and a key in it, somewhere in the value; nothing where it holds nothing."""
    holder, key = None, None
    while isinstance(value, dict | list) and value and (holder is None or chance.random() < 0.7):
        holder, key = value, chance.choice(list(value) if isinstance(value, dict) else range(len(value)))
        value = value[key]
    return holder, key


def _near(value: Any, chance: random.Random) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + chance.choice([-1, 1, 2**31, -(2**63)])
    if isinstance(value, float):
        return value * chance.choice([-1, 0, 1e200, 1e-200])
    if isinstance(value, str):
        place = chance.randrange(len(value) + 1)
        return value[:place] + chance.choice(["", "\x00", "é", "(", ")*2", ", ", "/", ":", "0"]) + value[place + 1 :]
    return [value, value]
