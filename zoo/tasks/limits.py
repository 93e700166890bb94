"""What the options of the tasks must keep to."""

from collections.abc import Sequence


def check_least(least: int, **counts: int | None) -> None:
    """Refuse a count below `least`; None is no count.

    Raises:
        ValueError: names the option, its value, and what would do.
    """
    for name, count in counts.items():
        if count is not None and count < least:
            raise ValueError(f"{name}={count} should be {least} or more")


def check_lengths(
    length: int, test_lengths: Sequence[int], *, least: int, why: str = "", even: bool = False
) -> tuple[int, ...]:
    """Refuse a length of training or test below `least`, or an odd one where it must be even.

    Returns:
        The test lengths.

    Raises:
        ValueError: names the option, the length, and what would do, with the reason `why`.
    """
    kind = "an even number, " if even else ""
    because = f": {why}" if why else ""
    for name, each in [(f"length={length}", length), *((f"{each} in test_lengths", each) for each in test_lengths)]:
        if each < least or (even and each % 2):
            raise ValueError(f"{name} should be {kind}{least} or more{because}")
    return tuple(test_lengths)
