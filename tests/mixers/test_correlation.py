import itertools
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from mixers.correlation import Correlation
from mixers.dot_product import DotProduct
from mixers.ops import attention
from mixers.ops.attention import merge_heads, normalize, split_heads
from mixers.ops.correlation import lags_of
from mixers.ops.correlation_reference import correlation_reference
from mixers.ops.rotary import rotate
from zoo import create_mixer

EXACT = {"rtol": 1e-10, "atol": 1e-10}
POOLS = ["sum", "logsumexp", "max"]
FORMS = [
    {"axis": axis, "compare": compare, "pool": pool}
    for axis, compare in [("time", "key"), ("time", "joint"), ("feature", "key")]
    for pool in POOLS
]
DYNAMIC_FORMS = [{**form, "dynamic": dynamic} for form, dynamic in itertools.product(FORMS, [False, True])]


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def mixer(dim=16, **options):
    torch.manual_seed(0)
    built = Correlation(dim, **options).double()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    return built


def with_gradients(run, inputs):
    written = run()
    upstream = torch.randn(written.shape, dtype=written.dtype, generator=torch.Generator().manual_seed(1))
    return written, *torch.autograd.grad(written, inputs, upstream)


def by_reference(mix, x):
    """The mixer's write by its parameters and the slow form."""

    def placing(gain):
        def place(one, position):
            one = normalize(one, gain)
            return rotate(one[:, :, None], position)[:, :, 0] if mix.rope else one

        return place

    query, key, value, gate = split_heads(mix.project_in(x), mix.heads, mix.kv_heads, mix.size)
    shared = (part.repeat_interleave(mix.heads // mix.kv_heads, dim=1) for part in (key, value, weights(mix, x)))
    mixed = correlation_reference(
        query,
        *shared,
        max_lag=mix.max_lag,
        axis=mix.axis,
        compare=mix.compare,
        pool=mix.pool,
        scale=mix.size**-0.5,
        place_query=placing(mix.query_gain),
        place_key=placing(mix.key_gain),
        window=mix.window,
    )
    mixed = merge_heads(mixed)
    return mix.project_out(mixed * gate.sigmoid() if gate.shape[-1] else mixed)


def weights(mix, x):
    """The weights of all lags at all keys, ``(b, g, t, l)``."""
    b, t, _ = x.shape
    lag_zero = torch.full((b, mix.kv_heads, t, 1), 1.0 if mix.pool == "sum" else 0.0, dtype=x.dtype)
    if mix.lag_weight is None:
        return lag_zero
    others = mix.lag_weight[None, None].expand(b, t, -1, -1)
    if mix.read_lags is not None:
        others = others + (x @ mix.read_lags.T).unflatten(-1, mix.lag_weight.shape)
    return torch.cat([lag_zero, others.transpose(1, 2)], dim=-1)


def in_pieces(running, x, sizes):
    state, written = None, []
    for piece in x.split(sizes, dim=1):
        out, state = running.step(piece, state)
        written.append(out)
    return torch.cat(written, dim=1), state


@st.composite
def options(draw):
    form = draw(st.sampled_from(DYNAMIC_FORMS))
    others = {name: draw(st.booleans()) for name in ("rope", "qk_norm", "gated", "bias")}
    kv_heads, window = draw(st.sampled_from([None, 1, 2])), draw(st.sampled_from([None, 1, 2, 4]))
    return {**form, **others, "kv_heads": kv_heads, "window": window, "max_lag": draw(st.integers(0, 3))}


@pytest.mark.slow
@given(chosen=options(), t=st.integers(1, 7))
def test_values_and_gradients_of_the_reference(chosen, t):
    mix, x = mixer(**chosen), drawn(2, t, 16)
    fast = with_gradients(lambda: mix(x), [x, *mix.parameters()])
    assert_close(fast, with_gradients(lambda: by_reference(mix, x), [x, *mix.parameters()]), **EXACT)


@pytest.mark.parametrize("t", [1, 2, pytest.param(35, marks=pytest.mark.slow)])
@pytest.mark.parametrize("form", DYNAMIC_FORMS)
def test_values_and_gradients_of_the_reference_at_odd_lengths(form, t, monkeypatch):
    monkeypatch.setattr(attention, "CHUNK", 16)
    mix, x = mixer(8, heads=2, **form), drawn(1, t, 8)
    fast = with_gradients(lambda: mix(x), [x, *mix.parameters()])
    assert_close(fast, with_gradients(lambda: by_reference(mix, x), [x, *mix.parameters()]), **EXACT)


@given(chosen=options(), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=8))
def test_pieces_join_to_the_whole(chosen, sizes):
    mix, x = mixer(**chosen), drawn(2, sum(sizes), 16).detach()
    whole = mix(x)
    for grad in (True, False):  # without gradients tokens take shorter ways
        with torch.set_grad_enabled(grad):
            assert_close(in_pieces(mix, x, sizes)[0], whole, **EXACT)


@pytest.mark.parametrize("sizes", [[1] * 7, [3, 1, 1, 2]], ids=str)
@pytest.mark.parametrize("form", DYNAMIC_FORMS)
def test_pieces_of_every_form_join_to_the_whole(form, sizes):
    mix, x = mixer(window=5, qk_norm=True, **form), drawn(2, 7, 16).detach()
    whole = mix(x)
    for grad in (True, False):  # without gradients tokens take shorter ways
        with torch.set_grad_enabled(grad):
            assert_close(in_pieces(mix, x, sizes)[0], whole, **EXACT)


# What the forms come to, by other ways of computing them.


def heads_of(mix, x):
    query, key, value, _ = split_heads(mix.project_in(x), mix.heads, mix.kv_heads, mix.size)
    return query * mix.size**-0.5, key, value


def attended(mix, scores, value):
    hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return mix.project_out(merge_heads(scores.masked_fill(hidden, -torch.inf).softmax(-1) @ value))


def test_key_logsumexp_is_attention_to_values_summed_ahead():
    mix, x = mixer(pool="logsumexp", max_lag=2, rope=False), drawn(2, 9, 16)
    query, key, value = heads_of(mix, x)
    lagged = (query @ key.mT).exp()
    ahead = torch.zeros_like(value)
    for t in range(9):
        total = torch.zeros_like(ahead[:, :, 0, :1])
        for m, lag in itertools.product(range(t + 1), range(3)):
            if m + lag <= t:
                weight = 1.0 if lag == 0 else mix.lag_weight[:, lag - 1, None].exp()
                total = total + weight * lagged[:, :, t, m, None]
                ahead[:, :, t] += weight * lagged[:, :, t, m, None] * value[:, :, m + lag]
        ahead[:, :, t] /= total
    assert_close(mix(x), mix.project_out(merge_heads(ahead)), **EXACT)


def test_joint_sum_shifts_the_scores_along_their_diagonal():
    mix, x = mixer(compare="joint", max_lag=2), drawn(2, 9, 16)
    query, key, value = heads_of(mix, x)
    scores = rotate(query) @ rotate(key).mT
    shifted = scores.clone()
    for lag in (1, 2):
        shifted[..., lag:, lag:] += mix.lag_weight[:, lag - 1, None, None] * scores[..., :-lag, :-lag]
    assert_close(mix(x), attended(mix, shifted, value), **EXACT)


def test_feature_sum_is_a_banded_toeplitz_form():
    mix, x = mixer(axis="feature", max_lag=2, rope=False), drawn(2, 9, 16)
    query, key, value = heads_of(mix, x)
    band = torch.eye(4, dtype=torch.float64).expand(4, 4, 4).clone()
    for lag, weight in zip(lags_of(2, "feature")[1:], mix.lag_weight.unbind(-1), strict=True):
        band += weight[:, None, None] * torch.ones(4, 4).tril(-lag).triu(-lag)
    assert_close(mix(x), attended(mix, query @ band.mT.transpose(1, 2) @ key.mT, value), **EXACT)


@pytest.mark.parametrize("compare", ["key", "joint"])
def test_max_is_the_largest_of_the_shifted_scores(compare):
    mix, x = mixer(pool="max", compare=compare, max_lag=2, rope=False), drawn(2, 9, 16)
    query, key, value = heads_of(mix, x)
    scores = query @ key.mT
    lagged = [scores]
    for lag in (1, 2):
        shifted = torch.full_like(scores, -torch.inf)
        earlier = scores[..., :-lag, :-lag] if compare == "joint" else scores[..., lag:, :-lag]
        shifted[..., lag:, lag:] = earlier + mix.lag_weight[:, lag - 1, None, None]
        lagged.append(shifted)
    assert_close(mix(x), attended(mix, torch.stack(lagged).amax(0), value), **EXACT)


@pytest.mark.parametrize("form", [form for form in DYNAMIC_FORMS if form["pool"] == "sum"])
def test_the_sum_starts_as_dot_product_attention(form):
    torch.manual_seed(0)
    start, plain, x = Correlation(16, **form), DotProduct(16), torch.randn(2, 9, 16)
    plain.load_state_dict({name: value for name, value in start.state_dict().items() if "lag" not in name})
    assert_close(start(x), plain(x))


@pytest.mark.parametrize("form", DYNAMIC_FORMS)
def test_gradients_reach_every_lag_from_the_start(form):
    torch.manual_seed(0)
    start = Correlation(16, **form).double()
    start(drawn(8, 30, 16)).square().sum().backward()
    for name, parameter in start.named_parameters():
        assert parameter.grad.ne(0).any(dim=0).all(), name


def test_one_lag_finds_what_followed_an_earlier_token():
    """Induction in one layer: with the key of the token before, a query finds what came after its own kind."""
    mix = Correlation(8, heads=1, max_lag=1, rope=False).double()
    with torch.no_grad():
        mix.project_in.weight.copy_(torch.cat([torch.eye(8) * 20, torch.eye(8) * 20, torch.eye(8)]))
        mix.project_out.weight.copy_(torch.eye(8))
        tokens = torch.tensor([3, 1, 4, 5, 2, 6, 4])
        x = torch.eye(8, dtype=torch.float64)[tokens][None]
        mix.lag_weight.fill_(2.0)
        assert mix(x)[0, -1].argmax() == 5  # it came after the first 4


def test_state_grows_by_what_the_docstring_says():
    x = drawn(3, 5, 16)
    _, added = mixer(max_lag=2).step(x)
    assert {name: tuple(part.shape[1:]) for name, part in added.items()} == {
        "key": (4, 5, 4),
        "value": (4, 5, 4),
        "recent_key": (4, 2, 4),
        "position": (),
    }
    _, pooled = mixer(max_lag=2, pool="max", compare="joint", window=3).step(x)
    assert pooled["key"].shape[1:] == (4, 2, 3 * (4 + 1))
    assert pooled["recent_query"].shape[1:] == (4, 2, 4)


@pytest.mark.parametrize("form", DYNAMIC_FORMS)
def test_checkpointing_changes_nothing(form):
    mix, x = mixer(**form), drawn(2, 5, 16)
    inputs = [x, *mix.parameters()]
    saving = with_gradients(lambda: checkpoint(mix, x, use_reentrant=False), inputs)
    assert_close(saving, with_gradients(lambda: mix(x), inputs), **EXACT)


# torch traces an autograd function by making one, which it warns of itself
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("form", [{}, *({**form, "dynamic": True} for form in FORMS[::4])])
def test_is_one_graph(form):
    torch.compiler.reset()
    mix, x = mixer(**form), drawn(2, 5, 16)
    inputs = [x, *mix.parameters()]
    compiled = torch.compile(mix, fullgraph=True, backend="aot_eager")
    assert_close(with_gradients(lambda: compiled(x), inputs), with_gradients(lambda: mix(x), inputs), **EXACT)


@pytest.mark.parametrize("form", DYNAMIC_FORMS)
def test_autocast_stays_near(form):
    mix, x = mixer(qk_norm=True, **form), drawn(2, 9, 16)
    expected = mix(x).float()
    with torch.autocast("cpu", torch.bfloat16):
        written = mix.float()(x.float())
    assert written.dtype == torch.bfloat16
    assert (written - expected).norm() < 0.05 * expected.norm()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_lag": -1}, "max_lag=-1 would look ahead; choose 0 or more"),
        ({"axis": "feature", "compare": "joint"}, 'choose compare="key" or axis="time"'),
        ({"axis": "feature", "max_lag": 4}, "max_lag=4 shifts out all 4 channels of a head; choose less"),
        ({"window": 0}, "window=0 would hide a token from itself; choose 1 or more, or None to see all"),
        ({"heads": 3}, "heads=3 does not divide dim=16; choose heads among the divisors of dim"),
        ({"kv_heads": 3}, "kv_heads=3 does not divide heads=4; choose kv_heads among the divisors of heads"),
        ({"heads": 16}, "dim=16 with heads=16 makes heads of size 1; choose heads so that dim / heads is even"),
    ],
)
def test_mistakes_are_named_with_their_remedy(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Correlation(16, **options)


# What the docstring says beyond the equation


@pytest.mark.parametrize("form", FORMS)
def test_span_bounds_positions_and_a_write_depends_on_max_lag_tokens_more(form):
    window, max_lag, t = 3, 2, 9
    mix, x = mixer(heads=2, window=window, max_lag=max_lag, **form), drawn(1, t + 1, 16)
    sizes = []
    for direction in range(4):  # the best lag alone has a gradient, and which is best depends on the reads
        moved = x + 0.5 * direction * torch.randn(x.shape, generator=torch.Generator().manual_seed(direction))
        sizes.append(torch.autograd.grad(mix(moved)[0, t].square().sum(), x)[0][0].abs().sum(-1))
    reached = torch.stack(sizes).amax(0).nonzero().flatten().tolist()
    first = t - (window - 1) - (max_lag if form["axis"] == "time" else 0)
    assert reached == list(range(first, t + 1))


@pytest.mark.parametrize("compare", ["key", "joint"])
def test_dynamic_weights_belong_to_the_position_where_the_key_lands(compare):
    mix, x = mixer(heads=1, max_lag=1, compare=compare, dynamic=True, rope=False), drawn(1, 6, 16)
    query, key, value = heads_of(mix, x)
    weight = mix.lag_weight.squeeze() + (x @ mix.read_lags.T)[0, :, 0]  # one a position s
    scores = query @ key.mT
    shifted = scores.clone()
    shifted[..., 1:] += weight[1:] * scores[..., :-1] if compare == "key" else 0
    if compare == "joint":
        shifted[..., 1:, 1:] += weight[1:] * scores[..., :-1, :-1]
    assert_close(mix(x), attended(mix, shifted, value), **EXACT)


@pytest.mark.parametrize(("axis", "lags"), [("time", [1, 2]), ("feature", [1, 2, -1, -2])])
def test_lag_weights_are_by_key_head_and_in_the_order_of_the_docstring(axis, lags):
    assert lags_of(2, axis)[1:] == lags
    assert Correlation(16, heads=4, kv_heads=2, max_lag=2, axis=axis).lag_weight.shape == (2, len(lags))


@pytest.mark.parametrize("form", FORMS)
def test_the_norm_acts_on_the_combined_key_for_key_and_sum_and_elsewhere_on_each_lag_before_its_weight(form):
    mix, x = mixer(heads=1, max_lag=1, qk_norm=True, **form), drawn(1, 5, 16)
    torch.nn.init.ones_(mix.key_gain)
    keys = mix.step(x)[1]["key"][0, 0, 1:]
    if mix._adds_keys:
        lagged, expected = keys[:, None], torch.ones(1, dtype=torch.float64)
    else:
        lagged = keys.unflatten(-1, (len(lags_of(1, mix.axis)), -1))[..., :16]  # behind them lies a bias, if any
        expected = mix._lag_weights(x)[0].abs() if mix.pool == "sum" else torch.ones(lagged.shape[1]).double()
    assert_close(lagged.square().mean(-1).sqrt(), expected.expand(lagged.shape[:2]), rtol=1e-4, atol=0)


def test_options_of_earlier_versions_are_understood():
    old = create_mixer('correlation(window="joint", span=5)', dim=16)
    assert (old.compare, old.window) == ("joint", 5)
    new = create_mixer("correlation(window=5)", dim=16)
    assert (new.compare, new.window) == ("key", 5)
