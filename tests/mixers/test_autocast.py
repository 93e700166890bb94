"""Every part trains under autocast to bfloat16, as a run does with `precision=bf16`."""

import pytest
import torch

from zoo import build_model, list_mixers
from zoo.plugin.kinds import CHANNEL_MIXER
from zoo.plugin.registry import get_registry

CHANNELS = [entry.name for entry in get_registry()[CHANNEL_MIXER].entries if entry.name != "none"]


@pytest.mark.parametrize("pattern", [*list_mixers(), *(f"dot-product/{name}" for name in CHANNELS)])
def test_gradients_under_autocast_are_finite(pattern):
    torch.manual_seed(0)
    model = build_model(pattern, vocab_size=32, dim=32, layers=2, heads=2, context=48)
    tokens = torch.randint(32, (2, 48))
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(tokens, tokens).loss
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
