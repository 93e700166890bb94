import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zoo.data.batches import IGNORE, draw_batch, evaluation_windows
from zoo.errors import UsageError
from zoo.model.backbone import IGNORE as IGNORED_BY_THE_MODEL

SIZES = st.tuples(st.integers(1, 20), st.integers(0, 60)).map(lambda pair: (pair[0], pair[0] + 1 + pair[1]))
STEPS = st.integers(0, 2**63)


def counting(length: int) -> np.ndarray:
    """Each token is its own place."""
    return np.arange(length, dtype=np.uint16)


@given(SIZES, st.integers(1, 9), STEPS, STEPS, st.integers(0, 1000))
def test_windows_lie_within_the_text(size, batch, seed, step, rank):
    context, length = size
    drawn = draw_batch(counting(length), context=context, batch=batch, seed=seed, step=step, rank=rank)
    assert drawn.inputs.dtype == drawn.targets.dtype == drawn.offsets.dtype == torch.int64
    places = drawn.offsets[:, None] + torch.arange(context)
    assert torch.equal(drawn.inputs, places)
    assert torch.equal(drawn.targets, places + 1)
    assert drawn.offsets.shape == (batch,)
    assert drawn.inputs.is_contiguous()
    assert drawn.targets.is_contiguous()


@given(STEPS, STEPS, st.integers(0, 1000))
def test_a_draw_is_a_pure_function(seed, step, rank):
    settings = {"context": 8, "batch": 4, "seed": seed, "step": step, "rank": rank}
    first = draw_batch(counting(10_000), **settings)
    before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    draw_batch(counting(10_000), **settings | {"step": step + 1})
    assert torch.equal(draw_batch(counting(10_000), **settings).offsets, first.offsets)
    assert (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


@pytest.mark.parametrize("what", ["seed", "step", "rank"])
def test_seed_step_and_rank_draw_apart(what):
    settings = {"context": 1, "batch": 64, "seed": 3, "step": 3, "rank": 3}
    text = np.broadcast_to(np.zeros(1, dtype=np.uint8), 2**30)
    drawn = [draw_batch(text, **settings | {what: value}).offsets.tolist() for value in range(20)]
    together = [offset for offsets in drawn for offset in offsets]
    assert len(set(together)) == len(together)  # a shared word of the stream would show; chance repeats 1 in 1300


def test_the_draw_is_the_same_on_every_machine():
    drawn = draw_batch(counting(1000), context=4, batch=6, seed=7, step=11, rank=2)
    assert drawn.offsets.tolist() == [174, 257, 796, 256, 217, 241]


def test_every_place_is_drawn_about_equally_often():
    drawn = [draw_batch(counting(12), context=2, batch=100, seed=0, step=step).offsets for step in range(100)]
    counts = torch.cat(drawn).bincount()
    assert len(counts) == 10
    chi_squared = float(((counts - 1000) ** 2 / 1000).sum())
    assert chi_squared < 28  # 0.1 % of nine degrees of freedom


@given(SIZES, st.integers(1, 9))
def test_every_token_but_the_first_is_a_target_once(size, batch):
    context, length = size
    seen = []
    for window in evaluation_windows(counting(length), context=context, batch=batch):
        inputs, targets = window.inputs, window.targets
        assert inputs.dtype == targets.dtype == torch.int64
        assert inputs.shape == targets.shape
        assert 1 <= len(inputs) <= batch
        assert inputs.shape[1] == context
        scored = targets != IGNORE
        assert torch.equal(inputs[scored], targets[scored] - 1)
        assert not inputs[~scored].any()
        assert not (scored[:, 1:] & ~scored[:, :-1]).any()  # what is filled up comes last
        seen += targets[scored].tolist()
    assert seen == list(range(1, length))


@given(SIZES, st.integers(1, 9), st.integers(1, 100))
def test_a_limit_takes_windows_spread_over_the_text(size, batch, limit):
    context, length = size
    rows = [
        row
        for window in evaluation_windows(counting(length), context=context, batch=batch, limit=limit)
        for row in window.inputs
    ]
    starts = [int(row[0]) for row in rows]
    total = -(-(length - 1) // context)
    assert len(rows) == min(total, max(1, limit // context))
    assert all(start % context == 0 for start in starts)
    gaps = np.diff([start // context for start in starts])
    assert not len(gaps) or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)


def test_few_windows_stand_in_the_middles_of_equal_parts():
    windows = evaluation_windows(counting(101), context=10, batch=5, limit=25)
    assert [window.inputs[:, 0].tolist() for window in windows] == [[20, 70]]


def test_a_context_longer_than_the_text():
    message = (
        "context=64 is too long for a text of 64 tokens: a window needs 65 of them, choose a `context` below 64 or "
        "pass a longer text"
    )
    with pytest.raises(UsageError) as caught:
        draw_batch(counting(64), context=64, batch=1, seed=0, step=0)
    assert str(caught.value) == message
    with pytest.raises(UsageError) as caught:
        evaluation_windows(counting(64), context=64, batch=1)  # at once, not when the first window is asked for
    assert str(caught.value) == message
    assert draw_batch(counting(65), context=64, batch=1, seed=0, step=0).offsets.tolist() == [0]


@pytest.mark.parametrize("length", [0, 1])
def test_a_text_that_no_context_fits(length):
    message = f"a text of {length} tokens is too short: a token and the one after it make two"
    with pytest.raises(UsageError, match=message):
        draw_batch(counting(length), context=1, batch=1, seed=0, step=0)


def test_a_seed_of_more_than_64_bits():
    with pytest.raises(UsageError, match=f"seed={2**200} has more than 64 bits"):
        draw_batch(counting(64), context=8, batch=1, seed=2**200, step=0)


@pytest.mark.parametrize(("context", "batch"), [(0, 1), (1, 0), (-1, 1)])
def test_sizes_of_zero_or_below(context, batch):
    with pytest.raises(UsageError, match=f"context={context} and batch={batch} should be 1 or more"):
        draw_batch(counting(64), context=context, batch=batch, seed=0, step=0)
    with pytest.raises(UsageError, match=f"context={context} and batch={batch} should be 1 or more"):
        evaluation_windows(counting(64), context=context, batch=batch)


def test_a_negative_seed():
    with pytest.raises(UsageError, match="seed=-1 should be 0 or more"):
        draw_batch(counting(64), context=1, batch=1, seed=-1, step=0)


def test_what_is_ignored_here_is_ignored_by_the_model():
    assert IGNORE == IGNORED_BY_THE_MODEL
