"""A few cases of the campaigns that are run by hand, and what they do with a bad one."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.errors import UsageError

from .damage import _flip, _truncate
from .fuzz import check
from .mutate import mutated, mutated_json
from .tally import Tally
from .targets import Target

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("kills", 2),
        ("flips", 2),
        ("truncations", 2),
        ("fuzz", 1000),
    ],
)
def test_a_few_cases_of_a_campaign_end_well(name, count, tmp_path):
    command = [sys.executable, "-m", "tests.campaign", name, "--count", str(count), "--out", str(tmp_path / "out")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.endswith("\n0 bad\n")


def raises(error):
    def read(_given):
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "ending"),
    [
        (str, "accepted"),
        (raises(UsageError("no")), "refused in a line"),
        (raises(LookupError()), "refused as documented"),
        (raises(UsageError("no\nand no")), "BAD: refused in several lines"),
        (raises(KeyError("a")), "BAD: KeyError in ?"),
        (raises(RecursionError()), "BAD: RecursionError in ?"),
        (raises(SystemExit(0)), "BAD: SystemExit in ?"),
    ],
)
def test_what_a_reader_raises_is_judged(tmp_path, capsys, read, ending):
    tally = Tally(tmp_path)
    documented = (LookupError,) if ending == "refused as documented" else ()
    check(tally, "reader", Target(["a"], ["a"], read, 1.0, documented), "a", {"seed": 0})
    assert tally.counts["reader"] == {ending: 1}
    assert tally.failed == ending.startswith("BAD")
    rows = (tmp_path / "failures.jsonl").read_text().splitlines() if tally.failed else []
    assert [json.loads(row)["input"] for row in rows] == ["a"] * tally.failed
    assert ("BAD" in capsys.readouterr().out) == bool(tally.failed)


def test_a_flip_changes_one_bit_and_a_truncation_leaves_the_beginning():
    content = bytes(range(200))
    for seed in range(50):
        flipped, bit = _flip(content, random.Random(seed))
        assert flipped[bit // 8] ^ content[bit // 8] == 1 << bit % 8
        assert sum(one != other for one, other in zip(flipped, content, strict=True)) == 1
        cut, size = _truncate(content, random.Random(seed))
        assert cut == content[:size] != content


def test_the_same_number_makes_the_same_input():
    def inputs(seed):
        chance = random.Random(seed)
        return mutated(b"abc", [b"xyz"], [b"word"], chance), repr(mutated_json({"a": [1, {"b": 2.5}]}, chance))

    assert [inputs(seed) for seed in range(50)] == [inputs(seed) for seed in range(50)]
    assert len({inputs(seed) for seed in range(50)}) > 40
