"""The hooks through which a plugin hands things to the zoo."""

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from zoo.contract import TokenMixer
    from zoo.task import Task

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


@hookspec
def zoo_tasks() -> "dict[str, type[Task]]":  # type: ignore[empty-body]
    """Tasks by name, for ``zoo train --data NAME``.

    A name is made as that of a mixer. The value is the class itself: the zoo builds it with ``cls(**options)``.
    """
