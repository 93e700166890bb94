import pytest
import torch
from torch import nn

from zoo import TokenMixer
from zoo.describe.members import list_members
from zoo.describe.mixers import describe_mixer
from zoo.describe.parts import parse_doc
from zoo.describe.plugins import list_plugins
from zoo.errors import PluginError, UsageError
from zoo.plugin.kinds import MIXER
from zoo.plugin.pattern import parse_call
from zoo.plugin.registry import Entry, Origin, Plugin, Registry

DOC = """A mixer that is told of
in two lines.

    y = a x
      + b

a and b are what they are.

    a = 1

Options:
    one: the first.

    two: the second,
        which goes on.

Cost: much.

    a table of it

Raises:
    ValueError: now
        and then.

This is a remark.

Source: somebody.
"""


class Sparse(TokenMixer):
    """Uses a part of itself."""

    def __init__(self, dim: int, *, heads: int, scale: float = float("inf"), kinds: tuple[str, ...] = ("a", "b")):
        super().__init__()
        self.scale, self.kinds = scale, kinds
        self.weight = nn.Parameter(torch.zeros(dim, heads))
        self.active_parameters = dim

    def forward(self, x):
        return x

    def step(self, x, state=None):
        return x, {"last": x[:, -1], "first": (x[:, :1, :2] if state is None else state["first"][0],), "note": "words"}


class Stumbling(TokenMixer):
    """Falls in its second step."""

    def forward(self, x):
        return x

    def step(self, x, state=None):
        if state is not None:
            raise RuntimeError("over its feet")
        return x, x


class Acausal(TokenMixer):
    """Sees all."""

    causal = False

    def forward(self, x):
        return x


@pytest.fixture
def registry():
    origin = Origin("some-mixers", "1.0", "some", "/some/file.py")
    classes = {"sparse": Sparse, "stumbling": Stumbling, "acausal": Acausal}
    entries = tuple(Entry(name, cls, origin) for name, cls in classes.items())
    return Registry([Plugin(origin, entries), Plugin(Origin("bad", "2", "x"), error="E: why", traceback="T")])


def describe(call, registry, **sizes):
    return describe_mixer(parse_call(call), registry=registry, **{"dim": 8, "heads": 2} | sizes)


def test_a_docstring_comes_apart():
    assert parse_doc(DOC.strip()) == {
        "summary": "A mixer that is told of in two lines.",
        "equation": "y = a x\n  + b\n\na = 1",
        "text": "a and b are what they are.\n\nThis is a remark.",
        "cost": "much.\n\na table of it",
        "errors": "ValueError: now\n    and then.",
        "source": "somebody.",
    }


def test_no_docstring_is_empty_parts():
    assert set(parse_doc("").values()) == {""}


def test_list_members(registry):
    sparse = list_members(registry, MIXER, "sp*")[0]
    assert [entry["name"] for entry in list_members(registry, MIXER)] == ["acausal", "sparse", "stumbling"]
    assert sparse["summary"] == "Uses a part of itself."
    assert sparse["origin"] == {"distribution": "some-mixers", "version": "1.0", "entry_point": "some"}
    options = {option["name"]: option for option in sparse["options"]}
    assert options["heads"] == {"name": "heads", "type": "int", "default": None, "required": False, "meaning": ""}
    assert options["scale"]["default"] == "inf"  # JSON has no such number
    assert options["kinds"]["default"] == ["a", "b"]


def test_list_plugins(registry):
    good, bad = list_plugins(registry)
    assert (good["status"], good["gives"], good["error"]) == ("ok", {"mixer": ["sparse", "stumbling", "acausal"]}, None)
    assert (bad["status"], bad["gives"], bad["error"], bad["traceback"]) == ("broken", {}, "E: why", "T")


class Short(TokenMixer):
    """Takes eight tokens."""

    max_length = 8

    def forward(self, x):
        if x.shape[1] > 8:
            raise ValueError("eight tokens, not more")
        return x.cumsum(1)


def test_a_mixer_of_limited_reach_is_measured_as_far_as_it_goes():
    origin = Origin("some-mixers", "1.0", "some")
    told = describe("short", Registry([Plugin(origin, (Entry("short", Short, origin),))]))
    assert told["state"] == {1: 8, 8: 64}
    assert told["traits"]["lengths"] == (2, 8)


def test_parameters_and_state_are_counted(registry):
    told = describe("sparse", registry)
    assert (told["parameters"], told["active_parameters"], told["heads"]) == (16, 8, 2)
    assert told["state"] == {1: 10, 64: 10, 1024: 10}
    assert told["origin"]["file"] == __file__
    assert describe("sparse(heads=3)", registry)["parameters"] == 24
    assert describe("sparse(heads=3)", registry)["heads"] == 3


def test_a_mixer_that_sees_the_future_has_no_state(registry):
    assert describe("acausal", registry)["state"] is None


def test_a_mixer_that_fails_to_step_is_named(registry):
    with pytest.raises(PluginError, match=r"stumbling, from some-mixers 1\.0 .* failed to step: RuntimeError: over"):
        describe("stumbling", registry)


def test_an_unknown_mixer(registry):
    with pytest.raises(UsageError, match="did you mean 'sparse'"):
        describe("sparce", registry)
