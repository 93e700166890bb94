"""Runs to export: small models with random weights, whose predictions differ from token to token."""

import pytest
import torch
from zoo_transformers.export import export_run

import zoo
from zoo.data.tokenize import make_tokenizer

TEXT = "The quick brown fox jumps over a lazy dog, 'tis said; naïve → ü 42 cats don't.\n\nAnd so on…\t" * 3

RUNS = {
    "byte": ("correlation", "byte", {}),
    "char": ("involution, dot-product(window=5)", "char", {"positions": "learned", "tie_embeddings": False}),
    "bpe": ("dot-product + correlation/leviathan-moe", "bpe(vocab_size=290)", {}),
    "hybrid": ("rg-lru, dot-product@one(kv_heads=2), dot-product@one", "byte", {"residual": "mhc"}),
}
"""The pattern, the tokenizer and how else the model is built, by name."""


def vary(model):
    """Parameters of a size at which every token counts."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
        model.embedding.weight.mul_(10)
    return model.eval()


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """The folder of each run, made when it is first asked for."""
    made = {}

    def run(name):
        if name not in made:
            pattern, spec, options = RUNS[name]
            tokenizer = make_tokenizer(spec, TEXT, TEXT)
            torch.manual_seed(3)
            model = zoo.build_model(pattern, vocab_size=tokenizer.vocab_size, dim=16, context=64, **options)
            folder = tmp_path_factory.mktemp(name) / "run"
            made[name] = zoo.save_run(vary(model), folder, tokenizer=tokenizer, step=7)
        return made[name]

    return run


@pytest.fixture(scope="session")
def exports(runs, tmp_path_factory):
    """The folder of each export."""
    made = {}

    def export(name):
        if name not in made:
            out = tmp_path_factory.mktemp(f"{name}-export") / "model"
            export_run(runs(name), out)
            made[name] = out
        return made[name]

    return export
