"""The folder of a run, seen by a process that does not own it: one of several that train it, but not the first."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from zoo.train.engine.ranks import Ranks
from zoo.train.run_directory import RunDirectory


class ReadOnlyRun(RunDirectory):
    """Reads what the folder of a run holds, and writes nothing."""

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Nothing is written."""

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Nothing is written."""

    def write_tokenizer(self, tokenizer: Mapping[str, Any]) -> None:
        """Nothing is written."""

    @contextmanager
    def discarded_on_failure(self) -> Iterator[None]:
        """Nothing is removed."""
        yield

    @contextmanager
    def lock(self) -> Iterator[RunDirectory]:
        """The first rank has it."""
        yield self

    def append_metrics(self, row: Mapping[str, float | None]) -> None:
        """Nothing is logged."""

    def append_timing(self, row: Mapping[str, float | None]) -> None:
        """Nothing is logged."""

    def append_sample(self, step: int, text: str) -> None:
        """Nothing is logged."""

    def append_event(self, kind: str, **fields: Any) -> None:
        """Nothing is logged."""

    def events(self) -> list[dict[str, Any]]:
        """None: the first rank may be writing them."""
        return []

    def log_offsets(self) -> dict[str, int]:
        """None: no log is kept."""
        return {}

    def log_checksums(self, offsets: Mapping[str, int]) -> dict[str, str]:  # noqa: ARG002
        """None either."""
        return {}

    def truncate_logs(
        self,
        offsets: Mapping[str, int],  # noqa: ARG002
        checksums: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> tuple[str, ...]:
        """Nothing is cut."""
        return ()


def seen_by(ranks: Ranks, run: RunDirectory) -> RunDirectory:
    """The run as this rank may use it: the first one owns it."""
    return run if ranks.is_first else ReadOnlyRun(run.path)
