import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from zoo.data.dataset import Dataset
from zoo.data.load import load_source
from zoo.data.masked import MaskedText
from zoo.data.objective import canonical_objective, read_objective
from zoo.data.source import IGNORE
from zoo.errors import PatternError, UsageError
from zoo.tokenizers.byte import ByteTokenizer

VOCABULARY, MASK = 256, 256
END = 0
"""The token that ends a document."""


def text_of(train, validation, *, separator=None):
    tokens = [np.asarray(part, dtype=np.uint8) for part in (train, validation)]
    return Dataset("numbers", "0" * 64, ByteTokenizer(), *tokens, len(train), len(validation), separator)


RANDOM = np.random.Generator(np.random.Philox(3))
TEXT = text_of(RANDOM.integers(1, 250, 5000), RANDOM.integers(1, 250, 333))
MASKED = MaskedText(TEXT, 0.15)


def scored(batch):
    return batch.targets != IGNORE


def originals(source, split, batch):
    return torch.from_numpy(
        np.stack([split[start : start + batch.inputs.shape[1]] for start in batch.offsets.numpy()]).astype(np.int64)
    )


# What is masked


def test_a_batch_is_the_text_with_some_tokens_replaced():
    batch = MASKED.draw(context=40, batch=8, seed=1, step=5)
    tokens, chosen = originals(MASKED, TEXT.train, batch), scored(batch)
    assert torch.equal(batch.targets[chosen], tokens[chosen])
    assert torch.equal(batch.inputs[~chosen], tokens[~chosen])
    assert chosen.sum(1).tolist() == [6] * 8  # 15 % of 40
    assert batch.where.tolist() == chosen.flatten().nonzero()[:, 0].tolist()
    assert torch.equal(batch.inputs, batch.inputs.clamp(0, MASK))
    assert batch.documents is None


def test_a_batch_is_that_of_its_seed_and_step_on_the_windows_of_the_next_token():
    sizes = {"context": 40, "batch": 8}
    batch, again = (MASKED.draw(**sizes, seed=1, step=5) for _ in range(2))
    assert torch.equal(batch.inputs, again.inputs)
    assert torch.equal(batch.targets, again.targets)
    assert torch.equal(batch.offsets, TEXT.draw(**sizes, seed=1, step=5).offsets)
    for other in ({"seed": 2, "step": 5}, {"seed": 1, "step": 6}):
        assert not torch.equal(batch.where, MASKED.draw(**sizes, **other).where)


def test_of_ten_chosen_tokens_eight_are_masked_one_is_random_and_one_stays():
    fates, random = Counter(), []
    for step in range(40):
        batch = MASKED.draw(context=100, batch=16, seed=0, step=step)
        chosen = scored(batch)
        inputs, targets = batch.inputs[chosen], batch.targets[chosen]
        fates += Counter(masked=int((inputs == MASK).sum()), same=int((inputs == targets).sum()), all=len(inputs))
        random += inputs[(inputs != MASK) & (inputs != targets)].tolist()
    assert fates["masked"] / fates["all"] == pytest.approx(0.8, abs=0.02)
    assert fates["same"] / fates["all"] == pytest.approx(0.1, abs=0.02)
    assert len(set(random)) > 200  # of the whole vocabulary
    assert max(random) < VOCABULARY


@pytest.mark.parametrize(("context", "rate", "count"), [(1, 0.15, 1), (3, 0.15, 1), (20, 0.15, 3), (20, 0.9, 18)])
def test_each_window_has_its_share_and_one_at_least(context, rate, count):
    source = MaskedText(TEXT, rate)
    assert scored(source.draw(context=context, batch=4, seed=0, step=0)).sum(1).tolist() == [count] * 4
    assert all(scored(batch).any(1).all() for batch in source.validation_batches(context=context, batch=4))


def test_the_mask_is_a_token_of_its_own_and_never_a_target():
    assert (MASKED.vocab_size, MASKED.mask_token) == (VOCABULARY + 1, MASK)
    batches = [MASKED.draw(context=40, batch=8, seed=0, step=0), *MASKED.validation_batches(context=40, batch=8)]
    assert all(batch.targets.max() < MASK for batch in batches)


# Validation


@pytest.mark.parametrize("limit", [None, 100])
def test_every_evaluation_masks_the_same_tokens(limit):
    one, other = (list(MASKED.validation_batches(context=32, batch=size, limit=limit)) for size in (3, 7))
    for name in ("inputs", "targets", "offsets"):
        assert torch.equal(*(torch.cat([getattr(batch, name) for batch in found]) for found in (one, other)))
    whole = {int(batch.offsets): batch.inputs[0] for batch in MASKED.validation_batches(context=32, batch=1)}
    for batch in one:
        assert torch.equal(batch.inputs, torch.stack([whole[offset] for offset in batch.offsets.tolist()]))


def test_the_windows_cover_the_validation_split_and_score_nothing_twice():
    batches = list(MaskedText(TEXT, 0.9).validation_batches(context=32, batch=4))
    seen = [int(start) + place for b in batches for start in b.offsets for place in range(32)]
    assert set(seen) == set(range(333))
    places = [int(b.offsets[row]) + int(place) for b in batches for row, place in scored(b).nonzero()]
    assert len(places) == len(set(places))
    assert max(places) >= 333 - 13  # the last window is moved, and what is new in it has its share
    for batch in batches:
        chosen = scored(batch)
        assert torch.equal(batch.targets[chosen], originals(MASKED, TEXT.validation, batch)[chosen])


def test_the_unigram_loss_is_that_of_the_training_frequencies_on_the_scored_targets():
    text = text_of([1] * 60 + [2] * 38, [1, 2, 2, 3] * 20)
    source = MaskedText(text, 0.3)
    targets = torch.cat(
        [batch.targets[scored(batch)] for batch in source.validation_batches(context=10, batch=3)]
    ).tolist()
    frequency = {token: (count + 1) / (98 + VOCABULARY) for token, count in {1: 60, 2: 38, 3: 0}.items()}
    expected = -sum(math.log(frequency[token]) for token in targets) / len(targets)
    assert source.unigram_loss(context=10) == pytest.approx(expected)
    assert text.unigram_loss(context=10) is None


# Documents


def test_separate_documents_stay_separate_and_their_ends_are_not_asked_for():
    tokens = [5, 6, 7, END, 8, 9, END, END, 3, 4] * 30
    text = text_of(tokens, tokens, separator=END)
    source = MaskedText(text, 0.5)
    for batch in [source.draw(context=20, batch=8, seed=0, step=0), *source.validation_batches(context=20, batch=8)]:
        split = originals(source, text.train, batch)
        ends = (split == END).long()
        assert torch.equal(batch.documents, ends.cumsum(1) - ends)
        assert (batch.targets != END).all()
        assert scored(batch).any(1).all()


def test_a_window_of_nothing_but_ends_is_asked_for_one():
    text = replace(text_of([END] * 50, [END] * 50), separator=END)
    assert scored(MaskedText(text, 0.1).draw(context=5, batch=2, seed=0, step=0)).sum(1).tolist() == [1, 1]


# The objective


@pytest.mark.parametrize(
    ("given", "canonical"),
    [("next-token", "next-token"), ("next_token", "next-token"), ("masked", "masked"), ("masked( rate = .3 )", None)],
)
def test_an_objective_is_a_name_with_options(given, canonical):
    assert canonical_objective(given) == (canonical or "masked(rate=0.3)")


def test_an_objective_makes_a_source_of_a_text():
    assert read_objective("next-token").source(TEXT) is TEXT
    masked = read_objective("masked(rate=0.4)").source(TEXT)
    assert (masked.text, masked.rate, read_objective("masked").rate) == (TEXT, 0.4, 0.15)
    assert (masked.name, masked.sha256, masked.tokenizer) == (TEXT.name, TEXT.sha256, TEXT.tokenizer)
    with pytest.raises(UsageError, match="context=333 is too long"):
        masked.check_context(333)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (
            "maskd",
            UsageError,
            r"^there is no objective 'maskd' \(did you mean 'masked'\?\); there are: next-token, mas",
        ),
        ("masked(rat=0.2)", UsageError, r"^masked has no option 'rat' \(did you mean 'rate'\?\); its options: rate$"),
        ("masked(rate=1)", UsageError, "^masked: rate=1 should be greater than 0 and less than 1, e.g. 0.15$"),
        ("masked(rate=fast)", UsageError, "^masked: option rate='fast' should be a valid number$"),
        ("next-token(rate=0.1)", UsageError, r"^next-token has no option 'rate'; it has no options$"),
        ("masked(rate=", PatternError, "ends too early"),
    ],
)
def test_a_mistake_in_an_objective(text, kind, message):
    with pytest.raises(kind, match=message):
        read_objective(text)


def test_a_task_has_an_objective_of_its_own():
    with pytest.raises(UsageError, match=r"^the task mqar has targets of its own: leave out objective=masked$"):
        load_source("mqar", tokenizer="byte", validation_fraction=0.1, objective="masked")
