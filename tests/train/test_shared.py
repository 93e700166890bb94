"""Runs of models whose layers share weights: saved once, resumed bit for bit, told what they weigh."""

import pytest
import torch
from safetensors.torch import load_file

import zoo
from zoo.train.listener import Listener
from zoo.train.plan import make_plan
from zoo.train.session import Interrupted, resume, start

PATTERN = "correlation@one/swiglu@ff*3"


class StopAt(Listener):
    def __init__(self, step):
        self.last = step

    def progress(self, progress):
        if progress.step == self.last:
            import signal

            signal.raise_signal(signal.SIGINT)


def outcome(path):
    last = path / "checkpoints" / "step-00000006"
    files = [last / "model.safetensors", last / "optimizer.safetensors", path / "metrics.jsonl", path / "samples.txt"]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


@pytest.mark.slow
def test_it_is_saved_once_and_resumes_bit_for_bit(tiny, tmp_path):
    settings = tiny(mixer=PATTERN, layers=3, steps=6)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    summary = start(settings, root=tmp_path, out=whole, pages=False)
    with pytest.raises(Interrupted):
        start(settings, root=tmp_path, out=cut, pages=False, listener=StopAt(4))
    resume(cut, pages=False)
    assert outcome(cut) == outcome(whole)

    saved = {
        stem: load_file(whole / "checkpoints/step-00000006" / f"{stem}.safetensors") for stem in ("model", "optimizer")
    }
    run = zoo.load_run(whole)
    assert sum(tensor.numel() for tensor in saved["model"].values()) == summary.parameters
    assert {name.rsplit("|", 1)[0] for name in saved["optimizer"]} == set(saved["model"])
    names = [name for name in run.model.state_dict() if ".mixers." in name or ".channel." in name]
    assert len([name for name in names if name in saved["model"]]) == len(names) / 3
    for name in names:
        assert torch.equal(
            run.model.state_dict()[name], saved["model"][name.replace(".1.", ".0.").replace(".2.", ".0.")]
        )
    assert len({id(layer.mixers[0]) for layer in run.model.layers}) == 1
    assert len("".join(run.generate("def", tokens=5, seed=0))) > 0


def test_the_memory_of_a_plan_holds_shared_weights_once_and_their_activations_at_every_place(tiny):
    shared, apart = (make_plan(tiny(mixer=mixer, layers=3)) for mixer in (PATTERN, "correlation/swiglu*3"))
    assert shared.memory.parameters == 4 * shared.parameters
    assert shared.parameters < apart.parameters
    assert shared.memory.activations == apart.memory.activations
