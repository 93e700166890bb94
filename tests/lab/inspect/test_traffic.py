import pytest
import torch

from zoo.lab.inspect.traffic import measure_writes

from .models import batches, build


def shares_by_hand(model, inputs):
    """Norm of each write over the norm of the stream before it, part by part along the stream."""
    shares = []
    stream = model.embedding(inputs)
    norms = iter(model.residual.norms)
    for layer in model.layers:
        read = next(norms)(stream)
        writes = [mixer(read) for mixer in layer.mixers]
        for write in (getattr(of, "out", of) for of in writes):
            shares.append((0.5 * write).norm(dim=-1) / stream.norm(dim=-1))
            stream = stream + 0.5 * write
        if layer.channel is not None:
            write = layer.channel(next(norms)(stream))
            shares.append((0.5 * write).norm(dim=-1) / stream.norm(dim=-1))
            stream = stream + 0.5 * write
    return torch.stack(shares)


@torch.no_grad()
def test_shares_are_means_over_the_tokens_before_the_last_target():
    model = build()
    found = measure_writes(model, batches())
    values = {}  # by part and position
    for batch in batches():
        inputs, targets = batch.inputs, batch.targets
        for row in range(len(inputs)):
            last = max(place for place in range(6) if targets[row, place] != -100)
            shares = shares_by_hand(model, inputs[row : row + 1])[:, 0]
            for part in range(4):
                for place in range(last + 1):
                    values.setdefault((part, place), []).append(float(shares[part, place]))
    assert len(values[0, 2]) == 4  # a position in the middle that is not scored counts
    assert len(values[0, 4]) == 3
    for part in range(4):
        every = [value for place in range(6) for value in values[part, place]]
        assert float(found.mean[part]) == pytest.approx(sum(every) / len(every), rel=1e-5)
        for place in range(6):
            expected = sum(values[part, place]) / len(values[part, place])
            assert float(found.by_position[part, place]) == pytest.approx(expected, rel=1e-5)


def test_a_position_that_no_sequence_reaches_has_no_share():
    found = measure_writes(build(), batches()[1:])
    assert found.by_position[:, :4].isfinite().all()
    assert found.by_position[:, 4:].isnan().all()


@torch.no_grad()
def test_metrics_are_means_over_sequences_where_every_batch_gave_one_shape():
    model = build()
    found = measure_writes(model, batches()).metrics
    assert set(found) == {"0.speaks.size", "0.speaks.first"}
    reads = [model.residual.norms[0](model.embedding(batch.inputs)) for batch in batches()]
    expected = (3 * reads[0].abs().mean() + reads[1].abs().mean()) / 4
    assert float(found["0.speaks.size"]) == pytest.approx(float(expected), rel=1e-6)
    torch.testing.assert_close(found["0.speaks.first"], ((3 * reads[0][0, 0, :3] + reads[1][0, 0, :3]) / 4).double())


@torch.no_grad()
def test_the_reads_are_those_of_the_first_batch():
    model = build()
    found = measure_writes(model, batches()).reads
    assert len(found) == 4
    torch.testing.assert_close(found[0], model.residual.norms[0](model.embedding(batches()[0].inputs)))
