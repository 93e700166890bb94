"""The figures of a run in Trackio's database, which its dashboard draws."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import zoo


class Trackio(zoo.Reporter):
    """Writes to the local database of Trackio: figures as curves, samples and the last figures as Markdown reports.

    The database is in the folder that the environment variable TRACKIO_DIR names. Each row is there when it has been
    given, in float64. No thread is started, and nothing is sent anywhere.

    Options:
        project: that of the dashboard; a run is named there as its folder.
    """

    def __init__(self, *, project: str = "mixer-zoo") -> None:
        if not project or not all(letter.isalnum() or letter in "-_" for letter in project):
            # Trackio leaves other characters out of the name of the database: two projects would share one.
            raise zoo.UsageError(f"`project`={project!r} should consist of letters, digits, hyphens and underscores")
        self.project = project
        self._run: Any = None
        self._config: dict[str, Any] | None = None
        self._step = 0

    def open(self, run: zoo.ReportedRun, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows that there are, in place of what Trackio has of this run.

        Raises:
            UsageError: `project` is a name that Trackio reserves.
        """
        storage = _storage()
        try:
            storage.validate_project_name(self.project)
        except ValueError:
            raise zoo.UsageError(f"`project`={self.project!r} is reserved by Trackio: choose another name") from None
        storage.init_db(self.project)
        storage.delete_run(self.project, run.name, run_id=run.key)
        self._run = run
        self._config = _config_of(run)
        self._write([(int(row["step"]), _numbers(row)) for row in rows])

    def row(self, row: Mapping[str, Any]) -> None:
        """Add a point to each curve."""
        self._write([(int(row["step"]), _numbers(row))])

    def sample(self, step: int, text: str) -> None:
        """Add a report."""
        self._write([(step, {"sample": _markdown(_lines(text))})])

    def finish(self, figures: Mapping[str, Any]) -> None:
        """Add the figures as a report."""
        self._write([(self._step, {"figures": _markdown(_list(figures))})])

    def read(self, run: zoo.ReportedRun) -> list[dict[str, Any]] | None:
        """The rows that Trackio has of a run."""
        logged = _storage().get_logs(self.project, run.name, run_id=run.key)
        rows = [{name: value for name, value in each.items() if name != "timestamp"} for each in logged]
        return sorted((row for row in rows if not _is_report(row)), key=lambda row: row["step"])

    def _write(self, entries: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
        if not entries:
            return
        self._step = max(self._step, *(step for step, _ in entries))
        _storage().bulk_log(
            project=self.project,
            run=self._run.name,
            run_id=self._run.key,
            metrics_list=[dict(values) for _, values in entries],
            steps=[step for step, _ in entries],
            config=self._config,
        )
        self._config = None  # once is enough


def _storage() -> Any:
    """What Trackio writes local runs with. Its ``init`` would do so from a thread, and print."""
    from trackio.sqlite_storage import SQLiteStorage

    return SQLiteStorage


def _config_of(run: zoo.ReportedRun) -> dict[str, Any]:
    """The settings, and what Trackio adds to those of its own runs."""
    created = datetime.now(UTC).isoformat()
    return {**run.settings, "environment": run.environment, "_Username": None, "_Created": created, "_Group": None}


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "step" and value is not None}


def _markdown(text: str) -> dict[str, Any]:
    from trackio import Markdown

    shown: dict[str, Any] = Markdown(text.encode("utf-8", "replace").decode())._to_dict()
    return shown


def _is_report(row: Mapping[str, Any]) -> bool:
    return any(isinstance(value, dict) for value in row.values())


def _list(values: Mapping[str, Any]) -> str:
    """Values by name, in the Markdown that Trackio's dashboard knows: it has neither tables nor blocks of code."""
    return "\n".join(f"- **{name}**: {_code(json.dumps(value, ensure_ascii=False))}" for name, value in values.items())


def _lines(text: str) -> str:
    """A text, each line as a paragraph."""
    return "\n\n".join(map(_code, text.split("\n")))


def _code(line: str) -> str:
    """A line that is shown as it is: its backticks are others, its asterisks apart, and its spaces kept."""
    shown = line.replace("`", "\u02cb").replace("**", "*\u2060*").replace("  ", "\u00a0 ")
    return f"`{shown or chr(0xA0)}`"


@zoo.hookimpl
def zoo_reporters() -> dict[str, type[zoo.Reporter]]:
    """The reporter by its name."""
    return {"trackio": Trackio}
