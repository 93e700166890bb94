"""A file of fifteen lines brings a member of any kind: with ``-p`` and as an installed distribution, end to end."""

import json
import os
import sys
from typing import NamedTuple

import pytest

from zoo.cli.main import run
from zoo.plugin.files import ENVIRONMENT
from zoo.plugin.kinds import find_kind
from zoo.plugin.registry import forget

from ..distributions import install  # noqa: TID252 - pytest knows the parts of the tests by place

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_plugin_files")]


class Example(NamedTuple):
    """A file with one member, and how a run asks for it."""

    kind: str
    name: str
    source: str
    hook: str
    asked: tuple[str, ...]


GATED = '''\
import torch
from zoo import Residual, RMSNorm

class Gated(Residual):
    """Adds what is written through a gate a site."""
    def __init__(self, dim, *, sites):
        super().__init__(dim, sites=sites)
        self.norm, self.gates = RMSNorm(dim), torch.nn.Parameter(torch.ones(sites))
    def read(self, stream, site):
        return self.norm(stream)
    def write(self, stream, site, written):
        return stream + self.gates[site] * written
    def close(self, stream):
        return self.norm(stream)
'''

SQUARES = '''\
import torch
from zoo import ChannelMixer

class Squares(ChannelMixer):
    """A hidden layer of squares."""
    def __init__(self, dim, hidden: int = 16):
        super().__init__()
        self.project_in = torch.nn.Linear(dim, hidden)
        self.project_out = torch.nn.Linear(hidden, dim)
    def forward(self, x):
        return self.project_out(self.project_in(x).relu().square())
'''

SIGNS = '''\
import torch

class Signs(torch.optim.Optimizer):
    """Moves every number by the learning rate, against the sign of its gradient."""
    def __init__(self, params, lr, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(p.grad.sign(), alpha=group["lr"])
'''

COUNTING = '''\
from zoo import Corpus

class Counting(Corpus):
    """Numbers in a row, a document each hundred."""
    def __init__(self, up_to: int = 2000):
        self.up_to = up_to
    def documents(self):
        for start in range(0, self.up_to, 100):
            yield " ".join(map(str, range(start, start + 100)))
'''

EXAMPLES = [
    Example("residual", "gated", GATED, "zoo_residuals", ("--residual", "gated")),
    Example("channel-mixer", "squares", SQUARES, "zoo_channel_mixers", ("--channel-mixer", "squares(hidden=8)")),
    Example("optimizer", "signs", SIGNS, "zoo_optimizers", ("--optimizer", "signs")),
    Example("corpus", "counting", COUNTING, "zoo_corpora", ("--data", "counting(up_to=1500)")),
]

TINY = ["--steps", "2", "--dim", "8", "--heads", "1", "--layers", "1", "--context", "8", "--batch", "2"]
TINY += ["--set", "final_evaluation_tokens=64", "--set", "sample_tokens=4", "--mixer", "dot-product"]


@pytest.fixture
def zoo(capsys, tmp_path):
    """Run a command as a new process would: its exit code, what it printed, and what it said."""
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat. " * 60)

    def call(*arguments):
        os.environ[ENVIRONMENT] = ""
        forget()
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


def train(zoo, example, folder, text, *before):
    data = [] if "--data" in example.asked else ["--data", text]
    code, _, said = zoo(*before, "train", *example.asked, *data, *TINY, "--out", folder)
    assert code == 0, said


def named(out):
    return [entry["name"] for entry in json.loads(out)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.kind)
def test_a_file_of_fifteen_lines(zoo, tmp_path, example):
    path, folder = tmp_path / f"{example.name}_file.py", tmp_path / "run"
    path.write_text(example.source)
    assert len(example.source.splitlines()) <= 15
    plugin = ("-p", path)
    assert example.name in named(zoo(*plugin, "list", "--kind", example.kind, "--json")[1])
    assert example.name not in named(zoo("list", "--kind", example.kind, "--json")[1])
    code, checked, said = zoo(*plugin, "check", f"{example.kind}:{example.name}", "--examples", 2)
    assert code == 0, checked + said
    train(zoo, example, folder, tmp_path / "text.txt", *plugin)
    assert zoo(*plugin, "train", "--resume", folder, "--steps", 4)[0] == 0
    assert zoo(*plugin, "generate", folder, "--tokens", 3)[0] == 0
    for command in (("train", "--resume", folder, "--steps", 6), ("generate", folder, "--tokens", 3)):
        code, _, said = zoo(*command)
        assert code == 2
        source = f"the {find_kind(example.kind)} {example.name!r} came from the file {path}"
        assert said == f"error: {source}: pass it with -p {path}\n"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.kind)
def test_an_installed_distribution(zoo, tmp_path, monkeypatch, example):
    distribution, folder = f"acme-{example.name}", tmp_path / "run"
    cls = example.name.capitalize()
    hook = f'\nfrom zoo import hookimpl\n@hookimpl\ndef {example.hook}():\n    return {{"{example.name}": {cls}}}\n'
    install(tmp_path / "site", distribution, example.source + hook)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("ZOO_PLUGINS", distribution)
    assert example.name in named(zoo("list", "--kind", example.kind, "--json")[1])
    assert zoo("check", example.name, "--only", "documentation")[0] == 0
    train(zoo, example, folder, tmp_path / "text.txt")
    assert zoo("train", "--resume", folder, "--steps", 4)[0] == 0
    assert zoo("generate", folder, "--tokens", 3)[0] == 0
    monkeypatch.setenv("ZOO_BLOCK_PLUGINS", distribution)
    for command in (("train", "--resume", folder, "--steps", 6), ("generate", folder, "--tokens", 3)):
        code, _, said = zoo(*command)
        assert code == 4
        assert said.count("\n") == 1
        member = f"{find_kind(example.kind)} {distribution}:{example.name}"
        assert f"{member} needs the distribution {distribution!r}" in said
    sys.modules.pop(distribution.replace("-", "_"), None)
