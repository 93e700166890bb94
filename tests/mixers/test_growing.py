import copy
import io
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixers.dot_product import DotProduct
from mixers.ops.growing import SPARE, append, in_own_memory


def drawn(tokens, seed=0, width=(4,)):
    return torch.randn(2, 3, tokens, *width, generator=torch.Generator().manual_seed(seed))


@given(
    sizes=st.lists(st.integers(0, 3 * SPARE), min_size=1, max_size=6),
    inference=st.booleans(),
    width=st.sampled_from([(), (4,), (2, 3)]),
)
def test_it_is_a_concatenation(sizes, inference, width):
    cache = whole = drawn(5, width=width)
    with torch.inference_mode() if inference else torch.no_grad():
        for number, size in enumerate(sizes):
            new = drawn(size, number, width)
            cache, whole = append(cache, new), torch.cat([whole, new], dim=2)
            assert torch.equal(cache, whole)


@torch.no_grad()
def test_nothing_is_copied_while_there_is_room():
    first = append(drawn(5), drawn(1))
    second = append(first, drawn(1, 1))
    assert second.data_ptr() == first.data_ptr()
    assert in_own_memory(second) is second
    assert in_own_memory(second[:, :, 1:]).data_ptr() != second[:, :, 1:].data_ptr()


@torch.no_grad()
def test_caches_that_branch_keep_what_they_had():
    stem = append(drawn(5), drawn(1))
    left, right = append(stem, drawn(1, 1)), append(stem, drawn(1, 2))
    assert torch.equal(left, torch.cat([stem, drawn(1, 1)], dim=2))
    assert torch.equal(right, torch.cat([stem, drawn(1, 2)], dim=2))
    assert torch.equal(append(left, drawn(2, 3))[:, :, -2:], drawn(2, 3))
    assert torch.equal(append(right, drawn(2, 4))[:, :, :-2], right)


@torch.no_grad()
def test_threads_that_branch_at_once_keep_what_they_had():
    stem = append(drawn(5), drawn(1))
    with ThreadPoolExecutor(8) as pool:
        grown = list(pool.map(lambda seed: append(stem, drawn(1, seed)), range(64)))
    for seed, cache in enumerate(grown):
        assert torch.equal(cache[:, :, -1:], drawn(1, seed))


def test_gradients_reach_all_of_it():
    past, new = drawn(3).requires_grad_(), drawn(2, 1).requires_grad_()
    grown = append(append(past, new), new)
    assert all(
        of.eq(times).all() for of, times in zip(torch.autograd.grad(grown.sum(), [past, new]), (1, 2), strict=True)
    )


def test_what_inference_mode_left_goes_on_outside_of_it():
    with torch.inference_mode():
        cache = append(drawn(5), drawn(1))
    with torch.no_grad():
        assert torch.equal(append(cache, drawn(1, 1)), torch.cat([cache, drawn(1, 1)], dim=2))


@torch.no_grad()
def test_a_copy_is_a_tensor_like_any_other():
    cache = append(drawn(5), drawn(1))
    file = io.BytesIO()
    torch.save({"key": cache}, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)["key"]
    for copied in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache)), loaded):
        assert torch.equal(copied, cache)
        assert torch.equal(append(copied, drawn(1, 1)), append(cache, drawn(1, 1)))


@pytest.mark.parametrize("window", [None, 3])
def test_a_mixer_steps_from_one_state_more_than_once(window):
    mix, x = DotProduct(16, window=window), torch.randn(1, 6, 16)
    with torch.inference_mode():
        _, state = mix.step(x[:, :3])
        _, state = mix.step(x[:, 3:4], state)
        first, _ = mix.step(x[:, 4:5], state)
        mix.step(x[:, 5:6], state)
        again, _ = mix.step(x[:, 4:5], state)
    assert torch.equal(first, again)
