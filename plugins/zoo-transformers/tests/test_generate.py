"""An exported model predicts, samples and searches as transformers asks, with the mixers' state as its cache."""

import pytest
import torch
import zoo_transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

import zoo

PROMPT = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])
CACHE = zoo_transformers.modeling.CACHE

pytestmark = pytest.mark.filterwarnings("error")


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("char", "bpe", "hybrid")]


@pytest.fixture(params=["byte", *SLOW])
def pair(request, runs, exports):
    """The model of a run, and what transformers loads of its export."""
    return zoo.load_run(runs(request.param)).model, load(exports(request.param))


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder)


def test_logits_are_bit_equal(pair):
    ours, theirs = pair
    with torch.inference_mode():
        assert torch.equal(ours(PROMPT).logits, theirs(PROMPT).logits)
        assert torch.equal(ours.step(PROMPT)[0], theirs(PROMPT, use_cache=True).logits)


def test_greedy_tokens_are_those_of_the_zoo(pair):
    ours, theirs = pair
    expected = zoo.generate(ours, PROMPT, tokens=40, temperature=0)
    assert len(set(expected.flatten().tolist())) > 3  # else any model would do
    for use_cache in (True, False):
        found = theirs.generate(PROMPT, max_new_tokens=40, do_sample=False, use_cache=use_cache)
        assert torch.equal(found[:, PROMPT.shape[1] :], expected)


def test_beams_are_equal_with_and_without_cache(pair):
    _, theirs = pair
    prompts = torch.cat([PROMPT, PROMPT.flip(1)])
    with_cache, without = (
        theirs.generate(prompts, max_new_tokens=10, num_beams=3, num_return_sequences=2, do_sample=False, use_cache=use)
        for use in (True, False)
    )
    assert with_cache.shape == (4, 18)
    assert torch.equal(with_cache, without)
    assert not torch.equal(with_cache[0], with_cache[1])


def test_sampling_gives_several_sequences(pair):
    _, theirs = pair
    found = []
    for use_cache in (True, False):
        torch.manual_seed(0)
        options = {"do_sample": True, "temperature": 9.0, "num_return_sequences": 3, "use_cache": use_cache}
        found.append(theirs.generate(PROMPT, max_new_tokens=12, **options))
    assert found[0].shape == (3, 20)
    assert torch.equal(found[0], found[1])
    assert len({tuple(row.tolist()) for row in found[0]}) == 3


def test_a_returned_cache_is_continued(pair):
    _, theirs = pair
    whole = theirs.generate(PROMPT, max_new_tokens=16, do_sample=False)
    first = theirs.generate(PROMPT, max_new_tokens=6, do_sample=False, return_dict_in_generate=True)
    cache = first[CACHE]
    assert cache.get_seq_length() == 13  # the last token was not read yet
    assert torch.equal(theirs.generate(first.sequences, max_new_tokens=10, do_sample=False, **{CACHE: cache}), whole)


def test_pieces_of_a_sequence_are_read_by_hand(exports):
    theirs = load(exports("hybrid"))
    with torch.inference_mode():
        whole = theirs(PROMPT).logits
        first = theirs(PROMPT[:, :3], use_cache=True)
        last = theirs(PROMPT[:, 3:], **{CACHE: first[CACHE]})
    torch.testing.assert_close(torch.cat([first.logits, last.logits], dim=1), whole, atol=1e-4, rtol=1e-4)
    assert last[CACHE] is first[CACHE]
    assert last[CACHE].get_seq_length() == 8
    last[CACHE].reset()
    assert last[CACHE].get_seq_length() == 0


def test_rows_of_a_cache_are_selected(exports):
    theirs = load(exports("hybrid"))
    prompts, following = torch.cat([PROMPT, PROMPT.flip(1)]), torch.tensor([[7]])
    with torch.inference_mode():
        cache = theirs(prompts, use_cache=True)[CACHE]
        cache.batch_select_indices(torch.tensor([1]))
        cache.batch_repeat_interleave(2)
        found = theirs(following.expand(2, 1), **{CACHE: cache}).logits
        expected = theirs(torch.cat([PROMPT.flip(1), following], dim=1)).logits[:, -1:]
    torch.testing.assert_close(found, expected.expand_as(found), atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="cannot go back by tokens"):
        cache.crop(3)


def test_a_mask_with_zeros_is_refused(exports):
    theirs = load(exports("byte"))
    prompts = torch.cat([PROMPT, PROMPT])
    for mask in ([0, 0, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 0, 0]):
        padded = torch.tensor([[1] * 8, mask])
        for use_cache in (True, False):
            with pytest.raises(
                ValueError, match=r"^the attention mask hides tokens, .* for prompts of the same length$"
            ):
                theirs.generate(prompts, attention_mask=padded, max_new_tokens=2, use_cache=use_cache)


def test_padding_at_the_end_is_no_matter_to_scores(exports):
    theirs = load(exports("hybrid"))
    padded = torch.cat([PROMPT[:, :6], torch.zeros(1, 2, dtype=torch.int64)], dim=1)
    with torch.inference_mode():
        logits = theirs(padded, attention_mask=torch.tensor([[1] * 6 + [0] * 2])).logits
        torch.testing.assert_close(logits[:, :6], theirs(PROMPT[:, :6]).logits, atol=1e-4, rtol=1e-4)
        with pytest.raises(ValueError, match="hides tokens"):
            theirs(padded, attention_mask=torch.tensor([[0] + [1] * 7]))
        with pytest.raises(ValueError, match="hides tokens"):
            theirs(padded, attention_mask=torch.tensor([[1] * 7 + [0]]), use_cache=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs_embeds": torch.zeros(1, 2, 16)}, "input_ids is missing"),
        ({"input_ids": PROMPT, "output_attentions": True}, "does not take output_attentions: leave it out"),
        ({"input_ids": PROMPT, CACHE: object()}, "a object cannot hold the state of mixers"),
    ],
)
def test_what_it_cannot_obey_is_refused(exports, arguments, message):
    with pytest.raises(ValueError, match=message):
        load(exports("byte"))(**arguments)


def test_positions_run_out_in_one_line(exports):
    theirs = load(exports("char"))
    assert theirs.config.max_position_embeddings == 64
    with pytest.raises(ValueError, match="a sequence of 65 tokens is longer than the 64 learned positions"):
        theirs(torch.zeros(1, 65, dtype=torch.int64))


def test_the_loss_is_that_of_the_zoo(runs, exports):
    ours, theirs = zoo.load_run(runs("bpe")).model.train(), load(exports("bpe")).train()
    targets = torch.cat([PROMPT[:, 1:], torch.tensor([[-100]])], dim=1)
    expected = ours(PROMPT, targets)
    assert len(expected.losses) > 1  # the mixture of experts adds one
    found = theirs(PROMPT, labels=PROMPT).loss
    torch.testing.assert_close(found, expected.loss)
    found.backward()
    assert all(parameter.grad is not None for parameter in theirs.parameters() if parameter.requires_grad)
    torch.testing.assert_close(theirs.eval()(PROMPT, labels=PROMPT).loss, expected.losses["cross_entropy"])


def test_it_stops_at_a_text(exports):
    """No vocabulary of the zoo has a token for the end, so a text is how to stop."""
    theirs, tokenizer = load(exports("char")), AutoTokenizer.from_pretrained(exports("char"))
    whole = theirs.generate(PROMPT, max_new_tokens=20, do_sample=False)[0].tolist()
    expected = whole[: whole.index(whole[12], len(PROMPT[0])) + 1]
    stop = tokenizer.decode(whole[12:13])
    options = {"max_new_tokens": 20, "do_sample": False, "stop_strings": [stop], "tokenizer": tokenizer}
    assert theirs.generate(PROMPT, **options)[0].tolist() == expected


def test_half_precision_generates(exports):
    theirs = AutoModelForCausalLM.from_pretrained(exports("hybrid"), dtype=torch.bfloat16)
    assert theirs.dtype == torch.bfloat16
    assert theirs.generate(PROMPT, max_new_tokens=4).shape == (1, 12)
