"""What docs/optimizers.md shows is run here, so that it stays true."""

import re
from pathlib import Path

import pytest

from zoo.optimizers.plugin import zoo_optimizers
from zoo.plugin.options import options_of
from zoo.testing.kinds import OPTIMIZER
from zoo.train.optimizer import check_optimizer
from zoo.train.session import start
from zoo.train.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "optimizers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def given():
    """What the page's example defines."""
    space: dict[str, object] = {}
    exec(BLOCKS[1], space)
    return space


@pytest.mark.slow
def test_the_example_keeps_the_laws(capsys):
    exec(BLOCKS[2], given())
    assert capsys.readouterr().out.split() == [word for name in OPTIMIZER.laws for word in (name, "passed")]


@pytest.mark.slow
def test_the_example_trains(tmp_path, registered):
    registered("signs", given()["Signs"])
    tiny = {"mixer": "dot-product", "data": "parity", "layers": 1, "dim": 8, "steps": 3, "batch": 64, "context": 40}
    tiny |= {"evaluation_tokens": 64, "final_evaluation_tokens": 64}
    settings = Settings(**tiny, heads=1, optimizer="signs(momentum=0.8)", device="cpu", threads=1)
    summary = start(settings, root=tmp_path)
    assert summary.steps == 3


def test_every_optimizer_and_option_is_listed():
    rows = dict(re.findall(r"^\| `(\w+)`[^|]*\|[^|]*\| ([^|]*)\|", PAGE, re.MULTILINE))
    for name, cls in zoo_optimizers().items():
        assert re.findall(r"`(\w+)`", rows[name]) == [option.name for option in options_of(cls)][3:]


def test_every_call_of_the_page_is_one():
    for call in re.findall(r"--optimizer '?([\w=().]+)'?", PAGE):
        check_optimizer(Settings(optimizer=call))
