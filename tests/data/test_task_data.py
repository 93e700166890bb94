from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from zoo.data.examples import TEST_SHARE, is_for_test
from zoo.data.task_data import TaskData
from zoo.errors import PluginError, UsageError
from zoo.task import IGNORE, Examples, Task
from zoo.train.evaluate import evaluate


class Echo(Task):
    """Say at every other position what stands there."""

    def __init__(self, length=4, vocab=16, examples=None, test_lengths=(), test_examples=50):
        self.length, self.vocab_size, self.train_examples = length, vocab, examples
        self.test_lengths, self.test_examples = test_lengths, test_examples

    def draw(self, generator, examples, *, length, test):
        inputs = generator.integers(0, self.vocab_size, (examples, length))
        targets = np.where(np.arange(length) % 2 == 0, inputs, IGNORE)
        places = np.tile(np.arange(length), (examples, 1))
        return Examples(inputs, targets, slices={"first": inputs[:, 0], "place": places})


def data(**options):
    return TaskData(Echo(**options), "echo")


def draw(source, **arguments):
    return source.draw(**{"context": source.task.length, "batch": 8, "seed": 0, "step": 0} | arguments)


def rows(batches):
    return [tuple(row) for batch in batches for row in batch.inputs.tolist()]


def test_a_batch_says_where_its_targets_are():
    batch = draw(data(length=5))
    assert batch.inputs.dtype == batch.targets.dtype == batch.where.dtype == torch.int64
    assert batch.where.tolist() == [5 * row + place for row in range(8) for place in (0, 2, 4)]
    assert torch.equal(batch.inputs.flatten()[batch.where], batch.targets.flatten()[batch.where])
    assert batch.slices["first"].tolist() == batch.inputs[:, :1].expand(8, 5).tolist()
    assert batch.slices["place"][3].tolist() == [0, 1, 2, 3, 4]


def test_a_batch_is_a_function_of_seed_and_step():
    first, again = draw(data(), seed=3, step=7), draw(data(), seed=3, step=7)
    assert torch.equal(first.inputs, again.inputs)
    for seed, step in ((3, 8), (4, 7)):
        assert not torch.equal(first.inputs, draw(data(), seed=seed, step=step).inputs)


def test_no_sequence_of_the_test_is_trained_on():
    source = data(length=2, vocab=12)  # 144 sequences: without care nearly all would be in both
    trained = set(rows(draw(source, batch=100, step=step) for step in range(40)))
    tested = set(rows(source.validation_batches(context=2, batch=16)))
    assert len(trained) > 100
    assert tested
    assert not trained & tested
    fixed = data(length=2, vocab=12, examples=300)
    assert not set(rows(draw(fixed, batch=100, step=step) for step in range(6))) & tested


@pytest.mark.slow
def test_a_task_that_is_not_disjoint_keeps_everything():
    source = data(length=2, vocab=12)
    source.task.disjoint = False
    trained, tested = set(rows([draw(source, batch=4000)])), set(rows(source.validation_batches(context=2, batch=16)))
    assert len(trained) == 144
    assert trained >= tested


@pytest.mark.slow
@pytest.mark.parametrize("length", [3, 64])
def test_the_split_is_even_and_blind(length):
    inputs = np.random.default_rng(0).integers(0, 16, (64000, length))
    chosen = is_for_test(inputs)
    if length == 3:
        inputs, chosen = np.unique(inputs, axis=0), is_for_test(np.unique(inputs, axis=0))
    share = 1 / TEST_SHARE
    assert abs(chosen.mean() - share) < 5 * np.sqrt(share * (1 - share) / len(inputs))
    for place in range(length):  # every token is as common in the test as elsewhere
        counts = np.bincount(inputs[chosen, place], minlength=16)
        assert np.abs(counts - counts.mean()).max() < 6 * np.sqrt(counts.mean())
    assert (is_for_test(inputs[:, ::-1]) != chosen).any()


def test_the_test_is_always_the_same_and_can_be_cut():
    source = data(length=6)
    whole, cut = (
        list(source.validation_batches(context=6, batch=16)),
        list(source.validation_batches(context=6, batch=16, limit=20 * 6)),
    )
    assert [len(batch.inputs) for batch in whole] == [16, 16, 16, 2]
    assert [len(batch.inputs) for batch in cut] == [16, 4]
    assert rows(cut) == rows(whole)[:20] == rows(data(length=6).validation_batches(context=6, batch=16))[:20]
    assert len(next(source.validation_batches(context=12, batch=16)).inputs[0]) == 12
    assert source.sha256 == data(length=6, examples=9).sha256 != data(length=7).sha256


def test_a_training_set_is_gone_through_in_epochs_each_in_an_order_of_its_own():
    source = data(examples=20)
    batches = [draw(source, batch=8, step=step) for step in range(10)]
    numbers = torch.cat([batch.offsets for batch in batches]).tolist()
    epochs = [numbers[start : start + 20] for start in range(0, 80, 20)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert all(first != second for first, second in pairwise(epochs))
    by_number = {}
    for batch in batches:
        for number, row in zip(batch.offsets.tolist(), batch.inputs.tolist(), strict=True):
            assert by_number.setdefault(number, row) == row
    assert torch.equal(draw(data(examples=20), batch=8, step=5).inputs, batches[5].inputs)
    assert rows([draw(source, batch=20, seed=1)]) != rows([draw(source, batch=20, seed=0)])


def test_the_context_is_the_task_s():
    data(length=4).check_context(4)
    with pytest.raises(UsageError, match=r"^context=8, but the task echo has sequences of 4 tokens: leave"):
        data(length=4).check_context(8)


def test_a_task_of_too_few_sequences():
    everything = [np.arange(vocab)[:, None] for vocab in range(1, 9)]
    alone = [len(sequences) for sequences in everything if not is_for_test(sequences).any()]
    assert alone
    few = r"^the task echo has too few different sequences of 1 tokens to keep some apart for the test: make it longer"
    with pytest.raises(UsageError, match=few):
        next(data(length=1, vocab=alone[-1]).validation_batches(context=1, batch=4))


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (lambda x: x.inputs, "a ndarray, not zoo.Examples"),
        (lambda x: Examples(x.inputs[:, :2], x.targets), r"inputs of shape \(\d+, 2\), not \(\d+, 4\) \(b, t\)"),
        (lambda x: Examples(x.inputs, x.targets[:1]), r"targets of shape \(1, 4\)"),
        (lambda x: Examples(x.inputs + 1, x.targets), "inputs from 1 to 16, with a vocabulary of 16"),
        (
            lambda x: Examples(x.inputs, np.where(x.targets == IGNORE, IGNORE, x.targets - 1)),
            "targets from -1 to 14, with a vocabulary of 16",
        ),
        (lambda x: Examples(x.inputs, np.full_like(x.targets, IGNORE)), "a sequence without a target"),
        (lambda x: Examples(x.inputs, x.targets, x.inputs >= 0), "scored positions without a target"),
        (lambda x: Examples(x.inputs, x.targets, slices={"a": x.inputs[:1]}), r"the slice 'a' of shape \(1, 4\)"),
    ],
)
def test_what_a_broken_task_draws_is_told(wrong, fault):
    class Broken(Echo):
        def draw(self, generator, examples, *, length, test):
            return wrong(super().draw(generator, examples, length=length, test=test))

    with pytest.raises(PluginError, match=f"^the task broken drew {fault}"):
        draw(TaskData(Broken(), "broken"), batch=400)


def test_a_task_that_fails_to_draw_is_told():
    class Failing(Echo):
        def draw(self, generator, examples, *, length, test):
            return 1 / 0

    with pytest.raises(PluginError, match=r"^the task failing failed to draw: ZeroDivisionError: division by zero$"):
        draw(TaskData(Failing(), "failing"))


def test_a_training_set_takes_no_more_bytes_than_it_needs():
    for vocab, size in ((16, 2), (200, 2), (40_000, 4)):
        source = data(length=8, vocab=vocab, examples=100)
        draw(source, batch=4)
        kept = source._training_set(0)
        assert kept.targets.itemsize == size
        assert kept.inputs.itemsize <= size
        assert kept.slices == {}
        again = np.concatenate([draw(source, batch=50, step=step).targets.numpy() for step in range(2)])
        assert (again.min(), again.max()) == (IGNORE, kept.targets.max())
        assert again.max() > vocab // 2


class Even(Echo):
    """Say any even token; the target is one of them."""

    def draw(self, generator, examples, *, length, test):
        drawn = super().draw(generator, examples, length=length, test=test)
        targets = np.where(drawn.targets == IGNORE, IGNORE, 2 * (drawn.targets // 2))
        accepted = np.zeros((examples, length, self.vocab_size), dtype=bool)
        accepted[..., ::2] = True
        return Examples(drawn.inputs, targets, accepted=accepted)


class SaysZero(torch.nn.Module):
    """A model that is sure of the token 0, or of another one."""

    def __init__(self, token=0):
        super().__init__()
        self.token, self.parameter = token, torch.nn.Parameter(torch.zeros(()))

    def forward(self, inputs, where=None):
        logits = torch.nn.functional.one_hot(torch.full_like(inputs, self.token), 16).float()
        return SimpleNamespace(logits=logits if where is None else logits.flatten(0, 1)[where])


@pytest.mark.parametrize(("token", "accuracy"), [(0, 1.0), (14, 1.0), (3, 0.0)])
def test_where_several_tokens_are_accepted_any_of_them_is_correct(token, accuracy):
    source = TaskData(Even(), "even")
    score = evaluate(
        SaysZero(token), source.validation_batches(context=4, batch=16), precision="fp32", by_sequence=True
    )
    assert score.accuracy == accuracy
    assert score.scored == score.targets == 100  # two of four positions in 50 sequences
    assert torch.cat(score.sequences)[:, 2].tolist() == [2 * accuracy] * 50
    assert 0 < source.guess_levels([4])["length"]["4"] <= 1
    assert ("(" in source.sample(SaysZero(token), tokens=4, seed=0)) == (accuracy == 0)


def test_what_is_accepted_holds_the_target_and_is_of_the_vocabulary():
    class NotTheTarget(Even):
        def draw(self, generator, examples, *, length, test):
            drawn = super().draw(generator, examples, length=length, test=test)
            return replace(drawn, accepted=~drawn.accepted)

    class Narrow(Even):
        def draw(self, generator, examples, *, length, test):
            drawn = super().draw(generator, examples, length=length, test=test)
            return replace(drawn, accepted=drawn.accepted[..., 1:])

    with pytest.raises(PluginError, match="a target that is not among the accepted tokens"):
        draw(TaskData(NotTheTarget(), "even"))
    with pytest.raises(PluginError, match=r"accepted as bool \(\d+, 4, 15\), not bool \(\d+, 4, 16\)"):
        draw(TaskData(Narrow(), "even"))
