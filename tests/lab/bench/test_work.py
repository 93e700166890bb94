import pytest
import torch

from zoo import Mixed, TokenMixer
from zoo.errors import UsageError
from zoo.lab.bench.candidates import Candidate, build_candidates, plain_attention
from zoo.lab.bench.request import Request
from zoo.lab.bench.work import prepare_work
from zoo.model.layer import Layer, NamedMixer
from zoo.train.flops import count_flops

from ...stacks import pre_norm  # noqa: TID252 - pytest finds the parts of the tests by where they are

CPU = torch.device("cpu")
REQUEST = Request(patterns=("correlation",), dim=16, heads=2, batch=3, device="cpu")
PARAMETERS = 4 * (4 * 16 * 16 + 2 * 16)  # of the projections and the two norms
READS = 4 * 3 * 20 * 16


def work(kind, length=20, candidate=None, request=REQUEST):
    return prepare_work(kind, candidate or plain_attention(request, CPU), length, request, CPU)


@pytest.mark.parametrize(
    ("kind", "moved", "tokens"),
    [
        ("forward", PARAMETERS + 2 * READS, 60),
        ("train", 2 * PARAMETERS + 4 * READS, 60),
        ("memory", 2 * PARAMETERS + 4 * READS, 60),
        ("prefill", PARAMETERS + 4 * READS, 60),  # keys and values are written
        ("decode", PARAMETERS + 2 * READS, 3),  # keys and values are read
    ],
)
def test_bytes_and_tokens_counted_by_hand(kind, moved, tokens):
    prepared = work(kind)
    assert (prepared.bytes_moved, prepared.tokens) == (moved, tokens)
    assert prepared.state == (2 * READS if kind in ("prefill", "decode") else None)


@pytest.mark.slow
def test_operations_counted_by_hand():
    projections, scores = 2 * 60 * 4 * 16 * 16, 2 * 2 * 3 * 20 * 20 * 16
    assert count_flops(work("forward").call) == projections + scores
    # The gradients of the two norms sum some products on top.
    assert count_flops(work("train").call) == pytest.approx(3 * projections + scores + 5 * scores / 2, rel=0.03)
    assert count_flops(work("decode").call) == 2 * 3 * 4 * 16 * 16 + 2 * 2 * 3 * 21 * 16


def test_training_reaches_every_parameter_and_leaves_no_gradient():
    candidate = plain_attention(REQUEST, CPU)
    reached = set()
    for name, parameter in candidate.named_parameters():
        parameter.register_hook(lambda gradient, name=name: reached.add(name) or None)
    work("train", candidate=candidate).call()
    assert reached == {name for name, _ in candidate.named_parameters()}
    assert all(parameter.grad is None for parameter in candidate.parameters())
    assert candidate.training


class Regularised(TokenMixer):
    """Has a parameter that shows in its auxiliary loss alone."""

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        return Mixed(x, {"size": self.gain.square()})


def test_auxiliary_losses_take_part_in_training():
    mixer, gradients = Regularised(), []
    mixer.gain.register_hook(lambda gradient: gradients.append(gradient.item()))
    layer = Layer([NamedMixer("regularised", mixer)], None)
    work("train", candidate=Candidate("regularised", [layer], pre_norm([layer], 16))).call()
    assert gradients == [2.0]


def test_a_forward_pass_keeps_no_graph():
    seen = []

    class Spy(Candidate):
        def forward(self, stream):
            seen.append((torch.is_grad_enabled(), self.training))
            return super().forward(stream)

    plain = plain_attention(REQUEST, CPU)
    work("forward", candidate=Spy("spy", list(plain.layers), plain.residual)).call()
    assert seen == [(False, False)]


def test_decoding_goes_on_from_one_state_that_stays():
    seen = []

    class Spy(Candidate):
        def step(self, stream, states=None):
            seen.append((stream.shape[1], 0 if states is None else states[0][0][0].shape[2]))
            return super().step(stream, states)

    plain = plain_attention(REQUEST, CPU)
    prepared = work("decode", 600, Spy("spy", list(plain.layers), plain.residual))
    assert seen == [(512, 0), (88, 512)]
    prepared.call()
    prepared.call()
    assert seen[2:] == [(1, 600), (1, 600)]


def test_a_prompt_is_one_step_from_no_state():
    seen = []

    class Spy(Candidate):
        def step(self, stream, states=None):
            seen.append((stream.shape[1], states, torch.is_grad_enabled()))
            return super().step(stream, states)

    plain = plain_attention(REQUEST, CPU)
    prepared = work("prefill", 600, Spy("spy", list(plain.layers), plain.residual))
    prepared.call()
    assert seen == [(600, None, False)] * 2  # the first to know the size of the state


def test_what_is_too_long_is_told():
    candidate = plain_attention(REQUEST, CPU)
    candidate.max_length = 20
    assert work("forward", 20, candidate).tokens == 60
    for kind, length in [("forward", 21), ("decode", 20)]:
        with pytest.raises(UsageError, match=r"^it takes at most 20 tokens$"):
            work(kind, length, candidate)


def test_half_precision_is_autocast():
    request = Request(patterns=("correlation",), dim=16, heads=2, device="cpu", precision="bf16")
    (_, candidate), _ = build_candidates(request, CPU)
    dtypes = []
    candidate.layers[0].mixers[0].register_forward_hook(lambda _m, _a, out: dtypes.append(out.dtype))
    work("train", candidate=candidate, request=request).call()
    assert dtypes == [torch.bfloat16]
