"""The mixture of experts in the channel place: its equation, its size, what it measures, and how it learns from it."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

import zoo
from mixers.channel.moe import MoE
from zoo.model.parameters import count_active_parameters, count_parameters

DIM = 16


@pytest.fixture
def x():
    return torch.randn(2, 5, DIM, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def moe(**options):
    torch.manual_seed(0)
    return MoE(DIM, **options).double()


def swiglu(x, project_in, project_out):
    gate, value = (x @ project_in.T).chunk(2, dim=-1)
    return (F.silu(gate) * value) @ project_out.T


@pytest.mark.parametrize("shared_expert", [True, False])
def test_it_is_its_equation(x, shared_expert):
    mixer = moe(experts=4, top_k=2, shared_expert=shared_expert, hidden=6)
    logits = x @ mixer.router.weight.T
    expected = torch.zeros_like(x)
    for row, time in [(row, time) for row in range(2) for time in range(5)]:
        token = x[row, time]
        best = logits[row, time].argsort(descending=True)[:2]
        for gate, expert in zip(logits[row, time][best].softmax(-1), best, strict=True):
            expected[row, time] += gate * swiglu(token, mixer.project_in[expert], mixer.project_out[expert])
        if shared_expert:
            expected[row, time] += swiglu(token, mixer.shared_in.weight, mixer.shared_out.weight)
    assert_close(mixer(x).out, expected)


@pytest.mark.parametrize("options", [{}, {"top_k": 1}, {"shared_expert": False, "top_k": 4}])
def test_a_token_uses_about_as_many_parameters_as_a_swiglu(options):
    mixer = MoE(192, **options)
    router = mixer.router.weight.numel()
    assert count_active_parameters(mixer) - router == pytest.approx(8 * 192**2, rel=0.1)
    assert count_parameters(mixer) > 2 * count_active_parameters(mixer) or options.get("top_k") == 4


def test_no_token_is_turned_away(x):
    mixer = moe(experts=4, top_k=1, balance="loss")
    same = x[:1, :1].expand(2, 5, -1)
    mixed = mixer(same)
    assert sorted(mixed.metrics["tokens_per_expert"].tolist()) == [0, 0, 0, 10]
    assert mixed.metrics["dead"] == 3
    assert_close(mixed.out, mixer(x[:1, :1]).out.expand(2, 5, -1))


def test_the_bias_turns_tokens_to_experts_that_few_choose(x):
    mixer = moe(experts=4, top_k=1, bias_rate=0.25)
    mixer.after_update({"tokens_per_expert": torch.tensor([7, 1, 1, 1])})
    assert_close(mixer.router.choice_bias, torch.tensor([-0.25, 0.25, 0.25, 0.25], dtype=torch.float64))
    assert mixer.half().router.choice_bias.dtype == torch.float32


def test_with_a_loss_there_is_no_bias(x):
    mixer = moe(balance="loss")
    mixer.after_update(dict(mixer(x).metrics))
    assert not mixer.router.choice_bias.any()
    assert mixer(x).losses.keys() == {"z", "balance"}
    assert moe(z_weight=0.0)(x).losses == {}


def test_a_model_reports_its_losses_and_lets_it_learn():
    model = zoo.build_model("dot-product/moe", vocab_size=16, dim=DIM, heads=2, layers=1)
    tokens = torch.randint(16, (2, 8))
    output = model(tokens)
    assert "0.channel.z" in output.losses
    assert output.metrics["0.channel.tokens_per_expert"].sum() == 2 * 8 * 2
    model.after_update(output.metrics)
    assert model.layers[0].channel.router.choice_bias.any()
    written, state = model.step(tokens[:, :3])
    assert_close(torch.cat([written, model.step(tokens[:, 3:], state)[0]], dim=1), model.eval()(tokens).logits)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"top_k": 9}, "top_k=9 should be from 1 to experts=8"),
        ({"hidden": 0}, "hidden=0 should be 1 or more"),
        ({"balance": "none"}, 'balance must be "bias" or "loss", not \'none\''),
        ({"z_weight": -1.0}, "z_weight=-1.0 should be 0 or more"),
    ],
)
def test_what_cannot_be_is_refused(options, text):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole text is compared
        MoE(DIM, **options)
    assert str(error.value) == text
