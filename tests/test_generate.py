import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from zoo import TokenMixer
from zoo.errors import UsageError
from zoo.model.backbone import Backbone
from zoo.model.drawing import Sampling, choose
from zoo.model.generate import generate, sample_tokens
from zoo.model.layer import Layer, NamedMixer

from .stacks import pre_norm

VOCABULARY, DIM = 7, 8


class RunningSum(TokenMixer):
    def __init__(self):
        super().__init__()
        self.pieces = []

    def forward(self, x):
        return x.cumsum(1)

    def step(self, x, state=None):
        assert not torch.is_grad_enabled()
        self.pieces.append(x.shape[1])
        return super().step(x, state)


@pytest.fixture
def mixer():
    return RunningSum()


@pytest.fixture
def model(mixer):
    torch.manual_seed(0)
    layer = Layer([NamedMixer("sum", mixer)], None)
    model = Backbone([layer], pre_norm([layer], DIM), vocabulary=VOCABULARY, dim=DIM, context=10)
    torch.nn.init.normal_(model.embedding.weight)
    return model.eval()


PROMPT = torch.tensor([[1, 2, 3], [4, 5, 6]])


def sampled(model, prompt=PROMPT, **settings):
    return torch.stack(list(sample_tokens(model, prompt, **({"tokens": 6} | settings))), dim=1)


def test_at_temperature_zero_every_token_is_the_most_likely_one(model):
    said = sampled(model, temperature=0)
    text = torch.cat([PROMPT, said], dim=1)
    assert said.shape == (2, 6)
    assert said.dtype == torch.int64
    assert torch.equal(model(text[:, :-1]).logits[:, 2:].argmax(-1), said)


def test_each_token_costs_one_step_of_one_token(model, mixer):
    sampled(model, tokens=5)
    assert mixer.pieces == [3, 1, 1, 1, 1]


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1, 2 * 10**21])
def test_a_seed_of_more_than_64_bits_is_refused(model, seed):
    with pytest.raises(UsageError, match=rf"^seed={seed} has more than 64 bits: choose one from 0"):
        sampled(model, tokens=1, seed=seed)
    assert sampled(model, tokens=1, seed=2**64 - 1).shape == (2, 1)


def test_sampling_is_a_function_of_its_seed(model):
    first = sampled(model, tokens=20, seed=1)
    assert torch.equal(first, sampled(model, tokens=20, seed=1))
    assert not torch.equal(first, sampled(model, tokens=20, seed=2))


def test_sampling_neither_reads_nor_moves_the_global_generator(model):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = sampled(model)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(sampled(model), first)


def test_tokens_come_as_they_are_sampled_and_carry_no_graph(model, mixer):
    tokens = sample_tokens(model, PROMPT, tokens=10**9)
    first, second = next(tokens), next(tokens)
    assert first.shape == second.shape == (2,)
    assert len(mixer.pieces) == 2
    assert torch.is_grad_enabled()


def probabilities(logits, **settings):
    """The share of each token among many draws."""
    rows = torch.tensor(logits).expand(20_000, -1)
    drawn = choose(rows, Sampling(**settings), torch.Generator().manual_seed(0))
    return F.one_hot(drawn, len(logits)).double().mean(0)


LOGITS = [0.0, 2.0, 1.0, -1.0]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_draws_follow_the_logits_over_the_temperature(temperature):
    expected = (torch.tensor(LOGITS).double() / temperature).softmax(-1)
    torch.testing.assert_close(probabilities(LOGITS, temperature=temperature), expected, rtol=0, atol=0.015)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"top_k": 1}, [1]),
        ({"top_k": 2}, [1, 2]),
        ({"top_k": 4}, [0, 1, 2, 3]),
        ({"top_k": 100}, [0, 1, 2, 3]),
        ({"top_p": 0.01}, [1]),
        ({"top_p": 0.643}, [1]),  # the shares are 0.644, 0.237, 0.087, 0.032
        ({"top_p": 0.645}, [1, 2]),
        ({"top_p": 0.95}, [0, 1, 2]),
        ({"top_p": 1.0}, [0, 1, 2, 3]),
        ({"top_k": 3, "top_p": 0.9}, [1, 2]),
        ({"top_p": 0.645, "temperature": 0.5}, [1]),
    ],
)
def test_only_the_likely_tokens_are_drawn_in_their_proportions(settings, kept):
    logits = torch.tensor(LOGITS).double() / settings.get("temperature", 1.0)
    masked = torch.full_like(logits, -torch.inf)
    masked[kept] = logits[kept]
    seen = probabilities(LOGITS, **settings)
    assert seen.nonzero().flatten().tolist() == kept
    torch.testing.assert_close(seen, masked.softmax(-1), rtol=0, atol=0.015)


@pytest.mark.parametrize(
    ("top_k", "kept"),
    [(1, [1]), (2, [1, 2]), (3, [0, 1, 2]), (4, [0, 1, 2, 4])],
)
def test_top_k_keeps_exactly_k_tokens_and_of_ties_the_first(top_k, kept):
    seen = probabilities([2.0, 3.0, 3.0, 1.0, 2.0], top_k=top_k)
    assert seen.nonzero().flatten().tolist() == kept


def test_one_of_many_equally_likely_tokens_is_the_one_of_temperature_zero():
    tied = [1.0] * 64
    assert probabilities(tied, top_k=1).argmax() == int(torch.tensor(tied).argmax()) == 0
    assert probabilities(tied, top_k=1).max() == probabilities(tied, top_p=1e-6)[0] == 1


def test_top_p_takes_no_more_tokens_than_it_needs():
    seen = probabilities([0.0, 0.0, 0.0, 0.0], top_p=0.5)
    assert sorted(seen.tolist()) == [0, 0, pytest.approx(0.5, abs=0.015), pytest.approx(0.5, abs=0.015)]


@pytest.mark.parametrize("settings", [{"temperature": 1e-40}, {"temperature": 5e-324}, {"top_p": 5e-324}])
def test_the_smallest_values_leave_the_most_likely_token(settings):
    assert probabilities(LOGITS, **settings).tolist() == [0, 1, 0, 0]


def test_an_infinite_temperature_makes_all_tokens_alike():
    seen = probabilities(LOGITS, temperature=float("inf"))
    torch.testing.assert_close(seen, torch.full((4,), 0.25).double(), rtol=0, atol=0.015)


@given(
    logits=st.lists(st.integers(-80, 80).map(lambda quarters: quarters / 4), min_size=1, max_size=6),
    top_k=st.none() | st.integers(1, 8),
    top_p=st.none() | st.floats(0, 1, exclude_min=True),
)
def test_there_is_always_a_token_and_the_most_likely_may_be_it(logits, top_k, top_p):
    generator = torch.Generator().manual_seed(0)
    token = int(choose(torch.tensor([logits]), Sampling(top_k=top_k, top_p=top_p), generator))
    assert 0 <= token < len(logits)
    if top_k == 1:
        assert token == logits.index(max(logits))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"prompt": PROMPT[:, :0]}, "the prompt is empty: give at least one token to start with"),
        ({"tokens": 0}, "tokens=0 should be 1 or more"),
        ({"temperature": -0.5}, "temperature=-0.5 should be 0 or more"),
        ({"temperature": float("nan")}, "temperature=nan should be 0 or more"),
        ({"top_k": 0}, "top_k=0 should be 1 or more"),
        ({"top_p": 0.0}, "top_p=0.0 should be greater than 0 and at most 1"),
        ({"top_p": 1.1}, "top_p=1.1 should be greater than 0 and at most 1"),
        ({"top_p": float("nan")}, "top_p=nan should be greater than 0 and at most 1"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sampled(model, mixer, settings, text):
    arguments = {"prompt": PROMPT, "tokens": 3} | settings
    with pytest.raises(UsageError) as error:
        sample_tokens(model, arguments.pop("prompt"), **arguments)
    assert str(error.value) == text
    assert mixer.pieces == []


def test_a_model_of_limited_reach_goes_on_from_the_half_that_it_last_saw(mixer):
    mixer.max_length = 6
    torch.manual_seed(0)
    layer = Layer([NamedMixer("sum", mixer)], None)
    model = Backbone([layer], pre_norm([layer], DIM), vocabulary=VOCABULARY, dim=DIM, context=6).eval()
    torch.nn.init.normal_(model.embedding.weight)
    text = torch.randint(VOCABULARY, (2, 9))
    for token in sample_tokens(model, text, tokens=12, temperature=0):
        seen = text if text.shape[1] <= 6 else None
        if seen is not None:
            assert torch.equal(token, model(seen).logits[:, -1].argmax(-1))
        text = torch.cat([text, token[:, None]], dim=1)
    assert text.shape[1] == 21
    # a prompt of nine is cut to three; four more fit, then the last three of seven begin anew
    assert mixer.pieces == [3, 1, 1, 1, 3, 1, 1, 1, 3, 1, 1, 1]


@pytest.mark.parametrize(
    "prompt", [torch.tensor([1, 2, 3]), torch.tensor([1, 2, 3], dtype=torch.uint8), [1, 2, 3], np.uint8([1, 2, 3])]
)
def test_a_prompt_of_any_whole_numbers_is_continued(model, prompt):
    expected = sampled(model, PROMPT[:1], temperature=0.8, seed=5)
    assert torch.equal(generate(model, prompt, tokens=6, seed=5), expected[0])
    assert torch.equal(generate(model, PROMPT, tokens=6, seed=5), sampled(model, temperature=0.8, seed=5))


def test_generating_leaves_every_module_in_its_mode(model):
    model.train()
    model.residual.eval()
    model.dropout = 0.5
    before = [module.training for module in model.modules()]
    assert torch.equal(generate(model, PROMPT, tokens=6), sampled(model.eval(), temperature=0.8))
    model.train()
    model.residual.eval()
    with pytest.raises(UsageError):
        generate(model, PROMPT, tokens=0)
    generate(model, PROMPT, tokens=1)
    assert [module.training for module in model.modules()] == before


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("def ", "the prompt is text and a model reads tokens: pass tokenizer.encode(prompt)"),
        ([], "the prompt is empty: give at least one token to start with"),
        ([0.5], "the prompt is (1,) of float64: pass tokens, (b, t) or (t,), as whole numbers"),
        (
            torch.zeros(1, 1, 1).long(),
            "the prompt is (1, 1, 1) of int64: pass tokens, (b, t) or (t,), as whole numbers",
        ),
        ([1, 7], "the prompt has tokens from 1 to 7, and the model has those from 0 to 6"),
        ([-1], "the prompt has tokens from -1 to -1, and the model has those from 0 to 6"),
    ],
)
def test_a_prompt_that_is_no_tokens_is_refused(model, prompt, text):
    with pytest.raises(UsageError) as error:
        generate(model, prompt)
    assert str(error.value) == text


def test_what_is_no_model_is_refused(mixer):
    with pytest.raises(UsageError, match=r"^a model of zoo.build_model is expected, and this is a RunningSum$"):
        generate(mixer, [1])
