"""What an export holds, that a fresh process loads it, and what is refused in one line."""

import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
import yaml
import zoo_transformers
from transformers import AutoConfig, AutoModelForCausalLM
from zoo_transformers.card import licence_of
from zoo_transformers.export import data_name, export_run

import zoo
from zoo.cli.main import run as zoo_command
from zoo.data.tokenize import make_tokenizer
from zoo.train.run_directory import RunDirectory
from zoo.train.settings import validate

PROMPT = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])
TEXT = "the quick brown fox jumps over a lazy dog\n" * 200
SMALL = ["--layers", "1", "--dim", "16", "--context", "16", "--batch", "2", "--steps", "4"]
SMALL += ["--set", "sample_tokens=0", "--set", "final_evaluation_tokens=64"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run of ``zoo train``."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "private").mkdir()
    (folder / "private" / "fox.txt").write_text(TEXT)
    data = ["--data", str(folder / "private" / "fox.txt")]
    assert zoo_command(["train", "--mixer", "correlation", *SMALL, *data, "--out", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture
def said(capsys):
    """Run a command, and give its exit code and what it wrote to stderr, which is a line where it failed."""

    def run(*arguments):
        capsys.readouterr()
        code = zoo_command([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        if code:
            assert err.startswith("error: ")
            assert err.count("\n") == 1
        return SimpleNamespace(code=code, out=out, err=err)

    return run


def changed_run(folder, place, **records):
    """A copy of a run that was made with something else."""
    shutil.copytree(folder, place)
    directory = RunDirectory(place)
    environment = directory.environment
    for name, record in records.items():
        environment["plugins"][name] |= record
    directory.write_environment(environment)
    return place


def test_the_command_writes_a_folder(trained, tmp_path, said):
    out = tmp_path / "model"
    done = said("export", trained, "--to", "hf", "--out", out)
    assert done.code == 0
    assert done.out == f"{out}\n"
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "modeling_mixer_zoo.py",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert (out / "modeling_mixer_zoo.py").read_text().count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_card_has_what_is_known(trained, tmp_path):
    out = tmp_path / "model"
    export_run(trained, out)
    card = (out / "README.md").read_text()
    _, head, body = card.split("---\n", 2)
    head = yaml.safe_load(head)
    summary = RunDirectory(trained).summary
    assert head["library_name"] == "transformers"
    assert head["tags"] == ["mixer-zoo", "correlation"]
    metrics = {metric["type"]: metric["value"] for metric in head["model-index"][0]["results"][0]["metrics"]}
    assert metrics == pytest.approx({"loss": summary.validation_loss, "bits_per_byte": summary.bits_per_byte})
    assert f"| bits per byte | {summary.bits_per_byte:.4f} |" in body
    assert "```\ncorrelation\n```" in body
    assert "| `correlation` | mixer-zoo | 0.1.0 |" in body
    assert "| licence of the data | unknown |" in body
    assert "fox.txt" in body
    everything = "".join(path.read_text() for path in out.iterdir() if path.suffix in (".json", ".md"))
    assert "private" not in everything  # a path of this machine is nobody's business


@pytest.mark.parametrize(
    ("data", "licence"),
    [
        ("python-stdlib", "PSF-2.0"),
        ("shakespeare", "public domain"),
        ("mixer-zoo:shakespeare", "public domain"),
        ("zoo-other:shakespeare", "unknown"),
        ("./shakespeare", "unknown"),
        ("", "unknown"),
    ],
)
def test_the_licence_of_the_data(data, licence):
    assert licence_of(validate({"data": data})) == licence


def test_the_configuration_says_how_to_build_the_model(exports):
    config = AutoConfig.from_pretrained(exports("hybrid"))
    assert config.settings["mixer"].startswith("rg-lru(")
    assert "kv_heads=2, rope=True" in config.settings["mixer"]  # an option that was given, and a default
    assert "streams=" in config.settings["residual"]
    assert set(config.plugins) == {"rg-lru", "dot-product", "channel-mixer:swiglu", "residual:mhc"}
    assert config.plugins["dot-product"]["distribution"] == "mixer-zoo"
    assert config.trained_on["step"] == 7
    assert not hasattr(config, "max_position_embeddings")
    assert config.num_hidden_layers == 3


def test_shared_weights_are_saved_once_and_loaded_shared(exports):
    from safetensors import safe_open

    with safe_open(exports("hybrid") / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert "model.layers.1.mixers.0.project_in.weight" in names
    assert "model.layers.2.mixers.0.project_in.weight" not in names
    layers = AutoModelForCausalLM.from_pretrained(exports("hybrid")).model.layers
    assert layers[1].mixers[0] is layers[2].mixers[0]


def test_saved_again_by_transformers(exports, tmp_path):
    first = AutoModelForCausalLM.from_pretrained(exports("hybrid"))
    first.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "modeling_mixer_zoo.py").is_file()
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "again")
    with torch.inference_mode():
        assert torch.equal(again(PROMPT).logits, first(PROMPT).logits)


def test_a_new_model_is_drawn_from_a_configuration(exports):
    config = AutoConfig.from_pretrained(exports("byte"))
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    assert model.get_input_embeddings().weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert model.get_output_embeddings() is None


def test_what_a_checkpoint_lacks_is_drawn(exports, tmp_path):
    from safetensors.torch import load_file, save_file

    model = AutoModelForCausalLM.from_pretrained(exports("char"))
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.positions.weight"]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.model.positions.weight.abs().max() > 0
    for name, parameter in loaded.named_parameters():
        if name in tensors:
            assert torch.equal(parameter, tensors[name])


class Tabled(zoo.TokenMixer):
    """Multiplies by tables that it computes when it is built, one of them outside of every state dict."""

    paper = "unpublished"

    def __init__(self, dim):
        super().__init__()
        self.register_buffer("table", torch.arange(1.0, dim + 1), persistent=False)
        self.plain = torch.linspace(1, 2, dim)
        self.gain = torch.nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return x * self.table * self.plain * self.gain


def test_tables_that_no_checkpoint_holds_are_computed(tmp_path):
    zoo.register("tabled", Tabled)
    built_with = {"channel_mixer": "swiglu", "residual": "pre-norm", "layers": 2, "dim": 8, "heads": 1, "context": 8}
    settings = built_with | {"mixer": "tabled", "positions": "none", "dropout": 0.0, "tie_embeddings": True}
    first = zoo_transformers.ZooForCausalLM(zoo_transformers.ZooConfig(settings=settings, vocab_size=16))
    first.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    with torch.inference_mode():
        assert torch.equal(again(PROMPT).logits, first.eval()(PROMPT).logits)


FRESH = """
import sys
import torch
if "code" not in sys.argv:
    import zoo_transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
trusted = {"trust_remote_code": True} if "code" in sys.argv else {}
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], **trusted)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], **trusted)
prompt = tokenizer("the ", return_tensors="pt")
tokens = model.generate(**prompt, max_new_tokens=40, do_sample=False)[0]
print(repr(tokenizer.decode(tokens)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["import", "code"])
def test_a_fresh_process_loads_it_offline_and_writes_what_the_zoo_writes(trained, tmp_path, how, said):
    export_run(trained, tmp_path / "model")
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", FRESH, str(tmp_path / "model"), how]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    written = said("generate", trained, "--prompt", "the ", "--tokens", 40, "--temperature", 0)
    assert done.stdout == f"{written.out[:-1]!r}\n"


@pytest.mark.slow
def test_without_the_import_transformers_asks_for_it(exports):
    code = f"from transformers import AutoModelForCausalLM as M; M.from_pretrained({str(exports('byte'))!r})"
    done = subprocess.run([sys.executable, "-c", code], input="n", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "trust_remote_code" in done.stderr


def test_neither_the_plugin_nor_its_help_imports_transformers():
    code = (
        "import sys, zoo_transformers_plugin as plugin, typer\n"
        "plugin.zoo_commands(typer.Typer()); plugin.zoo_tokenizers()\n"
        "assert not {'transformers', 'torch', 'tokenizers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_task_is_refused(tmp_path, said):
    copy = "delayed-copy(length=8, vocab=4, delay=2)"
    assert said("train", "--data", copy, *SMALL[:4], "--steps", 2, "--out", tmp_path / "run").code == 0
    done = said("export", tmp_path / "run", "--out", tmp_path / "model")
    assert done.code == 2
    assert "learned the task delayed-copy" in done.err
    assert "export a run of a text" in done.err


def test_masked_tokens_are_refused(trained, tmp_path, said):
    data = trained.parent / "private" / "fox.txt"
    arguments = ["--objective", "masked", "--data", data, *SMALL, "--out", tmp_path / "run"]
    assert said("train", "--mixer", "pooling", *arguments).code == 0
    done = said("export", tmp_path / "run", "--out", tmp_path / "model")
    assert done.code == 2
    assert "learned to fill in masked tokens" in done.err


def test_another_version_of_a_plugin_is_refused(trained, tmp_path, said):
    run = changed_run(trained, tmp_path / "run", correlation={"version": "0.0.9"})
    done = said("export", run, "--out", tmp_path / "model")
    assert done.code == 2
    assert "correlation comes from mixer-zoo 0.1.0, and came from 0.0.9 when this began" in done.err
    assert "--allow-changed" in done.err
    assert not (tmp_path / "model").exists()
    done = said("export", run, "--out", tmp_path / "model", "--allow-changed")
    assert done.code == 0
    assert "note: correlation comes from mixer-zoo 0.1.0" in done.err


def test_a_missing_plugin_is_named(trained, exports, tmp_path, said):
    run = changed_run(trained, tmp_path / "run", correlation={"distribution": "zoo-nowhere"})
    done = said("export", run, "--out", tmp_path / "model")
    assert done.code == 4
    assert "needs the distribution 'zoo-nowhere'" in done.err
    config = AutoConfig.from_pretrained(exports("byte"))
    config.plugins["correlation"]["distribution"] = "zoo-nowhere"
    with pytest.raises(zoo.ZooError, match=r"^mixer zoo-nowhere:correlation needs the distribution"):
        AutoModelForCausalLM.from_config(config)


def test_another_version_is_warned_of_when_it_is_loaded(exports):
    config = AutoConfig.from_pretrained(exports("byte"))
    config.plugins["correlation"]["version"] = "0.0.9"
    with pytest.warns(UserWarning, match=r"^correlation comes from mixer-zoo 0.1.0, and came from 0.0.9"):
        AutoModelForCausalLM.from_config(config)


def test_a_part_that_is_not_installed_is_refused(tmp_path):
    zoo.register("tabled", Tabled)
    tokenizer = make_tokenizer("byte", "", "")
    run = zoo.save_run(zoo.build_model("tabled", vocab_size=256, dim=8), tmp_path / "run", tokenizer=tokenizer)
    with pytest.raises(
        zoo.UsageError, match=r"^tabled comes from .*, which nobody else has installed: make it a plugin"
    ):
        export_run(run, tmp_path / "model")


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_text("mine")])
def test_what_exists_is_left_alone(runs, tmp_path, said, make):
    out = tmp_path / "model"
    make(out)
    done = said("export", runs("byte"), "--out", out)
    assert done.code == 2
    assert f"{out} exists: choose another folder with --out; nothing was exported" in done.err
    assert list(tmp_path.iterdir()) == [out]


def test_a_place_that_cannot_be_written(runs, tmp_path, said):
    (tmp_path / "file").write_text("mine")
    done = said("export", runs("byte"), "--out", tmp_path / "file" / "model")
    assert done.code == 2
    assert "cannot make the folder" in done.err


def test_nothing_is_left_of_an_export_that_failed(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo_transformers.export.write_card", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_run(runs("byte"), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_predicts_something_else_is_refused(runs, tmp_path, monkeypatch):
    save = zoo_transformers.ZooForCausalLM.save_pretrained

    def save_changed(self, *args, **kwargs):
        with torch.no_grad():
            self.model.embedding.weight[0, 0] += 1
        save(self, *args, **kwargs)

    monkeypatch.setattr(zoo_transformers.ZooForCausalLM, "save_pretrained", save_changed)
    with pytest.raises(zoo.UsageError, match="the model predicts something else when transformers loads it"):
        export_run(runs("byte"), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is nowhere to export to: name a folder with --out, a repository with --push, or both"),
        (["--to", "gguf", "--out", "x"], "'gguf' is not one of 'hf'"),
    ],
)
def test_arguments_that_say_too_little(runs, capsys, arguments, message):
    assert zoo_command(["export", str(runs("byte")), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_is_no_run(tmp_path, said):
    done = said("export", tmp_path, "--out", tmp_path / "model")
    assert done.code == 2
    assert "is not a run: it holds no config.json" in done.err


class Hub:
    """What is asked of the hub."""

    asked = ()

    def create_repo(self, name, **options):
        self.asked.append((name, options))
        return f"https://example.org/{name}"

    def upload_folder(self, *, repo_id, folder_path, **_):
        self.asked.append((repo_id, sorted(path.name for path in folder_path.iterdir())))


def test_pushed_to_the_hub(runs, tmp_path, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr(Hub, "asked", [])
    done = said("export", runs("byte"), "--push", "me/shift")
    assert done.code == 0
    assert done.out == "https://example.org/me/shift\n"
    assert Hub.asked[0] == ("me/shift", {"private": True, "exist_ok": True})
    assert "model.safetensors" in Hub.asked[1][1]
    assert list(tmp_path.iterdir()) == []


def test_a_push_that_fails_is_one_line(runs, tmp_path, said, monkeypatch):
    def refuse(*_, **__):
        raise OSError("401 Client Error\nInvalid username or password.")

    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", refuse)
    done = said("export", runs("byte"), "--push", "me/shift", "--out", tmp_path / "model")
    assert done.code == 1
    assert "cannot push to me/shift: 401 Client Error Invalid username or password.; " in done.err
    assert f"{tmp_path / 'model'} was written; see `hf auth whoami`" in done.err
    assert json.loads((tmp_path / "model" / "config.json").read_text())["model_type"] == "mixer-zoo"


def test_the_average_of_the_weights_is_exported(trained, tmp_path, said):
    done = said("export", trained, "--ema", "--out", tmp_path / "none")
    assert done.code == 2
    assert "kept no average of its weights" in done.err
    data = ["--data", trained.parent / "private" / "fox.txt"]
    out = tmp_path / "run"
    assert said("train", "--mixer", "correlation", *SMALL, *data, "--set", "ema=0.9", "--out", out).code == 0
    assert said("export", out, "--ema", "--out", tmp_path / "model").code == 0
    loaded, summary = AutoModelForCausalLM.from_pretrained(tmp_path / "model"), RunDirectory(out).summary
    with torch.inference_mode():
        logits = loaded(PROMPT).logits
        assert torch.equal(logits, zoo.load_run(out, ema=True).model(PROMPT).logits)
        assert not torch.equal(logits, zoo.load_run(out).model(PROMPT).logits)
    assert f"| validation loss | {summary.ema_validation_loss:.4f} " in (tmp_path / "model" / "README.md").read_text()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("python-stdlib", "python-stdlib"),
        ("/home/me/a text.txt", "a text.txt"),
        (
            "mix(/home/me/a.jsonl=0.7, 'b/c d.txt'=0.2, shakespeare=0.1)",
            "mix(a.jsonl=0.7, 'c d.txt'=0.2, shakespeare=0.1)",
        ),
        ("", ""),
    ],
)
def test_the_data_is_named_without_folders(data, name):
    assert data_name(validate({"data": data})) == name
