import re

import pytest
import torch

import zoo
from zoo.errors import UsageError
from zoo.lab import sizing
from zoo.lab.match import LIMITS, match
from zoo.lab.size import measure_size
from zoo.model.backbone import Backbone
from zoo.model.layer import Layer, NamedMixer
from zoo.plugin.registry import get_registry
from zoo.train.session import model_of
from zoo.train.settings import Settings

from ..stacks import pre_norm  # noqa: TID252 - pytest finds the parts of the tests by where they are

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
@pytest.mark.parametrize(("quantity", "dim", "channel_mixer"), [("params", 128, "mlp"), ("flops", 64, "swiglu")])
def test_models_of_all_kinds_are_made_equally_big(mixer, dim, channel_mixer, quantity):
    settings, miss = matched(mixer, quantity, dim=dim, channel_mixer=channel_mixer)
    assert miss <= LIMITS[quantity]
    assert settings.channel_mixer.startswith(channel_mixer)
    assert settings.dim % 8 == 0


@pytest.mark.slow
@pytest.mark.parametrize("mixer", ["correlation", "correlation*3, involution", "dot-product(window=16), leviathan-moe"])
def test_models_are_given_as_much_state(mixer):
    settings, miss = matched(mixer, "state")
    assert miss <= 0.05
    assert settings.channel_mixer == "swiglu"


@pytest.mark.slow
def test_the_floating_point_operations_of_a_mixture_are_matched_too():
    assert matched("leviathan-moe", "flops")[1] <= 0.03


@pytest.mark.slow
def test_a_model_that_is_near_enough_stays_as_it_is():
    assert matched("correlation", "params")[0] == Settings(mixer="correlation", dim=64)
    assert matched("dot-product", "flops", dim=100, heads=5)[0].dim == 100


@pytest.mark.slow
def test_the_hidden_width_makes_up_for_what_the_width_leaves():
    settings, miss = matched("involution", "params", channel_mixer="swiglu(expansion=2)")
    assert re.fullmatch(r"swiglu\(hidden=\d+\)", settings.channel_mixer)
    narrower = settings.model_copy(update={"channel_mixer": "swiglu(expansion=2)"})
    target = measure_size(build(Settings(mixer="dot-product", dim=64, channel_mixer="swiglu(expansion=2)")), length=8)
    assert miss < abs(measure_size(build(narrower), length=8).parameters / target.parameters - 1)


@pytest.mark.slow
def test_widths_that_the_heads_refuse_are_passed_over():
    settings, miss = matched("dot-product(heads=7)", "params", target=300_000)
    assert settings.dim % 14 == 0
    assert miss <= 0.01


# 4 layers, 64 tokens. A mixture of width d: 4 (20 d**2 + 9 d + 9 * 12) + 65 d, attention alone 4 (4 d**2 + d) + 65 d.
NEAREST = {
    ("leviathan-moe", 70_000, "none", 64): (0.02, 0.1),
    ("dot-product/none", 68_000, "swiglu", 64): (0.0, 0.03),
    ("dot-product", 10, "swiglu", 64): (50, 200),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", NEAREST, ids=str)
def test_where_nothing_is_near_enough_the_nearest_is_taken(case, monkeypatch):
    mixer, target, channel_mixer, widest = case
    monkeypatch.setattr(sizing, "MAX_WIDTH", widest)
    low, high = NEAREST[case]
    assert low <= matched(mixer, "params", target=target, channel_mixer=channel_mixer)[1] <= high


@pytest.mark.slow
def test_other_numbers_of_heads_take_other_widths():
    """With 4 heads of an even size the widths are multiples of 8; the target is that of 60."""
    other, miss = matched("dot-product/none", "params", target=61_740)
    assert (other.dim, miss) == (60, 0)
    assert other.heads in (3, 5)
    fixed, miss = matched("dot-product(heads=4)/none", "params", target=61_740)
    assert (fixed.dim, fixed.heads) == (56, 4)
    assert miss == pytest.approx(0.125, abs=0.001)


@pytest.mark.parametrize("quantity", ["state", "params"])
def test_no_size_to_match(quantity):
    with pytest.raises(UsageError, match=r"^there are 0 .* to match: choose another `match`, or `match`=none$"):
        matched("involution", quantity, target=0)


def test_a_model_without_state_is_never_near(monkeypatch):
    monkeypatch.setattr(sizing, "MAX_WIDTH", 64)
    text = "'involution(kernel_size=1)' has no numbers of state to match at any width: choose another `match`"
    with pytest.raises(UsageError, match=re.escape(text)):
        matched("involution(kernel_size=1)", "state", target=500)


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_global_random_state_is_left_as_it_was():
    before = torch.get_rng_state()
    match(build, Settings(mixer="involution", dim=32), quantity="flops", target=200_000, length=8)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_a_search_that_takes_too_long_ends(monkeypatch):
    monkeypatch.setattr(sizing, "TIME_LIMIT", -1.0)
    settings, miss = matched("involution", "params", target=10_000_000)
    assert settings.dim == 64
    assert miss > 0.9


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
        layer = Layer([NamedMixer("it", cls(dim=settings.dim))], None)
        return Backbone([layer], pre_norm([layer], settings.dim), vocabulary=10, dim=settings.dim, context=32)

    return build


def test_a_model_that_cannot_stream_has_no_state_to_match():
    with pytest.raises(UsageError, match="it cannot stream, and has no state to match: choose another `match`"):
        match(alone(Unstreamed), Settings(mixer="it"), quantity="state", target=10, length=8)


def test_a_mixer_that_cannot_be_built_without_memory_is_built_with():
    found = match(alone(ReadsItsWeights), Settings(mixer="it/none"), quantity="params", target=13 * 50, length=8)
    assert (found.settings.dim, found.ratio) == (50, 1)
