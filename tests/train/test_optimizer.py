import math

import pytest
import torch
from torch import nn

from zoo.contract import TokenMixer
from zoo.errors import UsageError, ZooError
from zoo.model.build import build_model
from zoo.optimizers.plugin import zoo_optimizers
from zoo.train.optimizer import (
    check_optimizer,
    decay_begins,
    learning_rate,
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
    state_bytes,
)
from zoo.train.parameter_groups import parameter_groups
from zoo.train.resolve import resolve
from zoo.train.session import start
from zoo.train.settings import Settings, validate


def test_the_learning_rate_warms_up_to_its_height_and_falls_to_its_end():
    settings = Settings(steps=100, warmup=10, lr=1.0, lr_final=0.1)
    rates = [learning_rate(settings, step) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11)
    assert max(rates) == rates[10] == 1.0
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[99] == pytest.approx(0.1)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_runs_shorter_than_the_warm_up_have_a_learning_rate_too(steps):
    rates = [learning_rate(Settings(steps=steps, warmup=100, lr=1.0), step) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)


def test_warm_up_stable_decay():
    """Of 100 steps: 10 of warm-up, the highest rate up to the 80th, then one minus a square root down to the end."""
    settings = Settings(steps=100, warmup=10, lr=1.0, lr_final=0.1, schedule="wsd", decay=0.2)
    rates = [learning_rate(settings, step) for step in range(100)]
    assert decay_begins(settings) == 80
    assert rates[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert set(rates[10:80]) == {1.0}
    assert rates[80:] == pytest.approx([0.1 + 0.9 * (1 - math.sqrt(k / 20)) for k in range(1, 21)])
    assert rates[99] == pytest.approx(0.1)


@pytest.mark.parametrize("warmup", [0, 10, 300])
@pytest.mark.parametrize("longer", [101, 150, 1000])
def test_up_to_the_decay_the_rate_does_not_depend_on_the_number_of_steps(warmup, longer):
    short, long = (Settings(steps=steps, warmup=warmup, schedule="wsd", decay=0.3) for steps in (100, longer))
    begin = decay_begins(short)
    assert begin == 70
    assert [learning_rate(short, step) for step in range(begin)] == [learning_rate(long, step) for step in range(begin)]


def test_a_constant_rate():
    settings = Settings(steps=50, warmup=3, lr=0.5, lr_final=0.0, schedule="constant")
    assert [learning_rate(settings, step) for step in (0, 2, 3, 49, 10_000)] == [0.125, 0.375, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("schedule", ["cosine", "wsd", "constant"])
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_every_step_of_a_short_run_has_a_rate_under_every_schedule(schedule, steps):
    for warmup in (0, 2, 100):
        settings = Settings(steps=steps, warmup=warmup, lr=1.0, lr_final=0.0, schedule=schedule)
        rates = [learning_rate(settings, step) for step in range(steps)]
        assert all(0 <= rate <= 1 for rate in rates)
        assert rates[0] > 0 or steps == 1


class Gated(nn.Module):
    """With an embedding, and parameters of its own that are no matrix."""

    no_decay = frozenset({"decay", "not-there"})

    def __init__(self):
        super().__init__()
        self.token = nn.Embedding(5, 4)
        self.decay = nn.Parameter(torch.ones(4, 2))
        self.project = nn.Linear(4, 4)
        self.experts = nn.Parameter(torch.ones(3, 4, 4))
        self.gain = nn.Parameter(torch.ones(()))
        self.frozen = nn.Parameter(torch.ones(2, 2), requires_grad=False)


def described(model, weight_decay=0.3):
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, weight_decay)
    return {group["role"]: (group["weight_decay"], [names[p] for p in group["params"]]) for group in groups}


def test_parameters_are_grouped_by_what_they_are():
    assert described(nn.ModuleDict({"part": Gated()})) == {
        "matrix": (0.3, ["part.experts", "part.project.weight"]),
        "embedding": (0.3, ["part.token.weight"]),
        "vector": (0.0, ["part.decay", "part.gain", "part.project.bias"]),
    }


def test_all_that_is_embedded_or_unembedded_in_a_model_is_an_embedding():
    model = build_model("dot-product", vocab_size=7, dim=8, heads=2, context=4, positions="learned")
    assert described(model)["embedding"] == (0.3, ["embedding.weight", "positions.weight"])
    model.unembedding = nn.Linear(8, 7)
    assert described(model)["embedding"][1] == ["embedding.weight", "positions.weight", "unembedding.weight"]
    assert "unembedding.bias" in described(model)["vector"][1]


def test_a_shared_parameter_is_trained_once_and_spared_if_one_owner_says_so():
    gated, plain = Gated(), nn.Linear(4, 2, bias=False)
    del plain.weight
    plain.weight = gated.decay
    tied = nn.Linear(4, 5, bias=False)
    tied.weight = gated.token.weight
    for modules in ([plain, tied, gated], [gated, tied, plain]):
        model = nn.Sequential(*modules)
        groups = parameter_groups(model, 0.1)
        assert sorted(map(id, (p for group in groups for p in group["params"]))) == sorted(
            id(p) for p in model.parameters() if p.requires_grad
        )
        assert [p.shape for p in groups[1]["params"]] == [(5, 4)]
        assert gated.decay in set(groups[2]["params"])


def test_a_token_mixer_spares_no_parameter_by_default():
    assert TokenMixer.no_decay == frozenset()


# By name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adam", r"^no optimizer is named 'adam' \(did you mean 'adamw'\?\); there are: adamw, lion, muon, sgd$"),
        (
            "adamw(beta3=0.9)",
            r"^adamw has no option 'beta3' \(did you mean 'beta2'\?\); its options: beta1, beta2, eps$",
        ),
        ("muon(lr=0.1)", "^muon has no option 'lr'"),
        ("lion(params=3)", "^lion has no option 'params'; its options: beta1, beta2$"),
        ("adamw(beta1=1.5)", r"^adamw: beta1=1\.5 should be at least 0 and less than 1$"),
        ("adamw(beta1=high)", "^adamw: option beta1='high' should be a valid number$"),
        ("sgd(momentum=0, nesterov=true)", "^sgd: nesterov=True should have a momentum above 0"),
        ("sgd(momentum=1)", "^sgd: momentum=1.0 should be at least 0 and less than 1$"),
        ("lion(beta2=1)", "^lion: beta2=1.0 should be at least 0 and less than 1$"),
        ("muon(momentum=-1)", "^muon: momentum=-1.0 should be at least 0 and less than 1$"),
        ("muon(iterations=100)", "^muon: iterations=100 should be from 1 to 99$"),
        ("adamw(", "expected"),
    ],
)
def test_what_cannot_be_an_optimizer_is_refused_before_a_model_is_built(text, message, tiny, tmp_path):
    with pytest.raises(UsageError, match=message):
        check_optimizer(Settings(optimizer=text))
    with pytest.raises(UsageError, match=message):
        start(tiny(optimizer=text, mixer="no-such-mixer"), root=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


class Counting(torch.optim.SGD):
    """Counts its steps in a number, as many do."""

    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["steps"] = self.state[parameter].get("steps", 0) + 1


class CountingInGroup(torch.optim.SGD):
    """Counts its steps in the group."""

    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            group["k"] = group.get("k", 0) + 1


class Failing(torch.optim.SGD):
    def step(self, closure=None):
        raise IndexError("no such row")


class Demanding(torch.optim.SGD):
    def __init__(self, params, lr, damping):
        super().__init__(params, lr, damping)


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Counting, "^Counting keeps 'steps' of each parameter as int, and a checkpoint holds tensors only"),
        (CountingInGroup, "^CountingInGroup keeps 'k' in its parameter groups, which no checkpoint holds"),
        (
            Failing,
            r"^the optimizer mine failed in its first step: IndexError: no such row, in .*test_optimizer\.py:\d+$",
        ),
        (Demanding, r"^mine needs a value for its option 'damping': mine\(damping=…\)$"),
        (torch.optim.LBFGS, r"^the optimizer mine failed in its first step: TypeError"),
    ],
)
def test_an_optimizer_that_cannot_be_saved_or_run_is_refused_at_once(cls, message, registered):
    registered("mine", cls)
    with pytest.raises(ZooError, match=message):
        check_optimizer(Settings(optimizer="mine"))


# Settings of earlier versions


def test_the_averages_that_were_settings_are_options_of_adamw():
    old = {"mixer": "dot-product", "beta1": 0.8, "beta2": 0.9}
    assert validate(old).optimizer == "adamw(beta1=0.8, beta2=0.9)"
    (group,) = make_optimizer(nn.Linear(2, 2, bias=False), validate(old)).param_groups
    assert group["betas"] == (0.8, 0.9)


@pytest.mark.parametrize(
    ("text", "optimizer"), [("beta1 = 0.8", "adamw(beta2=0.99, beta1=0.8)"), ("lr = 1e-3", "adamw(beta2=0.99)")]
)
def test_a_file_of_earlier_settings_stands_over_a_preset(text, optimizer, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    assert resolve(preset="nanogpt", file=file).optimizer == optimizer
    assert resolve(preset="nanogpt", file=file, flags={"optimizer": "lion"}).optimizer == "lion"


def test_earlier_settings_of_another_optimizer_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"^beta2: options of adamw, and the optimizer is muon: leave them out$"):
        validate({"optimizer": "muon", "beta2": 0.9})
    with pytest.raises(UsageError, match=r"^`assignments`=beta1=0\.8: .* write `optimizer`='adamw\(beta1=0\.8\)'$"):
        resolve(assignments=["beta1=0.8"])


# State


def test_what_an_optimizer_keeps_is_measured():
    model = Gated()
    sizes = {"matrix": 16 + 48, "embedding": 20, "vector": 8 + 4 + 1}
    numbers, tensors = sum(sizes.values()), 6
    expected = {
        "adamw": 2 * numbers + tensors,  # and a step of each
        "sgd": numbers,
        "sgd(momentum=0)": 0,
        "lion": numbers,
        "muon": 16 + 2 * (numbers - 16) + tensors - 1,
    }
    assert {name: state_bytes(model, Settings(optimizer=name)) / 4 for name in expected} == expected
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", [*zoo_optimizers(), "adagrad"])
def test_the_state_goes_through_named_tensors_and_back(name, registered):
    registered("adagrad", torch.optim.Adagrad)
    torch.manual_seed(0)
    models = [nn.Linear(3, 2) for _ in range(2)]
    optimizers = [make_optimizer(model, Settings(optimizer=name)) for model in models]
    step(models[0], optimizers[0])
    models[1].load_state_dict(models[0].state_dict())
    load_optimizer_tensors(models[1], optimizers[1], optimizer_tensors(models[0], optimizers[0]))
    for model, optimizer in zip(models, optimizers, strict=True):
        step(model, optimizer)
    assert torch.equal(models[0].weight, models[1].weight)
    assert torch.equal(models[0].bias, models[1].bias)


def test_state_that_a_fused_kernel_would_read_beyond_is_refused():
    model = nn.Linear(3, 2, bias=False)
    optimizer = make_optimizer(model, Settings(optimizer="adamw"))
    step(model, optimizer)
    state = optimizer_tensors(model, optimizer)
    load_optimizer_tensors(model, optimizer, state)
    empty, whole = torch.zeros(0), torch.ones(2, 3)
    for change in ({"exp_avg": empty}, {"exp_avg_sq": whole[0]}, {"exp_avg": whole.long()}, {"step": empty}):
        changed = state | {f"weight|{name}": value for name, value in change.items()}
        with pytest.raises(ValueError, match=r"^weight\|\w+ is torch\.\w+ of shape \(.*\) in the checkpoint$"):
            load_optimizer_tensors(model, optimizer, changed)
    optimizer.state.clear()
    with pytest.raises(ValueError, match="the optimizer's exp_avg_sq, step of a parameter is missing"):
        load_optimizer_tensors(model, optimizer, {"weight|exp_avg": whole})


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model(torch.ones(1, 3)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()
