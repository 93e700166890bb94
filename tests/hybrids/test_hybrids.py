"""Hybrids: the published numbers of layers, names that stand for patterns, and models of a reduced depth."""

import json
from collections import Counter

import pytest
import torch

import zoo
from zoo import Hybrid
from zoo.cli.main import run
from zoo.errors import UsageError
from zoo.model.create import create
from zoo.model.hybrids import write_out
from zoo.plugin.kinds import HYBRID, MIXER
from zoo.plugin.pattern import parse
from zoo.plugin.registry import HOST, get_registry
from zoo.train.machine import resolve_auto
from zoo.train.resolve import resolve

REGISTRY = get_registry()
NAMES = sorted(entry.name for entry in REGISTRY[HYBRID].entries if entry.origin.distribution == HOST)
PUBLISHED = {
    "bamba": {"mamba2": 29, "dot-product": 3},
    "deepseek-v3": {"mla": 61},
    "falcon-h1": {"mamba2": 36, "dot-product": 36},
    "gemma2": {"dot-product": 26},
    "gemma3": {"dot-product": 62},
    "gpt-oss": {"dot-product": 36},
    "granite-4": {"mamba2": 36, "dot-product": 4},
    "hymba": {"mamba1": 32, "dot-product": 32},
    "jamba": {"mamba1": 28, "dot-product": 4},
    "kimi-linear": {"kda": 20, "mla": 7},
    "lfm2": {"gated-short-conv": 10, "dot-product": 6},
    "lfm3": {"gated-short-conv": 13, "dot-product": 11},
    "ling-hybrid": {"kda": 35, "mla": 7},
    "mimo-v2-flash": {"dot-product": 48},
    "minimax-01": {"lightning": 70, "dot-product": 10},
    "nemotron-h": {"mamba2": 24, "dot-product": 4},
    "olmo-hybrid": {"gated-deltanet": 24, "dot-product": 8},
    "olmo3": {"dot-product": 32},
    "qwen3-next": {"gated-deltanet": 36, "dot-product": 12},
    "recurrent-gemma": {"rg-lru": 18, "dot-product": 8},
    "rwkv7-goose": {"rwkv7": 24},
    "xlstm-7b": {"mlstm": 32},
    "zamba2": {"mamba2": 54, "dot-product": 9},
}
"""Mixers at the published depth, counted in the sources."""
ANY_DEPTH = {"griffin", "samba"}
PLACES = {
    "hymba": {0, 16, 31},
    "jamba": {4, 12, 20, 28},
    "lfm2": {2, 5, 8, 10, 12, 14},
    "bamba": {9, 18, 27},
    "granite-4": {5, 15, 25, 35},
    "kimi-linear": {3, 7, 11, 15, 19, 23, 26},
    "zamba2": {6, 12, 18, 24, 30, 36, 42, 47, 51},
    "mimo-v2-flash": {0, 5, 11, 17, 23, 29, 35, 41, 47},
}
"""Layers, from 0, with attention over all tokens."""


def hybrid(name):
    return create(REGISTRY[HYBRID].find(name), {})


def rows(name, layers):
    return parse(hybrid(name).pattern(layers)).layers(layers)


def test_the_table_names_every_hybrid():
    assert set(NAMES) == set(PUBLISHED) | ANY_DEPTH


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_the_published_pattern_has_the_published_layers(name):
    depth = hybrid(name).depth
    found = rows(name, depth)
    assert len(found) == len(parse(hybrid(name).pattern(depth)).layers()) == depth
    assert Counter(call.name for row in found for call in row.mixers) == PUBLISHED[name]


@pytest.mark.parametrize("name", sorted(PLACES))
def test_attention_over_all_tokens_is_where_it_was_published(name):
    full = {
        index
        for index, row in enumerate(rows(name, hybrid(name).depth))
        if any(call.name in ("dot-product", "mla") and "window" not in call.keywords for call in row.mixers)
    }
    assert full == PLACES[name]


def test_the_channel_mixers_of_nemotron_h():
    channels = [row.channel.name for row in rows("nemotron-h", 28)]
    assert Counter(channels) == {"relu2": 24, "none": 4}


@pytest.mark.parametrize("name", NAMES)
def test_the_reduced_depth_has_every_kind_of_layer(name):
    one = hybrid(name)
    kinds = {str(call) for row in rows(name, one.depth or one.reduced) for call in row.mixers}
    assert {str(call) for row in rows(name, one.reduced) for call in row.mixers} == kinds
    assert one.paper


@pytest.mark.parametrize("name", NAMES)
def test_no_mixer_has_the_name(name):
    assert name not in REGISTRY[MIXER].names


def test_a_hybrid_stands_alone():
    for pattern in ("samba, dot-product", "samba + dot-product", "samba*2", "samba/mlp", "samba@one"):
        with pytest.raises(UsageError, match=r"^samba is a hybrid, which stands for a whole pattern: write it alone$"):
            write_out(parse(pattern), None, REGISTRY)


def test_a_longer_pattern_is_cut_to_the_layers_asked_for():
    pattern, layers = write_out(parse("kimi-linear"), 6, REGISTRY)
    assert len(pattern.layers(layers)) == 6
    assert str(write_out(parse("zamba2"), 3, REGISTRY)[0]) == "mamba2/none*3"
    assert write_out(parse("samba"), None, REGISTRY)[1] == 2


def test_another_pattern_stays_as_it_is():
    pattern = parse("correlation*3, dot-product")
    assert write_out(pattern, 8, REGISTRY) == (pattern, 8)


def test_info_shows_the_pattern(capsys):
    assert run(["info", "olmo-hybrid"]) == 0
    page = " ".join(capsys.readouterr().out.split())
    assert "pattern (gated-deltanet(negative=true)*3, dot-product)*8" in page
    assert "layers 32 as published, 4 without --layers where the preset has fewer" in page


class Sandwich(Hybrid):
    """Attention between convolutions.

    Options:
        middle: layers of attention.
    """

    paper = "unpublished"
    reduced = 3

    def __init__(self, middle: int = 1) -> None:
        self.middle = middle

    def pattern(self, layers):
        outer = layers - self.middle
        return f"involution*{outer - outer // 2}, dot-product*{self.middle}, involution*{outer // 2}"


@pytest.fixture
def sandwich(registered):
    registered("sandwich", Sandwich)


@pytest.mark.usefixtures("sandwich")
def test_a_plugin_s_own_is_built_saved_and_loaded(tmp_path):
    model = zoo.build_model("sandwich", vocab_size=7, dim=8, heads=2, context=4)
    assert [type(mixer).__name__ for layer in model.layers for mixer in layer.mixers] == [
        "Involution",
        "DotProduct",
        "Involution",
    ]
    model = zoo.build_model("sandwich(middle=2)", vocab_size=256, layers=4, dim=8, heads=2, context=4)
    text = tmp_path / "text.txt"
    text.write_text("bread and butter " * 40)
    data = zoo.load_data(str(text))
    saved = zoo.save_run(model, tmp_path / "run", data=data)
    config = json.loads((saved / "config.json").read_text())
    assert (config["mixer"], config["layers"]) == ("involution, dot-product*2, involution", 4)


def test_the_settings_of_a_run_have_the_pattern():
    settings = resolve_auto(resolve(flags={"mixer": "olmo-hybrid", "layers": 8}))
    assert settings.mixer == "gated-deltanet(negative=True)*3, dot-product"
    assert settings.layers == 8
    settings = resolve_auto(resolve(flags={"mixer": "jamba"}))
    assert settings.layers == 8, "a preset's fewer layers do not cut it"
    assert resolve_auto(settings) == settings


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_trains_and_steps_at_reduced_depth(name):
    torch.manual_seed(0)
    model = zoo.build_model(name, vocab_size=11, dim=32, heads=4, context=16)
    tokens = torch.randint(11, (2, 12))
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3)
    losses = []
    for _ in range(10):
        loss = model(tokens[:, :-1], tokens[:, 1:]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    model.eval()
    with torch.no_grad():
        whole, state, pieces = model(tokens).logits, None, []
        for piece in tokens.split(5, dim=1):
            logits, state = model.step(piece, state)
            pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-4, atol=1e-4)
