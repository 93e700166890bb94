"""The language that writes down a stack of layers, e.g. ``correlation*3, dot-product(heads=2)/mlp``.

It is syntax only: whether a mixer of that name exists, and what its options may be, the registry says.
"""

from zoo.plugin.pattern.caret import point_at
from zoo.plugin.pattern.text import Value
from zoo.plugin.pattern.tree import Call, Layer, Pattern, Repeat

__all__ = ["Call", "Layer", "Pattern", "Repeat", "Value", "parse", "parse_call", "point_at"]


def parse(text: str) -> Pattern:
    """Read a pattern.

    Args:
        text: the pattern as the user wrote it; spaces and newlines are free.

    Returns:
        The tree. ``str`` of it is the canonical form, which parses to an equal tree.

    Raises:
        PatternError: with the place in the text and what was expected there.
    """
    # Lark takes longer to import than the rest of this package; commands that read no pattern do not wait for it.
    from zoo.plugin.pattern.reader import read_pattern

    return read_pattern(text)


def parse_call(text: str) -> Call:
    """Read one name with its options, e.g. ``bpe(vocab_size=8192)``.

    Args:
        text: the call as the user wrote it.

    Returns:
        The call, with its name and options in canonical form.

    Raises:
        PatternError: with the place in the text and what was expected there.
    """
    from zoo.plugin.pattern.reader import read_call

    return read_call(text)
