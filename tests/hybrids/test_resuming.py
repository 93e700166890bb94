"""Runs of hybrids that are interrupted, and go on."""

import os
import signal

import pytest
import torch

import zoo
from zoo.plugin.kinds import HYBRID
from zoo.plugin.registry import HOST, get_registry
from zoo.train.listener import Listener
from zoo.train.session import Interrupted, resume, start
from zoo.train.settings import Settings

NAMES = sorted(entry.name for entry in get_registry()[HYBRID].entries if entry.origin.distribution == HOST)
EXHAUSTIVE = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
SAMPLE = ["hymba", "kimi-linear", "rwkv7-goose"]
"""With two mixers side by side, with layers of two kinds, and with a value that the first layer shares."""


class Interrupting(Listener):
    def progress(self, progress):
        if progress.step == 10:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES if EXHAUSTIVE else SAMPLE)
def test_a_run_that_is_interrupted_ends_as_one_that_is_not(name, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("\n".join(f"def function_{i}(x):\n    return x * {i * i}\n" for i in range(200)))
    sizes = {"layers": None, "dim": 32, "heads": 4, "context": 16, "batch": 2, "steps": 20}
    tokens = {"evaluation_tokens": 64, "final_evaluation_tokens": 64, "sample_tokens": 8}
    settings = Settings(mixer=name, data=str(text), tokenizer="char", device="cpu", threads=1, **sizes, **tokens)
    start(settings, root=tmp_path, out=tmp_path / "whole")
    with pytest.raises(Interrupted):
        start(settings, root=tmp_path, out=tmp_path / "cut", listener=Interrupting())
    summary = resume(tmp_path / "cut")
    assert summary.steps == 20
    whole, cut = (zoo.load_run(tmp_path / run).model.state_dict() for run in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[key], cut[key]) for key in whole)
