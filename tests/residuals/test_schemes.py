"""What every residual scheme promises."""

import pytest
import torch
from torch.testing import assert_close
from torch.utils._pytree import tree_leaves

import zoo
from zoo.errors import UsageError
from zoo.model.members import create_residual
from zoo.model.parameters import reinitialize
from zoo.plugin.kinds import RESIDUAL
from zoo.plugin.registry import Entry, Origin, Plugin, Registry
from zoo.residuals.plugin import zoo_residuals

from .models import DIM, PATTERN, SCHEMES, VOCABULARY, build, draw, perturbed

RESIDUALS = zoo_residuals()

each_scheme = pytest.mark.parametrize(
    "scheme", [pytest.param(name, marks=[pytest.mark.slow] if "(" in name else []) for name in SCHEMES]
)


def test_every_scheme_is_tried_and_says_what_it_is():
    assert {name.partition("(")[0] for name in SCHEMES} == set(RESIDUALS)
    for cls in RESIDUALS.values():
        assert cls.paper
        assert all(text in cls.__doc__ for text in ("closed", "Source:", "where"))


class OneSite(zoo.Residual):
    """Forgets the sites that it was made for."""

    def __init__(self, dim, *, sites):
        super().__init__(dim, sites=1)


def test_a_scheme_of_other_sites_is_refused():
    origin = Origin("acme", "1", "one", is_installed=False)
    registry = Registry([Plugin(origin, (Entry("one-site", OneSite, origin, RESIDUAL),))])
    with pytest.raises(UsageError, match=r"^one-site has sites=1, and the model has 3: pass on `sites`$"):
        create_residual("one-site", dim=DIM, layers=2, roles=("token", "channel", "token"), registry=registry)


@each_scheme
def test_it_is_token_wise(scheme):
    roles = ("token", "channel", "token", "token", "channel")
    residual = perturbed(create_residual(scheme, dim=DIM, layers=3, roles=roles))

    def run(embedded):
        stream = residual.open(embedded)
        for site in range(len(roles)):
            stream = residual.write(stream, site, residual.read(stream, site).tanh())
        return residual.close(stream)

    embedded = torch.randn(2, 5, DIM, dtype=torch.float64)
    other = embedded.clone()
    other[1, 2] = torch.randn(DIM, dtype=torch.float64)  # what is added to all channels alike a LayerNorm takes out
    changed = (run(other) != run(embedded)).any(-1)
    assert changed.nonzero().tolist() == [[1, 2]]
    assert_close(run(embedded[:, 3:4]), run(embedded)[:, 3:4])


@each_scheme
@pytest.mark.parametrize("chunks", [(7,), (3, 1, 3)])
def test_steps_in_pieces_are_the_forward_pass(scheme, chunks):
    model, tokens = perturbed(build(scheme, positions="learned")), draw()
    state, logits = None, []
    for piece in tokens.split(list(chunks), dim=1):
        some, state = model.step(piece, state)
        logits.append(some)
    assert_close(torch.cat(logits, 1), model(tokens).logits)


@each_scheme
def test_gradients_reach_every_parameter_and_every_site(scheme):
    model, tokens = perturbed(build(scheme)), draw()
    gradients = {}
    model.listeners.append(
        lambda site, label, _stream, _read, write: write.register_hook(
            lambda gradient: gradients.update({(site, label): gradient.abs().sum()})
        )
    )
    model(tokens, tokens.roll(1, 1)).loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert {site for site, _ in gradients} == set(range(5))
    assert len(gradients) == 6
    assert all(size > 0 for size in gradients.values())


@each_scheme
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_type_of_the_model_is_kept(scheme, dtype):
    model, dtypes = build(scheme).to(dtype), set()
    model.listeners.append(lambda _site, _label, *values: dtypes.update(leaf.dtype for leaf in tree_leaves(values)))
    assert model(draw()).logits.dtype == dtype
    assert dtypes == {dtype}


@each_scheme
def test_autocast_leaves_the_stream_in_full_precision(scheme):
    model, dtypes = build(scheme), set()
    model.listeners.append(lambda _site, _label, stream, *_: dtypes.update(leaf.dtype for leaf in tree_leaves(stream)))
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(draw(), draw()).loss
    loss.backward()
    assert dtypes == {torch.float32}
    exact = build(scheme)(draw(), draw()).loss
    assert loss.item() == pytest.approx(exact.item(), rel=0.02)


@each_scheme
def test_it_is_built_without_memory_and_drawn_afterwards(scheme):
    with torch.device("meta"):
        model = build(scheme)
    model.to_empty(device="cpu")
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, torch.nan)
    reinitialize(model, seed=1)
    first = model(draw()).logits
    assert first.isfinite().all()
    reinitialize(model, seed=1)
    assert torch.equal(model(draw()).logits, first)
    assert_close(dict(model.residual.named_parameters()), dict(build(scheme).residual.named_parameters()))


@pytest.mark.parametrize(
    "scheme",
    [
        "pre-norm(scale=learned)", "embedding-skip", "dense", "hyper-connections", "hyper-connections(streams=1)",
        "hyper-connections(streams=3)", "hyper-connections(dynamic=false)", "mhc", "mhc(streams=2)",
    ],
)  # fmt: skip
def test_it_starts_as_pre_norm(scheme):
    tokens = draw()
    expected, logits = build("pre-norm")(tokens).logits, build(scheme)(tokens).logits
    assert_close(logits, expected, rtol=0, atol=1e-6)
    assert not torch.equal(perturbed(build(scheme))(tokens).logits, expected.double())


@pytest.mark.parametrize("block", [1, 2, 3, 9])
def test_attention_residuals_start_as_sums_which_a_norm_cannot_tell_from_means(block):
    models = [build(scheme).double() for scheme in ("pre-norm(scale=none)", f"attention-residuals(block={block})")]
    for model in models:
        model.embedding.weight.data *= 1e4  # so that what the norms add to the mean square does not show
    first, second = (model(draw()).logits / 1e4 for model in models)
    assert_close(second, first, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scheme", ["pre-norm", "parallel", "dense", "hyper-connections", "attention-residuals"])
def test_activation_checkpointing_changes_neither_loss_nor_gradients(scheme):
    results = []
    for checkpointing in (False, True):
        model = build(scheme, dropout=0.3)
        model.activation_checkpointing = checkpointing
        torch.manual_seed(5)
        loss = model(draw(), draw()).loss
        loss.backward()
        results.append((loss, [parameter.grad for parameter in model.parameters()]))
    assert_close(results[1], results[0], rtol=0, atol=0)


@pytest.mark.slow
@each_scheme
def test_a_few_updates_lower_the_loss(scheme):
    model, tokens = build(scheme), draw()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    losses = []
    for _ in range(12):
        loss = model(tokens[:, :-1], tokens[:, 1:]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


@each_scheme
def test_the_stream_can_be_watched(scheme):
    model, tokens = perturbed(build(scheme)), draw()
    with zoo.watch_stream(model) as log:
        model(tokens)
    names = ["0.decays", "0.decays-2", "0.channel", "1.decays", "2.decays", "2.channel"]
    assert [traffic.part for traffic in log.traffic] == names
    for traffic in log.traffic:
        assert traffic.stream.shape == traffic.added.shape == traffic.read.shape == (2, 7, DIM)
        assert traffic.norms["write"].gt(0).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scheme", ["pre-norm", "mhc"])
def test_it_compiles_in_one_graph(scheme):
    model, tokens = build(scheme, pattern="dot-product(heads=2)", registry=None), draw()
    expected = model(tokens, tokens).loss
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")(tokens, tokens).loss
    assert_close(compiled, expected)


def test_pre_norm_writes_one_part_after_the_other_and_the_others_a_sum():
    models = {name: build(name).double() for name in ("pre-norm", "hyper-connections")}
    calls = dict.fromkeys(models, 0)
    for name, model in models.items():
        original = model.residual.write

        def write(*arguments, name=name, original=original):
            calls[name] += 1
            return original(*arguments)

        model.residual.write = write
        model(draw())
    assert calls == {"pre-norm": 6, "hyper-connections": 5}
    assert PATTERN.count("+") == 1


def test_schemes_of_one_seed_have_the_same_parts():
    parts = []
    for scheme in ("pre-norm", "hyper-connections", "mhc"):
        model = build(scheme, tie_embeddings=scheme != "mhc")
        parts.append({name: p for name, p in model.named_parameters() if not name.startswith(("residual", "unemb"))})
    assert_close(parts[1], parts[0], rtol=0, atol=0)
    assert_close(parts[2], parts[0], rtol=0, atol=0)
    assert parts[0]["embedding.weight"].shape == (VOCABULARY, DIM)
