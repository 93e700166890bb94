"""A third party's mixer from installation to text, and what a run says when the plugin has gone."""

import json
from pathlib import Path

import pytest

from ..distributions import Program  # noqa: TID252 - pytest finds the parts of the tests by where they are

SIZES = ["--dim", "16", "--heads", "2", "--layers", "3", "--context", "16", "--batch", "2", "--steps", "4"]


@pytest.mark.slow
def test_it_trains_and_generates_and_is_missed_when_it_has_gone(tmp_path):
    pattern = "correlation, running-mean + involution"
    text = tmp_path / "text.txt"
    text.write_text("the mean of all that was read so far\n" * 30)
    run, name = str(tmp_path / "run"), "zoo-running-mean"
    alone, zoo = Program(tmp_path, name), Program(tmp_path, name, forked=True)
    trained = alone("train", "--mixer", pattern, *SIZES, "--data", str(text), "--out", run, "--json")
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout)["steps"] == 4
    said = zoo("generate", run, "--tokens", "12", "--json")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["tokens"] == 12
    for command in (["generate", run], ["train", "--resume", run, "--steps", "6"]):
        gone = zoo(*command, ZOO_BLOCK_PLUGINS=name)
        assert gone.returncode == 4
        assert "pip install zoo-running-mean" in gone.stderr
        assert "Traceback" not in gone.stderr


def test_nothing_in_the_zoo_knows_it():
    root = Path(__file__).parents[2]
    for folder in ("zoo", "mixers"):
        for path in (root / folder).rglob("*.py"):
            assert "RunningMean" not in path.read_text(encoding="utf-8")
            assert "running-mean" not in path.read_text(encoding="utf-8")
