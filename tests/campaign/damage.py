"""Files of a run that are damaged: what reads them gives what it gave before, or says in one line what is wrong."""

import os
import random
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from zoo.errors import ZooError
from zoo.train.loop import Trainer
from zoo.train.run_directory import LOGS
from zoo.train.scores import read_scores

from .runs import (
    Child,
    Recipe,
    Result,
    differences,
    files_of,
    invoke,
    outcome,
    prepare_process,
    recipes,
    replace_folder,
    train_command,
)
from .tally import Tally

_STEPS, _KILLED_AT = 12, 9

_NOT_READ = {*LOGS, "metrics.csv", "loss.png", "report.html", "events.jsonl", "scores.safetensors"}
"""Files that nobody reads when a run that has ended is resumed; who compares runs reads the scores, and checks them."""

_INSPECTED = 20
"""One case in so many is also inspected, which takes long."""


@dataclass
class Base:
    """The folder of a run as it was before any damage.

    Attributes:
        kept: a copy of it.
        ended: whether the run has made all its steps.
        expected: the outcome once it has.
        texts: what `zoo generate` prints, with the newest checkpoint and with the one before; none for a task.
    """

    recipe: Recipe
    kept: Path
    ended: bool
    expected: dict[str, str]
    texts: tuple[str, ...]


def flips(tally: Tally, *, count: int, seed: int, first: int = 0) -> None:
    """Flip one bit a case, in a file and at a place drawn evenly.

    Args:
        tally: of the campaign.
        count: of cases.
        seed: of the files and places.
        first: the number of the first case.
    """
    _damage(tally, "flip", _flip, count=count, seed=seed, first=first)


def truncations(tally: Tally, *, count: int, seed: int, first: int = 0) -> None:
    """Cut one file a case, at a place drawn evenly. The arguments are those of `flips`."""
    _damage(tally, "truncation", _truncate, count=count, seed=seed, first=first)


def _flip(content: bytes, chance: random.Random) -> tuple[bytes, int]:
    bit = chance.randrange(8 * len(content))
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed), bit


def _truncate(content: bytes, chance: random.Random) -> tuple[bytes, int]:
    size = chance.randrange(len(content))
    return content[:size], size


def _damage(
    tally: Tally,
    what: str,
    damage: Callable[[bytes, random.Random], tuple[bytes, int]],
    *,
    count: int,
    seed: int,
    first: int,
) -> None:
    prepare_process(tally.out, draw=False)
    run = tally.out / "run"
    kinds = [(recipe, ended) for recipe in recipes(tally.out, steps=_STEPS)[:3] for ended in (True, False)]
    bases = [cache(partial(_base, tally.out, *kind)) for kind in kinds]
    for case in tally.cases(first, count):
        chance = random.Random(f"{seed}/{case}")
        base = chance.choice(bases)()
        with tally.timed(f"{what}s"):
            replace_folder(base.kept, run)
            names = [name for name, content in files_of(run).items() if content]
            name = chance.choice(names)
            damaged, place = damage((run / name).read_bytes(), chance)
            (run / name).write_bytes(damaged)
            where = {
                "seed": seed,
                "first": case,
                "run": base.recipe.name,
                "ended": base.ended,
                "file": name,
                "at": place,
            }
            _examine(tally, base, run, name, where)
            tally.add(f"{what}s", "ended run" if base.ended else "killed run")


def _base(out: Path, recipe: Recipe, ended: bool) -> Base:
    run, kept = out / "run", out / f"base-{re.sub('[^a-z]+', '-', recipe.name)}{'ended' if ended else 'killed'}"
    shutil.rmtree(run, ignore_errors=True)
    shutil.rmtree(kept, ignore_errors=True)
    if not ended:
        assert Child(train_command(recipe, run), out, partial(_die_at, _KILLED_AT)).wait().code == -signal.SIGKILL
        replace_folder(run, kept)
    assert (result := Child(train_command(recipe, run), out).wait()).code == 0, result.err
    expected = outcome(run)
    if ended:
        assert (result := Child(_inspect(run), out).wait()).code == 0, result.err
        replace_folder(run, kept)
    replace_folder(kept, run)
    texts = []
    for checkpoint in sorted((run / "checkpoints").iterdir(), reverse=True) if recipe.text else ():
        texts.append(_generate(run).out)
        shutil.rmtree(checkpoint)
    return Base(recipe, kept, ended, expected, tuple(texts))


def _die_at(step: int) -> None:
    """Have this process die when it is about to make a step."""
    update = Trainer._timed_update

    def update_or_die(trainer: Trainer) -> None:
        if trainer.step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        update(trainer)

    Trainer._timed_update = update_or_die


def _generate(run: Path) -> Result:
    return invoke("generate", run, "--tokens", 8, "--device", "cpu")


def _inspect(run: Path) -> list[str]:
    return ["inspect", str(run), "--tokens", "64", "--device", "cpu"]


def _examine(tally: Tally, base: Base, run: Path, name: str, where: dict[str, object]) -> None:
    """Read the damaged run in every way, each on the folder as the damage left it."""
    what = f"{'ended' if base.ended else 'killed'} run, {re.sub('[0-9]{8}', 'N', name)}"
    before = files_of(run)
    case, problems = where["first"], []
    if base.recipe.text:
        problems.append(("generate", *_check_text(base, _generate(run))))
        if differences(files_of(run), before):
            problems.append(("generate", "changed the folder", False, Result(0, "", "")))
    if base.ended:
        problems.append(("scores", *_check_scores(run)))
    if base.ended and case % _INSPECTED == 0:
        problems.append(("inspect", *_check_inspection(invoke(*_inspect(run)))))
        replace_folder(base.kept, run)
        (run / name).write_bytes(before[name])
    command = ["train", "--resume", run] if case % 2 else train_command(base.recipe, run)
    problems.append(("train", *_check_end(base, run, name, before, invoke(*command))))
    for reader, ending, good, result in problems:
        if good:
            tally.add(what, f"{reader}: {ending}")
        else:
            tally.fail(what, f"{reader}: {ending}", **where, code=result.code, stdout=result.out, stderr=result.err)


def _check_text(base: Base, result: Result) -> tuple[str, bool, Result]:
    noted = "is damaged" in result.err
    if result.code == 0 and result.out == base.texts[0] and not noted:
        return "the same text", True, result
    if result.code == 0 and result.out in base.texts[1:] and noted:
        return "the text of an earlier checkpoint, with a note", True, result
    return ("refused in a line", True, result) if result.is_refusal else ("something else", False, result)


def _check_scores(run: Path) -> tuple[str, bool, Result]:
    try:
        read_scores(run)
    except ZooError as error:
        return "refused in a line", "\n" not in str(error), Result(error.exit_code, "", str(error))
    except Exception as error:
        return f"raised {error!r}", False, Result(1, "", repr(error))
    return "read", True, Result(0, "", "")


def _check_inspection(result: Result) -> tuple[str, bool, Result]:
    if result.code == 0:
        return "made again", "Traceback" not in result.err, result
    return "refused in a line", result.is_refusal, result


def _check_end(base: Base, run: Path, name: str, before: dict[str, bytes], result: Result) -> tuple[str, bool, Result]:
    """Whether a run that was continued ended in the same bits, or was refused and left as it was."""
    if result.code != 0:
        touched = [path for path in differences(files_of(run), before) if not _may_change(path, name, run, before)]
        if touched:
            return f"refused, and changed {', '.join(touched)}", False, result
        return "refused in a line", result.is_refusal, result
    different = differences(outcome(run), base.expected)
    if not different:
        noted = " with a note" if "damaged" in result.err or "changed since" in result.err else ""
        return f"ended in the same bits{noted}", True, result
    if different == [name] and base.ended and name in _NOT_READ:
        return "not read", True, result
    if different == [name] and f"{name} is not what it was at the checkpoint" in result.err:
        return "the log keeps its damage, with a note", True, result
    return f"ended in other bits: {', '.join(different)}", False, result


def _may_change(path: str, name: str, run: Path, before: dict[str, bytes]) -> bool:
    """Whether a refusal may leave a file changed: one with the damage, the lock, and a log cut to its checkpoint."""
    if path in {name, ".lock", "events.jsonl"}:
        return True
    return path in LOGS and (run / path).exists() and before.get(path, b"").startswith((run / path).read_bytes())
