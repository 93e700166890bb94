import torch
from torch.testing import assert_close

from mixers.ops.loop import loop
from mixers.ops.scan import scan


def cell(x, state):
    h = (x["decay"] * state["h"] + x["x"],)
    return {"y": h[0], "steps": state["steps"]}, {"h": h[0], "steps": state["steps"] + 1}


def test_a_linear_cell_is_a_scan_document_by_document():
    x = {"decay": torch.randn(2, 5, 3), "x": torch.randn(2, 5, 3)}
    start = {"h": torch.randn(2, 3), "steps": torch.tensor([4, 9])}
    documents = torch.tensor([[0, 0, 1, 1, 1], [2, 2, 2, 2, 1]])
    y, last = loop(cell, x, start, documents=documents)
    expected = scan(x["decay"], x["x"], start["h"], documents=documents)
    assert_close((y["y"], last["h"]), expected)
    assert y["steps"].tolist() == [[4, 5, 0, 1, 2], [9, 10, 11, 12, 0]]
    assert last["steps"].tolist() == [3, 1]
    assert start["steps"].tolist() == [4, 9]


def test_a_document_may_start_from_other_states_than_zeros():
    x = {"decay": torch.ones(1, 3, 1), "x": torch.zeros(1, 3, 1)}
    state, fresh = ({"h": torch.full((1, 1), h), "steps": torch.zeros(1)} for h in (2.0, 7.0))
    y, _ = loop(cell, x, state, documents=torch.tensor([[0, 1, 1]]), initial=fresh)
    assert y["y"].flatten().tolist() == [2, 7, 7]
