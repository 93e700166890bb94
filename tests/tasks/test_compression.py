"""The decoder of compression sees the last position, and nothing else of the stream."""

import math

import numpy as np
import pytest
import torch

from zoo.model.parameters import reinitialize
from zoo.tasks.mad.compression import Compression
from zoo.tasks.mad.position_decoder import position_code


@pytest.fixture
def readout():
    torch.manual_seed(0)
    return Compression().readout(12).double()


def test_gradients_reach_the_last_position_alone(readout):
    stream = torch.randn(3, 7, 12, dtype=torch.float64, requires_grad=True)
    said = readout(stream)
    assert said.shape == stream.shape
    (said * torch.randn_like(said)).sum().backward()
    assert (stream.grad[:, :-1] == 0).all()
    assert (stream.grad[:, -1].abs() > 1e-6).all()
    for time in range(7):  # each position says something of the last one
        (gradient,) = torch.autograd.grad(readout(stream)[:, time].square().sum(), stream)
        assert gradient[:, -1].abs().sum() > 0


def test_norms_are_fused_under_autocast():
    """torch warns, once in a process, where the dtypes of a norm keep it from its fused form; a warning is an error."""
    readout, stream = Compression().readout(12), torch.randn(3, 7, 12)
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with torch.autocast("cpu", torch.bfloat16):
            assert readout(stream).isfinite().all()
    finally:
        torch.set_warn_always(always)


def test_every_position_is_asked_differently_and_every_example_by_itself(readout):
    stream = torch.randn(3, 7, 12, dtype=torch.float64)
    said = readout(stream)
    distances = torch.cdist(said, said) + 9 * torch.eye(7)
    assert distances.min() > 1e-3
    torch.testing.assert_close(readout(stream[1:2]), said[1:2])
    torch.testing.assert_close(readout(stream[:, 3:]), said[:, :4])  # a position's question does not hang on the length


@pytest.mark.parametrize("dim", [1, 7, 8])
def test_the_code_of_a_position_is_that_of_the_first_transformer(dim):
    code = position_code(torch.empty(2, 5, dim, dtype=torch.float64))
    assert code.dtype == torch.float64
    for time in range(5):
        for channel in range(dim):
            angle = time / 10000 ** (2 * (channel // 2) / dim)
            expected = math.cos(angle) if channel % 2 else math.sin(angle)
            assert code[time, channel].item() == pytest.approx(expected, abs=1e-5)


def test_it_is_the_same_after_it_has_been_built_without_memory():
    with torch.device("meta"):
        readout = Compression().readout(12)
    readout = readout.to_empty(device="cpu")
    reinitialize(readout, seed=3)
    first = readout(torch.ones(1, 4, 12))
    assert first.isfinite().all()
    again = Compression().readout(12)
    reinitialize(again, seed=3)
    torch.testing.assert_close(again(torch.ones(1, 4, 12)), first)


@pytest.mark.slow
def test_a_decoder_learns_two_tokens_from_one_vector():
    torch.manual_seed(0)
    task = Compression(length=3, vocab=5)
    examples = task.draw(np.random.default_rng(0), 64, length=3, test=False)
    tokens = torch.from_numpy(examples.inputs)
    code = torch.randn(25, 16)
    stream = torch.zeros(64, 3, 16)
    stream[:, -1] = code[tokens[:, 0] * 5 + tokens[:, 1]]
    embedding, readout = torch.randn(5, 16), task.readout(16)
    optimizer = torch.optim.AdamW(readout.parameters(), lr=1e-2)
    for _ in range(150):
        loss = torch.nn.functional.cross_entropy((readout(stream) @ embedding.T).flatten(0, 1), tokens.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05


def test_the_last_token_is_learned_and_not_scored():
    examples = Compression(length=5, vocab=7).draw(np.random.default_rng(0), 50, length=5, test=False)
    assert np.array_equal(examples.inputs, examples.targets)
    assert (examples.inputs[:, -1] == 6).all()
    assert (examples.inputs[:, :-1] < 6).all()
    assert examples.scored.tolist() == [[True] * 4 + [False]] * 50
