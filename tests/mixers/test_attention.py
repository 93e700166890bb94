import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from mixers.dot_product import DotProduct
from mixers.ops import attention, attention_products
from mixers.ops.attention import attend, attend_reference, head_size, normalize
from mixers.ops.attention_products import attend_by_products

EXACT = {"rtol": 1e-11, "atol": 1e-11}
OPTIONS = [{}, {"kv_heads": 2, "qk_norm": True, "gated": True, "bias": True, "window": 4}, {"rope": False, "window": 1}]


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def gradients(written, inputs):
    upstream = torch.randn(written.shape, dtype=written.dtype, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad(written, inputs, upstream)


def mixer(**options):
    torch.manual_seed(0)
    built = DotProduct(16, **options).double()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return built


def in_pieces(running, x, sizes):
    state, written = None, []
    for piece in x.split(sizes, dim=1):
        out, state = running.step(piece, state)
        written.append(out)
    return torch.cat(written, dim=1), state


@pytest.mark.parametrize("lags", [1, 3])
@pytest.mark.parametrize("window", [None, 1, 5])
@pytest.mark.parametrize(("t", "s"), [(1, 1), (1, 7), (2, 2), (5, 9), pytest.param(63, 63, marks=pytest.mark.slow)])
def test_fast_form_has_the_values_and_gradients_of_the_reference(t, s, window, lags, monkeypatch):
    monkeypatch.setattr(attention, "CHUNK", 16)
    inputs = drawn(2, 4, t, 4), drawn(2, 2, s * lags, 4), drawn(2, 2, s * lags, 3)
    fast = attend(*inputs, scale=0.5, window=window, lags=lags)
    slow = attend_reference(*inputs, scale=0.5, window=window, lags=lags)
    assert_close(fast, slow, **EXACT)
    assert_close(gradients(fast, inputs), gradients(slow, inputs), **EXACT)


@pytest.mark.parametrize("lags", [1, 3])
@pytest.mark.parametrize("window", [None, 1, 5])
@pytest.mark.parametrize("kept", [0, 100])
@pytest.mark.parametrize("lengths", [(1, 1), (1, 7), (2, 2), (5, 9), pytest.param((63, 63), marks=pytest.mark.slow)])
def test_products_have_the_values_and_gradients_of_the_reference(lengths, kept, window, lags, monkeypatch):
    for name, value in {"LARGEST": 16, "SMALLEST": 2, "KEPT": kept}.items():
        monkeypatch.setattr(attention_products, name, value)
    t, s = lengths
    inputs = drawn(2, 4, t, 4), drawn(2, 2, s * lags, 4), drawn(2, 2, s * lags, 3)
    fast = attend_by_products(*inputs, scale=0.5, window=window, lags=lags)
    slow = attend_reference(*inputs, scale=0.5, window=window, lags=lags)
    assert_close(fast, slow, **EXACT)
    assert_close(gradients(fast, inputs), gradients(slow, inputs), **EXACT)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("units", [False, True])
def test_bfloat16_is_attended_by_products_where_there_are_units_for_it_and_else_in_float32(window, units, monkeypatch):
    monkeypatch.setattr(attention, "BFLOAT16_UNITS", units)
    query, key, value = (torch.randn(1, 2, 9, 8).bfloat16() for _ in range(3))
    with torch.autocast("cpu", torch.bfloat16):
        narrow = attend(query, key, value, scale=0.3, window=window)
        products = attend_by_products(query, key, value, scale=0.3, window=window)
    wide = attend(query.float(), key.float(), value.float(), scale=0.3, window=window)
    assert torch.equal(narrow, products if units else wide.bfloat16())
    assert_close(narrow.float(), wide, rtol=0.02, atol=0.02)


def test_no_sequence_is_attended_to_nothing():
    empty = torch.randn(0, 2, 9, 8)
    assert attend_by_products(empty, empty, empty, scale=0.3).shape == empty.shape


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of the compiler
@pytest.mark.slow
@pytest.mark.parametrize("window", [None, 40])
def test_products_in_generated_code(window):
    torch.compiler.reset()
    inputs = [torch.randn(2, 2, 150, 8).bfloat16().requires_grad_() for _ in range(3)]

    def attended(*inputs):
        return attend_by_products(*inputs, scale=0.3, window=window)

    written, compiled = attended(*inputs), torch.compile(attended, fullgraph=True)(*inputs)
    assert_close(compiled, written, rtol=0.02, atol=0.02)
    assert_close(gradients(compiled, inputs), gradients(written, inputs), rtol=0.05, atol=0.05)


def test_writes_what_the_equation_says():
    mix, x = mixer(heads=2, rope=False, gated=True, qk_norm=True), drawn(2, 5, 16)
    query, key, value, gate = mix.project_in(x).chunk(4, dim=-1)
    mixed = torch.zeros_like(x)
    for head in (slice(0, 8), slice(8, 16)):
        queries = query[..., head] / query[..., head].square().mean(-1, keepdim=True).sqrt() * mix.query_gain
        keys = key[..., head] / key[..., head].square().mean(-1, keepdim=True).sqrt() * mix.key_gain
        for t in range(5):
            weights = (queries[:, t, None] * keys[:, : t + 1]).sum(-1).div(8**0.5).softmax(-1)
            mixed[:, t, head] = (weights[..., None] * value[:, : t + 1, head]).sum(1)
    assert_close(mix(x), mix.project_out(mixed * gate.sigmoid()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", OPTIONS)
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=8))
def test_pieces_join_to_the_whole(options, sizes):
    x = drawn(2, sum(sizes), 16).detach()
    mix = mixer(**options)
    whole = mix(x)
    for grad in (True, False):  # without gradients tokens take shorter ways
        with torch.set_grad_enabled(grad):
            assert_close(in_pieces(mix, x, sizes)[0], whole, **EXACT)


@pytest.mark.parametrize("g", [1, 2, 4])
@torch.no_grad()
def test_a_single_query_over_a_long_cache_is_the_reference(g, monkeypatch):
    monkeypatch.setattr(attention, "LONG", 0)
    query, key, value = (
        torch.randn(3, 4, 1, 8),
        torch.randn(3, g, 37, 8)[:, :, :35],
        torch.randn(3, g, 37, 6)[:, :, :35],
    )
    assert_close(attend(query, key, value, scale=0.3), attend_reference(query, key, value, scale=0.3))
    taken = []
    monkeypatch.setattr(attention, "attend_token", lambda *_: taken.append(None))
    attend(query, key, value, scale=0.3)
    assert taken
    monkeypatch.setattr(attention, "LONG", key.numel() + 1)
    attend(query, key, value, scale=0.3)
    assert len(taken) == 1


@pytest.mark.parametrize("few", [0, 2**21])
@torch.no_grad()
def test_a_single_query_in_bfloat16_is_near_that_in_float64(few, monkeypatch):
    monkeypatch.setattr(attention, "FEW_KEYS", few)
    query, key, value = (torch.randn(2, heads, t, 8) for heads, t in [(4, 1), (2, 37), (2, 37)])
    exact = attend_reference(*(x.bfloat16().double() for x in (query, key, value)), scale=0.3)
    given = attend(*(x.bfloat16() for x in (query, key, value)), scale=0.3)
    assert given.dtype == torch.bfloat16
    assert_close(given.double(), exact, rtol=0, atol=0.02)


def test_rotary_positions_tell_orders_apart_and_their_absence_does_not():
    x = drawn(1, 6, 16).detach()
    shuffled = x[:, [3, 1, 0, 4, 2, 5]]
    for rope, same in [(False, True), (True, False)]:
        last, other = mixer(rope=rope)(x)[:, -1], mixer(rope=rope)(shuffled)[:, -1]
        assert torch.allclose(last, other) == same


def test_window_bounds_what_is_seen_and_what_is_kept():
    mix, x = mixer(window=3), drawn(1, 9, 16)
    (reached,) = torch.autograd.grad(mix(x)[:, 7].sum(), x)
    assert reached.ne(0).any(-1)[0].tolist() == [False] * 5 + [True] * 3 + [False]
    _, state = in_pieces(mix, x, [4, 1, 4])
    assert state["key"].shape == state["value"].shape == (1, 4, 2, 4)
    assert state["position"].tolist() == [9]


def test_grouped_queries_share_keys():
    mix = mixer(kv_heads=2)
    assert mix.project_in.out_features == 16 + 2 * 8
    _, state = mix.step(drawn(1, 3, 16))
    assert state["key"].shape == (1, 2, 3, 4)


@pytest.mark.parametrize("options", OPTIONS)
def test_checkpointing_changes_nothing(options):
    mix, x = mixer(**options), drawn(2, 9, 16)
    inputs = [x, *mix.parameters()]
    written, saving = mix(x), checkpoint(mix, x, use_reentrant=False)
    assert_close((saving, *gradients(saving, inputs)), (written, *gradients(written, inputs)), **EXACT)


# torch traces an autograd function by making one, which it warns of itself
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("options", [pytest.param(options, marks=pytest.mark.slow) for options in OPTIONS])
def test_is_one_graph(options):
    torch.compiler.reset()
    mix, x = mixer(**options), drawn(2, 9, 16)
    inputs = [x, *mix.parameters()]
    written, compiled = mix(x), torch.compile(mix, fullgraph=True, backend="aot_eager")(x)
    assert_close((compiled, *gradients(compiled, inputs)), (written, *gradients(written, inputs)), **EXACT)


@pytest.mark.parametrize("options", OPTIONS)
def test_autocast_stays_near(options):
    mix, x = mixer(**options), drawn(2, 9, 16)
    expected = mix(x).float()
    with torch.autocast("cpu", torch.bfloat16):
        written = mix.float()(x.float())
    assert written.dtype == torch.bfloat16
    assert_close(written.float(), expected, rtol=0.1, atol=0.1 * expected.abs().max().item())


def test_norm_without_gain_is_none():
    x = drawn(1, 2, 3, 4)
    assert normalize(x, None) is x
    assert_close(normalize(x, torch.ones(4)).square().mean(-1), torch.ones(1, 2, 3).double(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "heads=3 does not divide dim=16; choose heads among the divisors of dim"),
        ({"heads": 0}, "heads=0 does not divide dim=16; choose heads among the divisors of dim"),
        ({"kv_heads": 3}, "kv_heads=3 does not divide heads=4; choose kv_heads among the divisors of heads"),
        ({"kv_heads": 0}, "kv_heads=0 does not divide heads=4; choose kv_heads among the divisors of heads"),
        ({"window": 0}, "window=0 would hide a token from itself; choose 1 or more, or None to see all"),
        ({"heads": 16}, "dim=16 with heads=16 makes heads of size 1; choose heads so that dim / heads is even"),
    ],
)
def test_mistakes_are_named_with_their_remedy(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        DotProduct(16, **options)


def test_odd_heads_are_fine_without_rotary():
    assert head_size(6, 2, 1, rope=False) == 3
