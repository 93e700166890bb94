"""`pre-norm` gives, bit for bit, what models gave before residual schemes had names."""

import pytest
import torch
import torch.nn.functional as F

from .models import build, draw


def layers_as_they_were(model, tokens, dropout):
    """Each part read through the norm of its place, and its write was scaled and added at once."""
    scale = (2 * len(model.layers)) ** -0.5
    norms = iter(model.residual.norms)

    def add(stream, write):
        return torch.add(stream, F.dropout(write, dropout) if dropout else write, alpha=scale)

    stream = model.embedding(tokens) + model.positions(torch.arange(tokens.shape[1]))
    stream = F.dropout(stream, dropout) if dropout else stream
    for layer in model.layers:
        read = next(norms)(stream)
        for mixer in layer.mixers:
            stream = add(stream, mixer(read))
        if layer.channel is not None:
            stream = add(stream, layer.channel(next(norms)(stream)))
    return F.linear(model.residual.norm(stream), model.embedding.weight)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_logits_and_gradients_are_the_same_bits(dropout):
    results = []
    for run in (lambda model, tokens: model(tokens).logits, lambda *given: layers_as_they_were(*given, dropout)):
        model = build("pre-norm", dropout=dropout, positions="learned")
        torch.manual_seed(7)
        logits = run(model, draw())
        F.cross_entropy(logits.flatten(0, 1), draw(seed=2).flatten()).backward()
        results.append([logits, *(parameter.grad for parameter in model.parameters())])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
