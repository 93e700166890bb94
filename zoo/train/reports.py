"""The reporters of a run: made of what ``--report`` says, fed beside the logs, dropped when they fail."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, cast

from zoo.errors import UsageError, ZooError
from zoo.files.logs import row_line
from zoo.files.strict_json import from_json
from zoo.model.create import create
from zoo.plugin.kinds import REPORTER
from zoo.plugin.pattern import Call, parse
from zoo.plugin.registry import Registry, get_registry
from zoo.reporter import ReportedRun, Reporter, Row
from zoo.train.engine.ranks import Ranks
from zoo.train.listener import Listener
from zoo.train.run_directory import RunDirectory
from zoo.train.summary import Summary

NONE = "none"
"""What ``--report`` says for no reporter."""


def read_reporters(text: str | None, registry: Registry | None = None) -> dict[str, Reporter]:
    """The reporters that a text names, by how it names them; they have started nothing.

    Args:
        text: names with commas between them, with options in brackets: ``tensorboard, wandb(project=zoo)``. None,
            ``none`` and the empty text name none.
        registry: where to look; the installed plugins by default.

    Raises:
        UsageError: an unknown name or option, or one reporter twice.
        PluginError: the plugin of a reporter is broken or not installed.
    """
    if text is None or text.strip() in ("", NONE):
        return {}
    found: dict[str, Reporter] = {}
    for call in _calls(text):
        if str(call) in found:
            raise UsageError(f"`report`={text!r} names {call} twice")
        entry = (registry or get_registry())[REPORTER].find(call.name)
        found[str(call)] = cast(Reporter, create(entry, call.keywords))
    return found


def _calls(text: str) -> Iterable[Call]:
    for layer in parse(text).layers(None):
        if len(layer.mixers) != 1 or layer.channel is not None:
            raise UsageError(f"`report`={text!r} should be names with commas between them, e.g. tensorboard, wandb")
        yield layer.mixers[0]


class Reports:
    """Gives several reporters the same rows.

    Args:
        reporters: by name.
        listener: gets a notice of one that fails, which gets nothing any more.
    """

    def __init__(self, reporters: Mapping[str, Reporter], listener: Listener) -> None:
        self._reporters, self._listener = dict(reporters), listener

    @classmethod
    def of(cls, text: str | None, ranks: Ranks, listener: Listener) -> "Reports":
        """Those that a text names. Of many processes the first one reports; a mistake in the text is one for all.

        Raises:
            UsageError, PluginError: as `read_reporters`.
        """
        reporters = read_reporters(text)
        return cls(reporters if ranks.is_first else {}, listener)

    def __enter__(self) -> "Reports":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, run: RunDirectory) -> None:
        """Begin with what the run has logged.

        Raises:
            UsageError: a reporter says that something is missing.
        """
        if self._reporters:
            self._tell("open", reported(run), run.metrics(), refusing=True)
            for step, text in run.samples():
                self.sample(step, text)

    def row(self, row: Mapping[str, Any]) -> None:
        """One more row of metrics.jsonl."""
        if self._reporters:
            self._tell("row", as_logged(row))

    def sample(self, step: int, text: str) -> None:
        """What the model wrote at an evaluation."""
        self._tell("sample", step, text)

    def finish(self, summary: Summary) -> None:
        """The run has ended."""
        if self._reporters:
            self._tell("finish", figures_of(summary))

    def close(self) -> None:
        """Nothing follows."""
        self._tell("close")

    def _tell(self, what: str, *arguments: Any, refusing: bool = False) -> None:
        for name, reporter in tuple(self._reporters.items()):
            try:
                getattr(reporter, what)(*arguments)
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:  # SystemExit too: the run does not depend on what watches it
                if refusing and isinstance(error, UsageError):
                    raise
                self._drop(name, error)
                if what != "close":
                    _close_silently(reporter)

    def _drop(self, name: str, error: BaseException) -> None:
        del self._reporters[name]
        self._listener.notice(
            f"the reporter {name} has failed and gets nothing any more ({_cause(error)}); metrics.jsonl has everything"
        )


def _cause(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, ZooError) else f"{type(error).__name__}: {text}"


def _close_silently(reporter: Reporter) -> None:
    try:
        reporter.close()
    except KeyboardInterrupt:
        raise
    except BaseException:
        return  # it has failed already


def reported(run: RunDirectory) -> ReportedRun:
    """A run as reporters see it."""
    began = next(iter(run.events()), {}).get("time", "")
    key = hashlib.sha256(f"{run.path.name}\n{began}".encode("utf-8", "replace")).hexdigest()[:16]
    return ReportedRun(run.path, run.path.name, key, run.config, run.environment)


def as_logged(row: Mapping[str, Any]) -> Row:
    """A row as metrics.jsonl gives it back."""
    return cast(Row, from_json(row_line(row)))


def figures_of(summary: Summary) -> Row:
    """The figures of a run as its summary.json gives them back."""
    return as_logged(asdict(summary))


def replay(run: RunDirectory, text: str) -> tuple[str, ...]:
    """Give reporters all that a run has logged, and its figures if it has ended; returns their names.

    Raises:
        UsageError, PluginError: as `read_reporters`, or what a reporter refuses.
        ZooError: a reporter has failed.
    """
    reporters = read_reporters(text)
    if not reporters:
        raise UsageError("`to` names no reporter; e.g. tensorboard, and `zoo list --kind reporter` lists them")
    for name, reporter in reporters.items():
        try:
            _replay(run, reporter)
        except (KeyboardInterrupt, ZooError):
            raise
        except BaseException as error:
            raise ZooError(f"the reporter {name} has failed: {_cause(error)}") from error
    return tuple(reporters)


def _replay(run: RunDirectory, reporter: Reporter) -> None:
    reporter.open(reported(run), run.metrics())
    try:
        for step, text in run.samples():
            reporter.sample(step, text)
        if (summary := run.summary) is not None:
            reporter.finish(figures_of(summary))
    finally:
        reporter.close()
