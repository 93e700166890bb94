"""The training step: how micro-batches add up, what mixers hear of it, and what is compiled."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from zoo import IGNORE, Examples, Mixed, Task, TokenMixer, build_model
from zoo.data.load import load_source
from zoo.data.source import Batch
from zoo.data.task_data import TaskData
from zoo.model.backbone import Backbone
from zoo.model.layer import Layer, NamedMixer
from zoo.model.metrics import combine_metrics
from zoo.plugin.registry import get_registry
from zoo.train.session import model_for
from zoo.train.settings import Settings
from zoo.train.step import TrainingStep, count_targets, target_weights

from ..stacks import pre_norm  # noqa: TID252 - pytest finds the parts of the tests by where they are

SMALL = {"layers": 1, "dim": 32, "heads": 2, "device": "cpu", "precision": "fp32", "threads": 1}


class VariableTargets(Task):
    """Half of the sequences have one target, the others have fifteen."""

    length, vocab_size, train_examples, test_examples = 16, 16, 64, 64

    def draw(self, generator, examples, *, length, test):
        x = generator.integers(16, size=(examples, length))
        y = np.full_like(x, IGNORE)
        for row, count in enumerate(generator.choice([1, length - 1], size=examples)):
            y[row, 1 : 1 + count] = x[row, :count]
        return Examples(x, y)


# The loss of a step


COPY = "delayed-copy(length=16, vocab=8, delay=12, named=true, examples=64)"


@pytest.mark.parametrize(("batch", "accumulate"), [(8, 1), (4, 2), (1, 8)])
def test_the_gradient_of_a_step_is_the_same_however_it_is_cut_into_micro_batches(batch, accumulate):
    source = load_source(COPY, tokenizer="byte", validation_fraction=0.1)
    loss, norm = first_step(source, batch=batch, accumulate=accumulate)
    assert (loss, norm) == (pytest.approx(2.98511, abs=1e-5), pytest.approx(1.853, abs=5e-4))


@pytest.mark.parametrize(("batch", "accumulate"), [(16, 1), (4, 4), (1, 16)])
def test_every_target_counts_alike_whatever_its_micro_batch(batch, accumulate):
    source = TaskData(VariableTargets(), "variable-targets")
    loss, norm = first_step(source, batch=batch, accumulate=accumulate)
    assert (loss, norm) == (pytest.approx(2.79212, abs=1e-5), pytest.approx(0.7994, abs=1e-4))


def test_only_a_gradient_that_is_too_long_is_scaled_down():
    source, lengths = load_source(COPY, tokenizer="byte", validation_fraction=0.1), {}
    for clip in (0.5, 100.0):
        settings = Settings(**SMALL, mixer="dot-product", context=16, batch=8, clip=clip)
        step = TrainingStep(model_for(source, settings, get_registry()), source, settings)
        step.optimizer.step = lambda: None
        step.optimizer.zero_grad = lambda **_: None
        reported = step(0).gradient_norm
        kept = torch.nn.utils.get_total_norm([parameter.grad for parameter in step.parameters])
        lengths[clip] = reported, kept.item()
    assert lengths[100.0] == (pytest.approx(lengths[0.5][0]), pytest.approx(lengths[0.5][0]))
    assert lengths[0.5][0] > lengths[0.5][1] == pytest.approx(0.5, rel=1e-4)


def first_step(source, **changes):
    settings = Settings(**SMALL, mixer="dot-product", context=16, channel_mixer="none", **changes)
    torch.manual_seed(settings.seed)
    return TrainingStep(model_for(source, settings, get_registry()).train(), source, settings)(0)


def test_targets_are_counted_where_there_are_any():
    targets = torch.tensor([[3, IGNORE, 1], [IGNORE, IGNORE, 2]])
    where = (targets.flatten() != IGNORE).nonzero().squeeze(1)
    for positions in (None, where):
        assert count_targets(Batch(targets, targets, torch.zeros(2), positions)) == 3
    assert target_weights([1, 3]) == [0.25, 0.75]
    assert target_weights([7]) == [1.0]


class Fixed(TaskData):
    """The same sequences for every step, cut into micro-batches of one."""

    def __init__(self):
        super().__init__(VariableTargets(), "fixed")

    def draw(self, *, context, batch, seed, step):
        tokens = torch.arange(context)[None] % 16
        return Batch(tokens, tokens.roll(step), torch.tensor([step]))


def stepping(mixer, **changes):
    """A step of a model of one mixer."""
    settings = Settings(**SMALL, context=16, batch=1, **changes)
    layer = Layer([NamedMixer("own", mixer)], None)
    model = Backbone([layer], pre_norm([layer], 32), vocabulary=16, dim=32, context=16)
    return TrainingStep(model.train(), Fixed(), settings)


class Weighs(TokenMixer):
    """Adds the first power of its weight to the loss."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return Mixed(torch.zeros_like(x), {"weight": self.weight})


@pytest.mark.parametrize("accumulate", [1, 4])
def test_an_auxiliary_loss_is_averaged_over_the_micro_batches(accumulate):
    mixer, norms = Weighs(), []
    step = stepping(mixer, accumulate=accumulate, clip=1e9)
    mixer.weight.register_hook(lambda gradient: norms.append(float(gradient)))
    step(0)
    assert sum(norms) == pytest.approx(1.0)


# What mixers hear


def test_counts_are_added_up_exactly_and_other_metrics_averaged():
    first = {"count": torch.tensor([2**53, 1]), "share": torch.tensor([0.5]), "mixed": torch.tensor(True)}
    second = {"count": torch.tensor([1, 2]), "share": torch.tensor([0.25]), "mixed": torch.tensor(False)}
    heard = combine_metrics([first, second])
    assert heard["count"].tolist() == [2**53 + 1, 3]
    assert (heard["share"].tolist(), heard["mixed"].item()) == ([0.375], 0.5)
    once = combine_metrics([{"exact": torch.tensor(1 / 3, dtype=torch.float64), "half": torch.tensor(1.0).bfloat16()}])
    assert (once["exact"].item(), once["half"].dtype) == (1 / 3, torch.float32)


# Compilation


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch traces a custom gradient in a way that it deprecates itself
def test_every_model_of_a_process_is_compiled(monkeypatch):
    """torch gives up after eight models that run through the same functions, and trains the others uncompiled."""
    graphs = []

    def keep(graph, _inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=keep))
    counts = []
    for number in range(10):
        model = build_model("dot-product", vocab_size=16, dim=16 + 8 * number, heads=2, layers=1)
        settings = Settings(**SMALL, context=16, batch=1, compile=True)
        TrainingStep(model.train(), Fixed(), settings)(0)
        counts.append(len(graphs))
    assert all(later > earlier for earlier, later in zip([0, *counts], counts, strict=False))
