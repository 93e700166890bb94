"""Models with weights in bfloat16."""

import pytest
import torch

import zoo
from zoo import TokenMixer, UsageError
from zoo.model.generate import generate
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
    "dot-product", "correlation", "involution", "leviathan-moe", "gated-deltanet", "mamba2", "rwkv7",
    "mamba2, dot-product", "correlation, gated-deltanet",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("pattern", PATTERNS)
def test_after_200_tokens_the_logits_are_those_of_float32_but_for_rounding(pattern):
    exact, rounded = model_of(pattern), model_of(pattern)
    round_weights(rounded, "bf16")
    torch.manual_seed(1)
    tokens = torch.randint(VOCABULARY, (2, 200))
    expected, logits = stepped(exact, tokens), stepped(rounded, tokens)
    assert logits.dtype == torch.bfloat16
    assert not torch.equal(logits.float(), expected)
    assert (logits.float() - expected).norm() / expected.norm() < 0.03


def test_every_float_of_the_model_is_rounded_but_what_a_module_keeps():
    model = model_of("dot-product, mamba2", positions="learned", channel_mixer="moe")
    round_weights(model, "bf16")
    wide = [name for name, tensor in model.state_dict().items() if tensor.dtype == torch.float32]
    assert wide == [f"layers.{layer}.channel.router.choice_bias" for layer in (0, 1)]
    assert model.embedding.weight.dtype == model.positions.weight.dtype == torch.bfloat16
    assert generate(model, [[1, 2], [3]], tokens=3).shape == (2, 3)


def test_fp32_leaves_the_weights_as_they_are():
    model, before = model_of("dot-product"), model_of("dot-product").state_dict()
    round_weights(model, "fp32")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_ragged_batch_is_continued_in_bf16():
    model = model_of("dot-product")
    round_weights(model, "bf16")
    assert generate(model, [[1, 2, 3], [4]], tokens=5, top_k=9).shape == (2, 5)


class Coarse(TokenMixer):
    """Says that it is wrong in half precision."""

    expected_failures = {"precision": "sums of many small numbers"}  # noqa: RUF012

    def forward(self, x):
        return x.cumsum(1)


def test_a_part_that_declares_that_it_cannot_is_named_in_a_line():
    model = model_of(["dot-product", Coarse])
    with pytest.raises(UsageError, match=r"^Coarse declares that it fails the law 'precision': take `precision`=fp32$"):
        round_weights(model, "bf16")
    round_weights(model, "fp32")
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("precision", ["fp16", "auto", "", "BF16"])
def test_another_precision_is_refused(precision):
    with pytest.raises(UsageError, match=rf"^`precision`={precision} should be fp32 or bf16$"):
        check_precision(precision)
