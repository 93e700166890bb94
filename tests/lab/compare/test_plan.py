import json
import re

import pytest
import torch

import zoo
from zoo.data.task_data import TaskData
from zoo.errors import PluginError, UsageError
from zoo.lab.compare import planning
from zoo.lab.compare.plan import plan_as_json, plan_from_json
from zoo.lab.compare.planning import make_plan
from zoo.lab.compare.request import Budget
from zoo.lab.compare.speed import measure_step_seconds
from zoo.lab.compare.trial import run_trial
from zoo.lab.size import measure_size
from zoo.plugin.registry import get_registry
from zoo.train.find_data import source_of
from zoo.train.interrupts import Interrupts
from zoo.train.listener import Listener
from zoo.train.loop import Trainer
from zoo.train.session import model_for

from .samples import COPY, MQAR, TINY, plan, request

BUILT_INS = ("dot-product", "correlation", "involution", "leviathan-moe", "correlation + involution",
             "correlation, dot-product(window=4)")  # fmt: skip


@pytest.mark.slow
def test_arms_stand_data_by_data_in_the_order_of_the_patterns():
    made = make_plan(request("involution", "correlation", data=(COPY, MQAR)))
    assert [(arm.data, arm.pattern) for arm in made.arms] == [
        (COPY, "involution"), (COPY, "correlation"), (MQAR, "involution"), (MQAR, "correlation")
    ]  # fmt: skip
    assert (made.data, set(made.checksums)) == ((COPY, MQAR), {COPY, MQAR})
    assert (made.seeds, made.sweep_seed, made.lrs, made.runs) == ((0, 1), 2, (1e-3,), 8)


@pytest.mark.slow
def test_sweeps_have_a_seed_of_their_own():
    made = make_plan(request(lrs=(1e-3, 1e-2), seeds=3))
    assert {trial.seed for trial in made.sweeps(0)} == {3}
    assert [trial.lr for trial in made.sweeps(0)] == [1e-3, 1e-2]
    assert [(trial.lr, trial.seed) for trial in made.results(1, 0.01)] == [(0.01, 0), (0.01, 1), (0.01, 2)]
    assert made.runs == 2 * (2 + 3)
    assert (made.settings(made.sweeps(1)[1]).lr, made.settings(made.sweeps(1)[1]).seed) == (0.01, 3)


@pytest.mark.slow
def test_without_learning_rates_that_of_the_settings_is_taken():
    made = make_plan(request(lrs=None))
    assert made.sweeps(0) == ()
    assert made.only_lr(0) == made.arms[0].settings.lr > 0
    assert plan(lrs=(3e-4,)).only_lr(0) == 3e-4


@pytest.mark.slow
def test_all_that_is_asked_for_reaches_the_runs():
    given = TINY | {"dropout": 0.25, "weight_decay": 0.5, "stop_accuracy": None, "log_every": 3, "keep_checkpoints": 4}
    made = make_plan(request(settings=given, budget=Budget("steps", 30)))
    for index in range(len(made.arms)):
        for trial in made.results(index, 0.5):
            settings = made.settings(trial)
            assert {name: getattr(settings, name) for name in given} == given
            assert (settings.lr, settings.seed, settings.steps) == (0.5, trial.seed, 30)
            assert settings.data == COPY


@pytest.mark.slow
def test_short_runs_are_evaluated_often_enough_for_a_curve():
    short, given = (
        make_plan(request(budget=Budget("steps", 40), settings=settings)).arms[0].settings
        for settings in (TINY, TINY | {"evaluate_every": 30})
    )
    assert (short.evaluate_every, short.log_every) == (5, 5)
    assert given.evaluate_every == 30
    assert make_plan(request(budget=Budget("steps", 3))).arms[0].settings.evaluate_every == 1
    assert make_plan(request()).arms[0].settings.evaluate_every == 300 // 8


@pytest.mark.slow
@pytest.mark.parametrize("quantity", ["params", "flops"])
def test_sizes_are_matched_for_every_built_in_and_for_hybrids(quantity):
    """Counted anew from the settings, on the task at its length."""
    settings = {"dim": 64, "layers": 2, "heads": 2, "channel_mixer": "swiglu", "device": "cpu"}
    made = make_plan(request(*BUILT_INS, settings=settings, match=quantity, data=(MQAR,)))
    sizes = {}
    for arm in made.arms:
        if arm.settings is not None:
            model = model_for(source_of(arm.settings), arm.settings, get_registry())
            sizes[arm.pattern] = (
                sum(parameter.numel() for parameter in model.parameters())
                if quantity == "params"
                else measure_size(model, length=16, targets=2).training_flops
            )
    assert set(sizes) == set(BUILT_INS)
    for pattern, found in sizes.items():
        assert abs(found / sizes["dot-product"] - 1) <= {"params": 0.01, "flops": 0.03}[quantity], pattern


@pytest.mark.slow
def test_the_floating_point_operations_are_those_of_the_answers():
    made = make_plan(request(data=(MQAR,)))
    (settings, size) = (made.arms[0].settings, made.arms[0].size)
    model = model_for(source_of(settings), settings, get_registry())
    assert size == measure_size(model, length=16, targets=2)
    assert size.training_flops < measure_size(model, length=16).training_flops


@pytest.mark.slow
def test_one_that_no_width_satisfies_takes_the_nearest():
    made = make_plan(request("dot-product", "leviathan-moe", "correlation", match="params"))
    assert all(arm.settings is not None for arm in made.arms)
    ratios = [arm.ratio for arm in made.arms]
    assert abs(ratios[1] - 1) > 0.01
    assert abs(ratios[2] - 1) <= 0.01


@pytest.mark.parametrize("match", ["none", "params"])
@pytest.mark.parametrize(
    ("patterns", "told"),
    [
        (("corelation", "dot-product"), "no mixer is named 'corelation' (did you mean 'correlation'?)"),
        (("dot-product", "corelation"), "no mixer is named 'corelation' (did you mean 'correlation'?)"),
        (("dot-product", "involution(kernel=3)"), "involution has no option 'kernel' (did you mean 'kernel_size'?)"),
        (("dot-product", "involution(kernel_size=x)"), "option kernel_size='x' should be valid integer"),
        (("dot-product", "involution/swigloo"), "no channel mixer is named 'swigloo' (did you mean 'swiglu'?)"),
        (("dot-product", "involution*9"), "layers=1 would cut a pattern of 9 layers"),
    ],
)
def test_a_mistake_in_any_pattern_is_refused_before_anything_is_measured(monkeypatch, patterns, told, match):
    monkeypatch.setattr(planning, "_sized", None)
    with pytest.raises(UsageError) as error:
        make_plan(request(*patterns, match=match))
    assert told in str(error.value).replace("a valid", "valid")


def test_a_task_or_setting_that_there_is_not_is_refused_at_once(monkeypatch):
    monkeypatch.setattr(planning, "_sized", None)
    with pytest.raises(UsageError, match=r"there is no setting 'dimm' \(did you mean 'dim'\?\)"):
        make_plan(request("dot-product", settings={"dimm": 8}))
    with pytest.raises(UsageError, match=r"there is no data 'mqarr'"):
        make_plan(request("dot-product", data=(COPY, "mqarr")))


@pytest.mark.slow
@pytest.mark.parametrize("match", ["none", "params"])
def test_the_first_pattern_has_to_be_there(match):
    text = "the first pattern, dot-product(heads=7), with which the others are compared, cannot be built: "
    with pytest.raises(UsageError, match=re.escape(text)):
        make_plan(request("dot-product(heads=7)", "involution", match=match))
    made = make_plan(request("involution", "dot-product(heads=7)"))
    assert [arm.settings is not None for arm in made.arms] == [True, False]


def test_no_state_to_match():
    with pytest.raises(UsageError, match="the first pattern has no state that others could match"):
        make_plan(request("involution(kernel_size=1)", "dot-product", match="state"))


class Raises(zoo.TokenMixer):
    def forward(self, x):
        raise RuntimeError("not\ntoday")


class Asks(zoo.TokenMixer):
    def __init__(self, dim):
        raise MemoryError


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "told"), [(Raises, "RuntimeError: not today"), (Asks, "out of memory")])
def test_whatever_a_mixer_does_the_others_go_on(monkeypatch, cls, told):
    whole = planning._build

    def build(source, settings):
        if settings.mixer != "involution":
            return whole(source, settings)
        model = whole(source, settings.model_copy(update={"mixer": "dot-product"}))
        model.layers[0].mixers[0] = cls(dim=16)
        return model

    monkeypatch.setattr(planning, "_build", build)
    made = make_plan(request("dot-product", "involution", "correlation"))
    assert [arm.error is None for arm in made.arms] == [True, False, True]
    assert told in made.arms[1].error
    with pytest.raises(PluginError if cls is Raises else UsageError, match="the first pattern, involution, with which"):
        make_plan(request("involution", "dot-product"))


@pytest.mark.slow
def test_a_budget_of_floating_point_operations_gives_each_as_many():
    made = make_plan(request("dot-product", "involution", budget=Budget("flops", 5e8), data=(MQAR,)))
    for arm in made.arms:
        per_step = arm.size.training_flops * arm.settings.batch * 16
        assert 5e8 - per_step < arm.settings.steps * per_step <= 5e8
    assert made.arms[0].settings.steps != made.arms[1].settings.steps


@pytest.mark.slow
def test_a_budget_of_seconds_is_divided_by_what_a_step_takes(monkeypatch):
    monkeypatch.setattr(planning, "measure_step_seconds", lambda settings, source: 0.004)
    made = make_plan(request(budget=Budget("seconds", 0.5)))
    assert [arm.settings.steps for arm in made.arms] == [125, 125]


def test_a_budget_that_is_over_at_once():
    with pytest.raises(UsageError, match="the budget flops:1 is over before the first step; give more"):
        make_plan(request(budget=Budget("flops", 1)))


@pytest.mark.slow
def test_a_step_takes_a_time_that_grows_with_the_batch_and_leaves_no_trace():
    settings = make_plan(request()).arms[0].settings
    source, before = source_of(settings), torch.get_rng_state()
    torch.set_num_threads(2)
    short, long = (
        measure_step_seconds(settings.model_copy(update={"batch": batch, "threads": 1}), source) for batch in (1, 4096)
    )
    assert 0 < short < long < 5
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == 2


@pytest.mark.slow
def test_cores_are_shared_out_among_the_jobs(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    for jobs, threads in ((1, 8), (3, 2), (8, 1), (20, 1)):
        made = make_plan(request(jobs=jobs))
        assert (made.jobs, made.arms[0].settings.threads) == (jobs, threads)
    assert make_plan(request(jobs=None)).jobs == 8


@pytest.mark.slow
@pytest.mark.parametrize("match", ["none", "params"])
def test_a_plan_comes_back_from_json(match):
    made = make_plan(request("dot-product", "leviathan-moe", "correlation", match=match, lrs=(1e-3, 3e-3)))
    assert plan_from_json(json.loads(json.dumps(plan_as_json(made)))) == made


@pytest.mark.parametrize(
    "damage",
    [{"format": 99}, {"arms": None}, {"arms": [3]}, {"arms": [{"pattern": "x"}]}, {"more": 1}, {"seeds": None}],
)
def test_a_damaged_plan_is_told(damage):
    with pytest.raises(UsageError, match="comparison's plan") as error:
        plan_from_json(plan_as_json(plan()) | damage)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_all_patterns_see_the_same_batches(monkeypatch, tmp_path):
    """Every batch that training asks for, recorded: by seed alone, whatever the pattern, the width and the rate."""
    seen = {}
    draw = TaskData.draw

    def recorded(self, *, context, batch, seed, step):
        drawn = draw(self, context=context, batch=batch, seed=seed, step=step)
        seen.setdefault(current, []).append((step, drawn.inputs.tolist(), drawn.targets.tolist()))
        return drawn

    made = make_plan(request("dot-product", "involution", "correlation(max_lag=2)", match="params",
                             budget=Budget("steps", 6), settings=TINY | {"channel_mixer": "swiglu"}))  # fmt: skip
    assert len({arm.settings.dim for arm in made.arms} | {arm.settings.channel_mixer for arm in made.arms}) > 2
    monkeypatch.setattr(TaskData, "draw", recorded)
    monkeypatch.setattr(Trainer, "test", lambda self: {})  # takes longer than the training
    for index, lr in enumerate((1e-3, 3e-3, 1e-2)):
        for trial in made.results(index, lr):
            current = (trial.seed, index)
            outcome = run_trial(
                tmp_path / f"{index}-{trial.seed}", made.settings(trial), listener=Listener(), interrupts=Interrupts()
            )
            assert outcome.summary is not None
    assert [step for step, *_ in seen[0, 0]] == [0, 1, 2, 3, 4, 5]
    for seed in (0, 1):
        assert seen[seed, 0] == seen[seed, 1] == seen[seed, 2]
    assert seen[0, 0] != seen[1, 0]


@pytest.mark.slow
def test_a_text_stands_beside_a_task(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("def answer(question):\n    return 42\n\n" * 60)
    made = make_plan(request("correlation", data=(str(text), COPY), settings=TINY))
    assert made.arms[0].settings.context != made.arms[1].settings.context == 12
    assert (made.arms[0].settings.sample_tokens, made.arms[1].settings.sample_tokens > 0) == (0, True)
    assert {len(sha) for sha in made.checksums.values()} == {64}


def test_data_that_cannot_be_had():
    with pytest.raises(UsageError, match=r"there is no data '/no/such\.txt'"):
        make_plan(request(data=("/no/such.txt",)))
    with pytest.raises(UsageError, match="length=16 should be an even number, 32 or more"):
        make_plan(request(data=("mqar(length=16, pairs=8)",)))
    with pytest.raises(UsageError, match="vocab=8 should be more than the 16 tokens"):
        make_plan(request(data=("mqar(vocab=8, length=16, pairs=2)",)))


def test_a_device_that_is_not_there():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(UsageError, match="device 'cuda' cannot be used here"):
        make_plan(request(settings={"device": "cuda"}))
