"""Every mixer may be held in parts by several processes, and the law that says so finds one that may not."""

import json

import pytest
import torch
from torch import nn

from zoo import UsageError, list_mixers
from zoo.cli.main import run as command_line
from zoo.plugin.kinds import CHANNEL_MIXER
from zoo.plugin.registry import get_registry
from zoo.testing.check import check_subject
from zoo.testing.checker import Request
from zoo.testing.kinds import find_subject
from zoo.testing.sharded import of_several_processes

from ..train.ranks import run  # noqa: TID252 - pytest finds the parts of the tests by where they are
from .control import Projected, running_mean

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

CHANNELS = [f"channel-mixer:{entry.name}" for entry in get_registry()[CHANNEL_MIXER].entries if entry.name != "none"]
MEMBERS = [*list_mixers(), *CHANNELS, "correlation*2, involution@a, involution@a"]


def verdicts(path, members):
    """The result of each member, asked by two processes."""

    def ask(ranks):
        results = {}
        for member in members:
            suite, subject = find_subject(member)
            (result,) = check_subject(subject, of_several_processes(Request(suite=suite, examples=2)))
            results[subject.label] = [result.status, result.message]
        if ranks.is_first:
            path.write_text(json.dumps(results))

    assert run(2, ask) == [0, 0]
    return json.loads(path.read_text())


@pytest.mark.slow
def test_every_member_may_be_held_in_parts(tmp_path):
    results = verdicts(tmp_path / "results.json", MEMBERS)
    assert {name for name, (status, _) in results.items() if status == "skipped"} == {"pooling", "running-mean"}
    assert {name: found for name, found in results.items() if found[0] not in {"passed", "skipped"}} == {}
    assert len(results) == len(MEMBERS)


class ReadsItsOwnPart(Projected):
    """A weight that a closure keeps, as it was when the mixer was built."""

    def __init__(self, dim):
        super().__init__(dim)
        self.gain = nn.Parameter(torch.ones(dim))
        self.gains = [self.gain]

    def mix(self, value):
        return running_mean(value) * sum(gain.sum() for gain in self.gains)


@pytest.mark.slow
def test_a_mixer_that_may_not_is_found(tmp_path):
    (found,) = verdicts(tmp_path / "results.json", [ReadsItsOwnPart]).values()
    assert found[0] == "failed"


def test_members_without_parameters_are_not_asked():
    suite, _ = find_subject("adamw")
    with pytest.raises(UsageError, match="optimizers hold no parameters"):
        of_several_processes(Request(suite=suite))


@pytest.mark.slow
def test_the_command_starts_the_processes_itself(capfd):
    command = ["check", "--ranks", "2"]
    code = command_line([*command, "correlation", "--json"])
    kept = capfd.readouterr()
    assert code == 0, kept.err
    assert [law["status"] for law in json.loads(kept.out)["laws"]] == ["passed"]
    assert command_line([*command, "no-such-mixer"]) == 2
    assert capfd.readouterr().err.count("error:") == 1
