"""What can go wrong for the user, and the exit code that each kind has on the command line."""

from typing import ClassVar


class ZooError(Exception):
    """Something failed that is not the user's doing, e.g. a full disk. One line that says what, and what to do."""

    exit_code: ClassVar[int] = 1


class UsageError(ZooError, ValueError):
    """What was asked for cannot be: a wrong option, setting, name, file or value."""

    exit_code = 2


class PatternError(UsageError):
    """A pattern that cannot be read. The text shows it with a caret under the place."""


class PluginError(ZooError):
    """A required plugin is broken or not installed."""

    exit_code = 4


def check_seed(seed: int) -> None:
    """Refuse a seed that the generators of random numbers do not take.

    Raises:
        UsageError: it has more than 64 bits.
    """
    if not -(2**63) <= seed < 2**64:
        raise UsageError(f"seed={seed} has more than 64 bits: choose one from 0 to {2**64 - 1}")


class WriteError(PluginError):
    """What a part of a model handed over is no write, or no loss.

    Attributes:
        part: the module whose fault it is.
        method: of the module.
        problem: what is wrong and what would be right, in the words of `zoo check`.
    """

    def __init__(self, part: object, problem: str, method: str = "forward") -> None:
        super().__init__(f"{type(part).__name__}: {problem}")
        self.part, self.problem, self.method = part, problem, method


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, CUDA or torch's CPU allocator says so; the last has no exception of its own."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or "can't allocate memory" in str(error)


class ElsewhereError(ZooError):
    """Another process of the same run has failed, and says why. This one has nothing to add.

    Attributes:
        exit_code: that of the other process.
    """

    exit_code: int  # type: ignore[misc]

    def __init__(self, exit_code: int) -> None:
        super().__init__("another process of this run has failed")
        self.exit_code = exit_code
