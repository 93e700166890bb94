import ast
import inspect
from importlib.metadata import entry_points
from pathlib import Path

import pluggy
import pytest
import torch

import zoo
from zoo.contract import Mixed, TokenMixer
from zoo.plugin import hookspecs
from zoo.plugin.kinds import KINDS
from zoo.plugin.registry import HOST

PUBLIC = {
    "Backbone", "ChannelMixer", "Corpus", "Examples", "Executor", "Hybrid", "IGNORE", "Mixed", "Panel", "RMSNorm",
    "ReportedRun", "Reporter", "Residual", "State", "Task", "TokenMixer", "Tokenizer", "UsageError", "ZooError",
    "bench", "bench_model", "build_model", "check", "compare", "create_mixer", "evaluate", "generate", "hookimpl",
    "list_mixers", "load_data", "load_run", "register", "save_run", "train", "watch_stream",
}  # fmt: skip


def test_the_public_names():
    assert set(zoo.__all__) == PUBLIC
    assert set(dir(zoo)) >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_there(name):
    assert getattr(zoo, name) is not None
    # not by inspect, which takes the docstring of a parent for that of a class
    assert name in {"IGNORE", "State", "hookimpl"} or getattr(zoo, name).__doc__


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(zoo.__file__).read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {(node.module, alias.asname) for block in blocks for node in block.body for alias in node.names}
    assert imported == {(module, name) for name, module in zoo._HOME.items()}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'zoo' has no attribute 'Correlation'$"):
        _ = zoo.Correlation
    with pytest.raises(ImportError):
        from zoo import Correlation  # noqa: F401


def test_a_star_import_brings_the_public_names():
    names = {}
    exec("from zoo import *", names)
    assert set(names) - {"__builtins__"} == PUBLIC


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("list_mixers", "(glob='*')"),
        ("create_mixer", "(mixer, *, dim, heads=4, layer_index=0, layers=1, context=256, registry=None)"),
        (
            "build_model",
            "(pattern, *, vocab_size, dim=128, layers=None, heads=4, context=256, channel_mixer='swiglu', "
            "residual='pre-norm', positions='none', dropout=0.0, tie_embeddings=True, readout=None, registry=None)",
        ),
        ("generate", "(model, prompt, *, tokens=256, temperature=0.8, top_k=None, top_p=None, seed=0)"),
        ("load_data", "(data, *, tokenizer='byte', validation_fraction=0.1, documents='joined', text_field='text')"),
        ("save_run", "(model, folder=None, *, data=None, tokenizer=None, step=0)"),
        ("load_run", "(path, *, device='cpu', allow_changed=False, ema=False, precision='fp32')"),
        ("watch_stream", "(model)"),
        (
            "train",
            "(mixer=None, *, data=None, steps=None, out=None, resume=None, report=None, preset=None, config=None, "
            "progress=True, **settings)",
        ),
        (
            "check",
            "(member, *, options=None, only=None, skip=(), expected_failures=None, thorough=False, strict=False, "
            "examples=20, seed=0, progress=True)",
        ),
    ],
)
def test_signatures(name, parameters):
    signature = inspect.signature(getattr(zoo, name))
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    assert str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)) == parameters


def test_the_built_ins_come_through_an_entry_point():
    assert [point.value for point in entry_points(group="zoo", name="built-in")] == ["mixers.plugin"]


def test_mixers_and_models_are_built_from_the_top_level():
    names = zoo.list_mixers()
    assert {"correlation", "dot-product"} <= {name.removeprefix(f"{HOST}:") for name in names}
    assert f"{HOST}:dot-product".endswith(zoo.list_mixers(f"{HOST}:dot*")[0])
    assert zoo.list_mixers("no-such-*") == []
    assert isinstance(zoo.create_mixer("correlation(max_lag=3)", dim=16, heads=2), zoo.TokenMixer)
    model = zoo.build_model("correlation, dot-product", vocab_size=11, dim=16, layers=4, heads=2, context=8)
    assert isinstance(model, zoo.Backbone)
    assert model(torch.zeros(1, 8, dtype=torch.int64)).logits.shape == (1, 8, 11)


def test_every_hook_is_documented_and_typed():
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    hooks = [name for name in vars(hookspecs) if name.startswith("zoo_")]
    assert hooks == [*(kind.hook for kind in KINDS), "zoo_commands"]
    for name in hooks:
        assert hasattr(manager.hook, name)
        function = getattr(hookspecs, name)
        assert inspect.getdoc(function)
        assert "return" in function.__annotations__


# The contract


class Doubles(TokenMixer):
    def forward(self, x):
        return x.cumsum(1)


def test_the_base_class_takes_a_width_or_none_and_holds_nothing():
    for mixer in (TokenMixer(), TokenMixer(8), TokenMixer(dim=8)):
        assert mixer.state_dict() == {}
        assert (mixer.causal, mixer.paper) == (True, "")
    with pytest.raises(NotImplementedError, match=r"^TokenMixer has no forward\(x\)$"):
        TokenMixer()(torch.zeros(1, 1, 1))
    assert TokenMixer().after_update({}) is None


def test_the_default_step_keeps_every_read_and_changes_no_state():
    x = torch.randn(2, 5, 3)
    mixer = Doubles()
    first, state = mixer.step(x[:, :2])
    held = state.clone()
    second, later = mixer.step(x[:, 2:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), mixer(x))
    assert torch.equal(state, held)
    assert torch.equal(later, x)


def test_a_write_alone_is_a_mixed_without_more():
    x = torch.zeros(1, 2, 3)
    assert Mixed.of(x) == Mixed(x, {}, {})
    said = Mixed(x, {"a": x.sum()})
    assert Mixed.of(said) is said
    assert said.metrics == {}
    with pytest.raises(AttributeError):
        said.out = x
