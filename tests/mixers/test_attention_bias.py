import pytest
import torch
from torch.testing import assert_close

from mixers.ops.attention import attend
from mixers.ops.attention_bias import attend_biased, attend_biased_reference, decay_biases

EXACT = {"rtol": 1e-10, "atol": 1e-10}


def drawn(*shape, dtype=torch.float64, scale=1.0):
    return (torch.randn(*shape, dtype=dtype) * scale).requires_grad_()


def inputs(t, s, *names, h=4, g=2, k=6, v=3):
    """Queries, keys and values, and what else is named."""
    torch.manual_seed(t + s)
    # a query whose every key is left out has nothing to attend to, so that its own token is kept
    keep = (torch.rand(2, 1, t, s) < 0.5) | torch.eye(s, dtype=torch.bool)[s - t :]
    more = {
        "log_decay": (-torch.rand(2, h, s, dtype=torch.float64)).requires_grad_(),
        "bias": drawn(1, h, t, s),
        "keep": keep,
        "sink": drawn(h),
    }
    return [drawn(2, h, t, k), drawn(2, g, s, k), drawn(2, g, s, v)], {name: more[name] for name in names}


def gradients(out, *inputs):
    upstream = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad(out, inputs, upstream)


@pytest.mark.parametrize(
    ("named", "numbers"),
    [
        (("log_decay",), {}),
        (("log_decay", "sink"), {"window": 5}),
        (("sink",), {}),
        (("keep",), {"window": 9}),
        (("keep", "sink", "log_decay", "bias"), {"soft_cap": 2.0, "window": 7}),
        ((), {"soft_cap": 1.5}),
    ],
)
@pytest.mark.parametrize(("t", "s"), [(1, 1), (1, 7), (7, 7), (9, 33)])
def test_fast_form_has_the_values_and_gradients_of_the_reference(t, s, named, numbers):
    tensors, more = inputs(t, s, *named)
    options = {"scale": 0.4, **more, **numbers}
    fast, slow = attend_biased(*tensors, **options), attend_biased_reference(*tensors, **options)
    assert_close(fast, slow, **EXACT)
    learned = [*tensors, *(x for x in more.values() if x.requires_grad)]
    assert_close(gradients(fast, *learned), gradients(slow, *learned), **EXACT)


@pytest.mark.parametrize("t", [63, 65, 100, 130, 300])
def test_chunks_meet_without_a_seam(t):
    (query, key, value), more = inputs(t, t, "log_decay", "sink", h=1, g=1)
    fused = attend_biased(query, key, value, scale=0.4, **more)
    sums = decay_biases(more["log_decay"], t)
    bias = sums.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), 0)
    held = attend_biased(query, key, value, scale=0.4, bias=bias, sink=more["sink"])
    assert_close(fused, held, **EXACT)
    assert_close(gradients(fused, query, more["log_decay"]), gradients(held, query, more["log_decay"]), **EXACT)


def test_plain_calls_are_plain_attention():
    (query, key, value), _ = inputs(40, 150)
    assert_close(attend_biased(query, key, value, scale=0.4), attend(query, key, value, scale=0.4), **EXACT)


def test_pieces_give_what_the_whole_gives():
    (query, key, value), more = inputs(33, 33, "log_decay", "sink")
    whole = attend_biased(query, key, value, scale=0.4, **more)
    for start, end in ((0, 1), (1, 20), (20, 33)):
        now = {**more, "log_decay": more["log_decay"][..., :end]}
        piece = attend_biased(query[:, :, start:end], key[:, :, :end], value[:, :, :end], scale=0.4, **now)
        assert_close(piece, whole[:, :, start:end], **EXACT)


def test_strong_decays_stay_finite_and_exact_in_float32():
    torch.manual_seed(0)
    query, key, value = (drawn(1, 2, 200, 8, dtype=torch.float32) for _ in range(3))
    decay = (torch.randn(1, 2, 200) * 20).abs().neg().requires_grad_()
    out = attend_biased(query, key, value, scale=0.4, log_decay=decay)
    wide = [x.detach().double() for x in (query, key, value)]
    assert_close(out.double(), attend_biased(*wide, scale=0.4, log_decay=decay.double()), rtol=0, atol=1e-4)
    assert all(gradient.isfinite().all() for gradient in gradients(out, query, key, value, decay))


def test_small_decays_keep_their_precision_over_long_texts():
    torch.manual_seed(0)
    decay = -torch.rand(1, 1, 20000) * 5
    query, key, value = torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 20000, 2), torch.randn(1, 1, 20000, 2)
    out = attend_biased(query, key, value, scale=1.0, log_decay=decay)
    wide = attend_biased(query.double(), key.double(), value.double(), scale=1.0, log_decay=decay.double())
    assert_close(out.double(), wide, rtol=0, atol=1e-5)


@pytest.mark.parametrize("numbers", [{}, {"soft_cap": 5.0}])
def test_half_precision_keeps_its_dtype_and_its_neighbourhood(numbers):
    tensors, more = inputs(40, 40, "log_decay", "sink")
    half = [x.detach().bfloat16() for x in tensors]
    out = attend_biased(*half, scale=0.4, **more, **numbers)
    assert out.dtype == torch.bfloat16
    exact = attend_biased(*(x.double() for x in half), scale=0.4, **more, **numbers)
    assert_close(out.double(), exact, rtol=0.02, atol=0.02)


@pytest.mark.slow
def test_compiles_whole():
    tensors, more = inputs(33, 40, "log_decay", "sink")
    compiled = torch.compile(attend_biased, fullgraph=True, backend="aot_eager")
    assert_close(compiled(*tensors, scale=0.4, **more), attend_biased(*tensors, scale=0.4, **more), **EXACT)
