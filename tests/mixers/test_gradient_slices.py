"""The gradient of a slice is as long as what it is a slice of: one a token makes training quadratic."""

from math import prod

import pytest
import torch

import zoo
from zoo import Mixed
from zoo.plugin.kinds import MIXER
from zoo.plugin.registry import get_registry

QUADRATIC = {"forgetting", "leviathan-moe", "moba", "multi-token", "nsa", "path", "stick-breaking"}
"""They compute every pair of tokens anyway, some queries at a time."""

WINDOWED = {"based"}
"""Attention to a window takes slices of all keys, for 128 queries at a time: little beside the rest."""


def numbers_in_slices(out):
    """How many numbers the gradients of all slices in a graph have together."""
    seen, to_see, count = set(), [out.grad_fn], 0
    while to_see:
        node = to_see.pop()
        if node is not None and node not in seen:
            seen.add(node)
            if node.name() in ("SelectBackward0", "SliceBackward0", "IndexBackward0"):
                count += prod(node._saved_self_sym_sizes)
            to_see += [parent for parent, _ in node.next_functions]
    return count


def test_slices_of_every_token_are_counted():
    x = torch.ones(8, 4, requires_grad=True)
    assert numbers_in_slices(torch.stack([x[t] for t in range(8)])) == 8 * 32
    assert numbers_in_slices(torch.stack(x.unbind())) == 0


@pytest.mark.parametrize("name", sorted(set(get_registry()[MIXER].names) - QUADRATIC - WINDOWED))
def test_their_gradients_grow_linearly(name):
    mixer = zoo.create_mixer(name, dim=16, heads=2, context=512)
    sizes = []
    for length in (256, 512):
        found = mixer(torch.randn(1, length, 16, requires_grad=True))
        sizes.append(numbers_in_slices(found.out if isinstance(found, Mixed) else found))
    assert sizes[1] <= 2.5 * sizes[0]
