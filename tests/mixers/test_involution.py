import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import relu
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from mixers.involution import Involution
from mixers.ops.involution import involution, involution_reference

EXACT = {"rtol": 1e-9, "atol": 1e-9}
OPTIONS = [
    {},
    {"kernel_size": 1},
    {"kernel_size": 3, "dilation": 2, "groups": 2},
    {"normalize": "softmax", "groups": 12, "reduction": 1},
]


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def mixer(**options):
    torch.manual_seed(0)
    return Involution(12, **options).double()


def gradients(written, *inputs):
    upstream = torch.randn(written.shape, dtype=written.dtype, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad(written, inputs, upstream)


@pytest.mark.parametrize("t", [1, 2, 63])
@pytest.mark.parametrize(("taps", "dilation"), [(1, 1), (7, 1), (3, 4)])
def test_fast_form_has_the_values_and_gradients_of_the_reference(t, taps, dilation):
    values, kernel = drawn(2, (taps - 1) * dilation + t, 3, 2), drawn(2, t, 3, taps)
    fast, slow = involution(values, kernel, dilation), involution_reference(values, kernel, dilation)
    assert_close(fast, slow, **EXACT)
    assert_close(gradients(fast, values, kernel), gradients(slow, values, kernel), **EXACT)


def test_fast_form_has_right_first_and_second_derivatives():
    values, kernel = drawn(1, 4 + 3, 2, 2), drawn(1, 3, 2, 3)
    assert torch.autograd.gradcheck(lambda v, h: involution(v, h, 2), (values, kernel))
    assert torch.autograd.gradgradcheck(lambda v, h: involution(v, h, 2), (values, kernel))


@pytest.mark.parametrize("options", OPTIONS)
def test_writes_what_the_equation_says(options):
    mix, x = mixer(**options), drawn(2, 9, 12)
    taps = mix.kernel(relu(mix.norm(mix.reduce(x)))).view(2, 9, mix.groups, -1)
    if mix.normalize == "softmax":
        taps = taps.exp() / taps.exp().sum(-1, keepdim=True)
    value, channels = mix.value(x), 12 // mix.groups
    written = torch.zeros_like(value)
    for t in range(9):
        for c in range(12):
            for tap in range(taps.shape[-1]):
                if t >= mix.dilation * tap:
                    written[:, t, c] += taps[:, t, c // channels, tap] * value[:, t - mix.dilation * tap, c]
    assert_close(mix(x), mix.out(written), **EXACT)


@given(options=st.sampled_from(OPTIONS), pieces=st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_streaming_equals_forward_with_a_state_that_does_not_grow(options, pieces):
    mix, x = mixer(**options), drawn(2, sum(pieces), 12)
    state, written = None, []
    for piece in x.split(pieces, dim=1):
        earlier = None if state is None else state.clone()
        out, following = mix.step(piece, state)
        assert state is None or torch.equal(state, earlier)
        assert following.shape == (2, mix.span, 12)
        assert following.untyped_storage().nbytes() == following.nbytes
        state = following
        written.append(out)
    assert_close(torch.cat(written, dim=1), mix(x), **EXACT)


@pytest.mark.parametrize("options", OPTIONS)
def test_a_write_sees_its_span_and_its_own_row_only(options):
    mix, x = mixer(**options), drawn(2, 20, 12)
    (seen,) = torch.autograd.grad(mix(x)[0, 15].sum(), x)
    touched = seen.abs().sum(-1).nonzero()
    reads = range(15 - mix.span, 16, mix.dilation)
    assert touched.tolist() == [[0, t] for t in reads]


def test_every_parameter_learns():
    mix = mixer()
    mix(drawn(2, 9, 12)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in mix.parameters())


# torch traces a custom gradient by making an instance of it, which it deprecates itself
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.slow
def test_compiles_whole_and_survives_checkpointing():
    mix, x = mixer(), drawn(2, 9, 12)
    expected = gradients(mix(x), x, *mix.parameters())
    compiled = torch.compile(mix, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x), mix(x), **EXACT)
    assert_close(gradients(compiled(x), x, *mix.parameters()), expected, **EXACT)
    assert_close(gradients(checkpoint(mix, x, use_reentrant=False), x, *mix.parameters()), expected, **EXACT)


def test_runs_in_bfloat16_under_autocast():
    mix, x = mixer().float(), drawn(2, 9, 12).float()
    with torch.autocast("cpu", torch.bfloat16):
        written = mix(x)
    assert written.dtype == torch.bfloat16
    assert_close(written.float(), mix(x), rtol=0.05, atol=0.02)


@pytest.mark.parametrize(("dim", "groups"), [(256, 16), (128, 8), (24, 1), (40, 2), (50, 2), (7, 1)])
def test_default_groups_have_sixteen_channels_or_the_next_that_divide(dim, groups):
    assert Involution(dim, reduction=1).groups == groups


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"groups": 5}, "groups must divide dim, and 5 does not divide 12: choose one of 1, 2, 3, 4, 6, 12"),
        ({"groups": 0}, "groups must be 1 or more, not 0"),
        ({"kernel_size": 0}, "kernel_size must be 1 or more, not 0"),
        ({"dilation": -1}, "dilation must be 1 or more, not -1"),
        ({"reduction": 13}, "reduction must be from 1 to dim, so that a channel is left: with dim=12, not 13"),
    ],
)
def test_options_out_of_range_are_refused(options, error):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole text is compared
        Involution(12, **options)
    assert str(refused.value) == error
