import re

import pytest
import torch

import zoo
from zoo.backbone import Backbone, Layer, NamedMixer
from zoo.errors import UsageError
from zoo.lab import scale
from zoo.lab.match import LIMITS, match
from zoo.lab.size import measure_size
from zoo.registry import get_registry
from zoo.train.session import model_of
from zoo.train.settings import Settings

PATTERNS = [
    "dot-product",
    "correlation",
    "involution",
    "leviathan-moe",
    "correlation + involution",
    "correlation*3, involution",
    "dot-product(window=16), leviathan-moe",
]
LENGTH = 96


def build(settings: Settings):
    return model_of(settings, get_registry(), vocab_size=64)


def quantity_of(size, quantity):
    return {"params": size.parameters, "flops": size.training_flops, "state": size.state}[quantity]


def matched(mixer, quantity, target=None, **settings):
    """The settings that make a mixer as big as dot-product attention, and by how much they miss it, measured anew."""
    settings = {"dim": 64, **settings}
    if target is None:
        target = quantity_of(measure_size(build(Settings(mixer="dot-product", **settings)), length=LENGTH), quantity)
    found = match(build, Settings(mixer=mixer, **settings), quantity=quantity, target=target, length=LENGTH)
    size = measure_size(build(found.settings), length=LENGTH)
    assert size == found.size
    assert found.ratio == pytest.approx(quantity_of(size, quantity) / target)
    return found.settings, abs(found.ratio - 1)


@pytest.mark.slow
@pytest.mark.parametrize("mixer", PATTERNS)
def test_models_are_given_as_many_parameters(mixer):
    assert matched(mixer, "params")[1] <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize("mixer", PATTERNS)
@pytest.mark.parametrize("dim", [64, 128])
@pytest.mark.parametrize("channel_mixer", ["swiglu", "mlp"])
@pytest.mark.parametrize("quantity", ["params", "flops"])
def test_models_of_all_kinds_are_made_equally_big(mixer, dim, channel_mixer, quantity):
    settings, miss = matched(mixer, quantity, dim=dim, channel_mixer=channel_mixer)
    assert miss <= LIMITS[quantity]
    assert settings.channel_mixer.startswith(channel_mixer)
    assert settings.dim % 8 == 0


@pytest.mark.parametrize("mixer", ["correlation", "correlation*3, involution", "dot-product(window=16), leviathan-moe"])
def test_models_are_given_as_much_state(mixer):
    settings, miss = matched(mixer, "state")
    assert miss <= 0.05
    assert settings.channel_mixer == "swiglu"


def test_the_floating_point_operations_of_a_mixture_are_matched_too():
    assert matched("leviathan-moe", "flops")[1] <= 0.03


def test_a_model_that_is_near_enough_stays_as_it_is():
    assert matched("correlation", "params")[0] == Settings(mixer="correlation", dim=64)
    assert matched("dot-product", "flops", dim=100, heads=5)[0].dim == 100


def test_the_hidden_width_makes_up_for_what_the_width_leaves():
    settings, miss = matched("involution", "params", channel_mixer="swiglu(expansion=2)")
    assert re.fullmatch(r"swiglu\(hidden=\d+\)", settings.channel_mixer)
    narrower = settings.model_copy(update={"channel_mixer": "swiglu(expansion=2)"})
    target = measure_size(build(Settings(mixer="dot-product", dim=64, channel_mixer="swiglu(expansion=2)")), length=8)
    assert miss < abs(measure_size(build(narrower), length=8).parameters / target.parameters - 1)


def test_widths_that_the_heads_refuse_are_passed_over():
    settings, miss = matched("dot-product(heads=7)", "params", target=300_000)
    assert settings.dim % 14 == 0
    assert miss <= 0.01


# 4 layers, 64 tokens. A mixture of width d: 4 (20 d**2 + 9 d + 9 * 12) + 65 d, attention alone 4 (4 d**2 + d) + 65 d.
IMPOSSIBLE = {
    ("leviathan-moe", "params", 70_000, "none"): "'leviathan-moe' cannot have 70,000 parameters to within 1%: "
    "dim=24 has 30.1% less, dim=32 has 22.3% more; choose another --dim, a channel mixer, whose width fills gaps, "
    "or --match none",
    ("dot-product/none", "params", 68_000, "swiglu"): "'dot-product/none' cannot have 68,000 parameters to within 1%: "
    "dim=56 has 20.5% less, dim=64 has 2.9% more; choose another --dim, a channel mixer, whose width fills gaps, "
    "or --match none",
    ("involution(kernel_size=1)", "state", 500, "swiglu"): "'involution(kernel_size=1)' cannot have 500 numbers of "
    "state to within 5%: dim=64 has 100.0% less, wider than dim=64 is not tried; choose another --dim, or --match none",
    ("dot-product", "params", 10, "swiglu"): "'dot-product' cannot have 10 parameters to within 1%: nothing narrower "
    "can be built, dim=8 with swiglu(hidden=1) has 16940.0% more; choose another --dim, or --match none",
    ("involution", "state", 0, "swiglu"): "there are 0 numbers of state to match: choose another --match, "
    "or --match none",
}


@pytest.mark.parametrize("case", IMPOSSIBLE, ids=str)
def test_what_cannot_be_matched_says_how_near_it_came(case, monkeypatch):
    mixer, quantity, target, channel_mixer = case
    monkeypatch.setattr(scale, "WIDEST", 64)
    with pytest.raises(UsageError) as error:
        matched(mixer, quantity, target=target, channel_mixer=channel_mixer)
    assert str(error.value) == IMPOSSIBLE[case]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"mixer": "corelation"}, "did you mean 'correlation'"),
        ({"mixer": "correlation,"}, "the text ends too early"),
        ({"mixer": "dot-product(kv_heads=3)"}, "kv_heads=3 does not divide heads=4"),
        ({"mixer": "correlation", "channel_mixer": "swigloo"}, "no channel mixer is named 'swigloo'"),
        ({"mixer": "correlation", "positions": "learned", "context": 32}, "longer than the 32 learned positions"),
    ],
)
def test_a_mistake_that_no_width_mends_is_told_as_it_is(settings, told):
    with pytest.raises(UsageError, match=re.escape(told)):
        match(build, Settings(**settings), quantity="flops", target=1e6, length=LENGTH)


def test_the_global_random_state_is_left_as_it_was():
    before = torch.get_rng_state()
    match(build, Settings(mixer="involution", dim=32), quantity="flops", target=200_000, length=8)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_search_that_takes_too_long_ends(monkeypatch):
    monkeypatch.setattr(scale, "PATIENCE", -1.0)
    with pytest.raises(UsageError, match=r"dim=64 has .* less, .*, and the time for the search is over"):
        matched("involution", "params", target=10_000_000)


class Unstreamed(zoo.TokenMixer):
    def forward(self, x):
        return x

    def step(self, x, state=None):
        raise NotImplementedError


class ReadsItsWeights(zoo.TokenMixer):
    """Cannot be built without memory."""

    def __init__(self, dim):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(dim))
        self.largest = self.gain.max().item()

    def forward(self, x):
        return x * self.gain


def alone(cls):
    def build(settings):
        layer = Layer([NamedMixer("it", cls(dim=settings.dim))], None, dim=settings.dim, write_scale=1.0, dropout=0.0)
        return Backbone([layer], vocabulary=10, dim=settings.dim, context=32)

    return build


def test_a_model_that_cannot_stream_has_no_state_to_match():
    with pytest.raises(UsageError, match="it cannot stream, and has no state to match: choose another --match"):
        match(alone(Unstreamed), Settings(mixer="it"), quantity="state", target=10, length=8)


def test_a_mixer_that_cannot_be_built_without_memory_is_built_with():
    found = match(alone(ReadsItsWeights), Settings(mixer="it/none"), quantity="params", target=13 * 50, length=8)
    assert (found.settings.dim, found.ratio) == (50, 1)
