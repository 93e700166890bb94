"""Rows of unlike lengths score together what each of them scores alone."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from zoo_lm_eval.scoring import consecutive_rows, continuation_rows, measure

from zoo.data.batches import evaluation_windows
from zoo.data.source import IGNORE


def drawn(count, seed=0):
    return torch.randint(256, (count,), generator=torch.Generator().manual_seed(seed)).numpy()


@pytest.mark.parametrize("length", [2, 7, 32, 33, 100])
def test_a_text_is_cut_as_the_zoo_cuts_it(length):
    tokens = drawn(length)
    context = min(7, length - 1)
    rows = list(consecutive_rows(0, tokens, context))
    windows = [
        (inputs[: (targets != IGNORE).sum()].tolist(), targets[targets != IGNORE].tolist())
        for batch in evaluation_windows(tokens, context=context, batch=3)
        for inputs, targets in zip(batch.inputs, batch.targets, strict=True)
    ]
    assert [(row.tokens[:-1].tolist(), row.tokens[1:].tolist()) for row in rows] == windows
    assert all(row.targets == len(row.tokens) - 1 for row in rows)


@pytest.mark.parametrize(
    ("tokens", "first", "length", "expected"),
    [
        (6, 4, None, [(0, 6, 2)]),
        (6, 4, 5, [(0, 6, 2)]),
        (6, 4, 3, [(2, 6, 2)]),  # the context is cut from the left
        (9, 2, 3, [(1, 5, 3), (4, 8, 3), (5, 9, 1)]),  # so long a continuation takes several rows
        (9, 1, 1, [(place, place + 2, 1) for place in range(8)]),
    ],
)
def test_a_continuation_is_read_with_as_much_context_as_fits(tokens, first, length, expected):
    rows = list(continuation_rows(0, np.arange(tokens), first, length))
    assert [(int(row.tokens[0]), int(row.tokens[-1]) + 1, row.targets) for row in rows] == expected


@pytest.mark.parametrize("mixer", ["dot-product", "correlation, involution"])
@pytest.mark.parametrize("tokens_at_once", [1, 40, 10_000])
def test_rows_beside_each_other_score_what_they_score_alone(make_run, mixer, tokens_at_once):
    run, _ = make_run(mixer)
    texts = [drawn(length, length) for length in (3, 40, 17, 2, 33)]
    firsts = [1, 30, 16, 1, 5]
    rows = [row for index, text in enumerate(texts) for row in continuation_rows(index, text, firsts[index], None)]
    found = measure(run.model, rows, 6, precision="fp32", tokens_at_once=tokens_at_once)
    for index, (text, first) in enumerate(zip(texts, firsts, strict=True)):
        with torch.no_grad():
            logits = run.model(torch.from_numpy(text[:-1])[None]).logits[0, first - 1 :]
        expected = F.cross_entropy(logits, torch.from_numpy(text[first:]), reduction="sum")
        assert found.nats[index] == pytest.approx(float(expected), abs=1e-3)
        assert found.targets[index] == len(text) - first
        assert found.greedy[index] == (logits.argmax(-1).numpy() == text[first:]).all()
    assert (found.nats[5], found.targets[5], found.greedy[5]) == (0, 0, True)


def test_progress_is_reported_until_all_rows_are_done(make_run):
    run, _ = make_run()
    said = []
    rows = [row for index in range(5) for row in consecutive_rows(index, drawn(20), 32)]
    report = lambda done, total: said.append((done, total))  # noqa: E731
    measure(run.model, rows, 5, precision="fp32", tokens_at_once=40, progress=report)
    assert said == [(2, 5), (4, 5), (5, 5)]
