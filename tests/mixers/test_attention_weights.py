import itertools

import pytest
import torch

from mixers.ops.attention import merge_heads, normalize, split_heads
from mixers.ops.attention_weights import (
    gates_by_expert,
    normalize_parts,
    pair_weights,
    pair_weights_reference,
    spread_of,
)
from mixers.ops.correlation import lags_of
from zoo import create_mixer

DOUBLE = torch.float64


def drawn(*shape):
    return torch.randn(*shape, dtype=DOUBLE)


@pytest.mark.parametrize("pool", ["sum", "logsumexp", "max"])
@pytest.mark.parametrize(("lags", "one_query", "window", "t"), [(3, True, None, 5), (3, False, 2, 5), (1, True, 3, 2)])
def test_shares_of_nodes_equal_the_slow_form(pool, lags, one_query, window, t):
    torch.manual_seed(0)
    query, key = drawn(2, 4, t, 6 if one_query else 6 * lags), drawn(2, 2, 5, 6 * lags)
    given = {"lags": lags, "pool": pool, "scale": 0.7, "window": window}
    found = pair_weights(query, key, **given)
    assert found.shape == (2, 4, t, 5, lags)
    torch.testing.assert_close(found, pair_weights_reference(query, key, **given), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.sum((-2, -1)), torch.ones(2, 4, t, dtype=DOUBLE))


def test_terms_that_are_all_zero_leave_the_share_to_the_first_lag():
    weights = pair_weights(torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 2, 6), lags=2, pool="sum", scale=1.0)
    assert weights[0, 0, 1].tolist() == [[0.5, 0.0], [0.5, 0.0]]


def test_the_parts_of_a_normalised_sum_add_up_to_it():
    parts, gain = drawn(2, 3, 4, 5, 6), drawn(6)
    torch.testing.assert_close(normalize_parts(parts, gain).sum(2), normalize(parts.sum(2), gain))
    assert normalize_parts(parts, None) is parts


def test_the_spread_is_that_of_all_positions():
    values = torch.tensor([[[1.0, 2.0], [3.0, 2.0]], [[5.0, 2.0], [7.0, 2.0]]])
    mean, spread = spread_of(values)
    assert mean.tolist() == [4.0, 2.0]
    assert spread.tolist() == pytest.approx([5**0.5, 0.0])


def test_gates_stand_at_the_experts_that_were_chosen():
    gates = gates_by_expert(torch.tensor([[[2, 0], [1, 3]]]), torch.tensor([[[0.75, 0.25], [0.5, 0.5]]]), 4)
    assert gates.tolist() == [[[0.25, 0, 0.75, 0], [0, 0.5, 0, 0.5]]]


# The panels of the built-ins


def built(call, dim=32):
    mixer = create_mixer(call, dim=dim, heads=4).double().eval()
    for parameter in mixer.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return mixer


def by_title(mixer, x):
    with torch.no_grad():
        return {panel.title: panel for panel in mixer.panels(x)}


def values_of(mixer, x):
    """The values of each token and head, ``(b, heads, t, v)``, for a mixer with a fused projection."""
    value = split_heads(mixer.project_in(x), mixer.heads, mixer.kv_heads, mixer.size)[2]
    return value.repeat_interleave(mixer.heads // mixer.kv_heads, dim=1)


ATTENDING = [
    "dot-product", "dot-product(window=3, qk_norm=true, kv_heads=2)", "correlation(max_lag=0)", "correlation",
    "correlation(qk_norm=true, kv_heads=2, dynamic=true)", 'correlation(pool="logsumexp")',
    'correlation(pool="max", window=4)', 'correlation(compare="joint")',
    'correlation(compare="joint", pool="logsumexp")',
    'correlation(axis="feature", rope=false)', 'correlation(axis="feature", pool="max")',
]  # fmt: skip


@pytest.mark.parametrize("call", ATTENDING)
def test_the_attention_that_is_shown_gives_the_write(call):
    torch.manual_seed(0)
    mixer, x = built(call), drawn(2, 9, 32)
    attention = by_title(mixer, x)["attention in the first sequence, its first 9 tokens"].values
    assert attention.shape == (4, 9, 9)
    torch.testing.assert_close(attention.sum(-1), torch.ones(4, 9, dtype=DOUBLE))
    with torch.no_grad():
        mixed = attention @ values_of(mixer, x[:1])[0]
        torch.testing.assert_close(mixer.project_out(merge_heads(mixed[None])), mixer(x[:1]))


@pytest.mark.parametrize("call", [call for call in ATTENDING if "correlation" in call and "max_lag=0" not in call])
def test_the_nodes_of_the_last_token_add_up_to_its_attention(call):
    torch.manual_seed(0)
    mixer, x = built(call), drawn(2, 9, 32)
    panels = by_title(mixer, x)
    attention = panels["attention in the first sequence, its first 9 tokens"].values
    pairs = panels["(token, lag) pairs that the last of 9 tokens sees"]
    torch.testing.assert_close(pairs.values.sum(1), attention[:, -1])
    lags = lags_of(mixer.max_lag, mixer.axis)
    assert [int(name) for name in pairs.ticks[1]] == sorted(lags)
    if mixer.pool == "max":
        assert (pairs.values.count_nonzero(1) <= 1).all()
    if mixer.pool != "sum" and mixer.axis == "time":
        assert (pairs.values[:, 1:, 0] == 0).all()  # before the first token there is nothing


def test_the_nodes_of_a_softmax_are_that_softmax():
    torch.manual_seed(0)
    mixer, x = built('correlation(pool="logsumexp", max_lag=2, rope=false)'), drawn(1, 5, 32)
    pairs = by_title(mixer, x)["(token, lag) pairs that the last of 5 tokens sees"].values
    with torch.no_grad():
        query, key, _, _ = split_heads(mixer.project_in(x), 4, 4, 8)
    for head in range(4):
        bias = [0.0, *mixer.lag_weight[head].tolist()]
        scores = {
            (lag, s): float(query[0, head, 4] @ key[0, head, s - lag]) * 8**-0.5 + bias[lag]
            for lag, s in itertools.product(range(3), range(5))
            if s >= lag
        }
        whole = torch.tensor(list(scores.values()), dtype=DOUBLE).exp().sum()
        for lag, s in itertools.product(range(3), range(5)):
            expected = float(torch.tensor(scores[lag, s]).exp() / whole) if (lag, s) in scores else 0.0
            assert float(pairs[head, lag, s]) == pytest.approx(expected, abs=1e-6)


def test_the_weights_of_the_lags_are_shown_in_the_order_of_the_lags():
    mixer = built('correlation(axis="feature", max_lag=2)')
    shown = by_title(mixer, drawn(1, 5, 32))["weight by lag"]
    assert list(shown.ticks[1]) == ["-2", "-1", "1", "2"]
    assert torch.equal(shown.values, mixer.lag_weight[:, [3, 2, 0, 1]])
    assert shown.axes == ("key head", "lag (channels)")


def test_weights_that_are_read_are_shown_by_mean_and_spread():
    torch.manual_seed(0)
    mixer, x = built("correlation(dynamic=true, max_lag=2)"), drawn(2, 5, 32)
    shown = by_title(mixer, x)
    rows = [[mixer.read_lags @ x[b, t] + mixer.lag_weight.flatten() for t in range(5)] for b in range(2)]
    read = torch.stack([torch.stack(row) for row in rows]).flatten(0, 1).detach()
    mean = read.mean(0)
    spread = (read - mean).square().mean(0).sqrt()
    torch.testing.assert_close(shown["weight by lag, its mean over positions"].values, mean.view(4, 2))
    torch.testing.assert_close(shown["weight by lag, its standard deviation over positions"].values, spread.view(4, 2))


def test_the_kernels_of_an_involution_are_shown_by_mean_and_spread():
    torch.manual_seed(0)
    mixer, x = built("involution(kernel_size=3, dilation=2)"), drawn(2, 4, 32)
    shown = by_title(mixer, x)
    with torch.no_grad():
        rows = [
            mixer.kernel(torch.relu(mixer.norm(mixer.reduce(x[b, t])))).view(2, 3) for b in range(2) for t in range(4)
        ]
    kernels = torch.stack(rows)
    mean = sum(rows) / 8
    torch.testing.assert_close(shown["kernels: the mean"].values, mean)
    torch.testing.assert_close(shown["kernels: the spread"].values, (kernels - mean).square().mean(0).sqrt())
    assert list(shown["kernels: the mean"].ticks[1]) == ["0", "2", "4"]


def test_a_mixture_shows_whom_each_token_chose_and_the_lags_of_each_expert():
    torch.manual_seed(0)
    mixer, x = built("leviathan-moe(experts=5, kv_heads=2, max_lag=2)"), drawn(2, 6, 32)
    shown = by_title(mixer, x)
    gates = shown["experts along the first sequence"].values
    for t in range(6):
        logits = mixer.router.weight @ x[0, t]
        chosen = (logits + mixer.choice_bias).topk(2).indices
        expected = torch.zeros(5, dtype=DOUBLE)
        expected[chosen] = logits[chosen].softmax(0).detach()
        torch.testing.assert_close(gates[:, t], expected)
    weights = shown["weight by expert and lag"]
    assert weights.values.shape == (2, 6, 2)
    assert list(weights.ticks[1]) == ["0", "1", "2", "3", "4", "shared"]
    assert weights.values[1, 3, 0] == mixer.lag_weight[3, 1, 0]
    assert "weight by expert and lag" not in by_title(built("leviathan-moe(max_lag=0)"), x)
