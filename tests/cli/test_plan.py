import pytest
import torch

from zoo import build_model
from zoo.data.source import Batch
from zoo.train.plan import measure_activations
from zoo.train.settings import Settings

SIZES = {"dim": 16, "layers": 3, "heads": 2, "context": 8}


@pytest.fixture
def model():
    return build_model("dot-product, involution", vocab_size=11, **SIZES)


def settings(**changes):
    return Settings(**SIZES, **{"precision": "fp32", "batch": 5} | changes)


def saved_bytes(model, batch):
    """All that autograd keeps of a forward pass besides the parameters, counted in the plainest way."""
    tokens = torch.arange(batch * model.context).remainder(model.vocabulary).view(batch, -1)
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(tokens, tokens.clone())
    assert output.loss.requires_grad
    for parameter in model.parameters():
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def two_of(context):
    tokens = torch.zeros(2, context, dtype=torch.int64)
    return Batch(tokens, tokens, torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_activations_of_a_batch(model, batch):
    assert measure_activations(model, two_of(model.context), settings(batch=batch)) == saved_bytes(model, batch)


def test_checkpointed_activations_are_the_stream_and_one_layer(model):
    tokens = two_of(model.context)
    everything = measure_activations(model, tokens, settings())
    checkpointed = measure_activations(model, tokens, settings(activation_checkpointing=True))
    stream = 5 * model.context * 16 * 4
    assert 3 * stream < checkpointed < everything
    deeper = build_model("dot-product, involution", vocab_size=11, **SIZES | {"layers": 5})
    assert measure_activations(deeper, tokens, settings(activation_checkpointing=True)) == checkpointed + 2 * stream


def test_measuring_leaves_no_hooks(model):
    before = [len(layer._forward_hooks) + len(layer._forward_pre_hooks) for layer in model.layers]
    measure_activations(model, two_of(model.context), settings())
    assert [len(layer._forward_hooks) + len(layer._forward_pre_hooks) for layer in model.layers] == before
