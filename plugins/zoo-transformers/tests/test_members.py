"""The parts that the plugin brings keep the laws of their kinds, and compute their equations."""

import pytest
import torch
import torch.nn.functional as F
from zoo_transformers_plugin.members import BiasedMLP, PretrainedNorm

from zoo.testing import parametrize_with_laws


@parametrize_with_laws(["biased-mlp"], kind="channel-mixer")
def test_laws_of_channel_mixers(law):
    law()


@parametrize_with_laws(["pretrained-norm"], kind="residual")
def test_laws_of_residuals(law):
    law()


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        ("gelu-tanh", lambda x: F.gelu(x, approximate="tanh")),
        ("gelu", F.gelu),
        ("relu", F.relu),
        ("silu", F.silu),
    ],
)
def test_a_token_goes_through_two_matrices_with_biases(activation, function):
    part, x = BiasedMLP(6, hidden=10, activation=activation), torch.randn(2, 3, 6)
    into, out = part.project_in, part.project_out
    expected = function(x @ into.weight.T + into.bias) @ out.weight.T + out.bias
    torch.testing.assert_close(part(x), expected)


def test_the_number_is_added_to_the_mean_square_or_the_variance():
    x = torch.randn(2, 3, 6)
    rms = PretrainedNorm(6, sites=2, norm="rms", eps=0.5)
    torch.testing.assert_close(rms.read(x, 1), x / (x.square().mean(-1, keepdim=True) + 0.5).sqrt())
    layer = PretrainedNorm(6, sites=2, norm="layer", eps=0.5)
    centred = x - x.mean(-1, keepdim=True)
    torch.testing.assert_close(layer.close(x), centred / (centred.square().mean(-1, keepdim=True) + 0.5).sqrt())
    torch.testing.assert_close(layer.write(x, 0, x), 2 * x)


def test_sizes_that_cannot_be():
    with pytest.raises(ValueError, match="hidden=0 should be 1 or more"):
        BiasedMLP(4, hidden=0)
    with pytest.raises(ValueError, match="eps=-1 should be 0 or more"):
        PretrainedNorm(4, sites=1, eps=-1)
