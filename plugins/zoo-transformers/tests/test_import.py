"""Pretrained models become runs that predict the same, and what cannot is refused in one line."""

import json
import shutil

import pytest
import torch
from tokenizers import Tokenizer as Model
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)
from zoo_transformers.export import export_run
from zoo_transformers.importing import import_folder

import zoo
from zoo.cli.main import run as zoo_command

VOCABULARY = 290
TEXT = "The quick brown fox jumps over a lazy dog, 'tis said.\n\nAnd so on…\n" * 60

GPT2 = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 48}
LLAMA = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}
NO_TOKENS = {"bos_token_id": None, "eos_token_id": None}

CONFIGS = {
    "gpt2": GPT2Config(**GPT2, **NO_TOKENS),
    "gpt2-unusual": GPT2Config(
        **GPT2,
        **NO_TOKENS,
        n_inner=40,
        layer_norm_epsilon=1e-3,
        activation_function="relu",
        tie_word_embeddings=False,
    ),
    "llama": LlamaConfig(**LLAMA),
    "llama-unusual": LlamaConfig(
        **LLAMA,
        rms_norm_eps=1e-2,
        rope_parameters={"rope_theta": 500000.0, "rope_type": "default"},
        attention_bias=True,
        tie_word_embeddings=True,
        hidden_act="gelu_pytorch_tanh",
    ),
    "mistral": MistralConfig(**LLAMA, sliding_window=7),
    "qwen2": Qwen2Config(**LLAMA, use_sliding_window=True, sliding_window=5, max_window_layers=1),
    "qwen3": Qwen3Config(**LLAMA, head_dim=8),
}
PATTERNS = {
    "gpt2": "dot-product(rope=False, bias=True)*3",
    "llama": "dot-product(kv_heads=2, rope_base=10000.0, bias=False, qk_norm=False, window=None)*3",
}


def tokenizer_file(path):
    """A tokenizer of bytes and merges, with fewer tokens than the model."""
    model = Model(models.BPE())
    model.pre_tokenizer, model.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=280, initial_alphabet=alphabet, show_progress=False)
    model.train_from_iterator([TEXT], trainer)
    model.save(str(path))
    return model


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """A folder of each model with random weights, all of which matter, norms and biases too."""
    made = {}

    def checkpoint(name):
        if name not in made:
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(CONFIGS[name])
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.normal_(mean=1.0 * (parameter.ndim == 1), std=0.3)
            made[name] = tmp_path_factory.mktemp(name)
            model.save_pretrained(made[name])
        return made[name]

    return checkpoint


@pytest.fixture
def refused(capsys):
    """The line in which ``zoo import`` refuses its arguments."""

    def run(*arguments, code=2):
        capsys.readouterr()
        assert zoo_command(["import", *map(str, arguments)]) == code
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        return err.removeprefix("error: ").strip()

    return run


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_those_of_transformers(checkpoints, tmp_path, name):
    theirs = AutoModelForCausalLM.from_pretrained(checkpoints(name)).eval()
    imported = import_folder(checkpoints(name), tmp_path / "run")
    run = zoo.load_run(imported.path)
    tokens = torch.randint(VOCABULARY, (2, 40))
    with torch.inference_mode():
        expected = theirs(tokens).logits
        assert expected.std() > 0.1
        torch.testing.assert_close(run.model(tokens).logits, expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(run.model.step(tokens)[0], expected, atol=1e-4, rtol=0)
    assert imported.difference < 1e-4
    assert run.settings.context == min(1024, theirs.config.max_position_embeddings)
    assert name not in PATTERNS or run.settings.mixer == PATTERNS[name]


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_greedy_tokens_are_those_of_transformers(checkpoints, tmp_path, name):
    theirs = AutoModelForCausalLM.from_pretrained(checkpoints(name)).eval()
    run = zoo.load_run(import_folder(checkpoints(name), tmp_path / "run").path)
    prompt = torch.tensor([[5, 6, 7]])
    expected = theirs.generate(prompt, max_new_tokens=20, do_sample=False, eos_token_id=None)[:, 3:]
    assert torch.equal(zoo.generate(run.model, prompt, tokens=20, temperature=0), expected)


def test_the_norms_of_the_zoo_are_taken_where_they_are_the_same(checkpoints, tmp_path):
    def residual(name):
        return zoo.load_run(import_folder(checkpoints(name), tmp_path / name).path).settings.residual

    assert residual("gpt2") == "pre-norm(norm=layer, scale='none')"
    assert residual("llama") == "pre-norm(norm=rms, scale='none')"
    assert residual("gpt2-unusual") == "pretrained-norm(norm=layer, eps=0.001)"
    assert residual("llama-unusual") == "pretrained-norm(norm=rms, eps=0.01)"


def test_the_command_without_a_tokenizer(checkpoints, tmp_path, capsys):
    out = tmp_path / "run"
    assert zoo_command(["import", str(checkpoints("gpt2")), "--out", str(out)]) == 0
    done = capsys.readouterr()
    assert done.out == f"{out}\n"
    assert "parameters; logits differ by" in done.err
    assert "it has no tokenizer.json: texts are token numbers" in done.err
    assert "to inspect it, import it with a text: --data" in done.err
    assert zoo_command(["generate", str(out), "--prompt", "12 7", "--tokens", "5"]) == 0
    assert len(capsys.readouterr().out.split()) == 7


def test_the_command_with_a_tokenizer_and_a_text(checkpoints, tmp_path, capsys):
    folder, text, out = tmp_path / "checkpoint", tmp_path / "fox.txt", tmp_path / "run"
    shutil.copytree(checkpoints("gpt2"), folder)
    tokenizer_file(folder / "tokenizer.json")
    text.write_text(TEXT)
    assert zoo_command(["import", str(folder), "--out", str(out), "--data", str(text)]) == 0
    assert zoo_command(["generate", str(out), "--prompt", "The fox", "--tokens", "5"]) == 0
    capsys.readouterr()
    shutil.rmtree(folder)  # the run has the tokenizer itself
    run = zoo.load_run(out)
    assert run.tokenizer.decode(run.tokenizer.encode(TEXT)) == TEXT
    assert run.tokenizer.vocab_size == VOCABULARY


@pytest.mark.slow
def test_an_imported_run_is_inspected(checkpoints, tmp_path, capsys):
    folder, text, out = tmp_path / "checkpoint", tmp_path / "fox.txt", tmp_path / "run"
    shutil.copytree(checkpoints("llama"), folder)
    tokenizer_file(folder / "tokenizer.json")
    text.write_text(TEXT)
    assert zoo_command(["import", str(folder), "--out", str(out), "--data", str(text), "--context", "16"]) == 0
    shutil.rmtree(folder)  # the run has the tokenizer itself
    assert zoo_command(["inspect", str(out)]) == 0
    assert "dot-product" in capsys.readouterr().out


def test_an_imported_model_is_exported(checkpoints, tmp_path):
    run = import_folder(checkpoints("llama-unusual"), tmp_path / "run").path
    export_run(run, tmp_path / "model")
    assert not (tmp_path / "model" / "tokenizer.json").exists()
    assert "AutoTokenizer" not in (tmp_path / "model" / "README.md").read_text()
    theirs, again = (
        AutoModelForCausalLM.from_pretrained(p) for p in (checkpoints("llama-unusual"), tmp_path / "model")
    )
    tokens = torch.randint(VOCABULARY, (1, 30))
    with torch.inference_mode():
        torch.testing.assert_close(again(tokens).logits, theirs(tokens).logits, atol=1e-4, rtol=0)


def test_a_layer_is_replaced_and_the_model_saved(checkpoints, tmp_path):
    run = zoo.load_run(import_folder(checkpoints("gpt2"), tmp_path / "run").path)
    names = ("dim", "heads", "context", "channel_mixer", "residual", "positions", "tie_embeddings")
    attention = "dot-product(rope=False, bias=True)"
    model = zoo.build_model(
        f"{attention}, correlation, {attention}",
        vocab_size=run.model.vocabulary,
        **{name: getattr(run.settings, name) for name in names},
    )
    kept = {name: tensor for name, tensor in run.model.state_dict().items() if not name.startswith("layers.1.mixers.")}
    assert model.load_state_dict(kept, strict=False).unexpected_keys == []
    again = zoo.load_run(zoo.save_run(model, tmp_path / "replaced", tokenizer=run.tokenizer)).model
    assert type(again.layers[1].mixers[0]) is type(zoo.create_mixer("correlation", dim=32))
    reads = torch.randn(1, 5, 32)
    for index, same in enumerate((True, False, True)):
        assert torch.equal(again.layers[index].mixers[0](reads), run.model.layers[index].mixers[0](reads)) is same


def test_folders_that_are_no_checkpoint(tmp_path, refused):
    assert refused(tmp_path / "nothing").startswith(f"there is no folder {tmp_path / 'nothing'}: ")
    assert refused(tmp_path).startswith(f"{tmp_path} is no checkpoint: it holds no config.json")
    config = tmp_path / "config.json"
    for content, message in (
        ("{", f"{config} cannot be read: "),
        ("[]", "its config.json names no model_type"),
        ('{"steps": 3}', "its config.json names no model_type"),
        (
            '{"model_type": "bert"}',
            "a model of type bert cannot be imported: expected gpt2, llama, ",
        ),
        ('{"model_type": "gpt2"}', f"{tmp_path} cannot be loaded: "),
        ('{"model_type": "gpt2", "n_embd": "wide"}', f"{tmp_path} cannot be loaded: "),
    ):
        config.write_text(content)
        assert message in refused(tmp_path, "--out", tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=True cannot be imported"),
        (
            "gpt2",
            {"activation_function": "tanh"},
            "activation_function=tanh cannot be imported: expected one of ",
        ),
        ("llama", {"hidden_act": "relu"}, "hidden_act=relu cannot be imported: expected one of silu"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
            "rotary positions of type linear cannot be imported: expected default",
        ),
        ("qwen3", {"rms_norm_eps": 1e-5}, "query-key norms with eps=1e-05 cannot be imported: expected 1e-06"),
    ],
)
def test_options_that_no_part_has_are_refused(  # noqa: PLR0917 - fixtures and parameters
    checkpoints, tmp_path, refused, name, changes, message
):
    folder = tmp_path / "checkpoint"
    shutil.copytree(checkpoints(name), folder)
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    assert message in refused(folder, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LlamaConfig(**LLAMA, mlp_bias=True), "mlp_bias=True cannot be imported: expected False"),
        (LlamaConfig(**LLAMA, head_dim=16), "heads of size 16 do not fill the width 32"),
        (GPT2Config(**GPT2, **NO_TOKENS, add_cross_attention=True), "add_cross_attention=True cannot be imported"),
    ],
)
def test_models_that_no_parts_make_are_refused(tmp_path, refused, config, message):
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "checkpoint")
    assert message in refused(tmp_path / "checkpoint", "--out", tmp_path / "run")


def test_weights_that_are_missing_are_named(checkpoints, tmp_path, refused):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "checkpoint"
    shutil.copytree(checkpoints("llama"), folder)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    assert "lacks weights, e.g. model.norm.weight" in refused(folder, "--out", tmp_path / "run")


def test_a_conversion_that_predicts_something_else_is_refused(checkpoints, tmp_path, refused, monkeypatch):
    from zoo_transformers import importing

    build = importing._build

    def build_changed(*arguments):
        model = build(*arguments)
        with torch.no_grad():
            model.embedding.weight[:, 0] += 0.1
        return model

    monkeypatch.setattr(importing, "_build", build_changed)
    assert "predicts something else in the zoo" in refused(checkpoints("gpt2"), "--out", tmp_path / "run", code=1)
    assert not (tmp_path / "run").exists()


def test_places_and_contexts_that_cannot_be(checkpoints, tmp_path, refused):
    gpt2, llama, out = checkpoints("gpt2"), checkpoints("llama"), tmp_path / "run"
    assert refused(gpt2, "--out", tmp_path).startswith(f"{tmp_path} exists: choose another folder with --out")
    assert refused(gpt2, "--out", out, "--context", 20) == "--context 20 does not fit the model: expected 48"
    assert refused(llama, "--out", out, "--context", 0) == "--context 0 does not fit the model: expected from 1 to 2048"
    assert refused(llama, "--out", out, "--data", tmp_path / "no.txt").startswith("there is no data")


def test_a_tokenizer_of_another_model_is_refused(checkpoints, tmp_path, refused):
    folder = tmp_path / "checkpoint"
    shutil.copytree(checkpoints("gpt2"), folder)
    model = tokenizer_file(folder / "tokenizer.json")
    model.add_tokens([f"word {number}" for number in range(20)])
    model.save(str(folder / "tokenizer.json"))
    assert "and the model 290: they do not belong together" in refused(folder, "--out", tmp_path / "run")


def test_every_tensor_is_used(checkpoints):
    from zoo_transformers.architectures import convert

    config = AutoConfig.from_pretrained(checkpoints("llama"))
    tensors = AutoModelForCausalLM.from_pretrained(checkpoints("llama")).state_dict()
    with pytest.raises(zoo.UsageError, match=r"the checkpoint has more\.weight, which no part of the zoo takes"):
        convert(config, tensors | {"more.weight": torch.zeros(1)})
    with pytest.raises(zoo.UsageError, match=r"the checkpoint lacks model\.norm\.weight"):
        convert(config, {name: tensor for name, tensor in tensors.items() if name != "model.norm.weight"})
