"""The figures of a run that has ended, and how they are read back."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from zoo.data.dataset import Dataset
from zoo.data.masked import MaskedText
from zoo.data.source import Metric
from zoo.data.task_data import TaskData
from zoo.files.logs import row_line
from zoo.files.strict_json import from_json
from zoo.train.manifest import read_sealed, write_sealed

SUMMARY = "summary.json"

Accuracies = Mapping[str, Mapping[str, float]]
"""By what they are broken down by, and by its value."""


@dataclass(frozen=True)
class Summary:
    """The figures of a run that has ended. NaN where there is none.

    Attributes:
        train_loss: in `unit`; `validation_loss` likewise.
        bits_per_byte: of validation text; NaN for a task and for masked tokens.
        unigram_loss: the loss that token frequencies alone give on the masked tokens; NaN for other objectives.
        validation_accuracy: the fraction of the scored validation positions that were predicted correctly.
        ema_validation_loss: that of the average of the weights, where the run kept one; `ema_validation_accuracy`
            likewise.
        utilisation: the fraction of the machine's fastest matrix product that training reached; NaN for short runs.
        accuracies: the same at each length that was tested, and for each slice of the task at the longest of them, by
            name and value. Empty for a text.
        guess_levels: the accuracies that guessing gives there, likewise.
        tokens_per_second: of training alone.
        seconds: of all of it, added up where the run was resumed; what a crash cut off is not counted.
        metric: see `zoo.data.source.Source`; `unit` and `writes_text` likewise.
    """

    run: str
    mixer: str
    parameters: int
    steps: int
    train_loss: float
    validation_loss: float
    bits_per_byte: float
    unigram_loss: float
    validation_accuracy: float
    accuracies: Accuracies
    guess_levels: Accuracies
    tokens_per_second: float
    seconds: float
    metric: Metric
    unit: str
    writes_text: bool
    ema_validation_loss: float = math.nan
    ema_validation_accuracy: float = math.nan
    utilisation: float = math.nan

    @property
    def value(self) -> float:
        """The metric."""
        return self.validation_accuracy if self.metric == "accuracy" else self.validation_loss

    @property
    def guess(self) -> float:
        """The accuracy that guessing gives at the training length."""
        return next(iter(self.guess_levels.get("length", {}).values()), math.nan)


def write_summary(folder: Path, summary: Summary) -> None:
    """Write summary.json into the folder of a run.

    Raises:
        ZooError: it cannot be written.
    """
    write_sealed(folder, SUMMARY, row_line(asdict(summary)))


def read_summary(folder: Path) -> Summary | None:
    """What `write_summary` wrote, also in earlier versions; None if there is no summary.json.

    Raises:
        UsageError: a bit of it has changed.
        ValueError: it holds something else.
    """
    try:
        content = read_sealed(folder, SUMMARY)
    except FileNotFoundError:
        return None
    return summary_from_json(from_json(content))


def summary_from_json(saved: Any) -> Summary:
    """A summary from what JSON has of it. Earlier versions wrote fewer figures, and a figure that is null is NaN.

    Raises:
        ValueError: it is not that of a run.
    """
    if not isinstance(saved, dict) or not isinstance(saved.get("steps"), int):
        raise ValueError("it should hold the figures of a run")
    names = {field.name for field in fields(Summary)}
    values = _inferred(saved) | {name: value for name, value in saved.items() if name in names}
    for name in ("accuracies", "guess_levels"):
        _check_accuracies(name, values[name])
    for field in fields(Summary):
        if field.type is float:
            values[field.name] = _number(field.name, values.get(field.name))
        elif field.type in {int, str, bool} and not isinstance(values[field.name], field.type):
            raise ValueError(f"{field.name} should be of type {field.type.__name__}")
    return Summary(**values)


def _inferred(saved: Mapping[str, Any]) -> dict[str, Any]:
    """What the versions before did not write."""
    source: type[Dataset | MaskedText | TaskData] = Dataset
    if saved.get("accuracies"):
        source = TaskData
    elif saved.get("unigram_loss") is not None:
        source = MaskedText
    given = {"metric": source.metric, "unit": source.unit, "writes_text": source.writes_text}
    return {"run": "", "mixer": "", "parameters": 0, "accuracies": {}, "guess_levels": {}, **given}


def _check_accuracies(name: str, tables: Any) -> None:
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise ValueError(f"{name} should hold tables of figures")


def _number(name: str, value: Any) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, int | float):
        raise ValueError(f"{name} should be a number")
    return value
