"""Checkpoints of versions that kept norms in the layers."""

import re

import pytest
import torch

import zoo
from zoo.train.checkpoint import load_checkpoint, save_checkpoint
from zoo.train.renames import with_current_names
from zoo.train.session import resume, start

NAMES = {
    "embedding.weight": "embedding.weight",
    "layers.0.mixer_norm.weight": "residual.norms.0.weight",
    "layers.0.mixers.0.project.weight": "layers.0.mixers.0.project.weight",
    "layers.0.channel_norm.weight": "residual.norms.1.weight",
    "layers.1.mixer_norm.weight": "residual.norms.2.weight",  # a layer without a channel mixer
    "layers.2.mixer_norm.weight": "residual.norms.3.weight",
    "layers.2.channel_norm.weight": "residual.norms.4.weight",
    "layers.10.mixer_norm.weight": "residual.norms.5.weight",
    "norm.weight": "residual.norm.weight",
    "readout.norm.weight": "readout.norm.weight",
}


def test_norms_get_the_names_of_their_sites():
    model = {old: torch.tensor(float(number)) for number, old in enumerate(NAMES)}
    # one parameter has no gradient and so no state: the numbers of the others stay
    named = [name for name in model if name != "layers.0.mixer_norm.weight"]
    states = {f"{name}|{quantity}": model[name] for name in named for quantity in ("exp_avg", "step")}
    renamed = with_current_names({"model": model, "optimizer": states})
    assert renamed["model"] == {new: model[old] for old, new in NAMES.items()}
    assert renamed["optimizer"] == {
        f"{NAMES[key.partition('|')[0]]}|{key.partition('|')[2]}": value for key, value in states.items()
    }
    assert with_current_names(renamed) == renamed


@pytest.mark.slow
def test_a_run_of_such_a_version_is_opened_and_resumed_bit_for_bit(tiny, tmp_path):
    settings = tiny(mixer="dot-product + correlation, involution/none", layers=2, steps=10)
    for name in ("old", "new"):
        start(settings, root=tmp_path, out=tmp_path / name)
    root = tmp_path / "old" / "checkpoints"
    checkpoint = load_checkpoint(root)
    before = {new: old for old, new in zip(
        ("layers.0.mixer_norm", "layers.0.channel_norm", "layers.1.mixer_norm", "norm"),
        ("residual.norms.0", "residual.norms.1", "residual.norms.2", "residual.norm"), strict=True,
    )}  # fmt: skip

    def old_name(key):
        return re.sub(r"^(residual\.[\w.]+)\.weight", lambda match: f"{before[match[1]]}.weight", key)

    tensors = {
        stem: {old_name(key): value for key, value in named.items()} for stem, named in checkpoint.tensors.items()
    }
    assert {"layers.0.channel_norm.weight", "norm.weight"} <= tensors["model"].keys()
    assert "norm.weight|exp_avg" in tensors["optimizer"]
    save_checkpoint(root, checkpoint.step, tensors=tensors, progress=checkpoint.progress, keep=1)
    assert zoo.load_run(tmp_path / "old").step == 10
    for name in ("old", "new"):
        resume(tmp_path / name, steps=20)
    metrics = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("old", "new")]
    assert metrics[0] == metrics[1]
    files = [tmp_path / name / "checkpoints/step-00000020/model.safetensors" for name in ("old", "new")]
    assert files[0].read_bytes() == files[1].read_bytes()
