"""The hooks through which a plugin hands things to the zoo."""

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from zoo.contract import TokenMixer

GROUP = "zoo"
"""The entry-point group and the name of the pluggy project."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def zoo_mixers() -> "dict[str, type[TokenMixer]]":  # type: ignore[empty-body]
    """Token mixers by name.

    A name is made of lower-case letters, digits and ``-``, and begins with a letter. The value is the class itself:
    the zoo builds it with ``cls(dim, **options)``.
    """
