"""Comparisons whose figures are made up, so that what is told of them can be counted by hand."""

import json

from zoo.lab.compare.folder import Folder
from zoo.lab.compare.plan import Arm, Plan, Trial
from zoo.lab.compare.request import Request
from zoo.lab.size import Size
from zoo.train.settings import Settings

MQAR = "mqar(vocab=64, length=16, pairs=2)"
COPY = "delayed-copy(length=12, vocab=4, delay=2)"
TEXT = "python-stdlib"

TINY = {
    "layers": 1,
    "dim": 16,
    "heads": 1,
    "batch": 2,
    "device": "cpu",
    "evaluation_tokens": 64,
    "final_evaluation_tokens": 64,
}


def request(*patterns, data=(COPY,), **changes):
    """One that takes a moment."""
    given = {"tier": "smoke", "seeds": 2, "lrs": (1e-3,), "jobs": 1, "settings": dict(TINY)} | changes
    return Request(patterns=patterns or ("dot-product", "correlation"), data=tuple(data), **given)


def size(**changes):
    made = {"parameters": 2000, "active_parameters": 2000, "embedding_parameters": 1000}
    return Size(**made | {"forward_flops": 3000.0, "training_flops": 10000.0, "state": 500} | changes)


def plan(*patterns, data=(COPY,), seeds=3, lrs=(), errors=None, **changes):
    """Of arms that are all of one size; `errors` says why some patterns could not be built."""
    arms = [
        Arm(pattern, name, None, None, error=errors[pattern])
        if errors and pattern in errors
        else Arm(pattern, name, Settings(mixer=pattern, data=name, context=12, **TINY), size(), ratio=1.0)
        for name in data
        for pattern in patterns or ("dot-product", "correlation")
    ]
    given = {"command": "zoo compare …", "tier": "smoke", "match": "none", "seeds": tuple(range(seeds))}
    given |= {
        "sweep_seed": seeds,
        "lrs": lrs,
        "jobs": 1,
        "arms": tuple(arms),
        "checksums": dict.fromkeys(data, "ab12"),
        "plugins": {},
    }
    return Plan(**given | changes)


def summary(accuracy=None, loss=1.0, *, steps=40, **changes):
    """Of a run on a task, or on a text if there is no accuracy."""
    told = {"steps": steps, "train_loss": loss + 0.5, "validation_loss": loss, "validation_accuracy": accuracy or 0.125}
    told |= {"accuracies": {} if accuracy is None else {"length": {"12": accuracy}}}
    return told | {"seconds": 2.0, "tokens_per_second": 480.0} | changes


def write_run(folder: Folder, made: Plan, trial: Trial, told=None, *, error=None, curve=()):
    """The files of a run that has ended; `curve` holds step, seconds, accuracy and loss."""
    path = folder.trial(made, trial)
    path.mkdir(parents=True)
    if error is not None:
        (path / "failure.json").write_text(json.dumps({"error": error}))
    if told is not None:
        (path / "summary.json").write_text(json.dumps(told))
    for step, seconds, accuracy, loss in curve:
        row = {"step": step, "validation_accuracy": accuracy, "validation_loss": loss}
        for name, line in {"metrics": row, "timings": {"step": step, "seconds": seconds}}.items():
            with (path / f"{name}.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")


def write_arm(folder: Folder, made: Plan, index: int, values, **changes):
    """A value a seed for one arm, an accuracy where it is on a task; None where that run failed."""
    task = made.arms[index].data != TEXT
    for trial, value in zip(made.results(index, made.only_lr(index)), values, strict=False):
        if value is None:
            write_run(folder, made, trial, error="ValueError: <b>no</b>")
        else:
            told = summary(value, **changes) if task else summary(None, value, **changes)
            write_run(folder, made, trial, told, curve=[(20, 1.0, value / 2, 2.0), (40, 2.0, value, value)])
