"""What the host does for the parts of a stack: shared values, documents, a token mixer in the channel place, errors."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from zoo import Mixed, Residual, TokenMixer, build_model
from zoo.errors import PluginError, UsageError
from zoo.model.backbone import Backbone
from zoo.model.faults import explaining
from zoo.model.layer import Layer, NamedMixer
from zoo.plugin.registry import Entry, Origin, Plugin, Registry, get_registry

VOCABULARY, DIM = 11, 8


class Sums(TokenMixer):
    """Means of what was projected so far, by a step that keeps every read."""

    def __init__(self, dim):
        super().__init__()
        self.project = nn.Linear(dim, dim, bias=False)

    def forward(self, x):
        return self.project(x).cumsum(1) / 3


class HandsUp(Sums):
    """Hands up its values, and uses those of an earlier layer."""

    def forward(self, x, *, shared=None):
        value = self.project(x)
        if shared and "value" in shared:
            value = value + shared["value"] * shared["embedding"]
        return Mixed(value.cumsum(1) / 3, shared={"value": value})


class HandsUpByStep(HandsUp):
    """The same with a step of its own, which holds the piece."""

    def step(self, x, state=None, *, shared=None):
        mixed = self(x, shared=shared)
        total = mixed.out if state is None else mixed.out + state[:, None]
        return Mixed(total, shared=mixed.shared), total[:, -1]


class Native(Sums):
    """Takes documents itself."""

    def forward(self, x, *, documents=None):
        written = super().forward(x)
        if documents is None:
            return written
        same = (documents[:, :, None] == documents[:, None, :]) & torch.ones(x.shape[1], x.shape[1]).tril().bool()
        return same.to(x) @ self.project(x) / 3


class Speaks(Sums):
    """Has losses and metrics of its own."""

    def forward(self, x):
        out = super().forward(x)
        metrics = {"tokens": torch.tensor(x.shape[0] * x.shape[1]), "size": x.abs().mean(), "row": x[0, :, 0]}
        return Mixed(out, {"size": x.square().mean()}, metrics)

    def after_update(self, metrics):
        self.heard = dict(metrics)


class Keys(Sums):
    """Hands up what no document can be cut from."""

    def forward(self, x):
        return Mixed(super().forward(x), shared={"keys": x.transpose(1, 2)})


class TakesEmbedding(TokenMixer):
    def forward(self, x):
        return Mixed(x, shared={"embedding": x})


CLASSES = {
    "sums": Sums, "hands-up": HandsUp, "hands-up-by-step": HandsUpByStep, "native": Native, "speaks": Speaks,
    "keys": Keys, "takes-embedding": TakesEmbedding,
}  # fmt: skip
ORIGIN = Origin("acme-mixers", "1.2", "acme")
REGISTRY = Registry(
    [*get_registry().plugins, Plugin(ORIGIN, tuple(Entry(name, cls, ORIGIN) for name, cls in CLASSES.items()))]
)


def build(pattern, **settings):
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCABULARY, "dim": DIM, "context": 12, "registry": REGISTRY, "channel_mixer": "none"}
    model = build_model(pattern, **(sizes | settings)).double()
    model.embedding.weight.data *= 50
    return model


def draw(rows=3, length=9):
    return torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(1))


def steps(model, tokens, chunks):
    state, logits = None, []
    for piece in tokens.split(list(chunks), dim=1):
        some, state = model.step(piece, state)
        logits.append(some)
    return torch.cat(logits, 1)


# Shared values


@pytest.mark.parametrize("first", ["hands-up", "hands-up-by-step"])
@pytest.mark.parametrize("chunks", [(9,), (1,) * 9, (4, 2, 3)])
def test_what_a_layer_hands_up_reaches_the_later_ones(first, chunks):
    model, tokens = build(f"{first}, sums, hands-up-by-step"), draw()
    closed = model.residual
    x = embedded = model.embedding(tokens)
    (one,), (two,), (three,) = (layer.mixers for layer in model.layers)
    value = one.project(closed.read(x, 0))
    x = closed.write(x, 0, value.cumsum(1) / 3)
    x = closed.write(x, 1, two(closed.read(x, 1)))
    value = three.project(closed.read(x, 2)) + value * embedded
    x = closed.write(x, 2, value.cumsum(1) / 3)
    expected = closed.close(x) @ model.embedding.weight.T
    assert_close(model(tokens).logits, expected)
    assert_close(steps(model, tokens, chunks), expected)


def test_parts_side_by_side_do_not_see_what_the_other_hands_up():
    model, tokens = build("hands-up + hands-up"), draw()
    first, second = model.layers[0].mixers
    second.load_state_dict(first.state_dict())
    writes = []
    model.listeners.append(lambda _site, _label, _stream, _read, write: writes.append(write))
    model(tokens)
    assert_close(writes[1], writes[0])


def test_the_default_step_keeps_what_was_shared_and_hands_up_the_piece():
    mixer = HandsUp(DIM).double()
    x, shared = (
        torch.randn(2, 7, DIM).double(),
        {name: torch.randn(2, 7, DIM).double() for name in ("value", "embedding")},
    )
    whole = mixer(x, shared=shared)
    state, written, handed_up = None, [], []
    for start, end in ((0, 3), (3, 4), (4, 7)):
        piece = {name: value[:, start:end] for name, value in shared.items()}
        mixed, state = mixer.step(x[:, start:end], state, shared=piece)
        written.append(mixed.out)
        handed_up.append(mixed.shared["value"])
    assert_close(torch.cat(written, 1), whole.out)
    assert_close(torch.cat(handed_up, 1), whole.shared["value"])


def test_the_embedding_is_the_host_s():
    text = r"^TakesEmbedding \(layer 0, part 0\.takes-embedding, from .*\): shared 'embedding' is the host's own entry"
    with pytest.raises(PluginError, match=text), explaining():
        build("takes-embedding")(draw())


# Documents

DOCUMENTS = torch.tensor([[4, 4, 4, 7, 7, 7, 7, 7, 4], [0, 0, 0, 0, 0, 0, 0, 0, 0], [1, 2, 2, 2, 5, 5, 5, 5, 5]])
PIECES = [(0, 0, 3), (0, 3, 8), (0, 8, 9), (1, 0, 9), (2, 0, 1), (2, 1, 4), (2, 4, 9)]


@pytest.mark.parametrize("positions", ["none", "learned"])
@pytest.mark.parametrize("pattern", ["sums, native/mlp", "sums + native, hands-up, hands-up-by-step", "native/sums"])
@pytest.mark.parametrize("residual", ["pre-norm", "hyper-connections(streams=2)"])
def test_a_packed_row_gives_what_each_document_gives_alone(pattern, positions, residual):
    model, tokens = build(pattern, positions=positions, residual=residual), draw()
    packed = model(tokens, documents=DOCUMENTS).logits
    alone = [model(tokens[row : row + 1, start:end]).logits[0] for row, start, end in PIECES]
    assert_close(torch.cat([packed[row, start:end] for row, start, end in PIECES]), torch.cat(alone))
    assert not torch.allclose(packed, model(tokens).logits)


def test_gradients_of_a_packed_row_are_those_of_its_documents():
    model, tokens, targets = build("sums, hands-up, hands-up"), draw(), draw().roll(1, 1)
    model(tokens, targets, documents=DOCUMENTS).loss.backward()
    packed = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    for row, start, end in PIECES:
        piece = (slice(row, row + 1), slice(start, end))
        (model(tokens[piece], targets[piece]).loss * (end - start) / tokens.numel()).backward()
    assert_close([parameter.grad for parameter in model.parameters()], packed)


def test_documents_of_one_length_are_run_together_and_whole_rows_at_once():
    model, shapes = build("sums"), []
    model.layers[0].mixers[0].register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    model(draw(), documents=DOCUMENTS)
    model(draw(), documents=torch.zeros(3, 9, dtype=torch.int64))
    assert shapes == [(2, 1, DIM), (2, 3, DIM), (2, 5, DIM), (1, 9, DIM), (3, 9, DIM)]


def test_losses_are_averaged_over_tokens_and_counts_added_up():
    model, tokens = build("speaks"), draw()
    packed, whole = model(tokens, tokens, documents=DOCUMENTS), model(tokens, tokens)
    assert_close(packed.losses["0.speaks.size"], whole.losses["0.speaks.size"])
    assert_close(packed.metrics["0.speaks.size"], whole.metrics["0.speaks.size"])
    assert packed.metrics["0.speaks.tokens"].item() == 27
    assert "0.speaks.row" not in packed.metrics  # of another length in every document


def test_what_cannot_be_cut_is_refused():
    text = (
        r"^Keys \(layer 0, part 0\.keys, .*\): shared 'keys' is \(2, 8, 1\) and not \(2, 1, …\), so it cannot be "
        r"cut into documents: name `documents` in the signature of forward, in "
    )
    with pytest.raises(PluginError, match=text), explaining():
        build("keys")(draw(), documents=DOCUMENTS)


@pytest.mark.parametrize(
    ("documents", "text"),
    [
        (
            torch.zeros(3, 8, dtype=torch.int64),
            r"documents is int64 \(3, 8\): expected int64 \(3, 9\), the document of ",
        ),
        (torch.zeros(3, 9), r"documents is float32 \(3, 9\): expected int64 \(3, 9\), the document of each token"),
        ([[0] * 9] * 3, r"documents is a list: expected int64 \(3, 9\), the document of each token"),
    ],
)
def test_documents_of_another_shape_or_type_are_refused(documents, text):
    with pytest.raises(UsageError, match=f"^{text}"):
        build("sums")(draw(), documents=documents)


def test_learned_positions_are_asked_of_each_document():
    model, tokens = build("sums", positions="learned", context=9), draw(3, 12)
    with pytest.raises(UsageError, match="a sequence of 12 tokens is longer than the 9 learned positions"):
        model(tokens)
    documents = torch.arange(12).expand(3, 12) // 6
    assert model(tokens, documents=documents).logits.shape == (3, 12, VOCABULARY)


# A token mixer in the place of the channel mixer


@pytest.mark.parametrize("chunks", [(9,), (1,) * 9, (4, 2, 3)])
def test_a_token_mixer_in_the_channel_place_streams(chunks):
    model, tokens = build("sums/hands-up-by-step, sums/speaks, sums/mlp"), draw()
    assert_close(steps(model, tokens, chunks), model(tokens).logits)


def test_what_it_says_is_reported_as_the_channel_s():
    model, tokens = build("sums/speaks"), draw()
    output = model(tokens, tokens)
    assert list(output.losses) == ["cross_entropy", "0.channel.size"]
    assert set(output.metrics) == {"0.channel.tokens", "0.channel.size", "0.channel.row"}
    model.after_update(output.metrics)
    assert set(model.layers[0].channel.heard) == {"tokens", "size", "row"}


def test_it_may_be_the_channel_mixer_of_the_whole_model():
    model = build("sums, sums/none", channel_mixer="speaks")
    assert [type(layer.channel).__name__ for layer in model.layers] == ["Speaks", "NoneType"]


def test_a_part_may_be_replaced_by_one_with_another_signature():
    model, tokens = build("sums, hands-up/mlp"), draw()
    model.layers[0].mixers[0] = HandsUpByStep(DIM).double()
    model.layers[1].channel = Speaks(DIM).double()
    output = model(tokens)
    assert list(output.losses) == ["1.channel.size"]
    assert_close(steps(model, tokens, (4, 5)), output.logits)
    model.layers[0].mixers[0] = HandsUp(DIM).double()
    assert not torch.allclose(model(tokens).logits, output.logits)


# Untied embeddings


def test_an_untied_unembedding_is_a_matrix_of_its_own():
    tied, untied = build("sums"), build("sums", tie_embeddings=False)
    assert_close(untied.embedding.weight, tied.embedding.weight, rtol=0, atol=0)
    tokens = draw()
    closed = untied.run_layers(untied.embedding(tokens)).out
    assert_close(untied(tokens).logits, closed @ untied.unembedding.weight.T)
    assert untied.unembedding.weight.std().item() == pytest.approx(0.02, rel=0.3)
    untied(tokens, tokens).loss.backward()
    assert untied.unembedding.weight.grad.any()


# The order of parameters


def test_parameters_along_the_stream_do_not_depend_on_where_norms_are_kept():
    model = build("sums + sums/mlp, sums/none", layers=3, positions="learned")
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert [names[parameter] for parameter in model.parameters_along_stream()] == [
        "embedding.weight", "positions.weight",
        "residual.norms.0.weight", "layers.0.mixers.0.project.weight", "layers.0.mixers.1.project.weight",
        "residual.norms.1.weight", "layers.0.channel.project_in.weight", "layers.0.channel.project_out.weight",
        "residual.norms.2.weight", "layers.1.mixers.0.project.weight",
        "residual.norms.3.weight", "layers.2.mixers.0.project.weight", "layers.2.mixers.1.project.weight",
        "residual.norms.4.weight", "layers.2.channel.project_in.weight", "layers.2.channel.project_out.weight",
        "residual.norm.weight",
    ]  # fmt: skip


# Schemes that are wrong


class Broken(Residual):
    """A scheme with one method that is wrong."""

    def __init__(self, method, value):
        super().__init__(DIM, sites=1)
        self.wrong = {method: value}

    def _maybe(self, method, right):
        wrong = self.wrong.get(method, right)
        return wrong(right) if callable(wrong) else wrong

    def open(self, embedded):
        return self._maybe("open", embedded)

    def read(self, stream, site):
        return self._maybe("read", stream)

    def write(self, stream, site, written):
        return self._maybe("write", stream + written)

    def close(self, stream):
        return self._maybe("close", stream)


def fails(stream):
    return stream @ stream


WHO = r"^the residual scheme Broken \(from the module [\w.]*test_stack\): "


@pytest.mark.parametrize("method", ["forward", "step"])
@pytest.mark.parametrize(
    ("wrong", "value", "text"),
    [
        ("open", None, r"open returns a stream with None in it: expected tensors, in .*test_stack\.py:\d+$"),
        ("open", (), r"open returns a tuple without a tensor: return the stream, in "),
        ("open", lambda x: (x, x[:, 1:]), r"open returns a stream of \(3, 8, 8\): expected \(3, 9, …\), in "),
        ("read", None, r"read returns None: return a tensor \(3, 9, 8\), in .*test_stack\.py:\d+$"),
        ("read", lambda x: x[..., 1:], r"read returns \(3, 9, 7\): expected \(3, 9, 8\), in "),
        ("write", lambda x: x[:, 1:], r"write returns a stream of \(3, 8, 8\): expected \(3, 9, …\), in "),
        ("close", lambda x: x[..., :1], r"close returns \(3, 9, 1\): expected \(3, 9, 8\), in "),
        ("read", fails, r"RuntimeError: .*, in .*test_stack\.py:\d+$"),
    ],
)
def test_a_scheme_that_is_wrong_is_named(method, wrong, value, text):
    layer = Layer([NamedMixer("sums", Sums(DIM))], None)
    model = Backbone([layer], Broken(wrong, value), vocabulary=VOCABULARY, dim=DIM, context=9)
    with pytest.raises(PluginError, match=WHO + text), explaining():
        getattr(model, method)(draw())


def test_a_scheme_without_its_methods_says_which():
    scheme, x = Residual(DIM, sites=1), torch.zeros(1, 1, DIM)
    assert scheme.open(x) is x
    assert scheme.show(x) is x
    for name, call in {
        "read(stream, site)": lambda: scheme.read(x, 0),
        "write(stream, site, written)": lambda: scheme.write(x, 0, x),
        "close(stream)": lambda: scheme.close(x),
        "show(stream)": lambda: scheme.show((x, x)),
    }.items():
        with pytest.raises(NotImplementedError) as caught:
            call()
        assert f"Residual has no {name}" in str(caught.value)


@pytest.mark.parametrize(
    ("scheme", "text"),
    [
        (
            "hyper-conections",
            "no residual scheme is named 'hyper-conections' (did you mean 'hyper-connections'?); there are: ",
        ),
        ("pre-norm(norms=rms)", "pre-norm has no option 'norms' (did you mean 'norm'?); its options: "),
        ("pre-norm(norm=batch)", "pre-norm: option norm='batch' should be 'rms', 'layer' or 'none'"),
        ("pre-norm(initial_scale=0)", "pre-norm: initial_scale=0.0 is of learned scales: set scale=learned as well"),
        ("dense(sites=3)", "dense has no option 'sites'"),
        ("mhc(streams=1)", "mhc: streams=1 should be 2 or more"),
        ("attention-residuals(block=0)", "attention-residuals: block=0 should be 1 or more"),
    ],
)
def test_a_scheme_that_cannot_be_is_refused(scheme, text):
    with pytest.raises(UsageError) as caught:
        build("sums", residual=scheme)
    assert str(caught.value).startswith(text)
