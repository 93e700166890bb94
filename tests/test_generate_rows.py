"""Prompts of different lengths in one batch."""

import numpy as np
import pytest
import torch

import zoo
from zoo.errors import UsageError, ZooError
from zoo.model.drawing import Sampling, check_finite, choose, choose_at
from zoo.model.generate import generate, sample_rows
from zoo.model.texts import batch_by_length

VOCABULARY, CONTEXT = 11, 16


def model_of(pattern, **settings):
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCABULARY, "dim": 16, "layers": 2, "heads": 2, "context": CONTEXT}
    model = zoo.build_model(pattern, **(sizes | settings)).eval()
    torch.nn.init.normal_(model.embedding.weight)
    return model.double()  # so that no rounding tips a choice


@pytest.fixture(scope="module")
def model():
    return model_of("dot-product")


def prompts_of(*lengths):
    torch.manual_seed(1)
    return [torch.randint(VOCABULARY, (length,)) for length in lengths]


RAGGED = (5, 2, 9, 2, 1)


@pytest.mark.parametrize(
    ("pattern", "settings"),
    [
        ("dot-product", {}),
        ("dot-product(window=4)", {}),
        ("correlation, dot-product", {}),
        ("gated-deltanet", {}),
        ("mamba2", {}),
        ("rwkv7", {}),
        ("dot-product", {"positions": "learned"}),
        ("mamba2, dot-product", {"positions": "learned", "residual": "mhc"}),
        ("dot-product", {"channel_mixer": "moe"}),
    ],
)
def test_each_row_of_a_ragged_batch_is_what_it_is_alone(pattern, settings):
    model, prompts = model_of(pattern, **settings), prompts_of(*RAGGED)
    together = generate(model, prompts, tokens=12, temperature=0)
    alone = [generate(model, prompt, tokens=12, temperature=0) for prompt in prompts]
    assert torch.equal(together, torch.stack(alone))
    assert len(set(map(tuple, together.tolist()))) > 1


@pytest.mark.parametrize("lengths", [(17, 3), (40, 16, 2), (17, 18, 40), (16, 15, 1), (17,)])
def test_prompts_beyond_learned_positions_go_on_from_their_own_last_half(lengths):
    model, prompts = model_of("dot-product", positions="learned"), prompts_of(*lengths)
    together = generate(model, prompts, tokens=30, temperature=0)
    assert torch.equal(together, torch.stack([generate(model, each, tokens=30, temperature=0) for each in prompts]))


@pytest.mark.parametrize("how", [{}, {"temperature": 2.0}, {"top_k": 4}, {"top_p": 0.7}, {"top_k": 5, "top_p": 0.9}])
def test_a_text_does_not_depend_on_what_is_beside_it(model, how):
    prompts = prompts_of(*RAGGED)
    together = sample_rows(model, prompts, tokens=8, seed=3, **how)
    for row, prompt in enumerate(prompts):
        alone = sample_rows(model, [prompt], tokens=8, seed=3, numbers=[(row, 0)], **how)
        assert torch.equal(alone[0], together[row])


def test_the_draws_of_a_text_are_those_of_its_seed_and_numbers(model):
    prompt = prompts_of(3)[0]

    def texts(seed, *numbers):
        prompts = [prompt] * len(numbers)
        return sample_rows(model, prompts, tokens=20, temperature=5.0, seed=seed, numbers=numbers).tolist()

    drawn = texts(0, (0, 0), (0, 1), (1, 0), (1, 1)) + texts(1, (0, 0)) + texts(2**32, (0, 0)) + texts(-1, (0, 0))
    assert len(set(map(tuple, drawn))) == len(drawn)
    assert texts(0, (1, 1), (0, 1)) == [drawn[3], drawn[1]]


def test_a_longer_text_begins_with_the_shorter_one(model):
    prompts = prompts_of(*RAGGED)
    assert torch.equal(sample_rows(model, prompts, tokens=9)[:, :4], sample_rows(model, prompts, tokens=4))


def test_the_global_generators_are_left_alone(model):
    prompts = prompts_of(2, 3)
    before, of_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()
    sample_rows(model, prompts, tokens=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == of_numpy).all()


def test_the_steps_are_as_many_as_the_lengths_differ_and_as_there_are_tokens(model, monkeypatch):
    read = []
    step = model.step
    monkeypatch.setattr(
        model, "step", lambda tokens, *given, **how: read.append(tokens.shape) or step(tokens, *given, **how)
    )
    sample_rows(model, prompts_of(5, 3, 4), tokens=4)
    assert read == [(3, 3)] + [(3, 1)] * 5


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, tuple, np.uint8])
def test_a_list_holds_prompts_of_any_kind(model, kind):
    tokens = [[1, 2, 3], [4, 5], [6, 7]]
    expected = generate(model, [torch.tensor(each) for each in tokens], tokens=5)
    assert expected.shape == (3, 5)
    assert expected.dtype == torch.int64
    assert torch.equal(generate(model, [kind(each) for each in tokens], tokens=5), expected)
    assert torch.equal(generate(model, tuple(kind(each) for each in tokens), tokens=5), expected)


def test_prompts_of_one_length_in_a_list_draw_for_themselves_too(model):
    together = generate(model, [[1, 2], [1, 2]], tokens=20, temperature=5.0)
    assert not torch.equal(together[0], together[1])
    assert torch.equal(together[:1], generate(model, [[1, 2]], tokens=20, temperature=5.0))


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ([[1], []], "prompt[1]: the prompt is empty: give at least one token to start with"),
        ([[1, 2], "def "], "prompt[1]: the prompt is text and a model reads tokens: pass tokenizer.encode(prompt)"),
        ([[1, 11], [2]], "prompt[0]: the prompt has tokens from 1 to 11, and the model has those from 0 to 10"),
        ([[1], [0.5, 1]], "prompt[1]: the prompt is (2,) of float64: pass tokens, (b, t) or (t,), as whole numbers"),
        ([[[1, 2]], [[3, 4]]], "prompt[0] is (1, 2): pass each prompt of a list as tokens, (t,)"),
        (np.zeros((0, 3), int), "there is no prompt: give at least one"),
    ],
)
def test_a_list_with_what_is_no_prompt_is_refused(model, prompt, text):
    with pytest.raises(UsageError) as error:
        generate(model, prompt)
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"tokens": 0}, "tokens=0 should be 1 or more"),
        ({"top_p": 2}, "top_p=2 should be greater than 0 and at most 1"),
        ({"seed": 2**64}, f"seed={2**64} has more than 64 bits: choose one from 0 to {2**64 - 1}"),
        ({"prompts": []}, "there is no prompt: give at least one"),
        ({"prompts": [torch.tensor([1]), torch.tensor([]).long()]}, "the prompt is empty: give at least one token to "
         "start with"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(model, settings, text):
    with pytest.raises(UsageError) as error:
        sample_rows(model, **({"prompts": prompts_of(2, 3), "tokens": 3} | settings))
    assert str(error.value) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_logits_that_are_not_finite_are_refused(value):
    logits = torch.randn(3, 50)
    check_finite(logits)
    check_finite(torch.tensor([[3e38, -3e38]]))
    logits[1, 7] = value
    with pytest.raises(ZooError, match="the next token is not finite; `zoo inspect` names the part"):
        check_finite(logits)


# drawing


def likely(logits, **how):
    """Among how many of evenly spaced levels each token is chosen."""
    levels = (torch.arange(10_000) + 0.5) / 10_000
    chosen = choose_at(torch.tensor(logits).expand(len(levels), -1), Sampling(**how), levels)
    return torch.bincount(chosen, minlength=len(logits)) / len(levels)


LOGITS = [0.0, 2.0, 1.0, -1.0]


@pytest.mark.parametrize(
    "how", [{}, {"temperature": 0.5}, {"top_k": 2}, {"top_p": 0.645}, {"top_p": 0.95}, {"top_k": 3, "top_p": 0.9}]
)
def test_levels_choose_tokens_in_their_proportions(how):
    expected = Sampling(**how).probabilities(torch.tensor([LOGITS]))[0]
    torch.testing.assert_close(likely(LOGITS, **how), expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("level", [0.0, 0.5, 1 - 2**-24, 1.0])
@pytest.mark.parametrize("length", [3, 1000, 50257])
def test_no_level_chooses_a_token_of_probability_zero(level, length):
    logits = torch.linspace(0, 3, length)[None].clone()
    logits[:, : length // 3] = logits[:, -(length // 3) :] = -1e30
    chosen = int(choose_at(logits, Sampling(), torch.tensor([level])))
    assert length // 3 <= chosen < length - length // 3


@pytest.mark.parametrize("vocabulary", [5, 65, 3000])
@pytest.mark.parametrize("how", [{}, {"top_k": 3}, {"top_p": 0.5}, {"top_p": 0.999}, {"top_k": 40, "top_p": 0.9}])
def test_a_draw_is_that_of_multinomial_to_the_bit(vocabulary, how):
    torch.manual_seed(0)
    logits, sampling = torch.randn(4, vocabulary).mul(2).round(decimals=1), Sampling(temperature=0.8, **how)
    ours, theirs = (torch.Generator().manual_seed(5) for _ in range(2))
    for _ in range(5):
        expected = torch.multinomial(sampling.probabilities(logits), 1, generator=theirs)[:, 0]
        assert torch.equal(choose(logits, sampling, ours), expected)


def kept_of_a_sort(logits, top_k, top_p):
    """Which tokens may be drawn, the slow and obvious way."""
    order = sorted(range(len(logits)), key=lambda token: -logits[token])[:top_k]
    mass = torch.tensor(logits)[order].softmax(-1).tolist()
    return {token for place, token in enumerate(order) if sum(mass[:place]) < top_p}


@pytest.mark.parametrize("vocabulary", [4, 70, 2500])
@pytest.mark.parametrize("scale", [0.01, 1.0, 6.0])
@pytest.mark.parametrize(("top_k", "top_p"), [(3, 1.0), (2500, 0.45), (2500, 0.97), (2000, 0.8), (40, 0.31)])
def test_only_the_most_likely_are_drawn_and_of_ties_the_first(vocabulary, scale, top_k, top_p):
    torch.manual_seed(2)
    logits = torch.randint(-9, 9, (vocabulary,)) * scale  # with many ties
    probabilities = Sampling(top_k=top_k, top_p=top_p).probabilities(logits[None])[0]
    assert set(probabilities.nonzero().flatten().tolist()) == kept_of_a_sort(logits.tolist(), top_k, top_p)


# batches


@pytest.mark.parametrize(
    ("lengths", "batch", "expected"),
    [
        ([5, 2, 9], 16, [[0, 1, 2]]),
        ([5, 2, 9], 2, [[0, 1], [2]]),
        ([5, 2, 9], 1, [[1], [0], [2]]),
        ([3, 3, 3, 3], 3, [[0, 1, 2], [3]]),
        ([1, 11, 12, 2], 16, [[0, 1, 3], [2]]),  # 12 is more than 10 tokens longer than 1
        ([1, 50, 1, 50], 16, [[0, 2], [1, 3]]),
    ],
)
def test_prompts_of_similar_lengths_share_a_batch(lengths, batch, expected):
    assert batch_by_length(lengths, batch, tokens=10) == expected
