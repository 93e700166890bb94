"""Models with weights in bfloat16."""

import pytest
import torch

import zoo
from zoo import UsageError
from zoo.model.generate import MANY, generate
from zoo.model.linear import linear, packed
from zoo.model.precision import check_precision, round_weights

DIM, VOCABULARY = 32, 65


def model_of(pattern, **settings):
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCABULARY, "dim": DIM, "heads": 2, "context": 256}
    return zoo.build_model(pattern, **(sizes | settings)).eval()


def stepped(model, tokens, prompt=20):
    """The logits of the last tokens, each read by a step of its own."""
    with torch.inference_mode():
        logits, state = model.step(tokens[:, :prompt])
        for column in tokens[:, prompt:].split(1, dim=1):
            logits, state = model.step(column, state)
    return logits[:, -1]


PATTERNS = [
    "dot-product", "correlation", "involution", "leviathan-moe", "gated-deltanet", "mamba2", "rwkv7", "s4d", "hyena",
    "h3", "mamba2, dot-product", "correlation, gated-deltanet",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _small_matrices_count(monkeypatch):
    for place in ("zoo.model.linear.LARGE", "zoo.model.precision.LARGE"):
        monkeypatch.setattr(place, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", PATTERNS)
def test_after_200_tokens_the_logits_are_those_of_float32_but_for_rounding(pattern):
    exact, rounded = model_of(pattern), model_of(pattern)
    round_weights(rounded, "bf16")
    torch.manual_seed(1)
    tokens = torch.randint(VOCABULARY, (2, 200))
    expected, logits = stepped(exact, tokens), stepped(rounded, tokens)
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, expected)
    assert (logits - expected).norm() / expected.norm() < 0.03


def test_large_matrices_are_rounded_and_nothing_else():
    model = model_of("dot-product, mamba2", tie_embeddings=False)
    round_weights(model, "bf16")
    narrow = {name for name, tensor in model.state_dict().items() if tensor.dtype == torch.bfloat16}
    large = {name for name, tensor in model.state_dict().items() if tensor.ndim == 2 and tensor.numel() >= 1000}
    assert narrow == large
    assert {"embedding.weight", "unembedding.weight", "layers.0.mixers.0.project_in.weight"} <= narrow
    assert generate(model, [[1, 2], [3]], tokens=3).shape == (2, 3)


def test_what_a_mixer_keeps_in_float32_is_not_rounded():
    model = model_of("hyena(filter_width=64)", dim=64)
    round_weights(model, "bf16")
    mixer = model.layers[0].mixers[0]
    assert {layer.weight.dtype for layer in mixer.hidden} == {torch.float32}
    assert mixer.project_in.weight.dtype == torch.bfloat16


def test_packed_weights_change_no_bit():
    model = model_of("correlation, dot-product").bfloat16()
    tokens = torch.randint(VOCABULARY, (3, 9))
    plain = stepped(model, tokens, 4)
    with packed(model):
        laid_out = [hasattr(parameter, "laid_out") for parameter in model.parameters()]
        assert torch.equal(stepped(model, tokens, 4), plain)
    assert any(laid_out) == torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert not any(hasattr(parameter, "laid_out") for parameter in model.parameters())


def test_rounded_weights_stay_packed():
    model = model_of("dot-product")
    round_weights(model, "bf16")
    generate(model, [1], tokens=2 * MANY)
    layer, x = model.layers[0].mixers[0].project_in, torch.ones(1, 1, DIM)
    assert hasattr(layer.weight, "laid_out") == torch.ops.mkldnn._is_mkldnn_bf16_supported()
    with torch.no_grad():
        assert torch.equal(layer(x), linear(x, layer.weight.detach()))


def test_a_text_packs_the_weights_once_it_is_long(monkeypatch):
    model, packs = model_of("dot-product"), []
    monkeypatch.setattr("zoo.model.generate.packed", lambda model: packs.append(model) or packed(model))
    short, long = generate(model, [1], tokens=MANY, temperature=0), generate(model, [1], tokens=3 * MANY, temperature=0)
    assert packs == [model]
    assert torch.equal(long[:MANY], short)


def test_fp32_leaves_the_weights_as_they_are():
    model, before = model_of("dot-product"), model_of("dot-product").state_dict()
    round_weights(model, "fp32")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_ragged_batch_is_continued_in_bf16():
    model = model_of("dot-product")
    round_weights(model, "bf16")
    assert generate(model, [[1, 2, 3], [4]], tokens=5, top_k=9).shape == (2, 5)


@pytest.mark.parametrize("precision", ["fp16", "auto", "", "BF16"])
def test_another_precision_is_refused(precision):
    with pytest.raises(UsageError, match=rf"^`precision`={precision} should be fp32 or bf16$"):
        check_precision(precision)
