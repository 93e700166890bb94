"""Folders of runs as somebody would make them who wants to do harm: consistent checksums, and anything beneath them."""

import hashlib
import json
import random
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from zoo.train.manifest import MANIFEST, encode_manifest
from zoo.train.run_directory import LOGS

from .fuzz import ended_run
from .mutate import HOSTILE, SCRIPT, mutated, mutated_json
from .runs import Child, Result, files_of, prepare_process, replace_folder
from .tally import Tally

_SECONDS = 8
"""After which a command is stopped: its settings may ask for a long training."""

_MEMORY = 3 << 30
"""Bytes that it may take besides."""

_TABLES = ("config.json", "env.json", "tokenizer.json", "summary.json")


def hostile(tally: Tally, *, count: int, seed: int, first: int = 0) -> None:
    """Make a hostile folder a case, and have one command read it.

    Args:
        tally: of the campaign.
        count: of cases.
        seed: of what is done to the folders.
        first: the number of the first case.
    """
    prepare_process(tally.out, draw=False)
    kept = tally.out / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    ended_run(tally.out).rename(kept)
    outside = tally.out / "outside"
    for case in tally.cases(first, count):
        chance = random.Random(f"{seed}/{case}")
        run = tally.out / "ended"
        replace_folder(kept, run)
        shutil.rmtree(outside, ignore_errors=True)
        (outside / "folder").mkdir(parents=True)
        for name in ("canary.txt", "folder/canary.txt"):
            (outside / name).write_text("alive\n")
        shutil.copytree(run, outside / "run")
        before = files_of(outside)
        name, harm = chance.choice(list(_HARMS.items()))
        with tally.timed(name):
            done = harm(run, outside, chance)
            command = chance.choice(_commands(run))
            result = Child(command, tally.out, _limit).wait()
        where = {"seed": seed, "first": case, "done": done, "command": command[0:1] + command[2:]}
        _judge(tally, name, run, result, where)
        if files_of(outside) != before:
            tally.fail(name, "a file outside of the folder was changed", **where, code=result.code, err=result.err)


def _commands(run: Path) -> list[list[str]]:
    cpu = ["--tokens", "8", "--device", "cpu"]
    resume = ["train", "--resume", str(run)]
    return [["generate", str(run), *cpu], resume, [*resume, "--steps", "9"], ["inspect", str(run), *cpu]]


def _limit() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _MEMORY, resource.RLIM_INFINITY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_SECONDS)


def _judge(tally: Tally, name: str, run: Path, result: Result, where: dict[str, Any]) -> None:
    report = run / "report.html"
    page = report.read_text(encoding="utf-8", errors="replace") if report.is_file() else ""
    if SCRIPT in page:
        tally.fail(name, "a text stands in report.html as it is", **where)
    elif result.code == 0:
        tally.add(name, "accepted")
    elif result.code == -signal.SIGALRM:
        tally.add(name, f"still at work after {_SECONDS} s")
    elif result.is_refusal:
        tally.add(name, "refused in a line")
    elif "out of memory" in result.err:
        tally.add(name, "out of memory, in a line")
    else:
        lines = [line for line in result.err.splitlines() if line.startswith("error:")]
        cause = (lines or ["no line"])[0].partition("zoo or in a plugin: ")[2][:60] or str(lines)[:100]
        tally.fail(name, f"exit code {result.code}: {cause}", **where, err=result.err[-800:])


def seal(run: Path) -> None:
    """Make all checksums of a run's folder, and of its checkpoints, those of the files that are there."""
    checkpoints = run / "checkpoints"
    for folder in checkpoints.iterdir() if checkpoints.is_dir() else ():
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST}
        described = {name: {"size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()} for name, raw in files.items()}
        content = {"format": 1, "step": int(folder.name[5:]), "files": described}
        (folder / MANIFEST).write_bytes(encode_manifest(content))
    names = [*_TABLES, "scores.safetensors"]
    sums = {name: [hashlib.sha256((run / name).read_bytes()).hexdigest()] for name in names if (run / name).is_file()}
    (run / MANIFEST).write_bytes(encode_manifest({"format": 1, "files": sums}))


def _change_table(run: Path, _outside: Path, chance: random.Random) -> str:
    name = chance.choice([*_TABLES, f"checkpoints/{max((run / 'checkpoints').iterdir()).name}/progress.json"])
    _change_json(run / name, chance, HOSTILE)
    seal(run)
    return f"{name} := {(run / name).read_text(encoding='utf-8', errors='replace')[:1500]}"


def _change_json(path: Path, chance: random.Random, hostile_values: list[Any]) -> None:
    value = mutated_json(json.loads(path.read_bytes()), chance, hostile=hostile_values)
    path.write_text(json.dumps(value), encoding="utf-8")


def _put_markup(run: Path, _outside: Path, chance: random.Random) -> str:
    """A script wherever a name or a text may stand."""
    for name in (*_TABLES, "inspection/inspection.json"):
        if chance.random() < 0.5:
            _change_json(run / name, chance, [SCRIPT])
    for name in ("events.jsonl", "metrics.jsonl"):
        rows = [json.loads(line) for line in (run / name).read_text().splitlines()]
        lines = (json.dumps(mutated_json(row, chance, hostile=[SCRIPT])) for row in rows)
        if chance.random() < 0.5:
            (run / name).write_text("".join(f"{line}\n" for line in lines))
    (run / "samples.txt").write_text(f"=== step 7, {len(SCRIPT)} characters ===\n{SCRIPT}\n\n")
    (run / "report.html").unlink()
    seal(run)
    return "scripts in tables and logs"


def _change_log(run: Path, _outside: Path, chance: random.Random) -> str:
    name = chance.choice([*LOGS, "events.jsonl"])
    text = (run / name).read_bytes()
    (run / name).write_bytes(mutated(text, [text], [b"{", b"[", b'"step"', b"null", b"1e999", b"9" * 30], chance))
    (run / "summary.json").unlink()
    seal(run)
    return f"{name} := {(run / name).read_text(encoding='utf-8', errors='replace')[-1500:]}"


def _change_tensors(run: Path, _outside: Path, chance: random.Random) -> str:
    path = max((run / "checkpoints").iterdir()) / chance.choice(["model.safetensors", "optimizer.safetensors"])
    tensors = load(path.read_bytes())
    name = chance.choice(list(tensors))
    changed = {
        "gone": None,
        "another shape": torch.zeros(3, 5),
        "another type": tensors[name].to(torch.int64),
        "a scalar": torch.tensor(1.0),
        "empty": torch.zeros(0),
        "not finite": torch.full_like(tensors[name], float("nan")),
    }
    how = chance.choice(list(changed))
    tensors[name] = changed[how]
    path.write_bytes(save({name: tensor for name, tensor in tensors.items() if tensor is not None}))
    (run / "summary.json").unlink()
    seal(run)
    return f"{path.name}: {name} is {how}"


def _put_link(run: Path, outside: Path, chance: random.Random) -> str:
    """In place of something that is there, or of something that is written."""
    there = [
        path for path in [*run.iterdir(), *run.rglob("checkpoints/*"), *run.rglob("*.json")] if not path.is_symlink()
    ]
    written = [run / f".{path.name}.partial" for path in run.iterdir()]
    written += [run / "checkpoints/.partial-step-00000009", run / "checkpoints/step-00000009", run / ".lock"]
    path = chance.choice(chance.choice([there, written]))
    itself = outside / "run" / path.relative_to(run)
    to = chance.choice(
        [outside / "canary.txt", outside / "folder", outside / "new.txt", path, Path("/dev/null"), itself, itself]
    )
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(to)
    if chance.random() < 0.5:
        (run / "summary.json").unlink(missing_ok=True)
    if to != itself and path.name != MANIFEST and not path.is_relative_to(run / "checkpoints"):
        _seal_if_possible(run)
    return f"{path.relative_to(run)} -> {to.name}"


def _seal_if_possible(run: Path) -> None:
    try:
        seal(run)
    except OSError:
        return  # the link is where it would be sealed


_HARMS: dict[str, Callable[[Path, Path, random.Random], str]] = {
    "a table that was changed and sealed": _change_table,
    "scripts in texts and names": _put_markup,
    "a log that was changed": _change_log,
    "tensors that were changed and sealed": _change_tensors,
    "a link to outside": _put_link,
}
