"""An inspection, written into the folder of its run."""

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from zoo.data.source import Source
from zoo.files.atomic import refuse_link, write_atomically, writing
from zoo.files.strict_json import to_json
from zoo.lab.inspect.drawing import draw
from zoo.lab.inspect.inspection import Inspection
from zoo.lab.inspect.panels import PanelFailure, PanelResult, failure_of
from zoo.model.parameters import count_parameters
from zoo.pages.picture import render
from zoo.run import Run
from zoo.train.inspection import FOLDER, INDEX, picture_name, read_index
from zoo.train.report import write_report
from zoo.train.run_directory import RunDirectory
from zoo.train.summary import Summary


class Picture(NamedTuple):
    """A panel, drawn: the name of its files, and what is in them by ending."""

    shown: PanelResult
    name: str
    files: dict[str, bytes]


def write_inspection(run: Run, inspection: Inspection) -> tuple[dict[str, Any], Path]:
    """Write the pictures, ``inspection.json`` and the report, in place of those of the inspection before.

    All is drawn before the first file is written, each file is replaced as a whole, and nothing else in the folder
    changes.

    Returns:
        What stands in ``inspection.json``, see `as_table`, and the report.

    Raises:
        ZooError: a file cannot be written.
    """
    refuse_link(folder := inspection.run / FOLDER)
    pictures, failures = _draw_all(inspection)
    table = as_table(inspection, pictures, failures)
    with writing(folder):
        folder.mkdir(exist_ok=True)
    files = {f"{picture.name}.{ending}": file for picture in pictures for ending, file in picture.files.items()}
    earlier = set(_files_of_the_last(inspection.run))
    for name, content in files.items():
        write_atomically(folder / name, content)
    write_atomically(folder / INDEX, to_json(table, indent=None))
    with writing(folder):
        for name in earlier - set(files):
            (folder / name).unlink(missing_ok=True)
    directory = RunDirectory.open(inspection.run)
    return table, write_report(directory, directory.summary or _unfinished(directory, run, inspection.source))


def as_table(inspection: Inspection, pictures: Sequence[Picture], failures: Sequence[PanelFailure]) -> dict[str, Any]:
    """All figures of an inspection, of JSON's types; what is no finite number is None.

    Returns:
        ``run``, ``step``, ``tokens`` (targets that were scored), ``loss``, its ``unit``, ``accuracy``, ``parts``,
        ``metrics``, ``panels`` and ``failures``.
    """
    whole = inspection.whole
    sizes = inspection.sizes
    measured = zip(inspection.parts, sizes.mean.tolist(), sizes.by_position.tolist(), inspection.without, strict=True)
    return {
        "run": str(inspection.run),
        "step": inspection.step,
        "tokens": whole.targets,
        "loss": _plain(whole.loss),
        "unit": inspection.source.unit,
        "accuracy": _plain(whole.accuracy),
        "parts": [
            {
                "part": part.name,
                "layer": part.layer,
                "kind": part.kind,
                "share": _plain(share),
                "share_by_position": _plain(by_position),
                "loss_without": _plain(without.loss),
                "difference": _plain(without.loss - whole.loss),
                "accuracy_without": _plain(without.accuracy),
            }
            for part, share, by_position, without in measured
        ],
        "metrics": {name: _plain(value.tolist()) for name, value in sizes.metrics.items()},
        "panels": [_entry(picture) for picture in pictures],
        "failures": [asdict(failed) for failed in failures],
    }


def _entry(picture: Picture) -> dict[str, Any]:
    panel = picture.shown.panel
    return {
        "part": picture.shown.part,
        "title": panel.title,
        "reading": panel.reading,
        "quantity": panel.quantity,
        "axes": list(panel.axes),
        "ticks": [[str(name) for name in names] for names in panel.ticks],
        "lines": panel.lines,
        "values": _plain(panel.values.tolist()),
        "picture": picture.name,
    }


def _draw_all(inspection: Inspection) -> tuple[list[Picture], list[PanelFailure]]:
    pictures: list[Picture] = []
    failures = inspection.failures
    by_name = {part.name: part for part in inspection.parts}
    for item in inspection.shown:
        if isinstance(item, PanelResult):
            try:
                pictures.append(_drawn(item, len(pictures) + 1))
            except Exception as error:
                if item.part is None:
                    raise
                failures.append(failure_of(by_name[item.part], error))
    return pictures, failures


def _drawn(item: PanelResult, place: int) -> Picture:
    slug = re.sub(r"[^a-z0-9]+", "-", item.heading.lower())[:60].strip("-")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # it is drawn as a box
        # the page has a heading above each picture
        files = {"svg": render(partial(draw, item.panel), "svg")}
        files["png"] = render(partial(draw, item.panel, title=item.heading), "png")
    return Picture(item, f"{place:02d}-{slug}", files)


def _files_of_the_last(run: Path) -> Iterator[str]:
    """The pictures of the inspection before."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        for entry in read_index(run)["panels"]:
            yield from (f"{picture_name(entry)}.{ending}" for ending in ("svg", "png"))


def _unfinished(directory: RunDirectory, run: Run, source: Source) -> Summary:
    """What there is to tell of a run that has not ended."""
    rows = directory.metrics()

    def last(name: str) -> float:
        return next((row[name] for row in reversed(rows) if row.get(name) is not None), math.nan)

    return Summary(
        run=str(directory.path),
        mixer=run.settings.mixer,
        parameters=count_parameters(run.model),
        steps=run.step,
        train_loss=last("train_loss"),
        validation_loss=last("validation_loss"),
        bits_per_byte=math.nan,
        unigram_loss=last("unigram_loss"),
        validation_accuracy=last("validation_accuracy"),
        accuracies={},
        guess_levels={},
        tokens_per_second=math.nan,
        seconds=math.nan,
        metric=source.metric,
        unit=source.unit,
        writes_text=source.writes_text,
    )


def _plain(values: Any) -> Any:
    """Numbers to six digits, in lists or alone; None for what is not finite."""
    if isinstance(values, list):
        return [_plain(value) for value in values]
    return float(f"{values:.6g}") if math.isfinite(values) else None
