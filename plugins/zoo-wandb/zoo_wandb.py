"""The figures of a run in Weights & Biases, or in a folder for it."""

import html
import json
import os
import shutil
import signal
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any, Literal

import zoo

_NOT_IN_A_NAME = "/\\#?%:"
"""What Weights & Biases refuses in the name of a project."""

_MODES = ("online", "offline", "disabled")
"""What the environment may ask for; disabled makes a run that writes nothing."""

_BLOCK = 32 * 1024
"""Bytes of a block of a .wandb file; a record goes on in the next one."""

_SERVICE = "WANDB_SERVICE"
"""The environment variable with which wandb passes its service on to other processes."""

_open: dict[str, Any] = {}
"""The runs of W&B that this process has not finished, by key. W&B refuses to begin one of them again."""


class Wandb(zoo.Reporter):
    """Reports to Weights & Biases: each figure as a curve over the steps, samples as HTML, settings as configuration.

    Offline it writes the folder that ``wandb sync`` sends later. Neither the machine, its code nor its terminal is
    reported.

    Options:
        project: that of the run.
        entity: the user or team that the project belongs to; empty for the default one of the login.
        mode: online, offline, or auto for what the environment variable WANDB_MODE says, which is online without it.
        folder: for the files of all runs; empty writes them into the folder of each. Below it they are in wandb.
    """

    def __init__(
        self,
        *,
        project: str = "mixer-zoo",
        entity: str = "",
        mode: Literal["auto", "online", "offline"] = "auto",
        folder: str = "",
    ) -> None:
        if not 0 < len(project) <= 128 or any(letter in project for letter in _NOT_IN_A_NAME):
            raise zoo.UsageError(f"`project`={project!r} should have 1 to 128 characters, none of {_NOT_IN_A_NAME}")
        self.project, self.entity, self.mode, self.folder = project, entity, mode, folder
        self._run: Any = None
        self._ended = False

    def open(self, run: zoo.ReportedRun, rows: Sequence[Mapping[str, Any]]) -> None:
        """Begin this run anew, with the rows that there are.

        Raises:
            UsageError: nobody is logged in; WANDB_MODE is no mode; or `folder` is no folder.
        """
        # Otherwise its processes report their own failures, offline too.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        folder, mode = self._folder_of(run), self._mode()
        if mode == "online":
            _check_login()
        if run.key in _open:
            _open.pop(run.key).finish(exit_code=1)
        for earlier in _folders_of(folder, run):
            shutil.rmtree(earlier)
        with _process_kept():
            self._run = _open[run.key] = self._start(run, folder, mode)
        # Not W&B's own step, which only rises: a run that is resumed gives its earlier samples after its rows.
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")
        for row in rows:
            self.row(row)

    def row(self, row: Mapping[str, Any]) -> None:
        """Add a point to each curve."""
        self._run.log({name: value for name, value in row.items() if value is not None})

    def sample(self, step: int, text: str) -> None:
        """Add a text."""
        import wandb

        shown = html.escape(text.encode("utf-8", "replace").decode(), quote=False)
        self._run.log({"step": step, "sample": wandb.Html(f"<pre>{shown}</pre>", inject=False)})

    def finish(self, figures: Mapping[str, Any]) -> None:
        """Add the figures to the summary of the run."""
        self._run.summary.update(dict(figures))
        self._ended = True

    def close(self) -> None:
        """Write, or send, what is left."""
        run, self._run = self._run, None
        if run is None or run not in _open.values():
            return
        del _open[run.id]
        run.finish(exit_code=0 if self._ended else 1)
        if run.offline:
            _wait_until_written(Path(run.settings.sync_file))

    def read(self, run: zoo.ReportedRun) -> list[dict[str, Any]] | None:
        """The rows in the folder of a run, online those that were to be sent."""
        paths = [folder / f"run-{run.key}.wandb" for folder in _folders_of(self._folder_of(run), run)]
        rows = [row for path in paths if path.exists() for row in _rows_in(path)]
        return [row for row in rows if "sample" not in row]

    def _folder_of(self, run: zoo.ReportedRun) -> Path:
        folder = Path(self.folder).expanduser() if self.folder else run.path
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise zoo.UsageError(f"`folder`={self.folder!r} should be a folder, and {folder} cannot be one") from None
        return folder.absolute()

    def _mode(self) -> str:
        if self.mode != "auto":
            return self.mode
        mode = os.environ.get("WANDB_MODE") or "online"
        if mode not in _MODES:
            raise zoo.UsageError(f"WANDB_MODE={mode!r} should be one of {', '.join(_MODES)}")
        return mode

    def _start(self, run: zoo.ReportedRun, folder: Path, mode: str) -> Any:
        import wandb

        quiet = {"silent": True, "console": "off"}
        unwatched = {"x_disable_stats": True, "x_disable_meta": True, "x_disable_machine_info": True}
        unread = {"disable_git": True, "disable_code": True, "disable_job_creation": True, "x_save_requirements": False}
        return wandb.init(
            project=self.project,
            entity=self.entity or None,
            id=run.key,  # without `resume`, which would go on after the last row: this replaces what there is
            name=run.name,
            config={**run.settings, "environment": run.environment},
            dir=str(folder),
            mode=mode,
            reinit="create_new",
            settings=wandb.Settings(**quiet, **unwatched, **unread),
        )


def _check_login() -> None:
    import wandb
    from wandb.errors import AuthenticationError
    from wandb.sdk.lib.wbauth import authenticate_session

    try:
        host = wandb.setup().settings.base_url
        found = authenticate_session(host=host, source="zoo", prompt=False, update_session=False)
    except AuthenticationError as error:
        raise zoo.UsageError(f"the login to Weights & Biases is not valid ({error}): type `wandb login`") from None
    if found is None:
        raise zoo.UsageError(
            "nobody is logged in to Weights & Biases: type `wandb login`, or report to wandb(mode=offline)"
        )


@contextmanager
def _process_kept() -> Iterator[None]:
    """Put back what wandb takes for itself: it wants to know how the process ends.

    Nor is its service shared with the processes that started this one or are started by it: the service outlives a run
    that is killed, and holds it to be in use.
    """
    taken = sys.exit, sys.excepthook, sys.stdout, sys.stderr
    service = os.environ.pop(_SERVICE, None)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        sys.exit, sys.excepthook, sys.stdout, sys.stderr = taken
        os.environ.pop(_SERVICE, None)
        if service is not None:
            os.environ[_SERVICE] = service
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:
                with suppress(ValueError):  # only the main thread may
                    signal.signal(number, handler)


def _folders_of(folder: Path, run: zoo.ReportedRun) -> list[Path]:
    found = (folder / "wandb").glob(f"*run-*-{escape(run.key)}")
    return sorted(path for path in found if path.is_dir() and not path.is_symlink())


def _wait_until_written(path: Path) -> None:
    """Wait some seconds for the last record: offline, W&B writes it after it has said that it is done."""
    from wandb.proto.wandb_internal_pb2 import Record

    for attempt in range(10):
        records = deque(_records_in(path.read_bytes()), maxlen=1) if path.exists() else ()
        if any(Record.FromString(last).HasField("exit") for last in records):
            return
        time.sleep(0.01 * 2**attempt)


def _rows_in(path: Path) -> Iterator[dict[str, Any]]:
    from wandb.proto.wandb_internal_pb2 import Record

    for content in _records_in(path.read_bytes()):
        record = Record.FromString(content)
        if record.HasField("history"):
            values = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
            yield {name: json.loads(value) for name, value in values.items() if not name.startswith("_")}


def _records_in(data: bytes) -> Iterator[bytes]:
    """The records of a .wandb file: those of a LevelDB log, after a header of 7 bytes."""
    position, content = 7, b""
    while position + 7 <= len(data):
        if (left := _BLOCK - position % _BLOCK) < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        position += 7
        if position + length > len(data):
            return  # cut off
        part = data[position : position + length]
        content = part if kind in (1, 2) else content + part
        if kind in (1, 4):
            yield content
        position += length


@zoo.hookimpl
def zoo_reporters() -> dict[str, type[zoo.Reporter]]:
    """The reporter by its name."""
    return {"wandb": Wandb}
