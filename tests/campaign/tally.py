"""What a campaign counts: each case by how it ended, and the bad ones with what makes them again."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BAD = "BAD"
"""How every ending begins that must not happen."""


class Tally:
    """The cases of a campaign so far.

    Args:
        out: the folder of the campaign; bad cases are appended to ``failures.jsonl`` in it.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.counts: dict[str, Counter[str]] = {}
        self.seconds: Counter[str] = Counter()
        self.case = 0

    def cases(self, first: int, count: int, step: int = 1) -> Iterator[int]:
        """Numbers of so many cases; the one at work is known, should the campaign be stopped."""
        for self.case in range(first, first + count * step, step):
            yield self.case

    def add(self, what: str, ending: str, number: int = 1) -> None:
        """Count cases that ended well."""
        self.counts.setdefault(what, Counter())[ending] += number

    def fail(self, what: str, ending: str, **reproduction: Any) -> None:
        """Count a bad case, print it, and append it to the file."""
        self.add(what, f"{BAD}: {ending}")
        row = {"what": what, "ending": ending, **reproduction}
        print(f"{BAD} {what}: {ending}\n    {json.dumps(reproduction, default=str)[:2000]}", flush=True)
        with (self.out / "failures.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, default=str) + "\n")

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Add the seconds that the block takes to those of `what`."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[what] += time.monotonic() - began

    @property
    def failed(self) -> int:
        """How many cases were bad."""
        rows = (count.items() for count in self.counts.values())
        return sum(number for row in rows for ending, number in row if ending.startswith(BAD))

    def table(self) -> Iterable[str]:
        """The lines to print at the end: what, how many, how each ended, seconds."""
        for what, endings in self.counts.items():
            yield f"{what}: {endings.total():,} cases, {self.seconds[what]:.1f} s"
            for ending, number in endings.most_common():
                yield f"    {number:>9,}  {ending}"
        yield f"{self.failed:,} bad"
