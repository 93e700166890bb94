import json
import math

import pytest

from zoo.errors import UsageError
from zoo.train.resolve import list_presets, load_preset, read_assignments, read_file, resolve
from zoo.train.settings import Settings, validate


@pytest.mark.parametrize("name", list_presets())
def test_every_preset_is_valid_and_described(name):
    assert validate(load_preset(name))
    assert len(list_presets()[name]) > 20


def test_flags_win_over_assignments_over_file_over_preset(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("dim = 48\nheads = 6\nsteps = 7\n")
    settings = resolve(preset="nanogpt", file=file, assignments=["heads=3", "steps=8"], flags={"steps": 9, "lr": None})
    assert (settings.layers, settings.dim, settings.heads, settings.steps, settings.lr) == (6, 48, 3, 9, 1e-3)


def test_a_saved_config_reads_back_as_the_same_settings(tmp_path):
    settings = resolve(preset="leviathan", assignments=["max_time=2m"])
    file = tmp_path / "config.json"
    file.write_text(json.dumps(settings.model_dump()))
    assert validate(read_file(file)) == settings


@pytest.mark.parametrize("clip", [math.inf, 2.5])
def test_no_clipping_is_saved_as_null_and_read_in_both_spellings(clip):
    saved = resolve(assignments=[f"clip={clip}"]).model_dump()
    assert saved["clip"] == (None if clip == math.inf else clip)
    assert validate(saved).clip == validate({**saved, "clip": clip}).clip == clip


def test_none_in_a_file_is_no_value_where_the_setting_has_no_such_text(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_bytes(b'\xef\xbb\xbfpositions = "none"\nlayers = "none"\nclip = "none"\n')  # with a byte-order mark
    settings = resolve(file=file)
    assert (settings.positions, settings.layers, settings.clip) == ("none", None, math.inf)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"layers": None, "clip": math.inf}), encoding="utf-8-sig")
    assert (resolve(file=file).layers, resolve(file=file).clip) == (None, math.inf)


def test_a_longer_pattern_than_the_preset_is_taken_whole():
    assert resolve(flags={"mixer": "(correlation, involution)*3"}).layers == 6
    assert resolve(flags={"mixer": "(correlation, involution)*3", "layers": 4}).layers == 4
    assert resolve(flags={"mixer": "correlation, involution"}).layers == 4


@pytest.mark.parametrize(
    ("assignment", "name", "value"),
    [
        ("positions=learned", "positions", "learned"),
        ("layers=none", "layers", None),
        ("max_time=none", "max_time", None),
        ("threads=none", "threads", None),
        ("stop_accuracy=none", "stop_accuracy", None),
        ("positions=none", "positions", "none"),
        ("channel_mixer=none", "channel_mixer", "none"),
        ("clip=none", "clip", math.inf),
        ("clip=inf", "clip", math.inf),
        ("compile=true", "compile", True),
        ("lr=1e-2", "lr", 1e-2),
        ("lr=1", "lr", 1.0),
        ("max_time=90s", "max_time", 90.0),
        ("max-time=1.5h", "max_time", 5400.0),
    ],
)
def test_assignments(assignment, name, value):
    assert getattr(resolve(assignments=[assignment]), name) == value


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("threads=2147483649", "less than or equal to 4096"),
        ("stesp=3", "there is no setting 'stesp' (did you mean 'steps'?)"),
        ("steps", "`assignments`='steps' should read `assignments`=key=value"),
        ("steps=0", "steps=0 should be greater than or equal to 1"),
        ("steps=2.5", "steps=2.5 should be"),
        ("steps=many", "steps='many' should be a valid integer"),
        ("dim=-4", "dim=-4 should be greater than or equal to 1"),
        ("lr=0", "lr=0 should be greater than 0"),
        ("lr=nan", "lr=nan should be a finite number"),
        ("lr=none", "lr='none' should be a valid number"),
        ("clip=nan", "clip=nan should be greater than 0"),
        ("max_time=inf", "max_time=inf should be a finite number"),
        ("dropout=1.0", "dropout=1.0 should be less than 1"),
        ("positions=rotary", "positions='rotary' should be 'none' or 'learned'"),
        ("max_time=soon", "max_time='soon' should be a time, e.g. 90s, 2m or 1.5h"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(assignment, words):
    with pytest.raises(UsageError) as caught:
        resolve(assignments=[assignment])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["[" * 100_000, "9" * 5000, "{a=" * 100_000], ids=["list", "number", "table"])
def test_a_value_that_no_toml_holds_is_text(value):
    assert read_assignments([f"data={value}"]) == {"data": value}


def test_unknown_presets_and_unreadable_files(tmp_path):
    with pytest.raises(UsageError, match="did you mean 'nanogpt'"):
        resolve(preset="nanogtp")
    with pytest.raises(UsageError, match="cannot read the settings file"):
        resolve(file=tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("steps = = 3")
    with pytest.raises(UsageError, match="is not a settings file"):
        resolve(file=tmp_path / "bad.toml")
    for name in ("deep.toml", "deep.json"):
        (tmp_path / name).write_text(f"{'x = ' * name.endswith('toml')}{'[' * 100_000}")
        with pytest.raises(UsageError, match="is not a settings file"):
            resolve(file=tmp_path / name)
    (tmp_path / "list.json").write_text("[1, 2]")
    with pytest.raises(UsageError, match="holds no table"):
        resolve(file=tmp_path / "list.json")


def test_every_setting_says_what_it_means():
    assert all(field.description for field in Settings.model_fields.values())


def test_texts_are_parsed_in_one_place():
    settings = validate({"mixer": "correlation/mlp, dot_product", "channel_mixer": "swiglu(expansion=2)", "layers": 3})
    assert [str(layer) for layer in settings.layer_calls] == [
        "correlation/mlp",
        "dot-product/swiglu(expansion=2)",
        "correlation/mlp",
    ]
    assert str(settings.pattern) == "correlation/mlp, dot-product"
    assert settings.optimizer_call.name == "adamw"
    # a copy has its own, and what is saved is as it was written
    assert str(settings.model_copy(update={"mixer": "involution"}).pattern) == "involution"
    assert settings.model_dump()["mixer"] == "correlation/mlp, dot_product"
    assert set(settings.model_dump()) == set(Settings.model_fields)
