import copy
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from zoo import Mixed, TokenMixer, build_model, create_mixer
from zoo.errors import PatternError, PluginError, UsageError
from zoo.model.backbone import IGNORE, Backbone
from zoo.model.generate import sample_tokens
from zoo.model.layer import Layer, NamedMixer
from zoo.model.parameters import count_active_parameters, count_parameters, reinitialize
from zoo.plugin.kinds import MIXER
from zoo.plugin.registry import Entry, Origin, Plugin, Registry, get_registry
from zoo.testing.case import Case
from zoo.testing.laws import LAWS
from zoo.testing.subject import Sizes, Subject
from zoo.testing.whole_model import WholeModel

from .stacks import pre_norm

BUILT_IN = [plugin for plugin in get_registry().plugins if not plugin.of(MIXER)]

VOCABULARY, DIM, CONTEXT = 11, 16, 12


class Smooth(TokenMixer):
    """Decaying mean behind a projection."""

    def __init__(self, dim, *, decay: float = 0.5, heads: int = 0, layer_index: int = -1, layers: int = -1):
        super().__init__()
        self.decay, self.heads, self.layer_index, self.layers = decay, heads, layer_index, layers
        self.project = nn.Linear(dim, dim, bias=False)

    def forward(self, x):
        t = torch.arange(x.shape[1])
        weights = (self.decay ** (t[:, None] - t).to(x)).tril()
        return weights @ self.project(x)


class Talkative(TokenMixer):
    def __init__(self, dim):
        super().__init__()
        self.scale = nn.Parameter(torch.empty(dim))
        self.register_buffer("seen", torch.empty(()))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.constant_(self.scale, 0.5)
        nn.init.zeros_(self.seen)

    def forward(self, x):
        out = self.scale * x
        losses = {"balance": self.scale.square().mean(), "z": out.square().mean()}
        return Mixed(out, losses, {"load": torch.tensor([1.0, 2.0])})

    def after_update(self, metrics):
        self.heard = dict(metrics)


class Constant(TokenMixer):
    """Writes ones: has neither parameters nor an __init__."""

    def forward(self, x):
        return torch.ones_like(x)


class Bidirectional(TokenMixer):
    causal = False

    def forward(self, x):
        return x.mean(1, keepdim=True).expand_as(x)


class Narrow(TokenMixer):
    def forward(self, x):
        return x[..., 1:]


class Short(TokenMixer):
    max_length = 4

    def forward(self, x):
        return x.cumsum(1)


class NoForward(TokenMixer):
    pass


class Refuses(TokenMixer):
    def __init__(self, dim, *, size: int = 3):
        super().__init__()
        raise ValueError(f"size must divide dim, and {size} does not divide {dim}")


class Crashes(TokenMixer):
    def __init__(self, dim):
        super().__init__()
        self.table = {}["nothing"]


class Experts(TokenMixer):
    def __init__(self, dim):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(4, dim))
        self.active_parameters = dim

    def forward(self, x):
        return x * self.weights[0]


CLASSES = {
    "smooth": Smooth, "talkative": Talkative, "constant": Constant, "bidirectional": Bidirectional, "narrow": Narrow,
    "short": Short, "no-forward": NoForward, "refuses": Refuses, "crashes": Crashes, "experts": Experts,
}  # fmt: skip
ORIGIN = Origin("acme-mixers", "1.2", "acme")
REGISTRY = Registry([*BUILT_IN, Plugin(ORIGIN, tuple(Entry(name, cls, ORIGIN) for name, cls in CLASSES.items()))])


def build(pattern="smooth*2", *, seed=0, **settings):
    torch.manual_seed(seed)
    sizes = {"vocab_size": VOCABULARY, "dim": DIM, "heads": 2, "context": CONTEXT, "registry": REGISTRY}
    return build_model(pattern, **(sizes | settings))


@pytest.fixture
def tokens():
    return torch.randint(VOCABULARY, (3, 9), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def targets():
    return torch.randint(VOCABULARY, (3, 9), generator=torch.Generator().manual_seed(2))


# What a model computes


def test_logits_are_those_of_the_equations_written_out(tokens):
    model = build("smooth/mlp", positions="learned")
    layer, scale = model.layers[0], 2**-0.5
    stream = model.embedding.weight[tokens] + model.positions.weight[: tokens.shape[1]]
    first, second = model.residual.norms
    stream = stream + scale * layer.mixers[0](first(stream))
    stream = stream + scale * layer.channel(second(stream))
    expected = model.residual.norm(stream) @ model.embedding.weight.T
    torch.testing.assert_close(model(tokens).logits, expected)


def test_without_targets_there_is_no_loss(tokens):
    output = build()(tokens)
    assert output.loss is None
    assert output.losses == {}


def test_the_loss_is_the_cross_entropy_in_nats_of_the_targets_that_are_scored(tokens, targets):
    model = build()
    targets[0, :4] = IGNORE
    output = model(tokens, targets)
    scored = targets.flatten() != IGNORE
    expected = F.cross_entropy(output.logits.flatten(0, 1)[scored], targets.flatten()[scored])
    torch.testing.assert_close(output.loss, expected)
    assert list(output.losses) == ["cross_entropy"]
    assert output.metrics == {}


def test_a_fresh_model_knows_nothing(tokens, targets):
    assert build()(tokens, targets).loss.item() == pytest.approx(torch.tensor(VOCABULARY).log().item(), abs=0.1)


def test_what_mixers_say_is_added_and_named_by_layer_and_label(tokens, targets):
    model = build("smooth + talkative + talkative, talkative")
    output = model(tokens, targets)
    auxiliary = [
        f"{label}.{name}" for label in ("0.talkative", "0.talkative-2", "1.talkative") for name in ("balance", "z")
    ]
    assert list(output.losses) == ["cross_entropy", *auxiliary]
    torch.testing.assert_close(output.loss, sum(output.losses.values()))
    assert output.losses["0.talkative.balance"].item() == 0.25
    assert {name: value.tolist() for name, value in output.metrics.items()} == {
        "0.talkative.load": [1, 2], "0.talkative-2.load": [1, 2], "1.talkative.load": [1, 2]
    }  # fmt: skip
    assert list(model(tokens).losses) == auxiliary


def test_each_mixer_hears_its_own_metrics_after_an_update():
    model = build("talkative + talkative, talkative")
    one, two, three = torch.tensor(1), torch.tensor(2), torch.tensor(3)
    model.after_update({"0.talkative.load": one, "0.talkative-2.load": two, "1.talkative.load": three, "loss": one})
    heard = [mixer.heard for layer in model.layers for mixer in layer.mixers]
    assert heard == [{"load": one}, {"load": two}, {"load": three}]


def test_mixers_side_by_side_read_the_same_stream_and_their_writes_are_added():
    torch.manual_seed(0)
    first, second = Smooth(DIM), Smooth(DIM, decay=0.9)
    layer = Layer([NamedMixer("a", first), NamedMixer("b", second)], None)
    model = Backbone([layer], pre_norm([layer], DIM, 0.3), vocabulary=VOCABULARY, dim=DIM, context=CONTEXT)
    stream = torch.randn(2, 5, DIM)
    read = model.residual.norms[0](stream)
    expected = stream + 0.3 * first(read) + 0.3 * second(read)
    torch.testing.assert_close(model.run_layers(stream).out, model.residual.norm(expected))


@pytest.mark.parametrize("count", [1, 2, 8])
def test_writes_are_scaled_by_the_depth(count):
    model = build("constant/none", layers=count)
    assert model.residual.scale == (2 * count) ** -0.5
    stream = torch.zeros(1, 1, DIM)
    for site, layer in enumerate(model.layers):
        stream = layer(stream, {"embedding": stream}, site=site, residual=model.residual)[0]
    torch.testing.assert_close(stream, torch.full_like(stream, count * (2 * count) ** -0.5))


def test_a_layer_without_channel_mixer_has_none_of_its_parameters():
    model = build("smooth/none")
    assert model.layers[0].channel is None
    names = ["embedding.weight", "layers.0.mixers.0.project.weight", "residual.norm.weight", "residual.norms.0.weight"]
    assert sorted(name for name, _ in model.named_parameters()) == names


def test_the_pattern_is_cycled_and_names_the_channel_mixers():
    model = build("smooth/mlp, constant(), talkative/none", layers=5, channel_mixer="swiglu")
    labels = [(layer.labels[0], type(layer.channel).__name__) for layer in model.layers]
    assert labels == [
        ("smooth", "MLP"), ("constant", "SwiGLU"), ("talkative", "NoneType"), ("smooth", "MLP"), ("constant", "SwiGLU")
    ]  # fmt: skip


def test_the_embedding_is_tied_to_the_unembedding(tokens):
    model = build()
    assert sum(value.shape == (VOCABULARY, DIM) for value in model.parameters()) == 1
    before = model(tokens).logits
    with torch.no_grad():
        model.embedding.weight.mul_(-1)
    assert not torch.equal(model(tokens).logits, before)


def test_the_host_fills_what_the_user_did_not_set():
    model = build("smooth, smooth(heads=1), smooth(layer_index=7)")
    filled = [(m.heads, m.layer_index, m.layers) for m in (layer.mixers[0] for layer in model.layers)]
    assert filled == [(2, 0, 3), (1, 1, 3), (2, 7, 3)]


# Positions and streaming


def test_learned_positions_tell_places_apart():
    token = torch.zeros(1, CONTEXT, dtype=torch.int64)
    without, learned = build("constant")(token).logits, build("constant", positions="learned")(token).logits
    assert torch.equal(without[:, 0], without[:, -1])
    assert not torch.allclose(learned[:, 0], learned[:, -1])


def test_the_last_token_alone_is_predicted_as_among_all():
    model, tokens = build("constant").eval(), torch.randint(3, (2, 5))
    (logits, state), (last, same) = model.step(tokens), model.step(tokens, only_last=True)
    assert torch.equal(last, logits[:, -1:])
    assert torch.equal(state["position"], same["position"])


def test_learned_positions_end_with_the_context():
    model = build(positions="learned")
    text = "a sequence of 13 tokens is longer than the 12 learned positions; use a shorter one"
    with pytest.raises(UsageError, match=text):
        model(torch.zeros(1, CONTEXT + 1, dtype=torch.int64))
    _, state = model.step(torch.zeros(1, CONTEXT, dtype=torch.int64))
    with pytest.raises(UsageError, match=text):
        model.step(torch.zeros(1, 1, dtype=torch.int64), state)


def test_a_model_takes_as_many_tokens_as_its_mixers_reach():
    model = build("short", context=4)
    model(torch.zeros(1, 4, dtype=torch.int64))
    with pytest.raises(UsageError, match="a sequence of 5 tokens is longer than the 4 tokens that its mixers reach"):
        model(torch.zeros(1, 5, dtype=torch.int64))


def test_without_positions_a_sequence_may_be_longer_than_the_context():
    tokens = torch.zeros(1, 2 * CONTEXT, dtype=torch.int64)
    assert build()(tokens).logits.shape == (1, 2 * CONTEXT, VOCABULARY)


@pytest.mark.parametrize("positions", ["learned", pytest.param("none", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "law", [name for name, law in LAWS.items() if not (law.alone or law.thorough or law.names or name == "row-phases")]
)
def test_a_model_keeps_the_laws(law, positions):
    class Built(Subject):
        def build(self, options, *, dim, heads, seed, layer=0):
            return WholeModel(build("smooth + constant, talkative/mlp", seed=seed, positions=positions))

    LAWS[law].check(Case(Built("built", None, None, {}), Sizes(2, 10, DIM, 2), {}, seed=1, cuts=(3, 4)))


# Training


def test_dropout_drops_in_training_only(tokens):
    model = build(dropout=0.5)
    assert not torch.equal(model(tokens).logits, model(tokens).logits)
    model.eval()
    assert torch.equal(model(tokens).logits, model(tokens).logits)
    assert torch.equal(model(tokens).logits, build(dropout=0.0)(tokens).logits)


def test_dropout_drops_of_the_embedding_too(tokens):
    model, entering = build(dropout=0.5), []
    model.layers[0].register_forward_pre_hook(lambda _, args: entering.append(args[0]))
    model(tokens)
    assert 0.3 < (entering[0] == 0).double().mean() < 0.7
    model.eval()(tokens)
    assert torch.equal(entering[1], model.embedding(tokens))


def test_dropout_keeps_the_mean_of_a_write():
    model = build("constant/none", dropout=0.25)
    stream, residual = torch.zeros(1, 4000, DIM), model.residual
    written = model.layers[0](stream, {"embedding": stream}, site=0, residual=residual)[0]
    assert written.unique().tolist() == pytest.approx([0.0, residual.scale / 0.75])
    assert written.mean().item() == pytest.approx(residual.scale, rel=0.02)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_activation_checkpointing_changes_neither_loss_nor_gradients(dropout, tokens, targets):
    results = []
    for checkpointing in (False, True):
        model = build("smooth + talkative, smooth", dropout=dropout)
        model.activation_checkpointing = checkpointing
        torch.manual_seed(3)
        output = model(tokens, targets)
        output.loss.backward()
        results.append((output.loss, output.losses, [parameter.grad for parameter in model.parameters()]))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


def test_activation_checkpointing_runs_each_layer_again_in_the_backward_pass(tokens, targets):
    model, calls = build("smooth*2"), []
    model.activation_checkpointing = True
    for layer in model.layers:
        layer.mixers[0].register_forward_hook(lambda *_: calls.append(1))
    model(tokens, targets).loss.backward()
    assert len(calls) == 4
    model.eval()
    model(tokens, targets).loss.backward()
    assert len(calls) == 6


def test_every_parameter_gets_a_gradient(tokens, targets):
    model = build("smooth + talkative, smooth/mlp", positions="learned")
    model(tokens, targets).loss.backward()
    names = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert names == []


def test_the_loss_has_the_precision_of_the_model_and_float32_at_least(tokens, targets):
    model = build().double()
    logits = model(tokens).logits
    exact = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    assert torch.equal(model(tokens, targets).losses["cross_entropy"], exact)
    assert model(tokens, targets).loss.dtype == torch.float64
    assert model.bfloat16()(tokens, targets).loss.dtype == torch.float32


def test_a_few_updates_lower_the_loss(tokens):
    model = build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = model(tokens[:, :-1], tokens[:, 1:]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backend", ["inductor", "aot_eager"])
def test_compiles(backend, tokens, targets):
    first = "dot-product + involution"
    model = build(first, registry=None) if backend == "aot_eager" else build("smooth + talkative/mlp")
    expected = model(tokens, targets)
    expected.loss.backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    compiled = torch.compile(model, fullgraph=backend == "inductor", backend=backend)(tokens, targets)
    compiled.loss.backward()
    torch.testing.assert_close(compiled.loss, expected.loss)
    torch.testing.assert_close([parameter.grad for parameter in model.parameters()], gradients, rtol=1e-3, atol=1e-5)


# Copies and counts


def test_a_state_dict_makes_another_model_the_same(tokens):
    model, other = build("smooth, talkative", positions="learned"), build("smooth, talkative", positions="learned")
    reinitialize(other, seed=7)
    assert not torch.equal(model(tokens).logits, other(tokens).logits)
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(tokens).logits, other(tokens).logits)


def test_a_deep_copy_is_the_same_model_and_shares_nothing(tokens):
    model = build()
    copied = copy.deepcopy(model)
    assert torch.equal(model(tokens).logits, copied(tokens).logits)
    with torch.no_grad():
        copied.embedding.weight.zero_()
    assert model(tokens).logits.any()


def test_building_is_a_function_of_the_seed(tokens):
    assert torch.equal(build()(tokens).logits, build()(tokens).logits)


def test_a_model_built_without_memory_is_drawn_afterwards(tokens):
    with torch.device("meta"):
        model = build("smooth*2", positions="learned")
    model.to_empty(device="cpu")
    for parameter in model.parameters():
        nn.init.constant_(parameter, torch.nan)
    reinitialize(model, seed=1)
    first = model(tokens).logits
    reinitialize(model, seed=1)
    assert first.isfinite().all()
    assert torch.equal(model(tokens).logits, first)


def test_counts_of_parameters():
    model = build("experts/none, smooth/mlp(expansion=1)")
    norms, embedding, experts, smooth, mlp = 4 * DIM, VOCABULARY * DIM, 4 * DIM, DIM**2, 2 * DIM**2
    assert count_parameters(model) == norms + embedding + experts + smooth + mlp
    assert count_active_parameters(model) == count_parameters(model) - 3 * DIM
    model.embedding.weight.requires_grad_(False)
    assert count_parameters(model) == norms + experts + smooth + mlp


# What is refused


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"vocab_size": 0}, "vocab_size=0 should be 1 or more"),
        ({"dim": 0}, "dim=0 should be 1 or more"),
        ({"dim": -8}, "dim=-8 should be 1 or more"),
        ({"heads": 0}, "heads=0 should be 1 or more"),
        ({"context": 0}, "context=0 should be 1 or more"),
        ({"layers": 0}, "layers=0 should be 1 or more"),
        ({"layers": 1}, "layers=1 would cut a pattern of 2 layers; give at least as many"),
        ({"layers": 1025}, "a stack cannot have 1025 layers: expected 1 to 1024"),
        ({"dropout": 1.0}, "dropout=1.0 should be at least 0 and less than 1"),
        ({"dropout": -0.1}, "dropout=-0.1 should be at least 0 and less than 1"),
        ({"dropout": float("nan")}, "dropout=nan should be at least 0 and less than 1"),
        (
            {"channel_mixer": "mpl"},
            "no channel mixer is named 'mpl' (did you mean 'mlp'?); there are: geglu, mlp, none, relu2, swiglu",
        ),
    ],
)
def test_bad_sizes_are_refused(settings, text):
    with pytest.raises(UsageError) as error:
        build(**settings)
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (
            "smooth, smoth*2",
            """no mixer is named 'smoth' (did you mean 'smooth'?); there are: bidirectional, constant, crashes, \
experts, narrow, no-forward, refuses, short, smooth, talkative
  smooth, smoth*2
          ^^^^^""",
        ),
        (
            "smooth + smooth(decay=fast)",
            """smooth: option decay='fast' should be a valid number
  smooth + smooth(decay=fast)
           ^^^^^^^^^^^^^^^^^^""",
        ),
        (
            "constant, short",
            """short takes at most 4 tokens, and the context is 12: choose context=4 or less
  constant, short
            ^^^^^""",
        ),
        (
            "refuses(size=5)",
            """refuses: size must divide dim, and 5 does not divide 16
  refuses(size=5)
  ^^^^^^^^^^^^^^^""",
        ),
        (
            "smooth/wide",
            """no channel mixer is named 'wide'; there are: geglu, mlp, none, relu2, swiglu
  smooth/wide
         ^^^^""",
        ),
    ],
)
def test_a_mistake_in_a_pattern_is_shown_in_its_place(pattern, text):
    with pytest.raises(PatternError) as error:
        build(pattern)
    assert str(error.value) == text


def test_a_mixer_that_fails_to_build_is_the_plugins_fault():
    with pytest.raises(PluginError) as error:
        build("crashes")
    text = "crashes, from acme-mixers 1.2 (entry point 'acme'), failed to build: KeyError: 'nothing', in "
    assert str(error.value).startswith(text + __file__)


@pytest.mark.parametrize("method", ["forward", "step"])
def test_a_write_of_another_shape_is_the_mixers_fault(method, tokens):
    model = build("smooth + narrow")
    text = f"Narrow: {method} writes (3, 9, 15) for reads of (3, 9, 16): a write has the shape of its read"
    with pytest.raises(PluginError, match=re.escape(text)):
        getattr(model, method)(tokens)


def test_a_mixer_without_forward_is_told_by_name(tokens):
    with pytest.raises(NotImplementedError, match=r"^NoForward has no forward\(x\)$"):
        build("no-forward")(tokens)


# Single mixers


def test_create_mixer_takes_a_name_with_options():
    mixer = create_mixer("smooth(decay=0.25)", dim=DIM, registry=REGISTRY)
    assert (mixer.decay, mixer.heads, mixer.layer_index, mixer.layers) == (0.25, 4, 0, 1)
    assert isinstance(create_mixer("acme-mixers:constant", dim=DIM, registry=REGISTRY), Constant)


def test_create_mixer_takes_mixers_that_are_not_causal():
    assert isinstance(create_mixer("bidirectional", dim=DIM, registry=REGISTRY), Bidirectional)


@pytest.mark.parametrize("pattern", ["constant, bidirectional", "constant/bidirectional"])
def test_an_encoder_sees_later_tokens_and_continues_nothing(tokens, pattern):
    model = build(pattern)
    later = tokens.clone()
    later[:, -1] = (later[:, -1] + 1) % VOCABULARY
    assert (model(tokens).logits[:, 0] - model(later).logits[:, 0]).abs().max() > 1e-6
    for continue_text in (lambda: model.step(tokens), lambda: next(sample_tokens(model, tokens, tokens=1))):
        with pytest.raises(UsageError, match=r"^Bidirectional is not causal, so the model cannot continue a sequence$"):
            continue_text()


def test_an_encoder_is_held_to_no_law_of_a_whole_model():
    with pytest.raises(UsageError, match=r"^bidirectional is not causal: check it by itself, and not in a model$"):
        WholeModel(build("constant, bidirectional"))


def test_create_mixer_takes_one_mixer_only():
    with pytest.raises(PatternError):
        create_mixer("smooth, smooth", dim=DIM, registry=REGISTRY)
    with pytest.raises(UsageError, match=r"^refuses: size must divide dim, and 3 does not divide 16$"):
        create_mixer("refuses", dim=DIM, registry=REGISTRY)


def test_a_backbone_can_be_put_together_by_hand(tokens):
    layer = Layer([NamedMixer("mean", Smooth(DIM))], None)
    model = Backbone([layer], pre_norm([layer], DIM), vocabulary=VOCABULARY, dim=DIM, context=CONTEXT)
    assert model(tokens).logits.shape == (3, 9, VOCABULARY)
