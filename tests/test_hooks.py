"""Of a module that several layers share, what looks at one place sees that place alone."""

import inspect

import pytest
import torch
from torch import nn

from zoo import TokenMixer, watch_stream
from zoo.errors import PluginError
from zoo.lab.inspect.inspection import switched_off
from zoo.lab.inspect.traffic import write_sizes
from zoo.model.backbone import Backbone
from zoo.model.faults import explaining
from zoo.model.hooks import hook_read, hook_write
from zoo.model.layer import Layer, NamedMixer
from zoo.model.members import create_channel_mixer
from zoo.model.parts import parts_of

from .stacks import pre_norm

DIM, TOKENS = 8, torch.tensor([[1, 2, 3], [4, 0, 2]])


class Means(TokenMixer):
    def __init__(self):
        super().__init__()
        self.value = nn.Linear(DIM, DIM)

    def forward(self, x):
        return self.value(x).cumsum(1)


class FailsAt(Means):
    """At the given call."""

    def __init__(self, call):
        super().__init__()
        self.left = call

    def forward(self, x):
        self.left -= 1
        if not self.left:
            raise ValueError("no more")
        return super().forward(x)

    def after_update(self, metrics):
        metrics["load"]


def model_of(*rows, channel=None):
    torch.manual_seed(0)
    layers = [Layer([NamedMixer(f"m{i}", mixer) for i, mixer in enumerate(row)], channel) for row in rows]
    return Backbone(layers, pre_norm(layers, DIM, scale=0.5), vocabulary=5, dim=DIM, context=4)


def shared_model():
    """One module at three places of two layers, another between them, one channel mixer in all layers."""
    torch.manual_seed(1)
    one, other = Means(), Means()
    return model_of([one], [other, one, one], [other], channel=create_channel_mixer("mlp", dim=DIM))


def unshared(model):
    """A model with equal weights in which nothing is shared."""
    channel = create_channel_mixer("mlp", dim=DIM)
    apart = model_of([Means()], [Means(), Means(), Means()], [Means()], channel=channel)
    for layer in apart.layers:
        layer.channel = create_channel_mixer("mlp", dim=DIM)
    apart.load_state_dict(model.state_dict())
    return apart


NAMES = ["0.m0", "0.channel", "1.m0", "1.m1", "1.m2", "1.channel", "2.m0", "2.channel"]


def part_named(model, name):
    return next(part for part in parts_of(model) if part.name == name)


def test_the_stream_is_watched_at_every_place():
    model = shared_model()
    apart = unshared(model)
    for _ in range(2):
        with watch_stream(model) as log, watch_stream(apart) as expected:
            model(TOKENS)
            apart(TOKENS)
        assert [traffic.part for traffic in log.traffic] == NAMES
        for seen, right in zip(log.traffic, expected.traffic, strict=True):
            assert torch.equal(seen.read, right.read)
            assert torch.equal(seen.write, right.write)
            assert torch.equal(seen.stream, right.stream)
        assert len(write_sizes(log)) == len(NAMES)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("name", NAMES)
def test_one_place_is_switched_off_and_the_others_stay(name):
    model = shared_model()
    apart = unshared(model)
    with switched_off(model, part_named(model, name)), switched_off(apart, part_named(apart, name)):
        without = model(TOKENS).logits
        torch.testing.assert_close(without, apart(TOKENS).logits, rtol=0, atol=0)
    assert not torch.equal(model(TOKENS).logits, without)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_place_is_told_from_the_others_when_it_is_recomputed(checkpointing):
    model = shared_model().train()
    model.activation_checkpointing = checkpointing
    calls = []
    hooks = [
        hook(model, part, lambda *_, seen=f"{kind} {part.name}": calls.append(seen))
        for part in parts_of(model)
        for kind, hook in (("reads", hook_read), ("writes", hook_write))
    ]
    model(TOKENS, TOKENS).loss.backward()
    assert calls[: 2 * len(NAMES)] == [f"{kind} {name}" for name in NAMES for kind in ("reads", "writes")]
    again = [call.split()[1] for call in calls[2 * len(NAMES) :] if call.startswith("reads")]
    layers = [NAMES[6:], NAMES[2:6], NAMES[:2]]
    assert again == ([name for names in layers for name in names] if checkpointing else [])
    for hook in hooks:
        hook.remove()
    model(TOKENS, TOKENS)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def failure(run):
    with pytest.raises(PluginError) as caught, explaining():
        run()
    return str(caught.value)


@pytest.mark.parametrize(("call", "place"), [(1, "layer 0, part 0.m0"), (2, "layer 2, part 2.m1")])
def test_an_error_is_told_with_the_place_that_ran(call, place):
    shared = FailsAt(call)
    text = failure(lambda: model_of([shared], [Means()], [Means(), shared])(TOKENS))
    lines, start = inspect.getsourcelines(FailsAt.forward)
    line = start + next(index for index, line in enumerate(lines) if "raise" in line)
    assert text.startswith(f"FailsAt ({place}, from ")
    assert text.endswith(f"ValueError: no more, in {__file__}:{line}")


def test_an_error_of_all_places_is_told_with_all_of_them():
    shared = FailsAt(0)
    text = failure(lambda: model_of([shared], [Means()], [Means(), shared]).after_update({}))
    assert text.startswith("FailsAt (layers 0, 2, from ")
