"""The checksum of a class changes with the code that it depends on, and with no other."""

import hashlib
import importlib
import inspect
import sys
from pathlib import Path

import pytest
import torch

from zoo.plugin.kinds import MIXER, TASK
from zoo.plugin.registry import get_registry
from zoo.plugin.source_code import source_sha256

FILES = {
    "__init__": "from acme_zoo.mixers.mean import Mean\n",
    "mixers.__init__": "",
    "mixers.mean": """
import math
import acme_zoo.ops.scan as scan
from acme_zoo.ops import window
from . import shared
from ..names import NAME

class Mean:
    def forward(self, x):
        from acme_zoo.lazy import late
        return late(x)
""",
    "mixers.shared": "from .base import Base\n",
    "mixers.base": "class Base: pass\n",
    "mixers.other": "from acme_zoo.ops import unused\n",
    "ops.__init__": "",
    "ops.scan": "from acme_zoo.ops import scan_loop\n",
    "ops.scan_loop": "import acme_zoo.ops.scan\n",  # a circle
    "ops.window": "SIZE = 3\n",
    "ops.unused": "SIZE = 3\n",
    "names": "NAME = 'mean'\n",
    "lazy": "def late(x): return x\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder of a package; its class ``Mean`` is imported anew with ``imported``."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, source in FILES.items():
        path = file(tmp_path / "acme_zoo", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    yield tmp_path / "acme_zoo"
    forget()


def file(package, name):
    return package.joinpath(*name.split(".")).with_suffix(".py")


def forget():
    for module in [name for name in sys.modules if name.split(".")[0] == "acme_zoo"]:
        del sys.modules[module]
    importlib.invalidate_caches()


def imported():
    forget()
    return importlib.import_module("acme_zoo.mixers.mean").Mean


@pytest.mark.parametrize("name", FILES)
def test_a_change_of_a_module_that_is_imported_is_noticed_and_of_no_other(package, name):
    before = source_sha256(imported())
    path = file(package, name)
    path.write_text(path.read_text() + "\n# changed\n")
    depends = name not in {"__init__", "mixers.__init__", "mixers.other", "ops.__init__", "ops.unused"}
    assert (source_sha256(imported()) != before) == depends


def test_an_init_file_from_which_a_name_is_imported_counts(package):
    file(package, "mixers.base").write_text("from acme_zoo.ops import FACTOR\nclass Base: pass\n")
    file(package, "ops.__init__").write_text("FACTOR = 2\n")
    before = source_sha256(imported())
    file(package, "ops.__init__").write_text("FACTOR = 3\n")
    assert source_sha256(imported()) != before


def test_line_endings_do_not_count(package):
    before = source_sha256(imported())
    path = file(package, "names")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert source_sha256(imported()) == before


def test_a_file_that_is_edited_while_the_process_runs_does_not_count(package):
    cls = imported()
    before = source_sha256(cls)
    file(package, "mixers.mean").write_text("def (")
    assert source_sha256(cls) == before


def test_code_that_does_not_parse_any_more_counts_as_it_is(package):
    cls = imported()
    file(package, "mixers.base").write_text("def (")
    assert source_sha256(cls) is not None


def test_a_class_without_a_source_file_has_none():
    assert source_sha256(type("Made", (), {"__module__": "nowhere"})) is None
    assert source_sha256(int) is None


@pytest.mark.slow
def test_the_built_in_mixers_and_tasks_do_not_all_share_one():
    registry = get_registry()
    mixers = {entry.name: source_sha256(entry.cls) for entry in registry[MIXER].list("mixer-zoo:*")}
    assert len(set(mixers.values())) == len(mixers)
    tasks = {entry.name: source_sha256(entry.cls) for entry in registry[TASK].list("mixer-zoo:*")}
    assert tasks["mqar"] != tasks["induction"]
    assert tasks["parity"] == tasks["word-problem"]  # of one module


def test_of_torch_the_module_of_the_class_counts_alone():
    source = Path(inspect.getfile(torch.optim.Adagrad)).read_bytes()
    name = torch.optim.Adagrad.__module__
    expected = hashlib.sha256(f"{name} {len(source)}\n".encode() + source).hexdigest()
    assert source_sha256(torch.optim.Adagrad) == expected
