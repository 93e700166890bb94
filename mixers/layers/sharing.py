"""Values, and keys with them, that one layer hands up and later ones read."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

FIRST_VALUE = "first_value"
"""Under this name the first layer with a value residual hands up its values."""

KEYS = "kv."
"""Keys and values are handed up under this and the name that the layers agree on."""


def check_sharing(kv_to: str | None, kv_from: str | None, value_residual: bool) -> None:
    """Refuse names that are no plain words, and options that do not go together.

    Raises:
        ValueError: with what to choose.
    """
    for option, name in {"kv_to": kv_to, "kv_from": kv_from}.items():
        if name is not None and not re.fullmatch(r"[A-Za-z][\w-]*", name):
            raise ValueError(f"{option}={name!r} is no plain word: letters, digits, '-' and '_' after a first letter")
    if kv_from is not None and kv_to is not None:
        raise ValueError(f"kv_from={kv_from!r} does not go with kv_to: later layers can read {kv_from!r} themselves")
    if kv_from is not None and value_residual:
        raise ValueError(f"kv_from={kv_from!r} does not go with value_residual: the layer has no values of its own")


def first_values(shared: Mapping[str, Any], width: int) -> tuple[Tensor, ...]:
    """The values of the first layer, ``(b, t, width)``, or nothing in that layer itself.

    Raises:
        ValueError: they have another width.
    """
    first = shared.get(FIRST_VALUE)
    if first is not None and first.shape[-1] != width:
        raise ValueError(
            f"value_residual: the first layer's values have {first.shape[-1]} channels, and those here {width}; "
            "choose the same kv_heads in all layers"
        )
    return () if first is None else (first,)


def handed_up_keys(shared: Mapping[str, Any], name: str, heads: int, size: int) -> tuple[Tensor, ...]:
    """The keys and values that an earlier layer handed up, ``(b, s, g, k)`` each, or nothing if no layer hands up any.

    Args:
        shared: what earlier layers handed up.
        name: the name that the layers agree on.
        heads: of the queries.
        size: channels of a head.

    Raises:
        ValueError: there are keys under other names only, or these do not fit the queries.
    """
    both = shared.get(KEYS + name)
    if both is None:
        others = sorted(key.removeprefix(KEYS) for key in shared if key.startswith(KEYS))
        if others:
            raise ValueError(f"kv_from={name!r}: earlier layers have kv_to={' or '.join(others)}; choose one of these")
        return ()
    key, value = both
    kv_heads, of_key = key.shape[-2:]
    if of_key != size or heads % kv_heads:
        raise ValueError(
            f"kv_from={name!r}: that layer has {kv_heads} key heads of {of_key} channels, and this one {heads} query "
            f"heads of {size}; choose the same heads in both"
        )
    return key, value
