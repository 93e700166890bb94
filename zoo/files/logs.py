"""How the logs of a run are written down and read: rows of numbers as JSON lines, samples as plain text."""

import csv
import io
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from zoo.errors import UsageError
from zoo.files.strict_json import from_json, to_json

# As many digits as any step has: Python makes no number of thousands.
_HEADER = re.compile(r"=== step (\d{1,18}), (\d{1,18}) characters ===\n")


class Sample(NamedTuple):
    """Text that the model gave at an evaluation."""

    step: int
    text: str


def row_line(row: Mapping[str, Any]) -> str:
    """A row as a line of JSON."""
    return to_json(dict(row), indent=None)


def read_rows(path: Path, is_sound: Callable[[dict[str, Any]], bool] = lambda _row: True) -> list[dict[str, Any]]:
    """The rows of a log, the oldest first; none where there is no file.

    Args:
        path: of the log.
        is_sound: whether a row is one of this log. What a bit has changed may still be JSON.

    Raises:
        UsageError: a line is damaged.
    """
    *lines, _ = _read(path).split("\n")  # after the last newline: nothing, or a line that is being written
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = dict(from_json(line))
            if not is_sound(row):
                raise ValueError("no row of this log")
        except (ValueError, TypeError):
            raise UsageError(f"{path} is damaged in line {number}: fix or remove that line") from None
        rows.append(row)
    return rows


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl, as `read_rows` gives them: numbers by name, and always the step."""
    return read_rows(path, _is_of_metrics)


def read_events(path: Path) -> list[dict[str, Any]]:
    """The rows of events.jsonl, as `read_rows` gives them: always what happened, and when."""
    return read_rows(path, _is_event)


def _is_of_metrics(row: Mapping[str, Any]) -> bool:
    numbers = all(value is None or isinstance(value, int | float) for value in row.values())
    return numbers and isinstance(row.get("step"), int)


def _is_event(row: Mapping[str, Any]) -> bool:
    texts = isinstance(row.get("time"), str) and isinstance(row.get("event"), str)
    return texts and isinstance(row.get("seconds", 0.0), int | float)


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
