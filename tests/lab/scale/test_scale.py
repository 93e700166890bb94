"""A plan for many GPUs: its counts are those of a run, its memory is that of a run, and its shapes are usual ones."""

import os
from itertools import product

import pytest
import torch

from zoo.data.source import Batch
from zoo.errors import UsageError
from zoo.lab.bench.measure import peak_bytes
from zoo.lab.scale import costs as measuring
from zoo.lab.scale.costs import measure_costs
from zoo.lab.scale.gpu import GPUS, find_gpu
from zoo.lab.scale.layout import make_layout, possible_layouts
from zoo.lab.scale.plan import make_scale_plan
from zoo.lab.scale.shape import choose_shape
from zoo.lab.size import measure_size
from zoo.model.parameters import count_parameters
from zoo.plugin.registry import get_registry
from zoo.train.optimizer import state_bytes
from zoo.train.session import model_of
from zoo.train.settings import Settings
from zoo.train.step import TrainingStep

VOCABULARY = 500


def settings(**changes):
    sizes = {"dim": 64, "heads": 2, "layers": 5, "context": 96, "batch": 4}
    machine = {"precision": "fp32", "device": "cpu", "threads": 1}
    return Settings(**sizes | machine | {"mixer": "dot-product"} | changes)


def built(chosen):
    return model_of(chosen, get_registry(), vocab_size=VOCABULARY)


# Counts


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mixer": "correlation, involution"},
        {"mixer": "gated-deltanet*2, dot-product", "channel_mixer": "mlp"},
        {"mixer": "leviathan-moe", "layers": 2},
        {"mixer": "dot-product@a", "residual": "hyper-connections"},
        {"optimizer": "lion"},
    ],
    ids=str,
)
def test_the_counts_are_those_of_the_model_itself(changes):
    chosen = settings(**changes)
    model = built(chosen)
    costs, size = measure_costs(chosen, VOCABULARY), measure_size(model, length=chosen.context)
    assert costs.parameters == size.parameters
    assert costs.active_parameters == size.active_parameters
    assert costs.optimizer == state_bytes(model, chosen)
    assert costs.forward_flops == pytest.approx(size.forward_flops, rel=1e-9)
    assert costs.training_flops == pytest.approx(size.training_flops, rel=1e-9)


@pytest.mark.slow
def test_a_depth_is_a_straight_line_through_two_smaller_ones():
    chosen = settings(mixer="correlation, involution", layers=9)
    assert measure_costs(chosen, VOCABULARY) == measuring._at_length(chosen, VOCABULARY)


@pytest.mark.slow
def test_a_recurrence_is_measured_on_short_sequences(monkeypatch):
    chosen = settings(mixer="min-gru, dot-product", layers=2, context=256)
    exact = measure_costs(chosen, VOCABULARY)
    monkeypatch.setattr(measuring, "SHORT", 64)
    monkeypatch.setattr(measuring, "PATIENCE", 0.0)
    drawn_on = measure_costs(chosen, VOCABULARY)
    assert drawn_on.training_flops == pytest.approx(exact.training_flops, rel=1e-3)
    assert drawn_on.sequence_activations == pytest.approx(exact.sequence_activations, rel=0.01)


def test_a_large_model_takes_no_memory():
    costs = measure_costs(settings(dim=8192, heads=64, layers=80, context=64), 50_304)
    assert costs.parameters > 60e9
    assert costs.optimizer == pytest.approx(8 * costs.parameters, rel=1e-3)


def test_fsdp_gathers_the_largest_layer_and_what_belongs_to_none():
    shared = measure_costs(settings(mixer="dot-product@a", layers=2), VOCABULARY)
    apart = measure_costs(settings(layers=2), VOCABULARY)
    assert shared.layer_parameters == 0
    assert shared.outside_parameters == shared.parameters
    layer = built(settings(layers=1)).layers[0]
    assert apart.layer_parameters == count_parameters(layer)
    assert apart.outside_parameters == apart.parameters - 2 * apart.layer_parameters


# Memory


class Random:
    """Draws what no one learns."""

    def draw(self, *, context, batch, seed, step):
        tokens = torch.randint(VOCABULARY, (batch, context))
        return Batch(tokens, tokens, torch.zeros(batch, dtype=torch.int64))


PAIRWISE = [
    ("dot-product", "fp32", False, 1),
    ("dot-product", "bf16", True, 2),
    ("correlation", "fp32", True, 2),
    ("correlation", "bf16", False, 1),
    ("gated-deltanet", "fp32", True, 1),
    ("gated-deltanet", "bf16", False, 2),
    ("min-gru", "fp32", False, 2),
    ("min-gru", "bf16", True, 1),
]
"""Any two choices are met together; all of them are where the tests are to be exhaustive."""

MIXERS = ["dot-product", "correlation", "gated-deltanet", "min-gru"]
ALL = list(product(MIXERS, ["fp32", "bf16"], [False, True], [1, 2]))
EXHAUSTIVE = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


@pytest.mark.slow
@pytest.mark.parametrize(("mixer", "precision", "checkpointing", "accumulate"), ALL if EXHAUSTIVE else PAIRWISE)
def test_the_memory_of_a_step_is_within_15_percent_of_what_was_measured(mixer, precision, checkpointing, accumulate):
    chosen = settings(
        mixer=mixer,
        precision=precision,
        accumulate=accumulate,
        activation_checkpointing=checkpointing,
        dim=128,
        layers=4,
        batch=8,
    )
    costs = measure_costs(chosen, VOCABULARY)
    layout = make_layout(
        costs, find_gpu("h100"), 1, engine="single", checkpointing=checkpointing, batch=8, micro_batches=accumulate
    )
    step = TrainingStep(built(chosen).train(), Random(), chosen)
    step(0)  # the optimizer's state is there from now on
    there = layout.parameters + layout.optimizer
    measured = there + peak_bytes(lambda: step(1), torch.device("cpu"))
    assert layout.peak == pytest.approx(measured, rel=0.15)


def test_parts_of_a_model_take_their_share():
    costs = measure_costs(settings(), VOCABULARY)
    whole, parts = (
        make_layout(costs, find_gpu("h100"), 8, engine=engine, checkpointing=False, batch=1, micro_batches=2)
        for engine in ("ddp", "fsdp")
    )
    assert whole.parameters == whole.gradients == 4 * costs.parameters
    assert whole.optimizer == costs.optimizer == 8 * parts.optimizer
    gathered = costs.outside_parameters + 2 * costs.layer_parameters
    assert parts.parameters == costs.parameters / 2 + 4 * gathered
    assert parts.activations == whole.activations
    assert whole.peak == whole.parameters + whole.gradients + whole.optimizer + whole.activations


# Layouts


def test_the_largest_micro_batch_that_fits_is_taken():
    costs = measure_costs(settings(), VOCABULARY)
    small = GPUS["h100"]._replace(memory=40e6)
    for layout in possible_layouts(costs, small, 4, context=96, step_tokens=96 * 4 * 64):
        assert layout.fits
        assert layout.batch * layout.accumulate == 4 * 64
        again = make_layout(
            costs,
            small,
            4,
            engine=layout.engine,
            checkpointing=layout.checkpointing,
            batch=2 * layout.batch,
            micro_batches=layout.accumulate // 8,
        )
        assert not again.fits


def test_what_fits_without_computing_twice_is_preferred():
    plan = make_scale_plan(
        settings(), vocab_size=VOCABULARY, gpu=find_gpu("H100"), gpus=8, tokens=1e9, step_tokens=1e5, utilization=0.5
    )
    assert (plan.best.engine, plan.best.checkpointing) == ("ddp", False)
    days = 1e9 * plan.costs.training_flops / (8 * 989.4e12 * 0.5) / 86_400
    assert plan.days(plan.best) == pytest.approx(days)
    assert plan.steps(plan.best) == pytest.approx(1e9 / 1e5, rel=0.1)
    (twice, *_) = (layout for layout in plan.layouts if layout.checkpointing)
    assert twice.flops == plan.costs.training_flops + plan.costs.forward_flops


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"gpus": 0}, "`gpus`=0 should be 1 or more"),
        ({"utilization": 1.5}, "`utilization`=1.5 should be above 0"),
        ({"tokens": 0.0}, "`tokens`=0 should be 1 or more"),
    ],
)
def test_numbers_out_of_range_are_refused(wrong, text):
    right = {"gpus": 1, "tokens": 1e9, "step_tokens": 1e5, "utilization": 0.5}
    with pytest.raises(UsageError, match=text):
        make_scale_plan(settings(), vocab_size=VOCABULARY, gpu=find_gpu("h100"), **right | wrong)


def test_an_unknown_gpu_is_refused():
    with pytest.raises(UsageError, match=r"did you mean 'h100'"):
        find_gpu("h1000")


# Shapes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parameters", "head_size", "dim", "layers"), [(124e6, 64, 768, 12), (1.3e9, 128, 2048, 24), (7e9, 128, 4096, 34)]
)
def test_shapes_are_those_that_people_choose(parameters, head_size, dim, layers):
    chosen = choose_shape(settings(layers=None), 50_304, parameters, head_size)
    assert (chosen.dim, chosen.layers, chosen.heads) == (dim, layers, dim // head_size)


@pytest.mark.slow
def test_whole_rounds_of_a_pattern_are_taken():
    chosen = choose_shape(settings(mixer="correlation*2, involution", layers=None), 50_304, 5e8, 64)
    assert chosen.layers % 3 == 0
