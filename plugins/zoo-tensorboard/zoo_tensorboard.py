"""The figures of a run in event files, which TensorBoard draws."""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import zoo

_PREFIX, _SUFFIX = "events.out.tfevents.", ".zoo"
"""Of the names of the event files. Files of others end otherwise, and are never removed."""

_VERSION = "brain.Event:2"
"""Of the format, as the first event of a file says it."""


class TensorBoard(zoo.Reporter):
    """Writes event files for TensorBoard: each figure as a curve, and samples, settings and the last figures as texts.

    Numbers are float64 there and read back as they were given. Neither torch nor TensorFlow is used.

    Options:
        folder: for the event files of all runs, with a folder for each; empty writes them into the folder tensorboard
            of each run.
    """

    def __init__(self, *, folder: str = "") -> None:
        self.folder = folder
        self._file: Any = None
        self._step = 0

    def open(self, run: zoo.ReportedRun, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows that there are into a new event file, and discard the earlier ones of this run.

        Raises:
            UsageError: `folder` is no folder.
        """
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder = self._folder_of(run)
        earlier = _event_files(folder)
        # A viewer that is open follows a folder from file to file, in the order of their names.
        self._file = RecordWriter((folder / f"{_PREFIX}{time.time_ns()}{_SUFFIX}").open("xb"))
        self._write(file_version=_VERSION)
        self._write(session_log={"status": "START"})  # such a viewer forgets what it has read so far
        self._write(summary=_hparams(run))
        self._write_text("settings", _table(run.settings))
        self._write_text("environment", _preformatted(json.dumps(run.environment, indent=2, ensure_ascii=False)))
        for row in rows:
            self._write_row(row)
        self._file.flush()
        for path in earlier:
            _discard(path)

    def row(self, row: Mapping[str, Any]) -> None:
        """Add a point to each curve."""
        self._write_row(row)
        self._file.flush()

    def sample(self, step: int, text: str) -> None:
        """Add a text."""
        self._write_text("sample", _preformatted(text), step=step)
        self._file.flush()

    def finish(self, figures: Mapping[str, Any]) -> None:
        """Add the figures as a text, and that the run has ended to its hyperparameters."""
        self._write_text("figures", _table(figures), step=self._step)
        self._write(step=self._step, summary=_session_end())
        self._file.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._file is not None:
            self._file.close()

    def read(self, run: zoo.ReportedRun) -> list[dict[str, Any]] | None:
        """The rows in the event files of a run."""
        return [row for path in _event_files(self._folder_of(run)) for row in _rows_in(path)]

    def _folder_of(self, run: zoo.ReportedRun) -> Path:
        folder = Path(self.folder).expanduser() / f"{run.name}-{run.key}" if self.folder else run.path / "tensorboard"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise zoo.UsageError(f"`folder`={self.folder!r} should be a folder, and {folder} cannot be one") from None
        return folder

    def _write_row(self, row: Mapping[str, Any]) -> None:
        numbers = {name: value for name, value in row.items() if name != "step" and value is not None}
        self._step = int(row["step"])
        # One event a row, also for a row without numbers: so rows read back as rows.
        self._write(step=self._step, summary={"value": [_scalar(*number) for number in numbers.items()]})

    def _write_text(self, tag: str, markdown: str, step: int = 0) -> None:
        self._write(step=step, summary={"value": [_text(tag, markdown)]})

    def _write(self, **fields: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._file.write(Event(wall_time=time.time(), **fields).SerializeToString())


def _event_files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}"))


def _discard(path: Path) -> None:
    """Empty an event file, and remove it the next time: a viewer that reads it does not go on once it is gone."""
    if path.stat().st_size:
        os.truncate(path, 0)
    else:
        path.unlink()


def _scalar(tag: str, value: float) -> dict[str, Any]:
    """A point of a curve. The plain field for it would be a float32."""
    tensor = {"dtype": "DT_DOUBLE", "tensor_shape": {}, "double_val": [value]}
    metadata = {"plugin_data": {"plugin_name": "scalars"}, "data_class": "DATA_CLASS_SCALAR"}
    return {"tag": tag, "tensor": tensor, "metadata": metadata}


def _text(tag: str, markdown: str) -> dict[str, Any]:
    tensor = {"dtype": "DT_STRING", "tensor_shape": {}, "string_val": [markdown.encode("utf-8", "replace")]}
    metadata = {"plugin_data": {"plugin_name": "text"}, "data_class": "DATA_CLASS_TENSOR"}
    return {"tag": tag, "tensor": tensor, "metadata": metadata}


def _hparams(run: zoo.ReportedRun) -> Any:
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    plain = {
        name: value if isinstance(value, bool | int | float | str) else json.dumps(value)
        for name, value in run.settings.items()
    }
    return hparams_pb(plain, trial_id=run.key)


def _session_end() -> dict[str, Any]:
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    data = HParamsPluginData(session_end_info={"status": "STATUS_SUCCESS", "end_time_secs": time.time()})
    tag, tensor = metadata.SESSION_END_INFO_TAG, metadata.NULL_TENSOR
    return {"value": [{"tag": tag, "tensor": tensor, "metadata": metadata.create_summary_metadata(data)}]}


def _table(values: Mapping[str, Any]) -> str:
    """Values by name as a table in Markdown."""
    cells = {name: json.dumps(value, ensure_ascii=False).replace("|", "\\|") for name, value in values.items()}
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | `{cell}` |" for name, cell in cells.items())])


def _preformatted(text: str) -> str:
    """A text as a block of code in Markdown. Indented, it may hold any fence."""
    return "".join(f"    {line}\n" for line in text.split("\n"))


def _rows_in(path: Path) -> Iterator[dict[str, Any]]:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    for event in LegacyEventFileLoader(str(path)).Load():
        values = event.summary.value
        if event.HasField("summary") and all(each.metadata.plugin_data.plugin_name == "scalars" for each in values):
            yield {"step": event.step, **{each.tag: make_ndarray(each.tensor).item() for each in values}}


@zoo.hookimpl
def zoo_reporters() -> dict[str, type[zoo.Reporter]]:
    """The reporter by its name."""
    return {"tensorboard": TensorBoard}
