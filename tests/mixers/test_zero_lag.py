"""The zero-lag law: with max_lag=0, correlation is dot-product attention, whatever its other options."""

from copy import deepcopy
from typing import Literal, get_type_hints

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mixers.correlation import Correlation
from mixers.dot_product import DotProduct

BOUND = 1e-12
OF_LAGS = {
    "axis": ["time", "feature"],
    "compare": ["key", "joint"],
    "pool": ["sum", "logsumexp", "max"],
    "dynamic": [False, True],
}
SHARED = {
    "heads": [1, 2, 4],
    "kv_heads": [None, 1, 2, 4],
    "rope": [True, False],
    "qk_norm": [False, True],
    "window": [None, 1, 2, 5, 64],
    "gated": [False, True],
    "bias": [False, True],
}
OF_PLAIN = ["sink", "soft_cap", "rope_fraction", "rope_base", "value_residual", "kv_to", "kv_from"]
REFUSED = {"axis": "feature", "compare": "joint"}


@st.composite
def cases(draw):
    """The two mixers with equal parameters, float64 reads, and a way to cut them into pieces."""
    options = {name: draw(st.sampled_from(values)) for name, values in {**OF_LAGS, **SHARED}.items()}
    if options.items() >= REFUSED.items():
        options["compare"] = "key"
    if options["kv_heads"] and options["heads"] % options["kv_heads"]:
        options["kv_heads"] = None
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    seed = draw(st.integers(0, 2**16))
    plain, correlation = pair(options, seed)
    reads = torch.randn(2, sum(sizes), 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return options, plain, correlation, reads, sizes


def pair(options, seed):
    shared = {name: options[name] for name in SHARED}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        plain = DotProduct(16, **shared).double()
        for name, parameter in plain.named_parameters():
            if "gain" in name:
                torch.nn.init.uniform_(parameter, 0.5, 2.0)
    correlation = Correlation(16, max_lag=0, **options).double()
    correlation.load_state_dict(plain.state_dict(), strict=True)
    return plain, correlation


def whole(mixer, reads):
    """The writes of whole sequences, and the gradients of the reads and the parameters."""
    reads = reads.clone().requires_grad_()
    writes = mixer(reads)
    upstream = torch.randn(writes.shape, generator=torch.Generator().manual_seed(1)).to(writes)
    return [writes, *torch.autograd.grad(writes, [reads, *mixer.parameters()], upstream)]


def streamed(mixer, reads, sizes):
    """The writes of the pieces, and their gradients."""
    reads, state, writes = reads.clone().requires_grad_(), None, []
    for piece in reads.split(sizes, dim=1):
        written, state = mixer.step(piece, state)
        writes.append(written)
    writes = torch.cat(writes, dim=1)
    return [writes, *torch.autograd.grad(writes.square().sum(), [reads, *mixer.parameters()])]


def check_law(options, plain, correlation, reads, sizes):
    check_near(whole(correlation, reads), whole(plain, reads))
    check_near(streamed(correlation, reads, sizes), streamed(plain, reads, sizes))
    if options["pool"] == "sum":
        correlation, plain, reads = deepcopy(correlation).float(), deepcopy(plain).float(), reads.float()
        assert all(map(torch.equal, whole(correlation, reads), whole(plain, reads)))
        assert torch.equal(streamed(correlation, reads, sizes)[0], streamed(plain, reads, sizes)[0])


def check_near(got, expected):
    for ours, theirs in zip(got, expected, strict=True):
        assert (ours - theirs).abs().max() <= BOUND * (1 + theirs.abs().max())


@pytest.mark.slow
@given(case=cases())
def test_zero_lag_is_dot_product(case):
    check_law(*case)


@pytest.mark.slow
@settings(max_examples=200, derandomize=True)
@given(case=cases())
def test_zero_lag_is_dot_product_for_200_option_sets(case):
    check_law(*case)


@pytest.mark.parametrize("t", [1, 2, 63, 300])
@pytest.mark.parametrize("pool", OF_LAGS["pool"])
@pytest.mark.parametrize(("axis", "compare"), [("time", "key"), ("time", "joint"), ("feature", "key")])
def test_at_lengths_within_and_beyond_a_chunk(axis, compare, pool, t):
    options = {name: values[0] for name, values in SHARED.items()} | {"axis": axis, "compare": compare, "pool": pool}
    plain, correlation = pair({**options, "heads": 2, "window": 150}, seed=0)
    reads = torch.randn(1, t, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    check_law(options, plain, correlation, reads, [t - t // 2, *[t // 2] * (t > 1)])


def test_the_drawn_options_are_all_there_are():
    of_correlation = get_type_hints(Correlation.__init__)
    assert of_correlation.keys() - {"dim", "max_lag", "return"} == {*OF_LAGS, *SHARED}
    assert get_type_hints(DotProduct.__init__).keys() - {"dim", "return"} == {*SHARED, *OF_PLAIN}
    for name in ("axis", "compare", "pool"):
        assert of_correlation[name] == Literal[tuple(OF_LAGS[name])]


def test_a_lag_breaks_the_law():
    reads = torch.randn(2, 9, 16, dtype=torch.float64)
    plain, correlation = DotProduct(16).double(), Correlation(16, max_lag=1).double()
    correlation.load_state_dict({**correlation.state_dict(), **plain.state_dict()})
    assert torch.equal(plain(reads), correlation(reads))
    torch.nn.init.constant_(correlation.lag_weight, 0.1)
    with pytest.raises(AssertionError):
        check_law({"pool": "sum"}, plain, correlation, reads, [9])
