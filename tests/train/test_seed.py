"""The initial parameters depend on the seed alone, whatever the code of a plugin does when it is imported."""

import json
import sys
import textwrap

import pytest
import torch
from torch import nn

import zoo
from zoo.errors import PluginError
from zoo.model.build import build_seeded
from zoo.plugin.kinds import MIXER
from zoo.plugin.registry import forget, get_registry
from zoo.train.session import start
from zoo.train.settings import validate

from ..distributions import Program, install  # noqa: TID252 - pytest finds the parts of the tests by where they are

TEMPLATE = """
    from torch import nn
    from zoo import TokenMixer, hookimpl

    class Scale(TokenMixer):
        "Each token writes its read."

        def __init__(self, dim: int):
            super().__init__()
            LINES
            self.project = nn.Linear(dim, dim)

        def forward(self, x):
            return self.project(x)

    @hookimpl
    def zoo_mixers():
        return {"scale": Scale}
"""

MIXER_SOURCE = textwrap.dedent(TEMPLATE).replace("LINES", "")

IMPORTS = {
    "draws": "TABLE = torch.randn(3)",
    "seeds": "torch.manual_seed(1234)",
    "sets the dtype": "torch.set_default_dtype(torch.float64)",
    "switches gradients off": "torch.set_grad_enabled(False)",
}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a distribution of one module as the only one beside the built-ins; nothing with no source."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    modules = set(sys.modules)

    def install_here(name="", source=""):
        if name:
            install(site, name, source)
        monkeypatch.setenv("ZOO_PLUGINS", name)
        forget()

    install_here()
    yield install_here
    for module in set(sys.modules) - modules:
        if str(site) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]
    forget()


def left_behind(path):
    names = ["checkpoints/step-00000000/model.safetensors", "metrics.jsonl"]
    return [(path / name).read_bytes() for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("line", IMPORTS.values(), ids=IMPORTS)
def test_a_run_is_the_same_with_and_without_a_plugin(tiny, tmp_path, installed, line):
    settings = tiny(steps=3, log_every=1, keep_checkpoints=9)
    start(settings, pages=False, root=tmp_path, out=tmp_path / "without")
    installed("tabler", "import torch\n" + line + MIXER_SOURCE)
    start(settings, pages=False, root=tmp_path, out=tmp_path / "with")
    assert get_registry()[MIXER].find("scale").origin.distribution == "tabler"
    assert left_behind(tmp_path / "with") == left_behind(tmp_path / "without")
    start(settings, pages=False, root=tmp_path, out=tmp_path / "later")  # in a process that has imported all it needs
    assert left_behind(tmp_path / "later") == left_behind(tmp_path / "without")


@pytest.mark.slow
def test_seeds_differ_though_a_plugin_sets_its_own(tiny, tmp_path, installed):
    installed("seeder", "import torch\ntorch.manual_seed(1234)\n" + MIXER_SOURCE)
    for seed in (0, 1):
        forget()
        sys.modules.pop("seeder", None)
        settings = tiny(mixer="scale", steps=1, log_every=1, seed=seed, keep_checkpoints=9)
        start(settings, pages=False, root=tmp_path, out=tmp_path / str(seed))
    assert left_behind(tmp_path / "0")[0] != left_behind(tmp_path / "1")[0]


@pytest.mark.slow
def test_what_is_imported_within_a_build_does_not_decide_the_parameters(tiny, tmp_path, installed):
    installed("lazy", TEMPLATE.replace("LINES", "import lazy_table"))
    (tmp_path / "site" / "lazy_table.py").write_text("import torch\nTABLE = torch.randn(3)\n")
    settings = tiny(mixer="scale", steps=1, log_every=1, keep_checkpoints=9)
    start(settings, pages=False, root=tmp_path, out=tmp_path / "first")
    assert "lazy_table" in sys.modules
    start(settings, pages=False, root=tmp_path, out=tmp_path / "later")
    assert left_behind(tmp_path / "first") == left_behind(tmp_path / "later")


@pytest.mark.slow
def test_what_a_mixer_draws_and_does_not_save_is_the_same_when_its_run_is_loaded(tiny, tmp_path, installed):
    installed("tables", "import torch\n" + textwrap.dedent(TEMPLATE).replace("LINES", "self.table = torch.randn(3)"))
    settings = tiny(mixer="scale", steps=1, seed=5)
    start(settings, pages=False, root=tmp_path, out=tmp_path / "run")
    torch.manual_seed(9)
    tables = [zoo.load_run(tmp_path / "run").model.layers[0].mixers[0].table for _ in range(2)]
    assert torch.equal(tables[0], tables[1])


def test_a_build_is_made_again_only_if_it_imported_something(installed):
    built = []

    def build():
        built.append(nn.Linear(4, 4))
        if len(built) == 1:
            sys.modules["zoo_novel"] = sys  # as an import does
        return built[-1]

    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    first, later = build_seeded(0, build), build_seeded(0, build)
    del sys.modules["zoo_novel"]
    assert len(built) == 3
    assert torch.equal(first.weight, later.weight)
    assert torch.equal(torch.rand(3), expected)  # the caller's numbers go on as if nothing had been built


def test_an_error_of_a_build_is_passed_on(installed):
    with pytest.raises(PluginError, match="pip install acme"):
        build_seeded(0, lambda: zoo.create_mixer("acme:mean", dim=8))


@pytest.mark.slow
def test_the_runs_of_a_comparison_are_the_same_with_and_without_a_plugin(text, tmp_path, installed):
    install(tmp_path / "site", "tabler", "import torch\nTABLE = torch.randn(3)\n" + MIXER_SOURCE)
    done = Program(tmp_path, "tabler", forked=True)(
        "compare", "dot-product", "--data", text, "--seeds", 2, "--jobs", 1, "--lrs", "0.001", "--out", "comparison",
        "--layers", 1, "--dim", 16, "--budget", "steps:3", "--set", "context=16", "--set", "batch=2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    runs = sorted((tmp_path / "comparison" / "runs").rglob("config.json"))
    assert len(runs) == 2  # made by one process, in which only the first imports
    for index, config in enumerate(runs):
        settings = validate(json.loads(config.read_text()))
        plain = tmp_path / str(index)
        start(settings, root=tmp_path, out=plain, pages=False)
        for name in ("metrics.jsonl", "checkpoints/step-00000003/model.safetensors"):
            assert (plain / name).read_bytes() == (config.parent / name).read_bytes()
