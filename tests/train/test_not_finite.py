"""A step that is not finite names the part that made the first number that is not, and blames no learning rate then."""

import math

import pytest
import torch
from torch import nn

from zoo import Mixed, TokenMixer
from zoo.data.source import Batch
from zoo.model.backbone import Backbone
from zoo.model.layer import Layer, NamedMixer
from zoo.train.settings import Settings
from zoo.train.step import NotFiniteError, TrainingStep

from ..stacks import pre_norm  # noqa: TID252 - pytest finds the parts of the tests by where they are

DIM = 8
ADVICE = "Try a lower `lr`"


class Sound(TokenMixer):
    def __init__(self, dim=DIM):
        super().__init__(dim)
        self.value = nn.Linear(dim, dim)

    def forward(self, x):
        return self.value(x).cumsum(1)


class WritesNaN(Sound):
    """From the third token of the second sequence on."""

    def forward(self, x):
        bad = torch.zeros_like(x)
        bad[1, 2] = math.nan
        return super().forward(x) + bad


class Overflows(Sound):
    """Writes an infinity where it begins, and so passes one on that all others make worse."""

    def forward(self, x):
        return super().forward(x) / 0


class RootOfZero(Sound):
    """The derivative of a root at zero is infinite, and its value is not."""

    def forward(self, x):
        return super().forward((self.value(x) * 0).sqrt())


class RootOfRead(TokenMixer):
    """The same without a parameter."""

    def forward(self, x):
        return (x * 0).sqrt()


class InfiniteLoss(Sound):
    def forward(self, x):
        return Mixed(super().forward(x), {"z": 1 / (0 * x.mean())})


class Text:
    """The same two sequences, whatever is asked for."""

    def draw(self, *, context, batch, seed, step):
        tokens = torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1]])[:batch]
        return Batch(tokens, tokens.flip(1), torch.arange(batch) + 100 * step)


def failure(*mixers, **changes):
    layers = [Layer([NamedMixer("sound", Sound()), NamedMixer("own", mixer)], None, dropout=0.1) for mixer in mixers]
    torch.manual_seed(0)
    settings = Settings(context=4, batch=2, device="cpu", precision="fp32", **changes)
    model = Backbone(layers, pre_norm(layers, DIM, 0.5), vocabulary=5, dim=DIM, context=4)
    step = TrainingStep(model.train(), Text(), settings)
    with pytest.raises(NotFiniteError) as caught:  # noqa: PT012 - which step it is depends on the mixer
        for number in range(3):
            before = {name: value.clone() for name, value in step.model.state_dict().items()}
            step(number)
    assert all(torch.equal(value, before[name]) for name, value in step.model.state_dict().items())
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("changes", [{}, {"accumulate": 2}, {"activation_checkpointing": True}], ids=str)
@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (WritesNaN, "The first number that is not finite was written at token 2 of sequence 1 by "),
        (Overflows, "The first number that is not finite was written at token 0 of sequence 0 by "),
        (RootOfZero, "The first gradient that is not finite is that of value.weight, value.bias, of "),
        (RootOfRead, "The first gradient that is not finite is that of what it reads, of "),
        (InfiniteLoss, "The loss 'z' is "),
    ],
)
def test_the_part_that_made_the_first_one_is_named_and_the_rate_is_not_blamed(cls, words, changes):
    error = failure(Sound(), cls(), Sound(), **changes)
    assert error.part == "1.own"
    assert words in str(error)
    assert f"{cls.__name__} (layer 1, part 1.own, from the module " in str(error)
    assert f", in {__file__}:" in str(error)
    assert ADVICE not in str(error)
    assert error.offsets[0] == [0, 1]


def test_the_first_of_two_is_named():
    assert failure(Sound(), Overflows(), WritesNaN()).part == "1.own"
    assert failure(RootOfZero(), RootOfZero()).part == "1.own"  # the backward pass meets the last one first


def test_where_no_part_is_at_fault_the_rate_is():
    error = failure(Sound(), lr=1e30, warmup=0)
    assert error.part is None
    assert ADVICE in str(error)


def test_an_embedding_that_is_not_finite_is_no_part_s_fault(monkeypatch):
    monkeypatch.setattr(Backbone, "reset_parameters", lambda self: nn.init.constant_(self.embedding.weight, math.inf))
    error = failure(Sound())
    assert error.part is None
    assert "The embedding of the tokens is not finite" in str(error)


def test_a_search_that_fails_does_not_hide_the_failure(monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("zoo.train.step.explain_not_finite", fail)
    error = failure(WritesNaN())
    assert "the loss of step 1 is not finite (loss nan, gradient norm nan)" in str(error)
    assert ADVICE in str(error)


class WritesNaNAt(Sound):
    """Alike for every place but one."""

    def __init__(self, bad):
        super().__init__()
        self.bad, self.calls = bad, 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * (math.nan if self.calls % 3 == self.bad else 1.0)


class RootOfParameter(Sound):
    """Neither what it reads nor what it writes has to do with the derivative that is infinite."""

    def __init__(self):
        super().__init__()
        self.root = nn.Parameter(torch.zeros(DIM))

    def forward(self, x):
        return super().forward(x) + self.root.sqrt()


class ExplodesBelow(Sound):
    """Finite numbers, and an infinite derivative, of what it reads."""

    def forward(self, x):
        return super().forward((x * 0).sqrt())


@pytest.mark.parametrize("changes", [{}, {"accumulate": 2}, {"activation_checkpointing": True}], ids=str)
@pytest.mark.parametrize(("bad", "part"), [(1, "0.own"), (2, "1.own"), (0, "2.own")])
def test_of_a_shared_module_the_place_that_wrote_it_is_named(bad, part, changes):
    shared = WritesNaNAt(bad)
    error = failure(shared, shared, shared, **changes)
    assert error.part == part
    assert f"WritesNaNAt (layer {part[0]}, part {part}, from " in str(error)


@pytest.mark.parametrize("changes", [{}, {"activation_checkpointing": True}], ids=str)
def test_the_gradient_of_a_shared_module_is_a_sum_to_which_others_bring_what_is_not_finite(changes):
    shared = Sound()
    assert failure(shared, ExplodesBelow(), shared, **changes).part == "1.own"
    explodes = ExplodesBelow()
    assert failure(explodes, Sound(), explodes, **changes).part == "2.own"
    root = RootOfParameter()
    error = failure(root, Sound(), root, **changes)
    assert "The first gradient that is not finite is that of root, of RootOfParameter (layers 0, 2, from " in str(error)
    assert error.part == "2.own"
