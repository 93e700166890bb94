"""Classes in the place of names: in `build_model` and `create_mixer`, without registering them."""

from functools import partial

import pytest
import torch

import zoo
from zoo.errors import PluginError, UsageError
from zoo.model.members import create_channel_mixer, create_residual
from zoo.plugin.kinds import MIXER
from zoo.plugin.registry import get_registry

SIZES = {"vocab_size": 7, "dim": 8, "heads": 2, "context": 8}
TOKENS = torch.tensor([[1, 2, 3, 4]])


class Scaled(zoo.TokenMixer):
    """Each token writes a multiple of its read."""

    def __init__(self, factor: float = 0.5, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.factor, self.shape = factor, shape

    def forward(self, x):
        return zoo.Mixed(self.factor * x, metrics={"factor": torch.tensor(self.factor)})


class Squared(zoo.ChannelMixer):
    """Each token writes the square of its read."""

    def forward(self, x):
        return x * x


class Plain(zoo.Residual):
    """Adds every write as it is."""

    def __init__(self, dim: int, *, sites: int, gain: float = 1.0) -> None:
        super().__init__(dim, sites=sites)
        self.gain = gain

    def open(self, embedded):
        return embedded

    def read(self, stream, site):
        return stream

    def write(self, stream, site, written):
        return stream + self.gain * written

    def close(self, stream):
        return stream


class DotProduct(Scaled):
    """Has the name of a built-in mixer, as a pattern spells it."""


class Mlp(Scaled):
    """A token mixer with the name of a built-in channel mixer."""


class Failing(zoo.TokenMixer):
    def __init__(self) -> None:
        super().__init__()
        raise RuntimeError("no memory of that")


def parts(model):
    return [(type(layer.mixers[0]), type(layer.channel)) for layer in model.layers]


def test_a_class_stands_where_a_name_may_stand():
    assert isinstance(zoo.create_mixer(Scaled, dim=8), Scaled)
    assert isinstance(create_channel_mixer(Squared, dim=8), Squared)
    assert isinstance(create_residual(Plain, dim=8, layers=1, roles=["token"]), Plain)
    model = zoo.build_model(Scaled, **SIZES, layers=2, channel_mixer=Squared, residual=Plain)
    assert parts(model) == [(Scaled, Squared)] * 2
    assert isinstance(model.residual, Plain)
    assert model(TOKENS).metrics.keys() == {"0.scaled.factor", "1.scaled.factor"}


def test_nothing_is_registered_by_it():
    before = get_registry()
    zoo.build_model(Scaled, **SIZES, channel_mixer=Squared, residual=Plain)
    assert get_registry() is before
    with pytest.raises(UsageError, match="no mixer is named 'scaled'"):
        zoo.create_mixer("scaled", dim=8)


def test_options_of_a_class_are_given_with_partial():
    assert zoo.create_mixer(partial(Scaled, factor=3.0, shape=[1, 2]), dim=8).factor == 3.0
    scheme = partial(Plain, gain=0.25)
    model = zoo.build_model(partial(Scaled, factor=2), **SIZES, residual=scheme, channel_mixer=partial(Scaled))
    assert (model.layers[0].mixers[0].factor, model.residual.gain, model.layers[0].channel.factor) == (2, 0.25, 0.5)


def test_a_list_is_the_layers_from_the_bottom_up():
    layers = [Scaled, "dot-product/none*2", partial(Scaled, factor=2)]
    model = zoo.build_model(layers, **SIZES, layers=5)
    assert [type(layer.mixers[0]).__name__ for layer in model.layers] == [
        "Scaled", "DotProduct", "DotProduct", "Scaled", "Scaled",
    ]  # fmt: skip
    assert [layer.mixers[0].factor for layer in model.layers if isinstance(layer.mixers[0], Scaled)] == [0.5, 2, 0.5]
    assert zoo.build_model(["dot-product"], **SIZES).state_dict().keys() == (
        zoo.build_model("dot-product", **SIZES).state_dict().keys()
    )


def test_a_registered_class_goes_by_its_registered_name(registered):
    registered("half", Scaled)
    model = zoo.build_model([Scaled, "half"], **SIZES)
    assert parts(model)[0][0] is parts(model)[1][0] is Scaled
    assert set(model(TOKENS).metrics) == {"0.half.factor", "1.half.factor"}


def test_a_class_with_the_name_of_a_member_is_not_taken_for_it():
    model = zoo.build_model([DotProduct, "dot-product"], **SIZES, channel_mixer=Mlp)
    assert parts(model)[0] == (DotProduct, Mlp)
    assert parts(model)[1][0] is get_registry()[MIXER].find("dot-product").cls


def test_a_registered_mixer_with_the_name_of_a_channel_mixer_is_not_taken_for_it(registered):
    registered("mlp", Mlp)
    assert type(zoo.build_model("mlp", **SIZES, channel_mixer=Mlp).layers[0].channel) is Mlp


def test_a_mistake_in_a_class_names_it():
    with pytest.raises(UsageError, match=r"^scaled: option factor='a' should be a valid number$"):
        zoo.build_model(partial(Scaled, factor="a"), **SIZES)
    with pytest.raises(UsageError, match=r"^scaled has no option 'fcator' \(did you mean 'factor'\?\)"):
        zoo.create_mixer(partial(Scaled, fcator=1), dim=8)
    with pytest.raises(PluginError, match=r"^failing, from tests.*test_classes\.Failing, failed to build: Runtime"):
        zoo.build_model(Failing, **SIZES)


INSTANCE = "pass the class Scaled and not an instance of it; with options it is functools.partial(Scaled, …)"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"pattern": Scaled()}, INSTANCE),
        ({"pattern": ["dot-product", Scaled()]}, INSTANCE),
        (
            {"pattern": Squared},
            "Squared is a channel mixer, and a mixer is expected: pass a name, or a subclass of zoo.TokenMixer",
        ),
        (
            {"pattern": "dot-product", "channel_mixer": Plain},
            "Plain is a residual scheme, and a channel mixer is expected: "
            "pass a name, or a subclass of zoo.ChannelMixer or zoo.TokenMixer",
        ),
        (
            {"pattern": "dot-product", "residual": torch.nn.Linear},
            "Linear is no member of any kind, and a residual scheme is expected: "
            "pass a name, or a subclass of zoo.Residual",
        ),
        ({"pattern": 3}, "a mixer is a name or a subclass of zoo.TokenMixer, not int"),
        ({"pattern": [["dot-product"]]}, "a mixer is a name or a subclass of zoo.TokenMixer, not list"),
        ({"pattern": []}, "there is no layer: expected one or more"),
        (
            {"pattern": partial(Scaled, 2.0)},
            "partial(Scaled, …) has arguments without a name: write options as partial(Scaled, name=…)",
        ),
        (
            {"pattern": partial(Scaled, factor=max)},
            "Scaled: <built-in function max> is no value of an option: "
            "expected True, False, None, a finite number, text, or a tuple or list of those",
        ),
    ],
)
def test_what_is_no_class_is_refused(arguments, text):
    with pytest.raises(UsageError) as error:
        zoo.build_model(**arguments, **SIZES)
    assert str(error.value) == text
