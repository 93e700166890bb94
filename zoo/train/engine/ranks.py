"""The processes that train one model together, called ranks, and what they tell each other. Here: one, by itself."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from torch import Tensor

from zoo.train.settings import Settings

T = TypeVar("T")


def unchanged(value: T) -> T:
    """The value itself."""
    return value


class Ranks:
    """One process that does everything itself. Where there are several, all of them must call the same methods.

    Attributes:
        rank: the number of this process, from 0.
        count: how many there are.
        local_rank: the number of this process among those of its node.
        local_count: how many there are on its node.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which owns the folder of the run and speaks to the user."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, in their order."""
        return [value]

    def first(self, work: Callable[[], T], tell: Callable[[T], T] = unchanged) -> T:  # noqa: ARG002 - there is no one
        """What rank 0 gets from some work that it alone does.

        Args:
            work: is done by rank 0.
            tell: makes of the result what the others get, e.g. less of it.

        Raises:
            ElsewhereError: on the other ranks, where the work fails.
        """
        return work()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Fail on all ranks where one does: that one with its own error, or the first of them.

        The ranks must not wait for each other within the block.

        Raises:
            ElsewhereError: on the ranks that have nothing to say.
        """
        yield

    def broadcast(self, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Broadcast the tensors of rank 0 onto the CPU of each rank, one by one; the others hand in none."""
        yield from tensors.items()

    def local_device(self, device: str) -> str:
        """Where the tensors of this rank lie, of a run whose settings say ``device``.

        Raises:
            UsageError: there is no GPU for it.
        """
        return device

    def check(self, settings: Settings) -> None:
        """Refuse settings with which these ranks cannot train.

        Raises:
            UsageError: the micro-batches of a step do not go round, or one process is asked for.
        """

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Tell in one line that another rank is gone.

        Raises:
            LostError: it is.
        """
        yield
