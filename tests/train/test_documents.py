import shutil
from functools import partial
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from zoo.data.source import Batch
from zoo.errors import UsageError
from zoo.lab.inspect.traffic import measure_writes
from zoo.plugin.registry import get_registry
from zoo.train.evaluate import evaluate
from zoo.train.find_data import source_of
from zoo.train.resolve import resolve
from zoo.train.run_directory import RunDirectory
from zoo.train.session import model_for
from zoo.train.session import resume as resume_with_pages
from zoo.train.session import start as start_with_pages
from zoo.train.step import TrainingStep

start, resume = (partial(work, pages=False) for work in (start_with_pages, resume_with_pages))


@pytest.fixture
def folder(tmp_path, text):
    """Short files, some of them shorter than a context and some longer."""
    (tmp_path / "texts").mkdir()
    for index, part in enumerate(text.read_text().split("\n\n")):
        (tmp_path / "texts" / f"{index:03}.py").write_text(part * (1 + index % 3))
    return tmp_path / "texts"


class Listening(nn.Module):
    """A model that keeps with which keywords it was called, and calls another without documents."""

    def __init__(self, model):
        super().__init__()
        self.model, self.heard = model, []

    def forward(self, *inputs, documents=None, **keywords):
        self.heard.append(documents)
        return self.model(*inputs, **keywords)


@pytest.mark.parametrize("documents", ["joined", "separate"])
def test_steps_and_evaluations_hand_over_the_documents(tiny, folder, documents):
    settings = tiny(data=str(folder), documents=documents)
    source = source_of(settings)
    model = Listening(model_for(source, settings, get_registry()))
    step = TrainingStep(model.model, source, settings)
    step.forward = model
    step(0)
    batches = list(source.validation_batches(context=16, batch=2, limit=64))
    evaluate(model, batches, precision="fp32")
    expected = [batch.documents for batch in (source.draw(context=16, batch=2, seed=0, step=0), *batches)]
    assert all(ids is None for ids in expected) == (documents == "joined")
    torch.testing.assert_close(model.heard, expected, rtol=0, atol=0)


def test_the_words_of_the_setting():
    assert resolve().documents == "joined"
    with pytest.raises(UsageError) as caught:
        resolve(flags={"documents": "apart"})
    assert str(caught.value) == "documents='apart' should be 'joined' or 'separate'"
    with pytest.raises(UsageError) as caught:
        resolve(flags={"documents": "separate", "data": "mqar"})
    assert str(caught.value) == "the task mqar has sequences of its own and no files: leave out `documents`"
    assert resolve(assignments=["documents=separate"], flags={"data": "mqar"}).documents == "separate"


@pytest.mark.slow
def test_a_run_from_before_the_setting_is_joined(tiny, folder, tmp_path):
    start(tiny(data=str(folder), steps=4), root=tmp_path, out=tmp_path / "run")
    run = RunDirectory.open(tmp_path / "run")
    run.write_config({name: value for name, value in run.config.items() if name != "documents"})
    assert resume(tmp_path / "run", steps=6).steps == 6


@pytest.mark.slow
def test_the_loss_of_packed_documents_is_that_of_each_alone(tiny, folder):
    settings = tiny(data=str(folder), documents="separate", mixer="correlation, involution", layers=2)
    source = source_of(settings)
    model = model_for(source, settings, get_registry()).double().eval()
    batches = list(source.validation_batches(context=16, batch=4))
    packed = evaluate(model, batches, precision="fp32")
    nats = targets = 0
    for batch in batches:
        for ids, inputs, wanted in zip(batch.documents, batch.inputs, batch.targets, strict=True):
            ends = ((ids.diff() != 0).nonzero().flatten() + 1).tolist()
            for own in (slice(*bounds) for bounds in pairwise([0, *ends, len(ids)])):
                logits = model(inputs[None, own]).logits[0].float()
                nats += F.cross_entropy(logits, wanted[own], ignore_index=-100, reduction="sum").item()
                targets += int((wanted[own] != -100).sum())
    assert packed.targets == targets
    assert packed.nats == pytest.approx(nats, rel=1e-6)
    whole = [Batch(batch.inputs, batch.targets, batch.offsets) for batch in batches]
    assert abs(evaluate(model, whole, precision="fp32").nats - nats) > 1e-3  # and without documents it is another


def test_an_inspection_hands_over_the_documents(tiny, folder):
    settings = tiny(data=str(folder), documents="separate")
    source = source_of(settings)
    model = model_for(source, settings, get_registry()).eval()
    batches = list(source.validation_batches(context=16, batch=4, limit=256))
    whole = [Batch(batch.inputs, batch.targets, batch.offsets) for batch in batches]
    assert not torch.equal(measure_writes(model, batches).mean, measure_writes(model, whole).mean)


@pytest.mark.slow
def test_a_run_on_documents_goes_on_bit_for_bit_also_from_a_moved_folder(tiny, folder, tmp_path):
    mixer = "dot-product, leviathan-moe, correlation+involution"
    settings = tiny(data=str(folder), documents="separate", mixer=mixer, layers=3, steps=10, accumulate=2)
    settings = settings.model_copy(update={"schedule": "constant"})
    whole = start(settings, root=tmp_path, out=tmp_path / "whole")
    start(settings.model_copy(update={"steps": 5}), root=tmp_path, out=tmp_path / "cut")
    shutil.move(folder, tmp_path / "moved")
    resume(tmp_path / "cut", steps=10, data=str(tmp_path / "moved"))
    whole_run, cut_run = (RunDirectory.open(tmp_path / name) for name in ("whole", "cut"))
    assert whole_run.config["documents"] == "separate"
    assert (
        cut_run.metrics()[-1]["validation_loss"] == whole_run.metrics()[-1]["validation_loss"] == whole.validation_loss
    )
