"""How the logs of a run are written down and read: rows of numbers as JSON lines, samples as plain text."""

import csv
import io
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from zoo.errors import UsageError
from zoo.files.strict_json import to_json

_HEADER = re.compile(r"=== step (\d+), (\d+) characters ===\n")


class Sample(NamedTuple):
    """Text that the model gave at an evaluation."""

    step: int
    text: str


def row_line(row: Mapping[str, Any]) -> str:
    """A row as a line of JSON."""
    return to_json(dict(row), indent=None)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a log, the oldest first; none where there is no file.

    Raises:
        UsageError: a line is damaged.
    """
    *lines, _ = _read(path).split("\n")  # after the last newline: nothing, or a line that is being written
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            raise UsageError(f"{path} is damaged in line {number}: fix or remove that line") from None
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as CSV, with a column for every name that occurs."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(itertools.chain(*rows))), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def sample_entry(sample: Sample) -> str:
    """A sample as it stands in the log. The length in its header separates text from headers in the text."""
    return f"=== step {sample.step}, {len(sample.text)} characters ===\n{sample.text}\n\n"


def read_samples(path: Path) -> list[Sample]:
    """The samples, the oldest first. Where the file was edited, those from there on are left out."""
    log, start, samples = _read(path), 0, []
    while header := _HEADER.match(log, start):
        end = header.end() + int(header[2])
        samples.append(Sample(int(header[1]), log[header.end() : end]))
        start = end + len("\n\n")
    return samples


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace") if path.exists() else ""
