"""Small models whose parts are known."""

import torch

from zoo import Mixed, TokenMixer
from zoo.data.source import Batch
from zoo.model.backbone import Backbone
from zoo.model.layer import Layer, NamedMixer
from zoo.model.members import create_channel_mixer

from ...stacks import pre_norm  # noqa: TID252 - pytest finds the parts of the tests by where they are

DIM = 8


class Means(TokenMixer):
    """Writes the mean of the reads so far, times a factor."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None]


class Speaks(Means):
    """Has more to say than its write."""

    def forward(self, x):
        metrics = {"size": x.abs().mean(), "first": x[0, 0, :3], "length": x.new_ones(x.shape[0])}
        return Mixed(super().forward(x), {"aux": x.square().mean()}, metrics)


def build(first=1.0, second=0.5, silent_channel=False):
    """Two mixers side by side and a channel mixer, then one mixer alone; the same parameters whatever the factors."""
    torch.manual_seed(0)
    channel = create_channel_mixer("mlp", dim=DIM)
    if silent_channel:
        torch.nn.init.zeros_(channel.project_out.weight)
    layers = [
        Layer(
            [NamedMixer("means", Means(first)), NamedMixer("speaks", Speaks(second))],
            channel,
        ),
        Layer([NamedMixer("means", Means(2.0))], None),
    ]
    return Backbone(layers, pre_norm(layers, DIM, 0.5), vocabulary=11, dim=DIM, context=6).eval()


def batches():
    """Two batches of different sizes, one with positions that are not scored, in the middle and at the end."""
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.randint(11, (rows, 7), generator=generator) for rows in (3, 1)]
    given = [(tokens[:, :-1], tokens[:, 1:].clone()) for tokens in drawn]
    given[1][1][0, 2] = -100
    given[1][1][0, 4:] = -100
    return [Batch(inputs, targets, torch.arange(len(inputs))) for inputs, targets in given]
