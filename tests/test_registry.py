"""The registry meets real plugins: modules and ``.dist-info`` metadata in a folder on ``sys.path``."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import einops  # noqa: F401 - built-ins need it, and where nothing installed is seen it has to be there already
import pytest
import torch

from zoo import create_mixer
from zoo.errors import PluginError, UsageError
from zoo.plugin.kinds import MIXER, TASK
from zoo.plugin.pattern import Call
from zoo.plugin.registry import HOST, Registry

ACME = """
from zoo import TokenMixer, hookimpl


class Mixer(TokenMixer):
    \"\"\"Writes what it reads.

    Options:
        size: how large.
    \"\"\"

    def __init__(self, dim, *, size: int = 1):
        super().__init__()
        self.size = size

    def forward(self, x):
        return x


@hookimpl
def zoo_mixers():
    return {NAMES}
"""


def giving(*names):
    """The code of a plugin that gives mixers of these names."""
    return ACME.replace("{NAMES}", "{" + ", ".join(f"{name!r}: Mixer" for name in names) + "}")


class Folder:
    """A folder on ``sys.path`` in which distributions are installed."""

    def __init__(self, path):
        self.path = path

    def install(self, distribution, entry_points, *, version="1.0", **modules):
        metadata = self.path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = [f"{name} = {target}\n" for name, target in entry_points.items()]
        (metadata / "entry_points.txt").write_text("".join(["[zoo]\n", *lines]))
        for name, code in modules.items():
            (self.path / f"{name}.py").write_text(code)
        importlib.invalidate_caches()

    def install_built_ins(self):
        self.install(HOST, {"built-in": "mixers.plugin"}, version="0.1.0")


@pytest.fixture
def on_path(tmp_path, monkeypatch):
    """A folder beside everything that is really installed."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield Folder(tmp_path)
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and Path(sys.modules[name].__file__).parent == tmp_path:
            del sys.modules[name]


@pytest.fixture
def folder(on_path, monkeypatch):
    """A folder beside nothing: of the installed distributions none is seen."""
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if "-packages" not in entry])
    importlib.invalidate_caches()
    return on_path


def discover(**environ):
    return Registry.discover(environ)


NO_HOOK = (
    "PluginError: it implements no hook: is @hookimpl missing above zoo_mixers, zoo_channel_mixers, zoo_residuals, "
    "zoo_tasks, zoo_corpora, zoo_tokenizers, zoo_optimizers, zoo_hybrids, zoo_executors, zoo_reporters or zoo_commands?"
)


def names(registry):
    return [registry[MIXER].display_name(entry) for entry in registry[MIXER].list()]


def causes(registry):
    return {f"{plugin.origin.distribution}:{plugin.origin.entry_point}": plugin.error for plugin in registry.broken}


# What is found


@pytest.mark.usefixtures("folder")
def test_without_any_entry_point_the_registry_is_empty_and_works():
    registry = discover()
    assert registry.plugins == registry.broken == registry[MIXER].list() == ()
    with pytest.raises(UsageError) as error:
        registry[MIXER].find("correlation")
    assert str(error.value) == (
        "no mixer is named 'correlation'; there are: none (is mixer-zoo installed? try `zoo plugins`)"
    )


def test_a_plugin_gives_its_mixers_under_its_name(folder):
    folder.install("acme-mixers", {"acme": "acme_plugin"}, version="2.1", acme_plugin=giving("mean", "max"))
    registry = discover()
    assert names(registry) == ["max", "mean"]
    entry = registry[MIXER].find("mean")
    assert entry.qualified_name == "acme-mixers:mean"
    assert str(entry.origin) == "acme-mixers 2.1 (entry point 'acme')"
    assert entry.origin.file == str(folder.path / "acme_plugin.py")
    assert entry.summary == "Writes what it reads."
    assert [(option.name, option.meaning) for option in entry.options] == [("size", "how large.")]
    assert create_mixer(Call("acme-mixers:mean", (("size", 3),)), dim=8, registry=registry).size == 3


def test_the_built_ins_are_a_plugin_like_any_other(folder):
    folder.install_built_ins()
    registry = discover()
    assert causes(registry) == {}
    assert {entry.origin.distribution for entry in registry[MIXER].entries} == {HOST}
    assert "dot-product" in names(registry)


@pytest.mark.parametrize("name", ["long-mean", "long_mean", "acme-mixers:long-mean", "Acme.Mixers:long_mean"])
def test_ways_to_write_a_name(folder, name):
    folder.install("acme-mixers", {"acme": "acme_plugin"}, acme_plugin=giving("long-mean"))
    assert discover()[MIXER].find(name).name == "long-mean"


def test_an_object_may_be_the_plugin(folder):
    code = giving("mean").replace("@hookimpl\ndef zoo_mixers():", "class Plugin:\n  @hookimpl\n  def zoo_mixers(self):")
    code = code.replace("    return {'mean'", "   return {'mean'") + "\nplugin = Plugin()\n"
    folder.install("acme", {"acme": "acme_plugin:plugin"}, acme_plugin=code)
    registry = discover()
    assert causes(registry) == {}
    assert registry[MIXER].find("mean").origin.file == str(folder.path / "acme_plugin.py")


def test_a_plugin_may_give_nothing(folder):
    folder.install("acme", {"acme": "acme_plugin"}, acme_plugin=giving())
    registry = discover()
    assert registry[MIXER].entries == registry.broken == ()
    assert len(registry.plugins) == 1


def test_lists_are_in_natural_order_and_globs_match_plain_and_qualified_names(folder):
    folder.install("acme", {"acme": "acme_plugin"}, acme_plugin=giving("mean-10", "mean-9", "mean-2-b", "max"))
    folder.install("bolt", {"bolt": "bolt_plugin"}, bolt_plugin=giving("mean-3"))
    registry = discover()
    assert names(registry) == ["max", "mean-2-b", "mean-3", "mean-9", "mean-10"]
    assert [entry.name for entry in registry[MIXER].list("mean_*")] == ["mean-2-b", "mean-3", "mean-9", "mean-10"]
    assert [entry.name for entry in registry[MIXER].list("bolt:*")] == ["mean-3"]
    assert registry[MIXER].list("x*") == ()


def test_did_you_mean(folder):
    folder.install("acme", {"acme": "acme_plugin"}, acme_plugin=giving("correlation", "involution"))
    with pytest.raises(UsageError) as error:
        discover()[MIXER].find("corelation")
    assert str(error.value) == (
        "no mixer is named 'corelation' (did you mean 'correlation'?); there are: correlation, involution"
    )
    with pytest.raises(UsageError, match=r"^no mixer is named 'xyz'; there are: correlation, involution$"):
        discover()[MIXER].find("acme:xyz")


# What is broken

HOOK = "from zoo import TokenMixer, hookimpl\n\n\n@hookimpl\ndef zoo_mixers():\n    "

BROKEN = {
    "fails on import": ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    "does not parse": ("def (:", "SyntaxError: invalid syntax (bad_plugin.py, line 1)"),
    "exits on import": ("import sys\nsys.exit('bad luck')", "SystemExit: bad luck"),
    "is skipped by pytest": ("import pytest\npytest.skip('no GPU', allow_module_level=True)", "Skipped: no GPU"),
    "is cancelled on import": ("import asyncio\nraise asyncio.CancelledError", "CancelledError:"),
    "closes itself on import": ("raise GeneratorExit('closed')", "GeneratorExit: closed"),
    "says more than a line": ("raise RuntimeError('one\\n  two')", "RuntimeError: one two"),
    "misspells the hook": (
        "from zoo import hookimpl\n\n\n@hookimpl\ndef zoo_mixer():\n    return {}\n",
        "unknown hook 'zoo_mixer' in plugin",
    ),
    "forgets the marker": (
        "def zoo_mixers():\n    return {}\n",
        NO_HOOK,
    ),
    "wants arguments": (
        "from zoo import hookimpl\n\n\n@hookimpl\ndef zoo_mixers(config):\n    return {}\n",
        "Argument(s) {'config'} are declared in the hookimpl but can not be found in the hookspec",
    ),
    "raises in the hook": (HOOK + "raise KeyError('lost')", "KeyError: 'lost'"),
    "exits in the hook": (HOOK + "raise SystemExit(3)", "SystemExit: 3"),
    "is skipped in the hook": (HOOK + "import pytest; pytest.skip('no GPU')", "Skipped: no GPU"),
    "gives no dict": (HOOK + "return [TokenMixer]", "PluginError: zoo_mixers() returned list, not a dict of mixers"),
    "gives no class": (
        HOOK + "return {'mean': TokenMixer(8)}",
        "PluginError: what it gives as 'mean' is TokenMixer(), not a subclass of zoo.TokenMixer",
    ),
    "gives no mixer": (
        HOOK + "return {'mean': int}",
        "PluginError: what it gives as 'mean' is <class 'int'>, not a subclass of zoo.TokenMixer",
    ),
    "gives no name": (
        HOOK + "return {'Long_Mean': TokenMixer}",
        "PluginError: 'Long_Mean' is no name for a mixer: use lower-case letters, digits and '-'",
    ),
}


@pytest.mark.parametrize(("code", "cause"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_kept_with_its_cause_and_harms_nobody(folder, code, cause):
    folder.install("a-bad-one", {"bad": "bad_plugin"}, version="0.3", bad_plugin=code)
    folder.install("good-one", {"good": "good_plugin"}, good_plugin=giving("median"))
    registry = discover()
    assert names(registry) == ["median"]
    assert list(causes(registry)) == ["a-bad-one:bad"]
    (plugin,) = registry.broken
    assert cause in plugin.error
    assert "\n" not in plugin.error
    assert plugin.members == ()
    assert "Traceback" in plugin.traceback
    assert str(plugin.origin) == "a-bad-one 0.3 (entry point 'bad')"


def test_ctrl_c_while_a_plugin_is_imported_ends_it_all(folder):
    folder.install("acme", {"acme": "acme_plugin"}, acme_plugin="raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        discover()


@pytest.mark.parametrize(
    ("target", "cause"),
    [
        ("no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("acme_plugin:nothing", "AttributeError: module 'acme_plugin' has no attribute 'nothing'"),
        (
            "acme_plugin:number",
            NO_HOOK,
        ),
        (
            "acme_plugin:Mixer",
            NO_HOOK,
        ),
    ],
)
def test_an_entry_point_that_leads_nowhere(folder, target, cause):
    folder.install("acme", {"acme": target}, acme_plugin=giving("mean") + "\nnumber = 3\n")
    assert causes(discover()) == {"acme:acme": cause}


def test_metadata_without_a_name_harms_nobody(folder):
    folder.install("good-one", {"good": "good_plugin"}, good_plugin=giving("median"))
    folder.install("ghost", {"ghost": "no_such_module"})
    (folder.path / "ghost-1.0.dist-info" / "METADATA").unlink()
    registry = discover()
    assert names(registry) == ["median"]
    assert len(registry.broken) == 1


def test_a_missing_mixer_is_asked_of_the_broken_plugin_that_would_give_it(folder):
    folder.install("acme-mixers", {"running-mean": "bad_plugin"}, bad_plugin="raise RuntimeError('no luck')")
    folder.install("good-one", {"good": "good_plugin"}, good_plugin=giving("median"))
    registry = discover()
    cause = "should come from acme-mixers 1.0 (entry point 'running-mean'), which is broken: RuntimeError: no luck"
    for name in ("running-mean", "running_mean", "acme-mixers", "acme_mixers:anything"):
        with pytest.raises(PluginError) as error:
            registry[MIXER].find(name)
        assert str(error.value) == f"mixer {name.split(':')[-1].replace('_', '-')!r} {cause}"
        assert error.value.exit_code == 4
    with pytest.raises(UsageError) as error:
        registry[MIXER].find("medan")
    assert str(error.value) == (
        "no mixer is named 'medan' (did you mean 'median'?); there are: median; "
        "not loaded: acme-mixers 1.0 (entry point 'running-mean'), see `zoo plugins`"
    )
    assert error.value.exit_code == 2


@pytest.mark.usefixtures("folder")
def test_a_distribution_that_is_not_installed_is_named_with_the_remedy():
    with pytest.raises(PluginError) as error:
        discover()[MIXER].find("acme-mixers:mean")
    assert str(error.value) == (
        "mixer acme-mixers:mean needs the distribution 'acme-mixers', which is not installed or not allowed by "
        "ZOO_PLUGINS and ZOO_BLOCK_PLUGINS: pip install acme-mixers"
    )
    assert error.value.exit_code == 4


# What a plugin changes when it is imported

CHANGES = {
    "draws": ("TABLE = torch.randn(3)", ("random numbers of torch",)),
    "seeds": ("torch.manual_seed(1234)", ("random numbers of torch",)),
    "sets the dtype": (
        "torch.set_default_dtype(torch.float64)",
        ("default dtype (torch.float32 to torch.float64)",),
    ),
    "fails afterwards": (
        "torch.backends.cudnn.benchmark = True; raise RuntimeError",
        ("torch.backends.cudnn.benchmark (False to True)",),
    ),
}


@pytest.mark.parametrize(("line", "changes"), CHANGES.values(), ids=CHANGES)
def test_what_a_plugin_changes_on_import_is_undone_and_told_of_it_alone(folder, line, changes):
    folder.install("acme", {"acme": "acme_plugin"}, acme_plugin=f"import torch\n{line}\n{giving('mean')}")
    folder.install("bolt", {"bolt": "bolt_plugin"}, bolt_plugin=giving("max"))
    folder.install_built_ins()
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    acme, bolt, built_in = discover().plugins
    assert (acme.changes, bolt.changes, built_in.changes) == (changes, (), ())
    assert torch.get_default_dtype() == torch.float32
    assert not torch.backends.cudnn.benchmark
    assert torch.equal(torch.rand(3), expected)


def test_what_a_hook_changes_is_undone_and_told_too(folder):
    hook = "torch.set_grad_enabled(False)\n    return {'mean': Mixer}"
    folder.install("acme", {"acme": "acme_plugin"}, acme_plugin="import torch" + giving().replace("return {}", hook))
    (plugin,) = discover().plugins
    assert plugin.changes == ("gradient mode (True to False)",)
    assert torch.is_grad_enabled()
    assert [entry.name for entry in plugin.members] == ["mean"]


def test_what_a_plugin_prints_goes_to_stderr(folder, capfd):
    code = "import os\nprint('compiling')\nos.system('echo kernels')" + giving().replace(
        "return {}", "print('giving')\n    return {}"
    )
    folder.install("acme", {"acme": "acme_plugin"}, acme_plugin=code)
    assert discover().broken == ()
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.split() == ["compiling", "kernels", "giving"]


def test_a_plugin_that_is_first_needed_on_the_meta_device_has_real_tables(folder):
    folder.install("acme", {"acme": "acme_plugin"}, acme_plugin="import torch\nTABLE = torch.ones(3)" + giving("mean"))
    with torch.device("meta"):
        discover()
    assert sys.modules["acme_plugin"].TABLE.sum() == 3


# Who gives the same


def install_rivals(folder):
    folder.install("acme", {"mixers": "acme_plugin"}, acme_plugin=giving("mean", "max"))
    folder.install("bolt", {"mixers": "bolt_plugin"}, version="2.0", bolt_plugin=giving("mean"))


def test_two_distributions_may_have_the_same_entry_point_name(folder):
    install_rivals(folder)
    registry = discover()
    assert registry.broken == ()
    assert {entry.qualified_name for entry in registry[MIXER].entries} == {"acme:mean", "acme:max", "bolt:mean"}


def test_two_that_give_the_same_name_are_both_named_and_both_work(folder):
    install_rivals(folder)
    registry = discover()
    assert names(registry) == ["max", "acme:mean", "bolt:mean"]
    with pytest.raises(UsageError) as error:
        registry[MIXER].find("mean")
    assert str(error.value) == (
        "mixer 'mean' is given by acme 1.0 (entry point 'mixers') and bolt 2.0 (entry point 'mixers'): "
        "write acme:mean or bolt:mean"
    )
    assert error.value.exit_code == 2
    assert registry[MIXER].find("acme:mean").cls.__module__ == "acme_plugin"
    assert registry[MIXER].find("bolt:mean").cls.__module__ == "bolt_plugin"
    assert registry[MIXER].display_name(registry[MIXER].find("max")) == "max"


def test_a_built_in_name_is_not_taken_over(folder):
    folder.install_built_ins()
    folder.install("acme", {"acme": "acme_plugin"}, acme_plugin=giving("involution"))
    registry = discover()
    assert {"acme:involution", f"{HOST}:involution"} <= set(names(registry))
    assert registry[MIXER].find(f"{HOST}:involution").cls.__module__ == "mixers.involution"
    with pytest.raises(UsageError, match=r"^mixer 'involution' is given by acme 1.0 .* and mixer-zoo 0.1.0 .*: write"):
        registry[MIXER].find("involution")


def test_one_distribution_that_gives_a_name_twice_is_told_so(folder):
    modules = {"one": giving("mean"), "two": giving("mean", "max")}
    folder.install("acme", {"first": "one", "second": "two"}, **modules)
    registry = discover()
    assert names(registry) == ["mean"]
    assert registry[MIXER].find("acme:mean").origin.entry_point == "first"
    cause = "PluginError: it gives mixer 'mean', and so does entry point 'first' of the same distribution"
    assert causes(registry) == {"acme:second": cause}


def test_two_entry_points_to_one_module_are_told_apart(folder):
    folder.install("acme", {"first": "one", "second": "one"}, one=giving("mean"))
    registry = discover()
    assert names(registry) == ["mean"]
    assert causes(registry) == {"acme:second": "PluginError: it is the same object as acme:first, which is loaded"}


# Who is chosen


def test_a_saved_choice_settles_plain_names(folder):
    install_rivals(folder)
    registry = discover().with_recorded_origins({"mixer": {"mean": "bolt", "gone": "lost-mixers"}})
    assert registry[MIXER].find("mean").origin.distribution == "bolt"
    assert registry[MIXER].find("acme:mean").origin.distribution == "acme"
    assert registry[MIXER].find("max").origin.distribution == "acme"
    with pytest.raises(PluginError, match=r"^mixer lost-mixers:gone needs the distribution 'lost-mixers'"):
        registry[MIXER].find("gone")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ["acme-mixers", "bolt", HOST]),
        ({"ZOO_PLUGINS": ""}, [HOST]),
        ({"ZOO_PLUGINS": "bolt"}, ["bolt", HOST]),
        ({"ZOO_PLUGINS": " Acme_Mixers , , not-installed"}, ["acme-mixers", HOST]),
        ({"ZOO_BLOCK_PLUGINS": ""}, ["acme-mixers", "bolt", HOST]),
        ({"ZOO_BLOCK_PLUGINS": "acme.mixers"}, ["bolt", HOST]),
        ({"ZOO_BLOCK_PLUGINS": "acme-mixers,bolt"}, [HOST]),
        ({"ZOO_PLUGINS": "acme-mixers,bolt", "ZOO_BLOCK_PLUGINS": "bolt"}, ["acme-mixers", HOST]),
        ({"ZOO_BLOCK_PLUGINS": f"{HOST},bolt,acme-mixers"}, []),
    ],
)
def test_the_environment_chooses_before_anything_is_imported(folder, environ, expected):
    folder.install_built_ins()
    folder.install("acme-mixers", {"acme": "acme_plugin"}, acme_plugin=giving("mean"))
    folder.install("bolt", {"bolt": "bolt_plugin"}, bolt_plugin=giving("max"))
    loaded = [plugin.origin.distribution for plugin in discover(**environ).plugins]
    assert loaded == expected
    assert ("acme_plugin" in sys.modules) == ("acme-mixers" in expected)
    assert ("bolt_plugin" in sys.modules) == ("bolt" in expected)


# From the outside


def zoo(folder, *arguments, **environ):
    program = "import sys; from zoo.cli.main import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | {"PYTHONPATH": str(folder.path)} | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.slow
def test_the_command_line_works_beside_broken_and_rival_plugins(on_path):
    on_path.install("a-bad-one", {"bad": "bad_plugin"}, bad_plugin="import sys\nsys.exit('bad luck')")
    on_path.install("acme", {"acme": "acme_plugin"}, acme_plugin=giving("mean", "involution"))
    listed = zoo(on_path, "list", "--json")
    assert listed.returncode == 0, listed.stderr
    found = {(entry["name"], entry["origin"]["distribution"]) for entry in json.loads(listed.stdout)}
    assert {("mean", "acme"), ("acme:involution", "acme"), (f"{HOST}:involution", HOST)} <= found


@pytest.mark.slow
def test_a_mixer_of_a_broken_plugin_is_an_error_without_traceback(on_path):
    on_path.install("a-bad-one", {"bad": "bad_plugin"}, bad_plugin="import sys\nsys.exit('bad luck')")
    result = zoo(on_path, "info", "bad")
    assert result.returncode == 4
    cause = "which is broken: SystemExit: bad luck"
    assert f"mixer 'bad' should come from a-bad-one 1.0 (entry point 'bad'), {cause}" in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


# Tasks

COUNTING = """
from zoo import Task, hookimpl

class Counting(Task):
    \"\"\"Count.\"\"\"

@hookimpl
def zoo_tasks():
    return {"counting": Counting}
"""


def test_a_plugin_gives_tasks_beside_mixers_or_alone(folder):
    folder.install("acme", {"acme": "acme_plugin"}, acme_plugin=COUNTING)
    folder.install("bolt", {"bolt": "bolt_plugin"}, bolt_plugin=COUNTING + giving("mean"))
    registry = discover()
    assert registry.broken == ()
    assert names(registry) == ["mean"]
    assert registry[TASK].names == ("acme:counting", "bolt:counting")
    assert registry[TASK].find("acme:counting").summary == "Count."
    with pytest.raises(UsageError, match=r"^task 'counting' is given by acme .* and bolt .*: write acme:counting or"):
        registry[TASK].find("counting")
    with pytest.raises(UsageError, match=r"^no task is named 'countin' \(did you mean 'bolt:counting'"):
        registry[TASK].find("bolt:countin")


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (
            COUNTING.replace("Counting(Task)", "Counting"),
            "is <class 'acme_plugin.Counting'>, not a subclass of zoo.Task",
        ),
        (COUNTING.replace('{"counting": Counting}', "[]"), "zoo_tasks() returned list, not a dict of tasks by name"),
    ],
)
def test_a_broken_task_is_told(folder, code, cause):
    folder.install("acme", {"acme": "acme_plugin"}, acme_plugin=code)
    registry = discover()
    assert registry[TASK].names == ()
    assert cause in causes(registry)["acme:acme"]


def test_one_distribution_that_gives_a_task_twice_is_told_so(folder):
    folder.install("acme", {"first": "one", "second": "two"}, one=COUNTING, two=COUNTING)
    cause = "PluginError: it gives task 'counting', and so does entry point 'first' of the same distribution"
    assert causes(discover()) == {"acme:second": cause}


@pytest.mark.parametrize("text", [b"[zoo]\nno equals sign\n", b"\xff\xfe", b"= = =\n[\n"])
def test_metadata_of_anybody_that_cannot_be_read_harm_no_other(folder, text):
    folder.install("acme", {"acme": "acme_plugin"}, acme_plugin=giving("mean"))
    for name in ("aaa", "zzz"):
        broken = folder.path / f"{name}-1.0.dist-info"
        broken.mkdir()
        (broken / "METADATA").write_bytes(b"Name: \xff\xfe\n")
        (broken / "entry_points.txt").write_bytes(text)
    assert "mean" in [entry.name for entry in discover()[MIXER].entries]


def test_a_name_of_a_damaged_file_stays_in_its_line(folder):
    folder.install_built_ins()
    with pytest.raises(PluginError) as error:
        discover()[MIXER].find("a\nb\r:\x1b[31m")
    assert str(error.value).isprintable()
    assert "needs the distribution" in str(error.value)
