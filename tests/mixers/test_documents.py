import itertools
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mixers.correlation import Correlation
from mixers.dot_product import DotProduct
from mixers.involution import Involution
from mixers.leviathan_moe import LeviathanMoE
from mixers.ops.documents import by_document, positions
from zoo import Mixed

EXACT = {"rtol": 1e-9, "atol": 1e-9}
DIM = 16
CORRELATIONS = [
    {"axis": axis, "compare": compare, "pool": pool, "dynamic": dynamic}
    for (axis, compare), pool, dynamic in itertools.product(
        [("time", "key"), ("time", "joint"), ("feature", "key")], ["sum", "logsumexp", "max"], [False, True]
    )
]
FORMS = [
    *((DotProduct, options) for options in [
        {},
        {"kv_heads": 2, "qk_norm": True, "gated": True, "bias": True, "window": 4},
        {"rope": False, "window": 1},
        {"heads": 1},
    ]),
    *((Correlation, options) for options in CORRELATIONS),
    (Correlation, {"max_lag": 0}),
    (Correlation, {"max_lag": 5, "kv_heads": 2, "qk_norm": True, "gated": True, "bias": True, "window": 4}),
    (Correlation, {"compare": "joint", "pool": "logsumexp", "qk_norm": True, "rope": False, "window": 3}),
    *((Involution, options) for options in [
        {},
        {"kernel_size": 3, "dilation": 4, "groups": 2},
        {"kernel_size": 5, "normalize": "softmax", "reduction": 1},
        {"kernel_size": 1},
    ]),
    *((LeviathanMoE, options) for options in [
        {},
        {"experts": 3, "top_k": 1, "shared_expert": False, "rope": False},
        {"experts": 4, "top_k": 3, "max_lag": 0, "kv_heads": 2},
        {"experts": 2, "top_k": 2, "max_lag": 5, "balance": "loss"},
    ]),
]  # fmt: skip


def mixer(cls, options, dim=DIM):
    torch.manual_seed(0)
    built = cls(dim, **options).double()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return built


def rows_of(*lengths):
    """Documents of these lengths in each row; ids fall, repeat in other rows and come back in the same one."""
    return torch.stack([torch.cat([torch.full((n,), (7, -3)[i % 2]) for i, n in enumerate(row)]) for row in lengths])


def each_document(documents):
    """The row, the first token and the end of every document, found token by token."""
    for row, ids in enumerate(documents.tolist()):
        bounds = [0, *(t for t in range(1, len(ids)) if ids[t] != ids[t - 1]), len(ids)]
        yield from ((row, start, stop) for start, stop in itertools.pairwise(bounds))


def one_by_one(mix, x, documents):
    """The write of packed rows, each document run by itself."""
    out = torch.empty_like(x)
    for row, start, stop in each_document(documents):
        out[row, start:stop] = Mixed.of(mix(x[row : row + 1, start:stop])).out[0]
    return out


def with_gradients(mix, x, write):
    upstream = torch.randn(write.shape, dtype=write.dtype, generator=torch.Generator().manual_seed(1))
    inputs = [x, *mix.parameters()]
    return write, *torch.autograd.grad(write, inputs, upstream, allow_unused=True, materialize_grads=True)


def check(mix, documents, dim=DIM):
    x = torch.randn(*documents.shape, dim, dtype=torch.float64, requires_grad=True)
    packed = Mixed.of(mix(x, documents=documents)).out
    assert_close(with_gradients(mix, x, packed), with_gradients(mix, x, one_by_one(mix, x, documents)), **EXACT)


@pytest.mark.parametrize(("cls", "options"), FORMS)
def test_a_packed_row_gives_what_each_document_gives_alone(cls, options):
    documents = rows_of((1, 5, 17, 1), (24,), (12, 12), (1, 1, 2, 1, 19), (23, 1))
    check(mixer(cls, options), documents)


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (DotProduct, {}),
        (Correlation, {"compare": "joint"}),
        (Correlation, {"window": 140}),
        (LeviathanMoE, {"experts": 2}),
    ],
)
def test_documents_that_are_longer_than_a_chunk(cls, options):
    check(mixer(cls, options), rows_of((150, 150), (10, 290)))


@pytest.mark.parametrize("cls", [DotProduct, Correlation, Involution, LeviathanMoE])
def test_rows_of_one_document_are_rows_without(cls):
    mix, x = mixer(cls, {}), torch.randn(3, 12, DIM, dtype=torch.float64)
    packed = Mixed.of(mix(x, documents=torch.tensor([[5], [0], [5]]).expand(3, 12))).out
    assert_close(packed, Mixed.of(mix(x)).out, rtol=0, atol=1e-14)


def test_losses_and_metrics_are_those_of_all_tokens():
    mix, documents = mixer(LeviathanMoE, {"experts": 3, "balance": "loss"}), rows_of((1, 9, 6), (16,))
    x = torch.randn(2, 16, DIM, dtype=torch.float64)
    packed, plain = mix(x, documents=documents), mix(x)
    assert_close(packed.losses, plain.losses, **EXACT)
    assert_close(packed.metrics, plain.metrics, **EXACT)
    alone = [mix(x[row : row + 1, start:stop]) for row, start, stop in each_document(documents)]
    by_tokens = sum(mixed.losses["z"] * mixed.out.shape[1] for mixed in alone) / documents.numel()
    assert_close(packed.losses["z"], by_tokens, **EXACT)
    assert torch.equal(packed.metrics["tokens_per_expert"], sum(mixed.metrics["tokens_per_expert"] for mixed in alone))


@pytest.mark.parametrize("cls", [DotProduct, Correlation, Involution, LeviathanMoE])
def test_documents_of_another_shape(cls):
    expected = "documents has the shape (2, 5): expected one id a token, (2, 4) (b, t)"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        mixer(cls, {})(torch.randn(2, 4, DIM, dtype=torch.float64), documents=torch.zeros(2, 5, dtype=torch.int64))


def test_positions_count_from_the_start_of_each_document():
    documents = rows_of((1, 3, 2), (6,), (2, 2, 2))
    assert positions(documents).tolist() == [[0, 0, 1, 2, 0, 1], [0, 1, 2, 3, 4, 5], [0, 1, 0, 1, 0, 1]]


def test_padding_is_zero_and_at_the_end_of_a_bucket():
    documents, seen = rows_of((20, 18, 2)), []
    x = torch.arange(1.0, 41)[None, :, None]

    def mix(bucket):
        seen.append(bucket[..., 0].tolist())
        return bucket

    assert torch.equal(by_document(mix, documents, x), x)
    assert seen == [[[*range(1, 21)], [*range(21, 39), 0, 0]], [[39, 40]]]


def test_gradients_of_gradients_pass_through_packing():
    x = torch.randn(2, 5, 2, dtype=torch.float64, requires_grad=True)
    documents = rows_of((2, 3), (4, 1))
    assert torch.autograd.gradgradcheck(lambda x: by_document(lambda own: own.cumsum(1) ** 2, documents, x), x)


ROWS = st.integers(2, 24).flatmap(
    lambda t: st.lists(st.lists(st.integers(0, 2), min_size=t, max_size=t), min_size=1, max_size=3)
)


@pytest.mark.slow
@given(ROWS, st.sampled_from(FORMS))
@settings(max_examples=15)
def test_any_boundaries(rows, form):
    check(mixer(*form), torch.tensor(rows))
