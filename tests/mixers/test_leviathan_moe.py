import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

import zoo
from mixers.correlation import Correlation
from mixers.leviathan_moe import LeviathanMoE
from zoo.model.parameters import count_active_parameters, count_parameters
from zoo.testing.running import drawn


def made(**options):
    return drawn(LeviathanMoE(16, **{"heads": 2, "experts": 4} | options).double(), seed=0)


def reads(t=9):
    return torch.randn(2, t, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("options", [{}, {"rope": False}, {"max_lag": 0}, {"kv_heads": 1}])
def test_one_expert_without_a_shared_one_is_correlation(options):
    moe = made(experts=1, top_k=1, shared_expert=False, **options)
    correlation = Correlation(16, heads=2, **options).double()
    with torch.no_grad():
        correlation.project_in.weight.copy_(torch.cat([moe.project_query[0], moe.project_key_value.weight]))
        correlation.project_out.weight.copy_(moe.project_out[0])
        if moe.lag_weight is not None:
            correlation.lag_weight.copy_(moe.lag_weight[0])
    assert_close(moe(reads()).out, correlation(reads()))


def test_the_order_of_the_experts_changes_nothing():
    moe = made()
    other = copy.deepcopy(moe)
    order = torch.tensor([2, 0, 3, 1])
    every = torch.cat([order, torch.tensor([4])])  # the shared one stays the last
    with torch.no_grad():
        other.router.weight.copy_(moe.router.weight[order])
        other.choice_bias.copy_(moe.choice_bias[order])
        for name in ("project_query", "project_out", "lag_weight"):
            getattr(other, name).copy_(getattr(moe, name)[every])
    assert_close(other(reads()).out, moe(reads()).out)
    assert_close(other(reads()).metrics["load"], moe(reads()).metrics["load"][order])


def test_a_token_s_choice_depends_on_its_read_alone():
    moe, x = made(top_k=1, shared_expert=False), reads()
    alone = torch.stack([moe(x[:, t : t + 1]).metrics["load"] for t in range(x.shape[1])]).mean(0)
    assert_close(moe(x).metrics["load"], alone)


def test_every_token_counts_once_for_each_expert_that_it_chose():
    load = made(top_k=3)(reads()).metrics["load"]
    assert load.sum() == pytest.approx(1)
    assert load.max() <= 1 / 3 + 1e-9


def test_the_bias_moves_against_the_load_and_only_after_an_update():
    moe = made(bias_rate=0.1)
    before = moe.choice_bias.clone()
    moe(reads())
    assert torch.equal(moe.choice_bias, before)
    moe.after_update({"tokens_per_expert": torch.tensor([5, 2, 1, 0])})
    assert_close(moe.choice_bias - before, torch.tensor([-0.1, 0.0, 0.1, 0.1], dtype=torch.float64))
    assert "choice_bias" in moe.state_dict()


@pytest.mark.parametrize("top_k", [1, 5, 12])
def test_an_expert_whose_load_is_exactly_average_keeps_its_bias(top_k):
    """100 choices each of 1,200: as float32 shares many of them differ from their own mean."""
    moe = LeviathanMoE(16, heads=2, experts=12, top_k=top_k)
    for choices in range(1, 200):
        moe.after_update({"tokens_per_expert": torch.full((12,), choices)})
    assert not moe.choice_bias.any()
    uneven = torch.tensor([100] * 10 + [101, 99])
    moe.after_update({"tokens_per_expert": uneven})
    assert_close(moe.choice_bias, torch.tensor([0.0] * 10 + [-1e-3, 1e-3]))


@pytest.mark.slow
def test_where_every_expert_is_chosen_no_bias_moves():
    moe = LeviathanMoE(16, heads=2, experts=3, top_k=3)
    for t in range(1, 40):
        moe.after_update(moe(torch.randn(1, t, 16)).metrics)
    assert not moe.choice_bias.any()


def test_a_step_of_micro_batches_moves_the_bias_as_one_batch_does():
    from zoo.model.metrics import combine_metrics

    moe, x = made(experts=3, top_k=1), torch.randn(6, 7, 16, dtype=torch.float64)
    whole, cut = moe(x).metrics, combine_metrics(moe(part).metrics for part in x.split(2))
    assert torch.equal(cut["tokens_per_expert"], whole["tokens_per_expert"])
    assert cut["tokens_per_expert"].sum() == 42


def test_the_balancing_loss_has_the_precision_of_the_model():
    moe, x = made(balance="loss", balance_weight=1.0, experts=3, top_k=1), reads()
    mixed = moe(x)
    logits = x @ moe.router.weight.T
    share = torch.stack([(logits.argmax(-1) == expert).double().mean() for expert in range(3)])
    exact = 3 * (share * logits.softmax(-1).mean((0, 1))).sum()
    assert mixed.metrics["load"].dtype == torch.float64
    assert_close(mixed.losses["balance"], exact, rtol=1e-14, atol=0)


def to_half_and_back(moe):
    return moe.to(torch.bfloat16).float()


@pytest.mark.parametrize(
    ("cast", "dtype"),
    [
        (lambda moe: moe.to(torch.bfloat16), torch.float32),
        (lambda moe: moe.half(), torch.float32),
        (lambda moe: nn.Sequential(moe).to("cpu", torch.bfloat16)[0], torch.float32),
        (lambda moe: moe.double().bfloat16(), torch.float32),
        (lambda moe: copy.deepcopy(moe.bfloat16()), torch.float32),
        (to_half_and_back, torch.float32),
        (lambda moe: moe.double(), torch.float64),
    ],
)
def test_the_bias_keeps_its_precision_and_moves_whatever_the_module_is_cast_to(cast, dtype):
    moe = LeviathanMoE(16, heads=2, experts=4)
    start = torch.tensor([1.0, 1.0, 1.001, 3.0])
    moe.choice_bias.copy_(start)
    moe = cast(moe)
    assert moe.choice_bias.dtype == dtype
    assert_close(moe.choice_bias, start.to(dtype), rtol=0, atol=0)
    moe.after_update({"tokens_per_expert": torch.tensor([3, 1, 2, 2])})
    assert_close(moe.choice_bias - start, torch.tensor([-1e-3, 1e-3, 0.0, 0.0], dtype=dtype), rtol=1e-3, atol=0)
    assert moe(torch.randn(1, 5, 16).to(moe.router.weight.dtype)).out.dtype == moe.router.weight.dtype


def test_the_bias_in_float32_is_saved_and_loaded_and_takes_one_that_was_saved_in_half():
    moe, other = (LeviathanMoE(16, heads=2, experts=4).bfloat16() for _ in range(2))
    moe.choice_bias.fill_(1.001)
    other.load_state_dict(moe.state_dict(), strict=True)
    assert torch.equal(other.choice_bias, torch.full((4,), 1.001))
    other.load_state_dict(moe.state_dict() | {"choice_bias": torch.ones(4).bfloat16()})
    assert (other.choice_bias.dtype, other.choice_bias.tolist()) == (torch.float32, [1.0] * 4)


def test_the_bias_comes_from_the_meta_device_in_float32():
    with torch.device("meta"):
        moe = LeviathanMoE(16, heads=2, experts=4)
    late = moe.bfloat16().to_empty(device="cpu")
    assert (late.choice_bias.device.type, late.choice_bias.dtype) == ("cpu", torch.float32)


def test_in_half_precision_a_token_chooses_as_in_float32():
    moe = made(experts=64, top_k=1).bfloat16()
    x = reads(200).bfloat16()
    assert torch.equal(
        moe(x).metrics["tokens_per_expert"], copy.deepcopy(moe).float()(x.float()).metrics["tokens_per_expert"]
    )


def test_a_large_bias_decides_the_choice_but_not_the_gates():
    moe = made(top_k=1, shared_expert=False)
    with torch.no_grad():
        moe.choice_bias.copy_(torch.tensor([0.0, 1e6, 0.0, 0.0]))
    assert moe(reads()).metrics["load"].tolist() == [0, 1, 0, 0]
    assert moe(reads()).metrics["dead"] == 3


@pytest.mark.slow
def test_training_evens_the_load_out():
    torch.manual_seed(0)
    model = zoo.build_model(
        "leviathan-moe(experts=4, top_k=1, bias_rate=0.05)", vocab_size=16, dim=16, layers=1, heads=2
    )
    with torch.no_grad():
        model.layers[0].mixers[0].choice_bias.copy_(torch.tensor([3.0, 0.0, 0.0, 0.0]))
    tokens = torch.randint(16, (4, 32))
    first = model(tokens).metrics["0.leviathan-moe.load"]
    for _ in range(100):
        model.after_update(model(tokens).metrics)
    last = model(tokens).metrics["0.leviathan-moe.load"]
    assert first.max() > 0.9
    assert last.max() < 0.5


@pytest.mark.parametrize(("balance", "names"), [("bias", {"z"}), ("loss", {"z", "balance"})])
def test_losses_are_scalars_with_a_gradient_to_the_router(balance, names):
    moe = made(balance=balance)
    losses = moe(reads()).losses
    assert set(losses) == names
    for loss in losses.values():
        assert loss.ndim == 0
        (gradient,) = torch.autograd.grad(loss, moe.router.weight, retain_graph=True)
        assert gradient.abs().max() > 0


def test_active_parameters_are_those_that_a_token_uses():
    moe = LeviathanMoE(16, heads=2, experts=8, top_k=2)
    one = 2 * 16 * 16 + 2 * 3
    assert count_parameters(moe) == 9 * one + 8 * 16 + 2 * 16 * 16
    assert moe.active_parameters == count_active_parameters(moe) == count_parameters(moe) - 6 * one


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"top_k": 0}, "top_k=0 should be from 1 to experts=4"),
        ({"top_k": 5}, "top_k=5 should be from 1 to experts=4"),
        ({"max_lag": -1}, "max_lag=-1 would look ahead"),
        ({"bias_rate": -0.1}, "bias_rate=-0.1 should be 0 or more"),
        ({"heads": 3}, "heads=3 does not divide dim=16"),
    ],
)
def test_what_cannot_be(options, words):
    with pytest.raises(ValueError, match=words):
        made(**options)


# torch traces a custom gradient by making an instance of it, which it deprecates itself
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_compiles_whole_and_survives_checkpointing():
    moe, x = made(), reads(80).requires_grad_()
    inputs = x, *moe.parameters()

    def gradients(mix):
        return torch.autograd.grad(mix(x).out.square().sum(), inputs)

    kept = {name: value.clone() for name, value in moe.state_dict().items()}
    expected = gradients(moe)
    compiled = gradients(torch.compile(moe, fullgraph=True, backend="aot_eager"))
    checkpointed = gradients(lambda x: checkpoint(moe, x, use_reentrant=False))
    assert_close(compiled, expected, rtol=1e-9, atol=1e-9)
    assert_close(checkpointed, expected, rtol=1e-9, atol=1e-9)
    assert_close(dict(moe.state_dict()), kept, rtol=0, atol=0)


@pytest.mark.parametrize("t", [4, 20, 80])
def test_runs_in_bfloat16_under_autocast_whatever_the_form(t):
    moe, x = made().float(), reads(t).float()
    with torch.autocast("cpu", torch.bfloat16):
        out = moe(x).out
    assert out.dtype == torch.bfloat16
    assert_close(out.float(), moe(x).out, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("options", [{}, {"rope": False, "kv_heads": 1}, {"shared_expert": False, "max_lag": 0}])
def test_streaming_in_pieces_of_every_form_equals_forward(options):
    moe, x = made(**options), reads(100)
    state, written = None, []
    for piece in x.split([1, 2, 17, 70, 10], dim=1):
        out, state = moe.step(piece, state)
        written.append(out)
    assert_close(torch.cat(written, dim=1), moe(x).out, rtol=1e-9, atol=1e-9)
