"""Counts against hand counts, which are written down from the equations and not from the code.

A linear map of t tokens from i to o channels is ``2 * t * i * o``, and twice that backward, for its input and its
weight. Rotary positions are a 2x2 matrix for each pair of channels: 4 a channel, forward and backward.
"""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import register_flop_formula

import zoo
from zoo.contract import Mixed
from zoo.model.members import create_channel_mixer
from zoo.train.flops import count_flops

T, D, H, K = 48, 32, 4, 8


def linear(i, o, t=T):
    return 2 * t * i * o


def measured(module, t=T):
    """The operations of the forward and of the backward pass."""
    reads = torch.randn(1, t, D, generator=torch.Generator().manual_seed(0), requires_grad=True)

    def forward():
        mixed = Mixed.of(module(reads))
        return mixed.out.sum() + sum(mixed.losses.values())

    with torch.no_grad():
        ahead = count_flops(forward)
    return ahead, count_flops(lambda: forward().backward()) - ahead


def mixer(text, dim=D):
    torch.manual_seed(0)
    return zoo.create_mixer(text, dim=dim, heads=H)


def attention(t, s, heads, k, v):
    """Scores and sums; backward the scores anew, and the gradients of value, scores, query and key."""
    product = 2 * t * s * heads
    return product * (k + v), product * (k + v + v + k + k)


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_dot_product(kv_heads):
    projections = linear(D, (H + 2 * kv_heads) * K) + linear(D, D)
    rotary = 4 * T * (H + kv_heads) * K
    ahead, back = attention(T, T, H, K, K)
    expected = projections + rotary + ahead, 2 * projections + rotary + back
    assert measured(mixer(f"dot-product(kv_heads={kv_heads})")) == expected


def test_a_gate_and_a_bias_cost_their_projection_alone():
    projections = linear(D, 4 * D) + linear(D, D)
    ahead, back = attention(T, T, H, K, K)
    expected = projections + ahead, 2 * projections + back
    assert measured(mixer("dot-product(gated=true, bias=true, rope=false)")) == expected


def test_a_window_costs_the_keys_of_its_chunks():
    whole, windowed = (measured(mixer(text), t=512) for text in ("dot-product", "dot-product(window=1)"))
    skipped = [full - few for full, few in zip(attention(512, 512, H, K, K), attention(512, 128, H, K, K), strict=True)]
    assert [a - b for a, b in zip(whole, windowed, strict=True)] == skipped


def shifted(lags, channels, t=T):
    """Sums over the lags of a sequence that begins with nothing."""
    return sum(2 * (t - lag) * channels for lag in range(lags))


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_correlation_adds_up_its_keys_and_attends_once(kv_heads):
    lags = shifted(4, kv_heads * K)
    projections = linear(D, (H + 2 * kv_heads) * K) + linear(D, D)
    rotary = 4 * T * (H + kv_heads) * K
    ahead, back = attention(T, T, H, K, K)
    expected = projections + rotary + lags + ahead, 2 * (projections + lags) + rotary + back
    assert measured(mixer(f"correlation(max_lag=3, kv_heads={kv_heads})")) == expected


def test_lags_of_channels_reach_both_ways():
    ahead = measured(mixer("correlation(max_lag=2, axis='feature')"))[0]
    assert ahead - measured(mixer("correlation(max_lag=0)"))[0] == 2 * T * 5 * D


def test_correlation_in_joint_windows_compares_all_lags():
    projections, rotary = 4 * linear(D, D), 4 * T * 2 * 4 * D
    # a CPU's kernel wants values as wide as the keys, and works on the zeros too
    ahead, back = attention(T, T, H, 4 * K, 4 * K)
    weights = 2 * T * 4 * D
    expected = projections + rotary + ahead, 2 * projections + rotary + back + weights
    assert measured(mixer("correlation(max_lag=3, compare='joint')")) == expected


def test_correlation_as_a_softmax_over_tokens_and_lags():
    projections, rotary = 4 * linear(D, D), 4 * T * (1 + 4) * D
    # a channel more for the bias of each pair; four pairs a token
    ahead, back = attention(T, 4 * T, H, K + 1, K + 1)
    expected = projections + rotary + ahead, 2 * projections + rotary + back
    assert measured(mixer("correlation(max_lag=3, pool='logsumexp')")) == expected


@pytest.mark.parametrize(("options", "queries"), [("pool='max'", 1), ("pool='logsumexp', compare='joint'", 4)])
def test_correlation_that_holds_its_scores(options, queries):
    projections, rotary = 4 * linear(D, D), 4 * T * (queries + 4) * D
    scores, sums = 2 * T * T * H * 4 * (K + 1), 2 * T * T * H * K
    expected = projections + rotary + scores + sums, 2 * (projections + scores + sums) + rotary
    assert measured(mixer(f"correlation(max_lag=3, {options})")) == expected


@pytest.mark.parametrize(("taps", "groups", "dilation"), [(7, 2, 1), (3, 4, 5)])
def test_involution(taps, groups, dilation):
    narrow = D // 4
    projections = 2 * linear(D, D) + linear(D, narrow) + linear(narrow, groups * taps)
    sums = 2 * T * taps * D
    norm = 2 * 2 * T * narrow  # backward alone: a gain's gradient is a sum over tokens, a root's one over channels
    expected = projections + sums, 2 * (projections + sums) + norm
    assert measured(mixer(f"involution(kernel_size={taps}, groups={groups}, dilation={dilation})")) == expected


def mixture(t):
    """What the mixture takes beside the attention of its eight experts: two a token, and the shared one; four lags."""
    rows = 2 * t
    router, gate = linear(D, 8, t), 2 * rows * D
    projections = linear(D, 2 * D, t) + 2 * linear(D, D, rows) + 2 * linear(D, D, t)
    # the keys once, for the experts; back, with all lags, and forth again for the shared one; queries
    rotary = 4 * (3 * t + rows + t) * D
    ahead, back = attention(t, t, H, K, K)
    lags = shifted(4, D, t)
    products = router + gate + projections + lags
    return products + rotary + ahead, 2 * products + rotary + back


def test_experts_that_attend_by_themselves_count_what_is_active():
    t = 128
    combining, turning = 2 * 8 * 4 * t * D, 4 * 3 * t * D
    ahead, back = attention(2 * t, t, H, K, K)
    expected = ahead + combining + turning, back + 3 * combining + 2 * turning
    rest = mixture(t)
    assert measured(mixer("leviathan-moe"), t) == tuple(map(sum, zip(expected, rest, strict=True)))


def test_experts_that_attend_side_by_side():
    turning, weighing = 4 * 3 * T * D, 2 * 2 * T * 4 * D
    ahead, back = attention(T, T, 2 * H, 4 * K, 4 * K)
    expected = ahead + turning, back + turning + 2 * weighing
    rest = mixture(T)
    assert measured(mixer("leviathan-moe")) == tuple(map(sum, zip(expected, rest, strict=True)))


@pytest.mark.slow
def test_idle_experts_cost_the_router_and_their_lags():
    few, many = (measured(mixer(f"leviathan-moe(experts={n}, top_k=1)"), t=512)[0] for n in (4, 8))
    assert many - few == linear(D, 4, 512) + 2 * 4 * 4 * 512 * D


@pytest.mark.parametrize("name", ["swiglu", "mlp"])
def test_channel_mixers(name):
    ahead = linear(D, {"swiglu": 2, "mlp": 1}[name] * 37) + linear(37, D)
    assert measured(create_channel_mixer(f"{name}(hidden=37)", dim=D)) == (ahead, 2 * ahead)


def test_unembedding():
    table, stream = (torch.randn(n, D, requires_grad=True) for n in (50, T))
    ahead = linear(D, 50)
    assert count_flops(lambda: F.linear(stream, table)) == ahead
    assert count_flops(lambda: F.linear(stream, table).sum().backward()) == 3 * ahead


def test_products_that_are_not_summed_are_elementwise_work():
    a, b = torch.randn(5, 4), torch.randn(5, 1)
    assert count_flops(lambda: torch.exp(a * b + a)) == 0
    assert count_flops(lambda: torch.sum(a * 2.0)) == 0
    assert count_flops(a.sum) == 0


@pytest.mark.parametrize("total", [torch.sum, torch.mean, lambda x: x.cumsum(1), lambda x: x.view(2, 10)[0].sum()])
def test_a_product_that_is_summed_counts_once(total):
    a, b = torch.randn(5, 4), torch.randn(5, 1)

    def run():
        product = a * b
        total(product)
        total(product)

    assert count_flops(run) == 2 * 5 * 4


def test_multiply_adds_count_with_the_product_that_they_begin_with():
    a = torch.randn(5, 4)
    assert count_flops(lambda: torch.addcmul(a, a, a)) == 40
    assert count_flops(lambda: a.clone().addcmul_(a, a)) == 40
    assert count_flops(lambda: torch.addcmul(a * a, a, a)) == 80
    assert count_flops(lambda: (a * a)[1:].addcmul_(a[1:], a[1:])) == 40 + 32


def test_a_product_in_memory_that_was_freed_is_forgotten():
    a = torch.randn(1000)

    def run():
        for _ in range(50):
            a * a
            torch.ones(1000).sum()

    assert count_flops(run) == 0


def test_what_the_counter_of_torch_takes_for_nothing():
    a, vector, cube = torch.randn(6, 4), torch.randn(4), torch.randn(2, 4, 3)
    assert count_flops(lambda: a @ vector) == 2 * 6 * 4
    assert count_flops(lambda: vector @ vector) == 2 * 4
    assert count_flops(lambda: torch.linalg.solve_triangular(cube[:, :3], cube[:, :3], upper=False)) == 2 * 3**3


@pytest.mark.skipif(not hasattr(torch.ops.aten, "_grouped_mm"), reason="this torch has no grouped product")
def test_grouped_products_cost_what_their_rows_do():
    rows, matrices = torch.randn(32, 8, dtype=torch.bfloat16), torch.randn(3, 8, 16, dtype=torch.bfloat16)
    stops = torch.tensor([8, 8, 32], dtype=torch.int32)
    assert count_flops(lambda: torch.ops.aten._grouped_mm(rows, matrices, stops)) == 2 * 32 * 8 * 16
    assert count_flops(lambda: torch.ops.aten._grouped_mm(matrices.mT, matrices)) == 3 * 2 * 16 * 8 * 16


def test_an_operator_of_one_s_own_counts_by_the_formula_that_it_registers():
    @torch.library.custom_op("test_of_flops::twice", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        return x @ x

    x = torch.randn(3, 3)
    assert count_flops(lambda: twice(x)) == 0
    register_flop_formula(torch.ops.test_of_flops.twice)(lambda shape, **_: 2 * shape[0] ** 3)
    assert count_flops(lambda: twice(x)) == 54
