"""What docs/residuals.md shows is run here."""

import re
from pathlib import Path

import pytest
import torch

from zoo.model.backbone import Backbone
from zoo.model.layer import Layer, NamedMixer
from zoo.plugin.kinds import RESIDUAL
from zoo.plugin.options import options_of
from zoo.residuals.plugin import zoo_residuals
from zoo.testing import check_member

from .models import DIM, VOCABULARY, Decays, draw

RESIDUALS = zoo_residuals()

PAGE = (Path(__file__).parents[2] / "docs" / "residuals.md").read_text(encoding="utf-8")


def test_the_table_has_every_scheme_with_its_options():
    rows = re.findall(r"^\| `([a-z-]+)` \|.*?[^\\]\| (.*?) ?(?<!\\)\|", PAGE, re.MULTILINE)
    assert [name for name, _ in rows] == list(RESIDUALS)
    for name, options in rows:
        own = {option.name for option in options_of(RESIDUALS[name], filled=RESIDUAL.filled)}
        assert set(re.findall(r"`(\w+)", options)) == own
        assert all(
            option.meaning for option in options_of(RESIDUALS[name], filled=RESIDUAL.filled) if option.name in own
        )


def example():
    space = {}
    exec(re.search(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[1], space)
    return space["GatedResidual"]


@pytest.mark.slow
def test_the_example_keeps_the_laws():
    results = check_member("residual", example(), examples=3)
    assert {result.law for result in results if result.status == "failed"} == set()
    assert {result.law for result in results if result.status == "advice"} <= {"documentation", "meta-device", "paper"}


def test_the_example_trains_and_streams():
    torch.manual_seed(0)
    layers = [Layer([NamedMixer("decays", Decays(DIM))], None) for _ in range(2)]
    model = Backbone(layers, example()(DIM, sites=2), vocabulary=VOCABULARY, dim=DIM, context=12)
    tokens = draw()
    model(tokens, tokens).loss.backward()
    assert model.residual.keep.grad.ne(0).tolist() == [True, True]
    first, state = model.step(tokens[:, :3])
    second, _ = model.step(tokens[:, 3:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), model(tokens).logits)
