"""What each residual scheme computes, written out."""

import pytest
import torch
from torch.testing import assert_close

from zoo.model.members import create_residual
from zoo.residuals.mhc import sinkhorn

from .models import perturbed

DIM, SITES = 6, 3
ROLES = ("token", "channel", "token")


def rms(x):
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def made(scheme):
    """A scheme with noise on its parameters, an embedding, what is written at each site, and its reads and its end."""
    torch.manual_seed(0)
    residual = perturbed(create_residual(scheme, dim=DIM, layers=2, roles=ROLES))
    embedded, *writes = torch.randn(1 + SITES, 2, 5, DIM, dtype=torch.float64)
    stream, reads = residual.open(embedded), []
    for site, written in enumerate(writes):
        reads.append(residual.read(stream, site))
        stream = residual.write(stream, site, written)
    return residual, embedded, writes, reads, residual.close(stream)


@pytest.mark.parametrize(("scale", "factor"), [("depth", 0.5), ("none", 1.0)])
def test_pre_norm(scale, factor):
    residual, x, writes, reads, closed = made(f"pre-norm(scale={scale})")
    for norm, written, read in zip(residual.norms, writes, reads, strict=True):
        assert_close(read, rms(x) * norm.weight)
        x = x + factor * written
    assert_close(closed, rms(x) * residual.norm.weight)


def test_learned_scales():
    residual, x, writes, _, closed = made("pre-norm(scale=learned)")
    x = x + sum(gain * written for gain, written in zip(residual.gains, writes, strict=True))
    assert_close(closed, rms(x) * residual.norm.weight)
    fresh = create_residual("pre-norm(scale=learned, initial_scale=0.125)", dim=DIM, layers=2, roles=ROLES)
    assert all(gain.unique().tolist() == [0.125] for gain in fresh.gains)


def test_layer_norm_takes_the_mean_away():
    residual, x, _, reads, _ = made("pre-norm(norm=layer)")
    assert_close(reads[0], torch.nn.functional.layer_norm(x, (DIM,), residual.norms[0].weight, residual.norms[0].bias))


def test_post_norm():
    residual, x, writes, reads, closed = made("post-norm")
    x = rms(x) * residual.embedding_norm.weight
    for norm, written, read in zip(residual.norms, writes, reads, strict=True):
        assert_close(read, x)
        x = rms(x + written) * norm.weight
    assert_close(closed, x)


@pytest.mark.parametrize("norm_reads", [True, False])
def test_sandwich(norm_reads):
    residual, x, writes, reads, closed = made(f"sandwich(norm_reads={str(norm_reads).lower()})")
    for site, (written, read) in enumerate(zip(writes, reads, strict=True)):
        assert_close(read, rms(x) * residual.norms[site].weight if norm_reads else x)
        x = x + rms(written) * residual.write_norms[site].weight
    assert_close(closed, rms(x) * residual.norm.weight)


def test_parallel():
    residual, x, writes, reads, closed = made("parallel")
    first, second = residual.norms  # one a layer
    assert_close(reads[0], rms(x) * first.weight)
    assert torch.equal(reads[1], reads[0])
    x = x + 0.5 * (writes[0] + writes[1])
    assert_close(reads[2], rms(x) * second.weight)
    assert_close(closed, rms(x + 0.5 * writes[2]) * residual.norm.weight)


def test_embedding_skip():
    residual, embedded, writes, reads, closed = made("embedding-skip")
    x = embedded
    for site, (written, read) in enumerate(zip(writes, reads, strict=True)):
        x = residual.keep[site] * x + residual.skip[site] * embedded
        assert_close(read, rms(x) * residual.norms[site].weight)
        x = x + 0.5 * written
    assert_close(closed, rms(x) * residual.norm.weight)


def test_dense():
    residual, embedded, writes, reads, closed = made("dense")
    outputs = [embedded]
    for site, (written, read) in enumerate(zip(writes, reads, strict=True)):
        average = torch.einsum("l,l...->...", residual.weights[site], torch.stack(outputs))
        assert_close(read, rms(average) * residual.norms[site].weight)
        outputs.append(average + 0.5 * written)
    average = torch.einsum("l,l...->...", residual.weights[SITES], torch.stack(outputs))
    assert_close(closed, rms(average) * residual.norm.weight)


@pytest.mark.parametrize("dynamic", [True, False])
def test_hyper_connections(dynamic):
    residual, embedded, writes, reads, closed = made(f"hyper-connections(streams=3, dynamic={str(dynamic).lower()})")
    streams = embedded[:, :, None].repeat(1, 1, 3, 1)
    for site, (written, read) in enumerate(zip(writes, reads, strict=True)):
        to_read, to_write, mix = residual.static_read[site], residual.static_write[site], residual.static_mix[site]
        if dynamic:
            to_r, to_w, *to_m = residual.maps[site]
            gains, normed = residual.gains[site], rms(streams)
            to_read = to_read + gains[0] * (normed @ to_r).tanh()
            to_write = to_write + gains[1] * (normed @ to_w).tanh()
            mix = mix + gains[2] * torch.stack([(normed @ row).tanh() for row in to_m], dim=-2)
        alone = torch.einsum("...n,...nd->...d", to_read.expand(2, 5, 3), streams)
        assert_close(read, rms(alone) * residual.norms[site].weight)
        mixed = torch.einsum("...ij,...jd->...id", mix.expand(2, 5, 3, 3), streams)
        streams = mixed + 0.5 * torch.einsum("...n,...d->...nd", to_write.expand(2, 5, 3), written)
    assert_close(closed, rms(streams.mean(2)) * residual.norm.weight)


def test_mhc():
    residual, embedded, writes, reads, closed = made("mhc(streams=3, iterations=30)")
    streams = embedded[:, :, None].repeat(1, 1, 3, 1)
    for site, (written, read) in enumerate(zip(writes, reads, strict=True)):
        moved = rms(streams.flatten(2)) @ residual.maps[site].T
        gains = residual.gains[site]
        to_read = (gains[0] * moved[..., :3] + residual.read_bias[site]).sigmoid()
        to_write = 2 * (gains[1] * moved[..., 3:6] + residual.write_bias[site]).sigmoid()
        mix = (gains[2] * moved[..., 6:].view(2, 5, 3, 3) + residual.mix_bias[site]).exp()
        for _ in range(30):
            mix = mix / mix.sum(-2, keepdim=True)
            mix = mix / mix.sum(-1, keepdim=True)
        assert_close(read, rms(torch.einsum("...n,...nd->...d", to_read, streams)) * residual.norms[site].weight)
        mixed = torch.einsum("...ij,...jd->...id", mix, streams)
        streams = mixed + 0.5 * torch.einsum("...n,...d->...nd", to_write, written)
    assert_close(closed, rms(streams.mean(2)) * residual.norm.weight)


def test_sinkhorn_makes_a_matrix_doubly_stochastic():
    matrix = sinkhorn(3 * torch.randn(7, 4, 4, dtype=torch.float64), 200)
    assert (matrix > 0).all()
    assert_close(matrix.sum(-1), torch.ones(7, 4, dtype=torch.float64))
    assert_close(matrix.sum(-2), torch.ones(7, 4, dtype=torch.float64), rtol=0, atol=1e-3)


def test_mixing_of_mhc_does_not_let_the_streams_grow():
    residual, embedded, writes, _, _ = made("mhc(iterations=100)")
    stream = residual.open(embedded) * torch.arange(1.0, 5)[:, None]
    before = stream.mean(2)
    after = residual.write(stream, 0, torch.zeros_like(writes[0])).mean(2)
    assert_close(after, before, rtol=0, atol=1e-3)


@pytest.mark.parametrize("block", [1, 2, 3])
def test_attention_residuals(block):
    residual, embedded, writes, reads, closed = made(f"attention-residuals(block={block})")

    def attended(outputs, site):
        values = torch.stack(outputs)
        if site == 0:
            return embedded
        keys = rms(values) * residual.gains[site - 1]
        weights = torch.einsum("d,lbtd->lbt", residual.queries[site - 1], keys).softmax(0)
        return torch.einsum("lbt,lbtd->btd", weights, values)

    blocks, partial = [embedded], None
    for site, (written, read) in enumerate(zip(writes, reads, strict=True)):
        if partial is not None and site % block == 0:
            blocks, partial = [*blocks, partial], None
        outputs = blocks if partial is None else [*blocks, partial]
        assert_close(read, rms(attended(outputs, site)) * residual.norms[site].weight)
        partial = written if partial is None else partial + written
    assert_close(closed, rms(attended([*blocks, partial], SITES)) * residual.norm.weight)
