"""A bench of whole models: what is measured, how much that computes and moves, and what is said of it."""

import csv
import json
from dataclasses import replace

import pytest
import torch
import torch._dynamo
import torch.nn.functional as F

from zoo import TokenMixer, build_model
from zoo.errors import UsageError
from zoo.lab.bench.listener import Listener, Stopped
from zoo.lab.bench.machine import Peaks
from zoo.lab.bench.masked_flops import count_operations
from zoo.lab.bench.models import session
from zoo.lab.bench.models.candidates import BASELINE, GPT2, GPT2Candidate, PatternModel, RandomTokens, build_candidates
from zoo.lab.bench.models.gpt2 import PlainGPT2
from zoo.lab.bench.models.request import KINDS, ModelRequest
from zoo.lab.bench.models.result import ModelBench, flops_per_second, intensity
from zoo.lab.bench.models.session import make_ready, run_bench
from zoo.lab.bench.models.summary import summary
from zoo.lab.bench.models.work import prepare_work
from zoo.lab.bench.models.write import as_json, write_bench
from zoo.lab.bench.result import Cell, failures
from zoo.lab.bench.work import state_bytes
from zoo.plugin.local import register
from zoo.train.step import TrainingStep

CPU = torch.device("cpu")
D, H, L, T, B, V = 16, 2, 2, 8, 3, 11
SIZES = {"dim": D, "heads": H, "layers": L, "context": T, "batch": B, "vocab_size": V}
TINY = {**SIZES, "device": "cpu", "threads": 1, "repeats": 2}
OF_LAYER = 12 * D * D + 13 * D  # projections and their biases, two norms
PARAMETERS = V * D + T * D + L * OF_LAYER + 2 * D


def request(*patterns, **options):
    return ModelRequest(patterns=patterns or ("dot-product",), **TINY | options)


def bench(*patterns, listener=None, **options):
    return run_bench(make_ready(request(*patterns, **options)), listener)


# The request.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "`dim`=16 cannot be shared out among `heads`=3: choose a multiple"),
        ({"context": 1}, "`context`=1 should be 2 or more"),
        ({"vocab_size": 1}, "`vocab_size`=1 should be 2 or more"),
        ({"layers": 0}, "`layers`=0 should be 1 or more"),
        ({"batch": 0}, "`batch`=0 should be 1 or more"),
        ({"precision": "fp16"}, "`precision`=fp16 should be fp32 or bf16"),
        ({"kinds": ()}, "`kinds`: give at least one"),
        ({"kinds": ("train", "train")}, "`kinds`: train is given 2 times; once is enough"),
    ],
)
def test_what_cannot_be_asked_for(options, message):
    with pytest.raises(UsageError) as raised:
        request(**options)
    assert str(raised.value) == message


def test_the_command_asks_the_same():
    asked = request("correlation*2", kinds=("train",), compile=True, seed=3)
    words = "--what train --layers 2 --dim 16 --heads 2 --context 8 --batch 3 --vocab-size 11 --device cpu"
    ending = "--precision fp32 --threads 1 --repeats 2 --seed 3 --compile"
    assert asked.command == f"zoo bench model 'correlation*2' {words} {ending}"
    assert "--compile" not in request().command


# The plain model.


@pytest.fixture
def gpt2():
    return GPT2Candidate(request()).build()


def test_its_parameters_counted_by_hand(gpt2):
    assert sum(parameter.numel() for parameter in gpt2.parameters()) == PARAMETERS
    assert gpt2.active_parameters == PARAMETERS - (T - 1) * D


def test_its_layer_is_that_of_the_paper(gpt2):
    x = torch.randn(1, 5, D)
    block = gpt2.blocks[0]
    query, key, value = block.project_in(F.layer_norm(x, (D,))).chunk(3, dim=-1)
    heads = []
    for head in range(H):
        part = slice(head * D // H, (head + 1) * D // H)
        scores = query[..., part] @ key[..., part].mT / (D // H) ** 0.5
        scores = scores.masked_fill(torch.ones(5, 5, dtype=torch.bool).triu(1), -torch.inf)
        heads.append(scores.softmax(-1) @ value[..., part])
    y = x + block.project_out(torch.cat(heads, dim=-1))
    first, _, last = block.mlp
    y = y + last(F.gelu(first(F.layer_norm(y, (D,))), approximate="tanh"))
    torch.testing.assert_close(block(x, None)[0], y)


def test_it_continues_a_text_as_it_reads_it_whole(gpt2):
    tokens = torch.randint(V, (B, T))
    whole, state = gpt2(tokens).logits, None
    for start, stop in ((0, 3), (3, 4), (4, 5)):
        logits, state = gpt2.step(tokens[:, start:stop], state)
        torch.testing.assert_close(logits[:, 0], whole[:, stop - 1])


def test_its_loss_is_that_of_the_next_token(gpt2):
    tokens = torch.randint(V, (B, T))
    targets = torch.randint(V, (B, T))
    expected = -gpt2(tokens).logits.log_softmax(-1).gather(-1, targets[..., None]).mean()
    torch.testing.assert_close(gpt2(tokens, targets).loss, expected)
    where = torch.tensor([1, 5])
    torch.testing.assert_close(gpt2(tokens, where=where).logits, gpt2(tokens).logits.flatten(0, 1)[where])


def test_a_step_of_it_trains_every_parameter(gpt2):
    before = {name: parameter.detach().clone() for name, parameter in gpt2.named_parameters()}
    GPT2Candidate(request()).training_step(gpt2, RandomTokens(V))(0)
    assert [name for name, parameter in gpt2.named_parameters() if torch.equal(parameter, before[name])] == []


# What is run.


def work(kind, candidate=None, **options):
    asked = request(**options)
    return prepare_work(kind, candidate or GPT2Candidate(asked), asked, CPU)


@pytest.mark.parametrize(
    ("kind", "moved", "tokens", "state"),
    [
        ("train", 8 * 4 * PARAMETERS, B * T, None),  # parameters, gradients and two averages, read and written
        ("evaluation", 4 * (PARAMETERS - (T - 1) * D), B * T, None),
        ("prefill", 4 * (PARAMETERS - (T - 1) * D + 2 * L * B * T * D), B * T, 4 * 2 * L * B * T * D),
        ("decode", 4 * (PARAMETERS - (T - 1) * D + L * B * T * D), B, 4 * L * B * T * D),
    ],
)
def test_bytes_and_tokens_counted_by_hand(kind, moved, tokens, state):
    prepared = work(kind)
    assert (prepared.bytes_moved, prepared.tokens, prepared.state) == (moved, tokens, state)


def test_operations_counted_by_hand():
    def flops(tokens, scores, predictions):
        return 2 * (L * (12 * D * D * tokens + 2 * D * scores) + V * D * predictions)

    counted = {kind: count_operations(prepared.counted or prepared.call) for kind in KINDS if (prepared := work(kind))}
    assert counted["evaluation"] == (flops(B * T, B * T * T, B * T), flops(B * T, B * T * (T + 1) // 2, B * T))
    assert counted["prefill"][0] == flops(B * T, B * T * T, B)
    assert counted["decode"][0] == flops(B, B * (T // 2 + 1), B)
    assert counted["train"][0] == pytest.approx(3 * flops(B * T, B * T * T, B * T), rel=0.1)


@pytest.mark.parametrize("name", ["dot-product", GPT2])
def test_each_token_continues_the_one_before(name):
    asked = request()
    candidate = GPT2Candidate(asked) if name == GPT2 else PatternModel(name, asked)
    prepared = prepare_work("decode", candidate, asked, CPU)
    decoding = prepared.call.__self__
    prompt = RandomTokens(V).draw(context=T // 2, batch=B, seed=0, step=0).inputs
    text = torch.cat([prompt, decoding.token], dim=1)
    prepared.counted()
    for _ in range(T // 2):
        size = state_bytes(decoding.state)
        prepared.call()
        assert state_bytes(decoding.state) > size
        text = torch.cat([text, decoding.token], dim=1)
    model = decoding.model
    for end in range(T // 2, text.shape[1]):
        seen = text[:, :end] if model.step(text[:, :1]) else None
        assert torch.equal(model.step(seen)[0][:, -1].argmax(-1), text[:, end])
    prepared.call()  # again from the prompt
    assert torch.equal(decoding.token[:, 0], text[:, T // 2 + 1])


def test_the_training_step_is_that_of_the_trainer(monkeypatch):
    made = []
    monkeypatch.setattr(TrainingStep, "__call__", lambda self, step: made.append((self.settings.clip, step)))
    prepared = work("train", PatternModel("dot-product", request()))
    assert prepared.counted is not None
    assert count_operations(prepared.counted)[0] > 0
    assert made == []  # the update is not counted
    prepared.call()
    prepared.call()
    assert made == [(1.0, 0), (1.0, 1)]


def test_half_precision_is_autocast():
    prepared = work("decode", precision="bf16")
    assert {leaf.dtype for pair in prepared.call.__self__.state for leaf in pair} == {torch.bfloat16}


# The session.


class Log(Listener):
    def __init__(self, stop_at=None):
        self.turns, self.expected, self.stop_at = [], 0, stop_at

    def start(self, turns):
        self.expected = turns

    def turn(self, kind, length, name):
        self.turns.append((kind, length, name))
        if len(self.turns) == self.stop_at:
            raise Stopped


def test_every_cell_is_measured():
    listener = Log()
    made = bench("correlation", "dot-product", listener=listener)
    assert made.complete
    assert not made.failed
    assert made.names == [BASELINE, GPT2, "correlation"]
    assert [(cell.kind, cell.candidate) for cell in made.cells] == [
        (kind, name) for kind in KINDS for name in made.names
    ]
    assert all(len(cell.seconds) == 2 and cell.roofline_fraction > 0 for cell in made.cells)
    assert {cell.kind: cell.length for cell in made.cells} == dict.fromkeys(KINDS, T) | {"decode": T // 2}
    assert len(listener.turns) == listener.expected
    sizes = {candidate["name"]: candidate["parameters"] for candidate in made.candidates}
    assert sizes["dot-product"] == sum(p.numel() for p in build_model("dot-product", **_sizes()).parameters())


def _sizes():
    return {name: SIZES[name] for name in ("dim", "heads", "layers", "context", "vocab_size")}


def test_what_was_measured_is_there_when_somebody_stops_it():
    made = bench("correlation", listener=Log(stop_at=12))
    assert not made.complete
    assert made.notes[0].startswith("It was interrupted")
    assert {cell.kind for cell in made.cells} == {"train"}


class BothWays(TokenMixer):
    """Sees the tokens to come."""

    causal = False

    def forward(self, x):
        return x.flip(1)


class Short(TokenMixer):
    """Takes no more than 4 tokens."""

    max_length = 4

    def forward(self, x):
        return x


def test_what_cannot_decode_fails_for_itself():
    register("both-ways", BothWays)
    made = bench("both-ways")
    failed = {cell.kind: cell.failure for cell in made.cells if cell.failure}
    assert set(failed) == {"prefill", "decode"}
    assert "not causal" in failed["decode"]
    assert made.failed
    assert made.complete
    assert "failed: both-ways, decode at 4: " in str(made)


def test_what_is_too_short_is_not_built():
    register("short", Short)
    made = bench("short", "identity", kinds=("decode",))
    assert list(made.unbuilt) == ["short"]
    assert "takes at most 4 tokens" in made.unbuilt["short"]
    assert made.names == [BASELINE, GPT2, "identity"]
    with pytest.raises(UsageError, match="takes at most 4 tokens"):
        make_ready(request("short"))


def test_a_pattern_is_given_once():
    with pytest.raises(UsageError, match=r"^PATTERN: identity is given twice; once is enough$"):
        build_candidates(request("identity", "identity()"))


def test_compiling_needs_a_compiler(monkeypatch):
    monkeypatch.setattr(session, "find_compiler", lambda variables: None)
    with pytest.raises(UsageError, match=r"^`compile`: no C\+\+ compiler is installed; torch\.compile needs one of c"):
        make_ready(request(compile=True))


def test_compiled_steps_are_counted_as_they_are(monkeypatch):
    limits, compiled = [], []

    def forward(model):
        compiled.append(type(model).__name__)
        return lambda *given: limits.append(torch._dynamo.config.recompile_limit) or model(*given)

    monkeypatch.setattr(torch, "compile", forward)
    monkeypatch.setattr(session, "find_compiler", lambda variables: "c++")
    made = bench("identity", kinds=("train", "evaluation"), compile=True)
    assert failures(made) == []
    assert compiled == ["Backbone", "PlainGPT2", "Backbone"]
    assert set(limits) == {32}  # torch would give up after eight models of the same code
    assert torch._dynamo.config.recompile_limit == 8
    plain = bench("identity", kinds=("train", "evaluation"))
    assert [cell.flops for cell in made.cells] == [cell.flops for cell in plain.cells]


# What is said of it.


def sample(**changes):
    """Of a machine that computes 100 GFLOP/s and moves 10 GB/s, 40 of them in a cache."""
    asked = request("correlation", kinds=("train", "decode"))
    names = [BASELINE, GPT2, "correlation"]
    candidates = [{"name": name, "layers": 2, "parameters": 100, "active_parameters": 100} for name in names]
    cells = [
        Cell(
            name,
            kind,
            asked.length(kind),
            tokens=24,
            seconds=(2e-3 * (1 + index),) * 3,
            calls=1,
            flops=2 * 10**7,
            masked_flops=10**7,
            bytes_moved=moved,
        )
        for kind, moved in (("train", 10**4), ("decode", 4 * 10**6))
        for index, name in enumerate(names)
    ]
    peaks = Peaks(1e11, ((10**6, 4e10), (10**8, 1e10)))
    cells = [replace(c, roofline_seconds=peaks.roofline_seconds(c.masked_flops, c.bytes_moved)) for c in cells]
    return ModelBench(asked, peaks, candidates, {}, cells, [], complete=True, seconds=3.0, **changes)


def test_figures_counted_by_hand():
    made = sample()
    train, decode = made.cell("train", GPT2), made.cell("decode", GPT2)
    assert (made.ratio(train), made.bound(train), intensity(train)) == (2.0, "compute", 1000.0)
    assert train.roofline_fraction == pytest.approx(1e-4 / 4e-3)
    assert flops_per_second(train) == pytest.approx(2.5e9)
    assert (made.bound(decode), intensity(decode)) == ("memory", 2.5)
    assert decode.roofline_fraction == pytest.approx(4e-4 / 4e-3)


def test_the_table_counted_by_hand():
    lines = summary(sample()).splitlines()
    assert lines[0] == "train: a training step: forward, backward, clipping and the optimizer; 3 sequences of 8 tokens"
    assert lines[1].split("  ")[-1] == "  bound".strip()
    row = "2.00 12,000 1.00 20.0 0.0100 1,000 5.00 5.0 % compute"
    assert lines[2].split() == ["dot-product", *row.split()]
    assert "decode: one more token, the most likely one, after half of the context; 3 sequences after 4 tokens" in lines
    assert max(map(len, lines)) <= 100


@pytest.mark.pictures
def test_the_files(tmp_path):
    made = sample()
    write_bench(made, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bench-ratios.png", "bench-ratios.svg", "bench-roofline.png", "bench-roofline.svg", "bench.csv", "bench.json",
        "report.html",
    ]  # fmt: skip
    rows = list(csv.DictReader((tmp_path / "bench.csv").read_text().splitlines()))
    assert float(rows[1]["ratio_to_dot_product"]) == 2.0
    assert (rows[1]["bound"], float(rows[1]["utilisation"])) == ("compute", 0.025)
    saved = json.loads((tmp_path / "bench.json").read_text())
    assert saved == json.loads(json.dumps(as_json(made)))
    assert saved["command"].startswith("zoo bench model correlation ")
    assert saved["cells"][0]["seconds"] == [2e-3] * 3
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 2
    assert "models under the limits of the machine" in page
    assert "plain gpt2" in page


def test_pictures_show_every_point_and_bar():
    made = sample()
    axes = made.plot("roofline").figure().axes[0]
    points = [line for line in axes.lines if line.get_linestyle() == "None"]
    assert sorted((line.get_xdata()[0], round(line.get_ydata()[0], 3)) for line in points) == sorted(
        (x, y) for x in (1000.0, 2.5) for y in (5.0, 2.5, 1.667)
    )
    assert max(line.get_ydata()[-1] for line in axes.lines) == 100.0
    panels = made.plot("ratios").figure().axes
    assert [[round(bar.get_width(), 2) for bar in panel.patches] for panel in panels] == [[1.0, 2.0, 3.0]] * 2


def test_a_notebook_shows_it():
    made = sample()
    assert repr(made) == "ModelBench(dot-product, plain gpt2, correlation: train, decode, 6 cells)"
    assert made._repr_html_().count("<img ") == 2
    with pytest.raises(UsageError, match=r"^there is no picture 'bars'; there are: roofline, ratios$"):
        made.plot("bars")
    made.cells = []
    with pytest.raises(UsageError, match=r"^nothing was measured$"):
        made.plot()


def test_pictures_without_a_baseline_are_drawn():
    made = sample()
    made.cells = [
        replace(cell, seconds=(), failure="no") if cell.candidate == BASELINE else cell for cell in made.cells
    ]
    assert made.ratio(made.cells[1]) is None
    for name in ("roofline", "ratios"):
        made.plot(name).figure()


def test_the_plain_model_has_no_name_of_a_pattern():
    with pytest.raises(UsageError):
        PatternModel(GPT2, request())
    assert isinstance(GPT2Candidate(request()).build(), PlainGPT2)
