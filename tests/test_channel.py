import pytest
import torch
import torch.nn.functional as F

from zoo.errors import UsageError
from zoo.model.members import create_channel_mixer
from zoo.model.parameters import count_parameters
from zoo.plugin.kinds import CHANNEL_MIXER
from zoo.plugin.pattern import Call
from zoo.plugin.registry import get_registry

NAMES = ["swiglu", "geglu", "mlp", "relu2"]


@pytest.fixture
def x():
    return torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))


def test_the_names():
    assert list(get_registry()[CHANNEL_MIXER].names) == ["geglu", "mlp", "moe", "none", "relu2", "swiglu"]


def test_swiglu_is_its_equation(x):
    mixer = create_channel_mixer("swiglu", dim=16)
    gate, value = (x @ weight.T for weight in mixer.project_in.weight.chunk(2))
    torch.testing.assert_close(mixer(x), (gate * gate.sigmoid() * value) @ mixer.project_out.weight.T)


def test_geglu_is_its_equation(x):
    mixer = create_channel_mixer("geglu", dim=16)
    gate, value = (x @ weight.T for weight in mixer.project_in.weight.chunk(2))
    torch.testing.assert_close(mixer(x), (F.gelu(gate, approximate="tanh") * value) @ mixer.project_out.weight.T)


def test_mlp_is_its_equation(x):
    mixer = create_channel_mixer("mlp", dim=16)
    hidden = F.gelu(x @ mixer.project_in.weight.T, approximate="tanh")
    torch.testing.assert_close(mixer(x), hidden @ mixer.project_out.weight.T)


def test_relu2_is_its_equation(x):
    mixer = create_channel_mixer("relu2", dim=16)
    hidden = (x @ mixer.project_in.weight.T).clamp_min(0) ** 2
    torch.testing.assert_close(mixer(x), hidden @ mixer.project_out.weight.T)


@pytest.mark.parametrize("name", NAMES)
def test_each_token_is_mixed_by_itself(name, x):
    mixer = create_channel_mixer(name, dim=16)
    torch.testing.assert_close(mixer(x)[1:, 2:3], mixer(x[1:, 2:3]))
    changed = x.clone()
    changed[0, 3] += 1
    touched = (mixer(changed) != mixer(x)).any(-1)
    assert touched.nonzero().tolist() == [[0, 3]]


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name, x):
    mixer = create_channel_mixer(name, dim=16)
    mixer(x).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in mixer.parameters())


def test_all_have_as_many_parameters_by_default():
    assert {count_parameters(create_channel_mixer(name, dim=48)) for name in NAMES} == {8 * 48**2}


@pytest.mark.parametrize(("name", "expansion", "hidden"), [("swiglu", 1, 16), ("mlp", 1.5, 32), ("mlp", 0.01, 16)])
def test_the_hidden_width_is_a_multiple_of_16(name, expansion, hidden):
    assert create_channel_mixer(Call(name, (("expansion", expansion),)), dim=16).project_out.in_features == hidden


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [{"hidden": 37}, {"hidden": 37, "expansion": 2}])
def test_a_given_hidden_width_is_taken_exactly(name, options, x):
    mixer = create_channel_mixer(Call(name, tuple(options.items())), dim=16)
    assert count_parameters(mixer) == {"swiglu": 3, "geglu": 3, "mlp": 2, "relu2": 2}[name] * 16 * 37
    assert mixer(x).shape == x.shape


def test_none_is_no_module():
    assert create_channel_mixer("none", dim=16) is None


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        (
            "swigly",
            {},
            "no channel mixer is named 'swigly' (did you mean 'swiglu'?); "
            "there are: geglu, mlp, moe, none, relu2, swiglu",
        ),
        ("none", {"expansion": 2}, "none has no option 'expansion'; it has no options"),
        ("mlp", {"width": 2}, "mlp has no option 'width'; its options: expansion, hidden"),
        ("mlp", {"expansion": "2"}, "mlp: option expansion='2' should be a valid number"),
        ("mlp", {"expansion": 0}, "mlp: expansion=0.0 should be greater than 0"),
        ("swiglu", {"hidden": 0}, "swiglu: hidden=0 should be 1 or more"),
        ("mlp", {"hidden": 2.5}, "mlp: option hidden=2.5 should be a valid integer"),
    ],
)
def test_what_cannot_be_is_refused(name, options, text):
    with pytest.raises(UsageError) as error:
        create_channel_mixer(Call(name, tuple(options.items())), dim=16)
    assert str(error.value) == text
