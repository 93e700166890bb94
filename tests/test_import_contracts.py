import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTRACTS = ROOT / ".importlinter"

OFFENCES = {
    "zoo/data/batches.py": "import mixers.plugin",
    "mixers/dot_product.py": "import mixers.involution",
    "mixers/convolution/gated_short_conv.py": "import mixers.recurrent.min_gru",
    "mixers/recurrent/min_lstm.py": "import mixers.recurrent.min_gru",
    "mixers/softmax/moba.py": "import mixers.softmax.nsa",
    "mixers/state_space/mamba3.py": "import mixers.state_space.mamba2",
    "mixers/involution.py": "from zoo.model.backbone import Backbone",
    "mixers/ops/rotary.py": "from zoo import TokenMixer",
    "zoo/plugin/registry.py": "import zoo.model.build",
    "zoo/model/parts.py": "import zoo.model.faults",
    "zoo/plugin/catalogue.py": "import zoo.plugin.registry",
    "zoo/lab/size.py": "import zoo.lab.match",
    "zoo/tasks/plugin.py": "from zoo.errors import UsageError",
    "zoo/novel.py": "",
    "zoo/plugin/options.py": "import torch",
    "zoo/testing/law.py": "import hypothesis",
}
"""A line for each contract that breaks it; a new module of the zoo has to take its place among the layers."""

pytest.importorskip("importlinter")


def lint(folder):
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.slow
def test_the_import_contracts_are_kept():
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


@pytest.mark.slow
def test_every_contract_can_be_broken(tmp_path):
    for package in ("zoo", "mixers"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CONTRACTS, tmp_path)
    for file, line in OFFENCES.items():
        with (tmp_path / file).open("a") as module:
            module.write(f"\n{line}\n")
    result = lint(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "0 kept, 12 broken" in result.stdout
    assert "novel" in result.stdout


def imports(file):
    """The top-level package, the module and the names of every import in a file."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: import by the full name"
            yield node.module, tuple(alias.name for alias in node.names)


def foreign(file, *allowed):
    """The modules that a file imports beside the standard library and those that are allowed."""
    modules = {module for module, _ in imports(file) if module.split(".")[0] not in sys.stdlib_module_names}
    return sorted(m for m in modules if not any(m == name or m.startswith(f"{name}.") for name in allowed))


def test_operators_import_nothing_but_torch_and_einops():
    files = sorted((ROOT / "mixers" / "ops").rglob("*.py"))
    assert {file: found for file in files if (found := foreign(file, "torch", "einops", "mixers.ops"))} == {}


MIXERS = sorted(file for file in (ROOT / "mixers").rglob("*.py") if file.parent.name != "ops")
LISTS = ("plugin", "__init__")
"""What they import are the mixers that they list."""


def test_mixers_import_what_any_plugin_may():
    for file in MIXERS:
        siblings = ("mixers",) if file.stem in LISTS else ("mixers.layers", "mixers.ops")
        assert foreign(file, "torch", "einops", "zoo", *siblings) == [], file
        names = {name for module, names in imports(file) if module == "zoo" for name in names}
        assert names <= {"ChannelMixer", "TokenMixer", "Mixed", "Panel", "State", "hookimpl"}, file
        assert not [module for module, _ in imports(file) if module.startswith("zoo.")], file


@pytest.mark.parametrize(
    "module", ["zoo", "zoo.errors", *(f"zoo.plugin.{name}" for name in ("hookspecs", "options", "pattern"))]
)
def test_is_imported_without_torch_and_without_plugins(module):
    program = f"import sys, {module}; print(*(m for m in ('torch', 'mixers', 'hypothesis') if m in sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.split() == []


@pytest.mark.slow
def test_the_built_in_mixers_are_imported_without_the_compiler():
    """It takes as long as the rest of torch."""
    program = "import sys, mixers.plugin; print('torch._dynamo' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == "False\n"
