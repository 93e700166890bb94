"""Convolutional mixers against their equations, token by token; their laws are tested elsewhere."""

from math import log

import pytest
import torch
from torch.testing import assert_close

from mixers.convolution.gated_short_conv import GatedShortConv
from mixers.convolution.h3 import H3
from mixers.convolution.hyena import Hyena

EXACT = {"rtol": 1e-9, "atol": 1e-9}
DIM, TIME = 6, 9


def built(mixer, **options):
    """A mixer in float64, with noise on its parameters, and reads."""
    torch.manual_seed(0)
    mix = mixer(DIM, **options).double()
    for parameter in mix.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return mix.requires_grad_(False), torch.randn(2, TIME, DIM, dtype=torch.float64)


def convolved(x, kernel, bias=0.0):
    """Each channel with its kernel, ``(d, l)``, lag 0 first."""
    rows = []
    for t in range(x.shape[1]):
        rows.append(bias + sum(kernel[:, lag] * x[:, t - lag] for lag in range(min(t + 1, kernel.shape[1]))))
    return torch.stack(rows, dim=1)


def test_gated_short_conv_is_its_equation():
    mix, x = built(GatedShortConv, kernel_size=4, bias=True)
    before, after, value = mix.project_in(x).chunk(3, dim=-1)
    y = convolved(before * value, mix.convolution.weight, mix.convolution.bias)
    assert_close(mix(x), mix.project_out(after * y), **EXACT)


def test_h3_is_its_equation():
    mix, x = built(H3, state_size=4)
    query, key, value = mix.project_in(x).chunk(3, dim=-1)
    shifted = convolved(key, mix.shift) + mix.shift_skip * key
    entering = shifted * value
    y = convolved(entering, mix.state_space.kernel(TIME)) + mix.state_space.skip * entering
    assert_close(mix(x), mix.project_out(query * y), **EXACT)


def test_hyena_is_its_equation():
    mix, x = built(Hyena, context=16, filter_width=5)
    after, before, value = convolved(mix.project_in(x), mix.convolution.weight, mix.convolution.bias).chunk(3, dim=-1)
    hidden = mix.lag_features
    for layer in mix.hidden:
        hidden = (mix.frequency * layer(hidden)).sin()
    # A channel's kernel is at 1 % after 1.5 contexts, the slowest, to 0.3 contexts, the fastest.
    rate = log(100) * torch.linspace(1 / 1.5, 1 / 0.3, DIM, dtype=torch.float64)
    kernel = mix.to_kernel(hidden).t() * (-rate[:, None] * torch.arange(16) / 15).exp()
    y = convolved(before * value, kernel) + mix.skip * before * value
    assert_close(mix(x), mix.project_out(after * y), rtol=1e-6, atol=1e-6)


def test_a_lag_has_the_same_weight_whatever_the_length():
    mix, _ = built(Hyena, context=16)
    assert_close(mix._kernel(16)[:, :5], mix._kernel(5), **EXACT)


def test_what_is_longer_than_the_context_is_refused():
    mix, x = built(Hyena, context=8)
    error = "9 tokens are more than its context=8: build it with a longer one"
    with pytest.raises(ValueError, match=error):
        mix(x)
    _, state = mix.step(x[:, :8])
    with pytest.raises(ValueError, match=error):
        mix.step(x[:, 8:], state)


@pytest.mark.parametrize("mixer", [GatedShortConv, H3, Hyena])
def test_shows_its_kernels(mixer):
    mix, x = built(mixer)
    for panel in mix.panels(x):
        assert panel.values.isfinite().all()


@pytest.mark.parametrize(
    ("mixer", "options", "error"),
    [
        (GatedShortConv, {"kernel_size": 0}, "kernel_size must be from 1 to 8, not 0"),
        (H3, {"state_size": 1}, "state_size must be an even number from 2 on, for states are complex: not 1"),
        (Hyena, {"context": 0}, "context must be 1 or more, not 0"),
        (Hyena, {"filter_width": 0}, "filter_width must be 1 or more, not 0"),
        (
            Hyena,
            {"features": 4},
            "features must be an odd number from 3 on, the lag with sines and cosines: not 4",
        ),
        (Hyena, {"sine_frequency": 0.0}, "sine_frequency must be above 0 and up to 1000, not 0.0"),
    ],
)
def test_options_out_of_range_are_refused(mixer, options, error):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole text is compared
        mixer(DIM, **options)
    assert str(refused.value) == error
