"""Letters for arms: two that have one in common are not distinguished."""

from collections.abc import Collection, Sequence


def letters(names: Sequence[str], apart: Collection[tuple[str, str]]) -> dict[str, str]:
    """The letters of each name, ``"a"`` or ``"ab"``: two names share one exactly where they are not distinguished.

    Args:
        names: all, those first that get the first letters.
        apart: the pairs that are distinguished, either way round.

    Source: Piepho 2004, "An algorithm for a letter-based representation of all-pairwise comparisons": begin with one
    group of all, split every group that holds two that are apart, and drop groups that lie in others.
    """
    groups = [frozenset(names)]
    for first, second in apart:
        split = [group - {name} for group in groups if {first, second} <= group for name in (first, second)]
        kept = [group for group in groups if not {first, second} <= group]
        groups = _largest([*kept, *split])
    place = {name: number for number, name in enumerate(names)}
    ordered = sorted(groups, key=lambda group: sorted(place[name] for name in group))
    return {name: "".join(_letter(number) for number, group in enumerate(ordered) if name in group) for name in names}


def _largest(groups: Sequence[frozenset[str]]) -> list[frozenset[str]]:
    """Each group once, without those that lie in another."""
    different = list(dict.fromkeys(groups))
    return [group for group in different if not any(group < other for other in different)]


def _letter(number: int) -> str:
    """``a`` to ``z``, then ``a1`` and so on."""
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    return alphabet[number % 26] + (str(number // 26) if number >= 26 else "")
