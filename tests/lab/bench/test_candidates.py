import pytest
import torch
from torch.testing import assert_close

from zoo.errors import PatternError, UsageError
from zoo.lab.bench.candidates import PLAIN, PlainAttention, build_candidates, plain_attention
from zoo.lab.bench.request import Request

CPU = torch.device("cpu")


def request(*patterns, **sizes):
    return Request(patterns=patterns, **{"dim": 16, "heads": 2} | sizes)


@pytest.mark.slow
def test_plain_attention_is_attention():
    torch.manual_seed(0)
    mixer, reads = PlainAttention(16, 2).double(), torch.randn(3, 7, 16, dtype=torch.float64)
    query, key, value = (mixer.project_in(reads)[..., 16 * i : 16 * i + 16].reshape(3, 7, 2, 8) for i in range(3))
    scores = torch.einsum("bthk,bshk->bhts", query, key) * 8**-0.5
    weights = scores.masked_fill(torch.ones(7, 7).triu(1).bool(), -torch.inf).softmax(-1)
    mixed = torch.einsum("bhts,bshk->bthk", weights, value).reshape(3, 7, 16)
    assert_close(mixer(reads), mixer.project_out(mixed))


@pytest.mark.parametrize("cuts", [(7,), (1,) * 7, (3, 1, 3), (1, 6)])
def test_plain_attention_streams(cuts):
    mixer, reads = PlainAttention(16, 2).double(), torch.randn(3, 7, 16, dtype=torch.float64)
    state, writes = None, []
    for piece in reads.split(list(cuts), dim=1):
        write, state = mixer.step(piece, state)
        writes.append(write)
    assert_close(torch.cat(writes, 1), mixer(reads))
    assert [leaf.shape for leaf in state] == [(3, 2, 7, 8)] * 2


def test_candidates_are_layers_alone():
    (plain, pair), failures = build_candidates(request("correlation*2,dot-product/mlp"), CPU)
    assert plain.name == PLAIN
    assert pair.name == "correlation*2, dot-product/mlp"
    assert [layer.channel is not None for layer in pair.layers] == [False, False, True]
    assert failures == {}
    # The projections of plain attention, and the gains of its norm and of the last one.
    assert plain.describe() == {"name": PLAIN, "layers": 1, "parameters": 4 * 256 + 32, "active_parameters": 1056}
    assert plain.parameters_bytes == 4 * 1056


def test_a_candidate_steps_as_it_runs():
    (_, candidate), _ = build_candidates(request("correlation + involution, dot-product"), CPU)
    stream = torch.randn(2, 9, 16)
    first, states = candidate.step(stream[:, :4])
    second, _ = candidate.step(stream[:, 4:], states)
    assert_close(torch.cat([first, second], 1), candidate(stream)[0])


@pytest.mark.slow
def test_auxiliary_losses_come_beside_the_stream():
    (_, candidate), _ = build_candidates(request("leviathan-moe(balance='loss')"), CPU)
    _, losses = candidate(torch.randn(1, 9, 16))
    assert losses
    assert all(loss.ndim == 0 for loss in losses)


def test_the_seed_decides():
    first, second = (
        plain_attention(request("x", seed=seed), CPU).layers[0].mixers[0].project_in.weight for seed in (0, 1)
    )
    again = plain_attention(request("x"), CPU).layers[0].mixers[0].project_in.weight
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_one_that_cannot_be_built_does_not_stop_the_others():
    built, failures = build_candidates(request("corelation", "dot-product", "correlation(max_lag=-1)"), CPU)
    assert [candidate.name for candidate in built] == [PLAIN, "dot-product"]
    assert list(failures) == ["corelation", "correlation(max_lag=-1)"]
    assert "did you mean 'correlation'" in failures["corelation"]
    assert all("\n" not in reason for reason in failures.values())


@pytest.mark.slow
def test_none_that_can_be_built_is_a_mistake():
    with pytest.raises(PatternError, match=r"(?s)no mixer is named 'corelation'.*\^\^\^"):
        build_candidates(request("corelation"), CPU)
    with pytest.raises(UsageError, match=r"^none of the 2 patterns can be built: 'x': no .*; 'y': no .*$"):
        build_candidates(request("x", "y"), CPU)


def test_the_same_one_twice_is_a_mistake():
    with pytest.raises(UsageError, match=r"^PATTERN: dot-product \+ correlation is given twice; once is enough$"):
        build_candidates(request("dot-product+correlation", "dot_product + correlation"), CPU)
