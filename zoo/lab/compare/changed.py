"""Mixers and tasks that changed in the course of a comparison, so that its runs are not all of the same one."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import ZooError
from zoo.train.plugins import plain_name
from zoo.train.run_directory import RunDirectory


@dataclass(frozen=True, order=True)
class Code:
    """What a run was made with.

    Attributes:
        source_sha256: of the source code; empty where the run did not record it.
    """

    distribution: str
    version: str
    source_sha256: str

    def __str__(self) -> str:
        source = f"source {self.source_sha256[:8]}" if self.source_sha256 else "unknown source"
        return f"{self.distribution} {self.version} ({source})"


@dataclass(frozen=True)
class ChangedPlugin:
    """A mixer or a task that is not the same in all runs.

    Attributes:
        name: of the mixer or the task.
        runs: how many were started with each version and source code.
        resumed: how many of them were resumed with other code than they were started with.
    """

    name: str
    runs: tuple[tuple[Code, int], ...]
    resumed: int

    def __str__(self) -> str:
        used = ", ".join(f"{code} in {_runs(count)}" for code, count in self.runs)
        resumed = f"; {_runs(self.resumed)} resumed after a change" if self.resumed else ""
        return f"{self.name} changed in the course of the comparison: {used}{resumed}."


def changed_plugins(runs: Iterable[Path]) -> tuple[ChangedPlugin, ...]:
    """What the folders of runs say about it; one that is missing or damaged says nothing."""
    started: dict[str, Counter[Code]] = {}
    resumed: Counter[str] = Counter()
    for path in runs:
        with suppress(ZooError, KeyError, TypeError, AttributeError):
            run = RunDirectory(path)
            for name, plugin in run.environment["plugins"].items():
                code = Code(plugin["distribution"], plugin["version"], plugin.get("source_sha256", ""))
                started.setdefault(name, Counter())[code] += 1
            resumed.update({event["plugin"] for event in run.events() if event.get("plugin") in started})
    return tuple(
        ChangedPlugin(plain_name(name), tuple(sorted(codes.items())), resumed[name])
        for name, codes in sorted(started.items())
        if resumed[name] or _differ(codes)
    )


def _differ(codes: Iterable[Code]) -> bool:
    """Whether two of them are certainly not the same; code that was not recorded may be the same."""
    versions = {(code.distribution, code.version) for code in codes}
    return len(versions) > 1 or len({code.source_sha256 for code in codes} - {""}) > 1


def _runs(count: int) -> str:
    return f"{count} runs" if count > 1 else "1 run"
