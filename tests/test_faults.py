"""An error in a part of a model names the part, its place, its maker, and a line of its own code."""

import inspect
import re

import pytest
import torch
from torch import nn

from zoo import Mixed, TokenMixer
from zoo.channel_mixers.feed_forward import MLP
from zoo.errors import PluginError, UsageError
from zoo.model import faults
from zoo.model.backbone import Backbone
from zoo.model.faults import describe_error, explaining
from zoo.model.layer import Layer, NamedMixer
from zoo.plugin.catalogue import Entry, Origin, Plugin
from zoo.plugin.kinds import MIXER
from zoo.plugin.registry import Registry, get_registry

from .stacks import pre_norm

BUILT_IN = [plugin for plugin in get_registry().plugins if not plugin.of(MIXER)]

DIM = 8


class Sound(TokenMixer):
    def forward(self, x):
        return x.cumsum(1)


class Raises(TokenMixer):
    def forward(self, x):
        return self._mix(x)

    def _mix(self, x):
        return torch.linalg.inv(x)  # raises in torch, called from here


class Returns(TokenMixer):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return self.value


class NoDerivative(torch.autograd.Function):
    @staticmethod
    def forward(_ctx, x):
        return x.clone()

    @staticmethod
    def backward(_ctx, gradient):
        raise ValueError("no derivative")


class FailsInBackward(TokenMixer):
    def forward(self, x):
        return NoDerivative.apply(x)


class StepsWithoutState(Sound):
    def step(self, x, state=None):
        return x


class FailsAfterUpdate(Sound):
    def after_update(self, metrics):
        metrics["load"]


class Inherits(Raises):
    pass


class BrokenMLP(MLP):
    def forward(self, x):
        return None


def model_of(*mixers, channel=None):
    layers = [Layer([NamedMixer("sound", Sound()), NamedMixer("own", mixer)], channel) for mixer in mixers]
    return Backbone(layers, pre_norm(layers, DIM), vocabulary=5, dim=DIM, context=4)


def line_of(function, text=""):
    lines, start = inspect.getsourcelines(function)
    return f"{__file__}:{start + next(index for index, line in enumerate(lines) if text in line)}"


def failure(run):
    with pytest.raises(PluginError) as caught, explaining():
        run()
    assert "\n" not in str(caught.value)
    return str(caught.value)


TOKENS = torch.zeros(2, 3, dtype=torch.int64)
WHERE = r"\(layer 1, part 1\.own, from the module [\w.]*test_faults\)"


@pytest.mark.parametrize("cls", [Raises, Inherits])
def test_what_a_mixer_raises(cls):
    text = failure(lambda: model_of(Sound(), cls())(TOKENS))
    assert re.match(rf"{cls.__name__} {WHERE}: RuntimeError: linalg.inv: .*, in ", text)
    assert text.endswith(line_of(Raises._mix, "inv"))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "forward returns None: return the write, or a Mixed"),
        ([1], "forward returns a list: return the write, or a Mixed"),
        (Mixed(None), "forward returns None: return the write, or a Mixed"),
        (torch.zeros(2, 3), "forward writes (2, 3) for reads of (2, 3, 8): a write has the shape of its read"),
        (Mixed(torch.zeros(2, 3, 8), {"z": torch.zeros(2)}), "loss 'z' has the shape (2,): a loss is one number"),
        (Mixed(torch.zeros(2, 3, 8), {"z": None}), "loss 'z' is None: a loss is a tensor of one number"),
    ],
)
def test_what_is_no_write_is_told_as_the_check_tells_it(value, words):
    text = failure(lambda: model_of(Sound(), Returns(value))(TOKENS))
    assert re.fullmatch(rf"Returns {WHERE}: {re.escape(words)}, in {re.escape(line_of(Returns.forward))}", text)


def test_a_step():
    text = failure(lambda: model_of(Sound(), StepsWithoutState()).step(TOKENS))
    words = "step returns a Tensor: return the write and the state, (write, state)"
    assert text.endswith(f": {words}, in {line_of(StepsWithoutState.step)}")
    text = failure(lambda: model_of(Sound(), Returns(None)).step(TOKENS))
    assert "forward returns None" in text


def test_a_backward_pass_in_which_no_module_has_its_turn():
    model = model_of(Sound(), FailsInBackward())

    def step():
        model(TOKENS, TOKENS).loss.backward()

    text = failure(step)
    others = r"Sound \(layers 0, 1, from the module [\w.]*test_faults\)"  # of the same file: it may have been they
    assert re.match(rf"{others} or FailsInBackward {WHERE}: ValueError: no derivative, in ", text)
    assert text.endswith(line_of(NoDerivative.backward, "raise"))


def test_two_of_a_kind_that_cannot_be_told_apart_are_both_named():
    model = model_of(FailsInBackward(), FailsInBackward())

    def step():
        model(TOKENS, TOKENS).loss.backward()

    assert re.search(
        r"or FailsInBackward \(layers 0, 1, from the module .*\): ValueError: no derivative", failure(step)
    )


@pytest.mark.parametrize("recomputing", [False, True])
def test_a_layer_that_is_computed_again(recomputing):
    model = model_of(Sound(), Raises())
    model.activation_checkpointing = recomputing
    assert "part 1.own" in failure(lambda: model(TOKENS))


def test_what_follows_an_update():
    text = failure(lambda: model_of(Sound(), FailsAfterUpdate()).after_update({}))
    assert text.endswith(f": KeyError: 'load', in {line_of(FailsAfterUpdate.after_update, 'metrics[')}")


def test_a_channel_mixer():
    text = failure(lambda: model_of(Sound(), channel=BrokenMLP(DIM))(TOKENS))
    assert text.startswith("BrokenMLP (layer 0, part 0.channel, from the module ")
    assert text.endswith(f"forward returns None: return the write, or a Mixed, in {line_of(BrokenMLP.forward)}")


def test_a_registered_mixer_has_its_name_and_its_distribution(monkeypatch):
    origin = Origin("acme-mixers", "1.2", "acme")
    registry = Registry([*BUILT_IN, Plugin(origin, tuple(Entry(name, Raises, origin) for name in ("other", "own")))])
    monkeypatch.setattr(faults, "get_registry", lambda: registry)
    text = failure(lambda: model_of(Sound(), Raises())(TOKENS))
    assert text.startswith("own (layer 1, part 1.own, from acme-mixers 1.2): RuntimeError: ")


def test_a_mixer_that_runs_by_itself_has_no_place():
    text = failure(lambda: Raises()(torch.zeros(1, 2, 3)))
    assert re.match(r"Raises \(from the module .*\): RuntimeError: .*", text)


def test_what_is_no_part_s_fault_is_left_alone():
    model = model_of(Sound())
    with pytest.raises(IndexError), explaining():
        model(TOKENS + 99)
    with pytest.raises(UsageError, match=r"^no$"), explaining():
        raise UsageError("no")
    with pytest.raises(ZeroDivisionError), explaining():
        1 / 0  # noqa: B018
    with pytest.raises(MemoryError), explaining():
        raise MemoryError


def test_the_cause_is_kept_for_the_traceback():
    with pytest.raises(PluginError) as caught, explaining():
        model_of(Raises())(TOKENS)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_module_of_another_kind_with_layers_is_no_model():
    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(2, 2)])

        def forward(self, x):
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match=r"^mine$"), explaining():
        Other()(TOKENS)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9"), "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory"),
        (RuntimeError("first\nsecond"), "RuntimeError: first second"),
        (RuntimeError("x" * 999), f"RuntimeError: {'x' * 300}…"),
        (ValueError(), "ValueError: without a message"),
        (UsageError("plain\n  ^"), "plain"),
    ],
)
def test_an_error_in_a_line(error, line):
    assert describe_error(error) == line
