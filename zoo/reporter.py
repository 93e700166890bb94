"""What a reporter is and promises: it passes on what a run measures, while the run goes on."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, float | None]
"""Figures by name, of one step, as in metrics.jsonl: always ``step``, and None for what is no finite number."""


@dataclass(frozen=True)
class ReportedRun:
    """The run that is reported.

    Attributes:
        path: its folder.
        name: that of the folder.
        key: no other run has it, and it stays the same when the run is resumed or its folder is moved; 16 letters.
        settings: those of its config.json.
        environment: versions, machine and data, those of its env.json.
    """

    path: Path
    name: str
    key: str
    settings: Mapping[str, Any] = field(repr=False)
    environment: Mapping[str, Any] = field(repr=False)


class Reporter(ABC):
    """Passes on the rows of metrics.jsonl as they are written: to files of a viewer, or to a service.

    Its options are the keyword parameters of its ``__init__``, with annotations and defaults, as those of a mixer are.
    ``__init__`` starts nothing; a library that is needed is imported in `open`.

    metrics.jsonl stays the truth, and a run does not depend on its reporters: one that raises is reported once, and
    gets nothing any more. A run that is resumed, after a kill too, opens a new reporter with all the rows that count,
    and gives it the earlier samples again.
    """

    @abstractmethod
    def open(self, run: ReportedRun, rows: Sequence[Row]) -> None:
        """Begin, and hold these rows of the run and no others.

        Args:
            run: what is reported from now on.
            rows: what it has logged already, the oldest first; empty for a new run. What an earlier reporter held of
                this run may be less, and may be more: steps that will be made again.

        Raises:
            UsageError: something is missing that the user has to provide before the run begins.
        """

    @abstractmethod
    def row(self, row: Row) -> None:
        """One more row. Its step is higher than that of the last one."""

    def sample(self, step: int, text: str) -> None:  # noqa: B027 - there may be no place for it
        """What the model wrote at an evaluation."""

    def finish(self, figures: Mapping[str, Any]) -> None:  # noqa: B027 - likewise
        """The run has ended, with these figures, those of its summary.json."""

    def close(self) -> None:  # noqa: B027 - likewise
        """Nothing follows: the run has ended, or was stopped."""

    def read(self, run: ReportedRun) -> list[dict[str, Any]] | None:  # noqa: ARG002 - not everything can be read back
        """The rows that it holds of a run, the oldest first; None where they cannot be read back.

        Numbers are those that were given. What was None may be left out. The laws compare it with what was logged.
        """
        return None
