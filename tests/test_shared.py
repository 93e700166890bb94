"""Places that share weights: one module, counted and trained once, that runs at every place."""

import re

import pytest
import torch
from torch import nn

from zoo import Mixed, TokenMixer, build_model, create_mixer
from zoo.errors import PatternError
from zoo.lab.size import measure_size
from zoo.model.build import check_pattern
from zoo.model.parameters import count_active_parameters, count_parameters, reinitialize
from zoo.model.shared import load_state_tensors, state_tensors
from zoo.plugin.kinds import MIXER
from zoo.plugin.registry import Entry, Origin, Plugin, Registry, get_registry
from zoo.testing.case import Case
from zoo.testing.laws import LAWS
from zoo.testing.subject import Sizes, Subject, subject_of
from zoo.testing.whole_model import WholeModel

VOCABULARY, DIM, CONTEXT = 11, 16, 12


class Counting(TokenMixer):
    """Says what it read, is told what it said, and counts how often each happened."""

    def __init__(self, dim, *, layer_index: int = -1, layers: int = -1):
        super().__init__()
        self.layer_index, self.layers, self.drawn, self.heard = layer_index, layers, 0, []
        self.project = nn.Linear(dim, dim, bias=False)
        self.gain = nn.Parameter(torch.empty(dim))
        self.register_buffer("seen", torch.empty(()))
        self.reset_parameters()

    def reset_parameters(self):
        self.drawn += 1
        nn.init.uniform_(self.gain)
        nn.init.zeros_(self.seen)

    def forward(self, x):
        size = x.detach().abs().mean()
        return Mixed(
            self.project(x).cumsum(1) * self.gain,
            {"size": x.square().mean()},
            {"size": size, "count": x[0, 0].new_tensor(3).long()},
        )

    def after_update(self, metrics):
        self.heard.append(dict(metrics))


ORIGIN = Origin("acme-mixers", "1.2", "acme")
CLASSES = {"counting": Counting}
BUILT_IN = [plugin for plugin in get_registry().plugins if not plugin.of(MIXER)]
REGISTRY = Registry([*BUILT_IN, Plugin(ORIGIN, tuple(Entry(name, cls, ORIGIN) for name, cls in CLASSES.items()))])


def build(pattern, *, seed=0, **settings):
    torch.manual_seed(seed)
    sizes = {"vocab_size": VOCABULARY, "dim": DIM, "heads": 2, "context": CONTEXT, "channel_mixer": "none"}
    return build_model(pattern, **sizes | settings)


def build_own(pattern, **settings):
    return build(pattern, registry=REGISTRY, **settings)


def draw_tokens(seed=1):
    return torch.randint(VOCABULARY, (3, 9), generator=torch.Generator().manual_seed(seed))


def mixers_of(model):
    return [mixer for layer in model.layers for mixer in layer.mixers]


# One module


def test_places_of_one_label_are_one_module_also_where_the_pattern_is_cycled():
    model = build("correlation@one, involution, correlation@two + correlation@one", layers=5)
    one, _, (two, side), again, _ = (list(layer.mixers) for layer in model.layers)
    assert side is again[0] is one[0]
    assert two is not one[0]
    assert model.layers[1].mixers[0] is not model.layers[4].mixers[0]
    assert model.layers[2].labels == ("correlation", "correlation-2")


def test_channel_mixers_share_by_label_too():
    model = build("correlation/swiglu@ff*2, involution/mlp, involution/swiglu@ff")
    channels = [layer.channel for layer in model.layers]
    assert channels[0] is channels[1] is channels[3]
    assert channels[2] is not channels[0]


def test_options_of_the_first_place_hold_for_all():
    model = build("correlation@one(max_lag=3), involution, correlation@one")
    assert model.layers[2].mixers[0] is model.layers[0].mixers[0]
    plain = build("correlation(max_lag=3)")
    assert [p.shape for p in model.layers[2].mixers[0].parameters()] == [
        p.shape for p in plain.layers[0].mixers[0].parameters()
    ]


def test_six_places_have_the_parameters_of_one_mixer():
    mixer = count_parameters(create_mixer("correlation", dim=DIM, heads=2))
    shared, apart = build("correlation@one*6"), build("correlation*6")
    assert count_parameters(shared) == mixer + (6 + 1) * DIM + VOCABULARY * DIM
    assert count_parameters(shared) == count_active_parameters(shared) == count_parameters(apart) - 5 * mixer


def test_idle_experts_are_taken_off_once():
    one, two = build("leviathan-moe"), build("leviathan-moe@one*2")
    idle = count_parameters(one) - count_active_parameters(one)
    assert idle > 0
    assert count_parameters(two) - count_active_parameters(two) == idle


@pytest.mark.slow
def test_operations_and_state_are_counted_at_every_place():
    shared, apart = (measure_size(build(pattern), length=8) for pattern in ("dot-product@one*3", "dot-product*3"))
    assert shared.parameters < apart.parameters
    assert (shared.forward_flops, shared.training_flops) == (apart.forward_flops, apart.training_flops)
    assert shared.state == apart.state


def test_the_host_fills_what_holds_at_the_first_place():
    mixers = mixers_of(build_own("counting, counting@one*2, counting"))
    assert [(mixer.layer_index, mixer.layers) for mixer in mixers] == [(0, 4), (1, 4), (1, 4), (3, 4)]


def test_reinitialising_draws_it_once():
    model = build_own("counting@one*3, counting")
    reinitialize(model, seed=3)
    assert [mixer.drawn for mixer in mixers_of(model)] == [2, 2, 2, 2]
    first = [value.clone() for value in model.parameters()]
    with torch.device("meta"):
        late = build_own("counting@one*3, counting")
    late.to_empty(device="cpu")
    assert len({id(mixer) for mixer in mixers_of(late)}) == 2
    reinitialize(late, seed=3)
    torch.testing.assert_close(list(late.parameters()), first, rtol=0, atol=0)


# What it computes


def test_it_computes_what_places_with_equal_weights_of_their_own_compute():
    shared, apart = build("correlation@one*6").double(), build("correlation*6").double()
    apart.load_state_dict(shared.state_dict())
    tokens = draw_tokens()
    torch.testing.assert_close(shared(tokens).logits, apart(tokens).logits, rtol=0, atol=0)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("pattern", ["correlation@one*6", "leviathan-moe@one/mlp@ff*3, involution/mlp@ff"])
def test_gradients_are_the_sum_over_the_places(pattern, checkpointing):
    shared, apart = build(pattern).double(), build(re.sub("@[a-z]+", "", pattern)).double()
    apart.load_state_dict(shared.state_dict())
    shared.activation_checkpointing = checkpointing
    for model in (shared, apart):
        output = model(draw_tokens(1), draw_tokens(2))
        output.loss.backward()
    summed = {}
    names = dict(shared.named_parameters(remove_duplicate=False))
    for name, parameter in apart.named_parameters():
        summed[id(names[name])] = summed.get(id(names[name]), 0) + parameter.grad
    assert len(summed) == len(list(shared.parameters())) < len(list(apart.parameters()))
    for parameter in shared.parameters():
        torch.testing.assert_close(parameter.grad, summed[id(parameter)], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cuts", [(1,) * 9, (4, 1, 4), (2, 7)])
def test_each_place_keeps_a_state_of_its_own(cuts):
    model = build("correlation@one, dot-product@two, involution + correlation@one, dot-product@two").double().eval()
    tokens, state, pieces = draw_tokens(), None, []
    for piece in tokens.split(cuts, dim=1):
        logits, state = model.step(piece, state)
        pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, dim=1), model(tokens).logits, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "law", [name for name, law in LAWS.items() if not (law.alone or law.thorough or law.names or name == "row-phases")]
)
def test_a_model_keeps_the_laws(law):
    class Built(Subject):
        def build(self, options, *, dim, heads, seed, layer=0):
            return WholeModel(build_own("counting@one, counting/mlp@ff, counting@one/mlp@ff", seed=seed))

    LAWS[law].check(Case(Built("built", None, None, {}), Sizes(2, 10, DIM, 2), {}, seed=1, cuts=(3, 4)))


def test_several_places_of_a_label_are_checked_as_a_whole_model_and_one_as_a_mixer():
    assert subject_of("correlation@one*2").whole_model
    one = subject_of("correlation@one(max_lag=3)")
    assert (one.whole_model, one.label) == (False, "correlation(max_lag=3)")


# What it says


def test_losses_and_metrics_are_those_of_every_place():
    output = build_own("counting@one, counting@one + counting@one")(draw_tokens(1), draw_tokens(2))
    said = [f"{place}.{name}" for place in ("0.counting", "1.counting", "1.counting-2") for name in ("size", "count")]
    assert list(output.metrics) == said
    assert list(output.losses) == ["cross_entropy", *said[::2]]
    assert output.metrics["0.counting.size"] != output.metrics["1.counting.size"]
    torch.testing.assert_close(output.loss, sum(output.losses.values()))


def test_it_hears_once_what_all_of_its_places_measured():
    model = build_own("counting@one, counting, counting@one")
    three, four, half = torch.tensor(3), torch.tensor(4), torch.tensor(0.5)
    model.after_update(
        {
            "0.counting.count": three, "0.counting.size": half,
            "1.counting.count": three, "1.counting.size": half,
            "2.counting.count": four, "2.counting.size": 3 * half,
        }
    )  # fmt: skip
    one, other, again = mixers_of(model)
    assert again is one
    assert one.heard == [{"count": 7, "size": 1.0}]
    assert other.heard == [{"count": 3, "size": 0.5}]


# What is saved


def test_each_tensor_is_saved_once_under_its_first_name():
    model = build_own("counting, counting@one/mlp@ff, counting@one/mlp@ff")
    tensors = state_tensors(model)
    assert sum(tensor.numel() for tensor in tensors.values()) == count_parameters(model) + len({*mixers_of(model)})
    again = {name for name in model.state_dict() if name not in tensors}
    assert again == {
        "layers.2.mixers.0.project.weight", "layers.2.mixers.0.gain", "layers.2.mixers.0.seen",
        "layers.2.channel.project_in.weight", "layers.2.channel.project_out.weight",
    }  # fmt: skip
    other = build_own("counting, counting@one/mlp@ff, counting@one/mlp@ff", seed=1)
    load_state_tensors(other, tensors)
    torch.testing.assert_close(other.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert mixers_of(other)[1] is mixers_of(other)[2]


def test_a_whole_state_dict_loads_too_and_a_wrong_one_is_refused():
    model, other = build_own("counting@one*2"), build_own("counting@one*2", seed=1)
    load_state_tensors(other, model.state_dict())
    torch.testing.assert_close(other.state_dict(), model.state_dict(), rtol=0, atol=0)
    tensors = state_tensors(model)
    del tensors["layers.0.mixers.0.gain"]
    with pytest.raises(RuntimeError, match=r"Missing key.*layers\.0\.mixers\.0\.gain.*layers\.1\.mixers\.0\.gain"):
        load_state_tensors(other, tensors)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        load_state_tensors(other, {**state_tensors(model), "layers.9.gain": torch.zeros(())})


def test_a_model_that_shares_nothing_is_saved_as_its_state_dict():
    model = build("correlation/swiglu, leviathan-moe/mlp")
    assert list(state_tensors(model)) == list(model.state_dict())


# Mistakes


def test_a_mistake_in_the_options_is_shown_at_the_first_place():
    pattern = "correlation@one(max_leg=3), correlation@one"
    for refuse in (build, check_pattern):
        with pytest.raises(PatternError) as caught:
            refuse(pattern)
        assert str(caught.value).split("\n")[2] == "  " + "^" * len("correlation@one(max_leg=3)")


def test_two_option_sets_of_a_label_are_refused_before_anything_is_built():
    with pytest.raises(PatternError, match="label 'one' already stands for") as caught:
        build("correlation@one(max_lag=3), correlation@one(max_lag=4)")
    assert str(caught.value).split("\n")[2].strip() == "^" * len("correlation@one(max_lag=4)")
