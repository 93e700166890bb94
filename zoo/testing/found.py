"""What the search for a broken law found."""

from dataclasses import dataclass, field
from typing import Any

from zoo.testing.covering import Choice


@dataclass
class Search:
    """What a search found.

    Attributes:
        looked_at: how many cases the law had something to say about.
        seen: the choices of options that it saw in them.
        silent: why it had nothing to say about the others, if there were any.
        breach: the smallest case found that breaks the law, and what was seen; no case if none could be drawn.
    """

    looked_at: int = 0
    seen: set[Choice] = field(default_factory=set)
    silent: str = ""
    breach: tuple[Any, str] | None = None
