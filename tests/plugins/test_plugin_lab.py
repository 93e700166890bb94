"""A distribution that nobody here has heard of takes part in everything: its mixer, its panel, its task."""

import json
import shutil

import pytest

from ..distributions import Program, install  # noqa: TID252 - pytest knows the parts of the tests by place

pytestmark = pytest.mark.slow

PLUGIN = """
    import torch
    from torch import nn
    from zoo import IGNORE, Examples, Panel, Task, TokenMixer, hookimpl

    class Fading(TokenMixer):
        '''Each token writes a fading mean of the reads so far.

        Options:
            half: tokens until a read counts half.
        '''

        def __init__(self, dim: int, *, half: float = 2.0):
            super().__init__()
            self.fade = 0.5 ** (1 / half)
            self.out = nn.Linear(dim, dim, bias=False)

        def forward(self, x):
            ages = torch.arange(x.shape[1])[:, None] - torch.arange(x.shape[1])
            weights = torch.where(ages >= 0, self.fade ** ages.clamp(min=0), 0.0).to(x)
            return self.out(weights @ x)

        def panels(self, x):
            weights = self.fade ** torch.arange(4.0)
            return [Panel("how reads fade", "Higher counts more.", weights, "weight", ["age (tokens)"])]

    class Before(Task):
        '''Before: at each position the token that stood there one earlier.

        Options:
            symbols: how many tokens there are.
            length: tokens of a sequence.
        '''

        paper = "nobody 2025"
        settings = {"dim": 16, "heads": 2}

        def __init__(self, *, symbols: int = 5, length: int = 12):
            if symbols < 2:
                raise ValueError(f"symbols={symbols} should be 2 or more")
            self.vocab_size, self.length, self.test_examples = symbols, length, 96

        def draw(self, generator, examples, *, length, test):
            inputs = generator.integers(self.vocab_size, size=(examples, length))
            targets = inputs.copy()
            targets[:, 0], targets[:, 1:] = IGNORE, inputs[:, :-1]
            return Examples(inputs, targets)

        def symbol(self, token):
            return "abcdefghij"[token]

    @hookimpl
    def zoo_mixers():
        return {"fading": Fading}

    @hookimpl
    def zoo_tasks():
        return {"before": Before}
"""

NAME = "fading-lab"
SMALL = ["--layers", "1", "--dim", "16", "--heads", "2", "--device", "cpu"]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    install(folder / "site", NAME, PLUGIN)
    return Program(folder, NAME, forked=True)


@pytest.fixture(scope="module")
def run(zoo):
    """A run of its mixer on its task."""
    trained = succeed(
        zoo, "train", "--mixer", "fading", "--data", "before(symbols=4)", *SMALL, "--steps", "40", "--out", "run"
    )
    assert (trained["mixer"], trained["steps"]) == ("fading", 40)
    return "run"


@pytest.fixture(scope="module")
def comparison(zoo):
    return succeed(
        zoo, "compare", "fading", "correlation", "--data", "before", *SMALL, "--seeds", "2", "--budget", "steps:8",
        "--lrs", "1e-2", "--jobs", "1", "--out", "comparison",
    )  # fmt: skip


def succeed(zoo, *command):
    done = zoo(*command, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_task_is_listed_and_told(zoo):
    listed = {data["name"]: data for data in succeed(zoo, "tasks")}
    assert listed["before"]["origin"] == {"distribution": NAME, "version": "1.2", "entry_point": NAME}
    assert listed["mqar"]["origin"]["distribution"] == "mixer-zoo"
    example = succeed(zoo, "tasks", "before(symbols=3)", "--seed", "2")["example"]
    assert example["symbols"] == ["abc"[token] for token in example["inputs"]]
    assert example["target_symbols"] == [None, *example["symbols"][:-1]]
    page = zoo("tasks", "fading-lab:before").stdout
    assert "symbols  int   5        how many tokens there are." in page
    assert f"{NAME} 1.2" in page


def test_it_trains_and_is_remembered(zoo, run):
    config = json.loads((zoo.folder / run / "config.json").read_text())
    assert config["data"] == "before(symbols=4)"
    assert config["context"] == 12
    environment = (zoo.folder / run / "env.json").read_text()
    assert environment.count(NAME) >= 2


def test_it_is_resumed(zoo, run):
    shutil.copytree(zoo.folder / run, zoo.folder / "resumed")
    assert succeed(zoo, "train", "--resume", "resumed", "--steps", "44")["steps"] == 44


def test_its_panel_is_in_the_report(zoo, run):
    shutil.copytree(zoo.folder / run, zoo.folder / "inspected")
    told = succeed(zoo, "inspect", "inspected", "--tokens", "256")
    assert told["failures"] == []
    (panel,) = [panel for panel in told["panels"] if panel["part"] == "0.fading"]
    assert panel["title"] == "how reads fade"
    assert panel["values"] == pytest.approx([2 ** (-age / 2) for age in range(4)], abs=1e-6)  # as many digits are kept
    report = (zoo.folder / "inspected" / "report.html").read_text(encoding="utf-8")
    assert "Higher counts more." in report


def test_it_is_compared(zoo, comparison):
    (data,) = comparison["data"]
    assert [arm["pattern"] for arm in data["arms"]] == ["fading", "correlation"]
    assert data["metric"] == "accuracy"
    report = (zoo.folder / "comparison" / "report.html").read_text(encoding="utf-8")
    assert "fading" in report
    assert "before" in report


def test_it_is_measured(zoo):
    told = succeed(
        zoo, "bench", "fading", "--lengths", "32,64", "--what", "forward", "--dim", "16", "--heads", "2",
        "--repeats", "2", "--device", "cpu", "--threads", "1", "--out", "bench",
    )  # fmt: skip
    assert [candidate["name"] for candidate in told["candidates"]] == ["plain sdpa", "fading"]
    (candidate,) = [each for each in told["candidates"] if each["name"] == "fading"]
    assert candidate["parameters"] == 16 * 16 + 2 * 16  # its projection, and the norms of its read and of the end


@pytest.mark.parametrize(
    "command",
    [
        ["train", "--resume", "RUN", "--steps", "99"],
        ["inspect", "RUN"],
        ["generate", "RUN"],
        ["tasks", "fading-lab:before"],
        ["info", "fading-lab:fading"],
        ["train", "--data", "fading-lab:before", "--dry-run"],
        ["bench", "fading-lab:fading"],
        ["compare", "fading-lab:fading", "--data", "parity", "--dry-run"],
        ["compare", "--resume", "comparison"],
    ],
    ids=" ".join,
)
def test_when_it_has_gone_it_is_missed_by_name(zoo, run, command, request):
    if "comparison" in command:
        request.getfixturevalue("comparison")
    before = contents(zoo.folder)
    gone = zoo(*(run if word == "RUN" else word for word in command), ZOO_BLOCK_PLUGINS=NAME)
    assert gone.returncode == 4, gone.stderr
    assert f"pip install {NAME}" in gone.stderr
    assert "Traceback" not in gone.stderr
    assert gone.stdout == ""
    assert contents(zoo.folder) == before


def contents(folder):
    kept = (path for path in folder.rglob("*") if path.is_file() and not {"cache", "site"} & set(path.parts))
    return {path: path.read_bytes() for path in kept}
