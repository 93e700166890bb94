"""What the laws do not say of the mixers of `mixers.softmax`: what they are at special options, and what they show."""

import pytest
import torch
from torch.testing import assert_close

from mixers.dot_product import DotProduct
from mixers.plugin import zoo_mixers
from mixers.softmax.differential import Differential
from mixers.softmax.forgetting import Forgetting
from mixers.softmax.mla import MLA
from mixers.softmax.moba import MoBA
from mixers.softmax.multi_token import MultiToken
from mixers.softmax.nsa import NativeSparse
from mixers.softmax.path import PaTH
from mixers.softmax.stick_breaking import StickBreaking
from zoo import build_model

EXACT = {"rtol": 1e-10, "atol": 1e-10}
FAMILY = [Differential, Forgetting, MLA, MoBA, MultiToken, NativeSparse, PaTH, StickBreaking]


def built(cls, dim=16, **options):
    torch.manual_seed(0)
    return cls(dim, **options).double()


def reads(t=40, dim=16):
    return torch.randn(2, t, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def like(plain, mixer, skip=()):
    """The plain mixer with the parameters of another one, as far as it has them."""
    weights = {name: x for name, x in mixer.state_dict().items() if name not in skip}
    weights["project_in.weight"] = weights["project_in.weight"][: plain.project_in.weight.shape[0]]
    plain.load_state_dict(weights)
    return plain


def test_all_are_registered():
    assert set(FAMILY) <= set(zoo_mixers().values())


@pytest.mark.parametrize("cls", FAMILY)
def test_shows_what_is_inside(cls):
    panels = built(cls).panels(reads())
    assert panels
    assert all(panel.values.isfinite().all() for panel in panels)


@pytest.mark.parametrize(
    ("cls", "options"),
    [(MoBA, {"block_size": 4, "blocks": 10}), (MultiToken, {"norm": False})],
)
def test_is_dot_product_at_its_edge(cls, options):
    mixer = built(cls, **options)
    plain = like(built(DotProduct), mixer, skip=("taps", "head_mix"))
    assert_close(mixer(reads()), plain(reads()), **EXACT)


def test_forgetting_with_open_gates_is_attention_without_positions():
    mixer = built(Forgetting)
    torch.nn.init.constant_(mixer.forget_bias, 1000.0)
    assert_close(mixer(reads()), like(built(DotProduct, rope=False), mixer, skip=("forget_bias",))(reads()), **EXACT)


def test_path_without_strength_is_attention_without_positions():
    mixer = built(PaTH)
    torch.nn.init.constant_(mixer.gate_bias, -1000.0)
    skip = ("gate_bias", "direction.weight", "convolution.weight")
    assert_close(mixer(reads()), like(built(DotProduct, rope=False), mixer, skip)(reads()), **EXACT)


@pytest.mark.parametrize("options", [{}, {"rotary": 0, "query_latent": 3}])
def test_absorbed_steps_are_the_expanded_attention(options):
    mixer, x = built(MLA, latent=5, **options), reads(9)
    _, state = mixer.step(x[:, :4])
    assert {name: of.shape[-1] for name, of in state.items()} == {"latent": 5, "key": mixer.rotary}
    assert_close(mixer.step(x[:, 4:], state)[0], mixer(x)[:, 4:], **EXACT)


def test_stick_breaking_without_remainder_writes_nothing_at_first():
    assert built(StickBreaking, remainder=False)(reads())[:, 0].abs().max() == 0


def test_native_sparse_attends_to_nothing_but_its_window_while_the_other_gates_are_shut():
    mixer, plain = built(NativeSparse, window=5), built(DotProduct, window=5)
    like(plain, mixer)
    query, key, value, _ = mixer._placed(mixer.project_in(reads()), 0)
    shut = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)[:, None, None, None].expand(3, 2, 4, 40)
    mixer._placed = lambda *_: (query, key, value, shut)
    assert_close(mixer(reads()), plain(reads()), **EXACT)


@pytest.mark.parametrize(
    ("cls", "options", "error"),
    [
        (Forgetting, {"heads": 3}, "heads=3 does not divide dim=16"),
        (Forgetting, {"window": 0}, "window=0 would hide a token from itself"),
        (Differential, {"heads": 8}, "dim=16 with heads=8 makes heads of size 2; choose heads so that"),
        (MLA, {"latent": 0}, "latent must be 1 or more, not 0"),
        (MLA, {"rotary": 3}, "rotary=3 cannot be cut into pairs"),
        (MoBA, {"blocks": 0}, "blocks must be 1 or more, not 0"),
        (NativeSparse, {"block_size": 0}, "block_size must be 1 or more, not 0"),
        (PaTH, {"rank": 0}, "rank must be 1 or more, not 0"),
        (MultiToken, {"key_kernel": 4}, "key_kernel=4 has no middle"),
        (MultiToken, {"query_kernel": 0}, "query_kernel must be 1 or more, not 0"),
        (MultiToken, {"head_kernel": 3}, "head_kernel=3 does not divide heads=4"),
        (DotProduct, {"soft_cap": 0.0}, "soft_cap must be more than 0, not 0.0"),
        (DotProduct, {"rope_fraction": 1.5}, "rope_fraction must be more than 0 and up to 1, not 1.5"),
        (DotProduct, {"rope_base": 0.5}, "rope_base must be 1 or more, not 0.5"),
        (DotProduct, {"kv_to": "two words"}, "kv_to='two words' is no plain word"),
        (DotProduct, {"kv_to": "a", "kv_from": "b"}, "kv_from='b' does not go with kv_to"),
        (DotProduct, {"kv_from": "b", "value_residual": True}, "kv_from='b' does not go with value_residual"),
    ],
)
def test_options_out_of_range_are_refused(cls, options, error):
    with pytest.raises(ValueError, match="^.*" + error.replace("[", r"\[")):
        cls(16, **options)


def test_a_sink_takes_attention_and_a_soft_cap_bounds_the_scores():
    plain = built(DotProduct)
    deep = built(DotProduct, sink=True, soft_cap=1e9)
    deep.load_state_dict({**plain.state_dict(), "sink": torch.full((4,), -1e9)})
    assert_close(deep(reads()), plain(reads()), rtol=1e-6, atol=1e-6)
    torch.nn.init.constant_(deep.sink, 1e9)
    assert deep(reads()).abs().max() == 0


def test_rotation_of_a_fraction_leaves_the_other_channels():
    mixer = built(DotProduct, heads=2, rope_fraction=0.5, rope_base=100.0)
    key = torch.randn(1, 2, 5, 8, dtype=torch.float64)
    placed, _ = mixer._placed(key, key, 3)
    assert torch.equal(placed[..., 4:], key[..., 4:])
    assert not torch.isclose(placed[..., :4], key[..., :4]).any()


def model(pattern):
    torch.manual_seed(0)
    return build_model(pattern, vocab_size=11, dim=16, heads=2, context=32).double().eval()


@pytest.mark.parametrize(
    "pattern",
    [
        "dot-product(kv_to=a), dot-product(kv_from=a)*2",
        "dot-product(kv_to=a, kv_heads=1, window=3), dot-product(kv_from=a, qk_norm=true, gated=true)",
        "dot-product(value_residual=true)*3",
    ],
)
def test_layers_that_share_stream_and_keep_documents_apart(pattern):
    shared, tokens = model(pattern), torch.randint(11, (2, 9), generator=torch.Generator().manual_seed(0))
    whole, state, pieces = shared(tokens).logits, None, []
    for piece in tokens.split([1, 3, 5], dim=1):
        logits, state = shared.step(piece, state)
        pieces.append(logits)
    assert_close(torch.cat(pieces, dim=1), whole, **EXACT)
    packed = shared(tokens, documents=torch.tensor([[0] * 4 + [1] * 5] * 2)).logits
    assert_close(packed[:, 4:], shared(tokens[:, 4:]).logits, **EXACT)


def test_layers_that_do_not_fit_each_other_say_so():
    with pytest.raises(Exception, match="kv_from='b': earlier layers have kv_to=a; choose one of these"):
        model("dot-product(kv_to=a), dot-product(kv_from=b)")(torch.zeros(1, 3, dtype=torch.long))
    with pytest.raises(Exception, match="kv_from='a': that layer has 1 key heads of 16 channels, and this one 2"):
        model("dot-product(kv_to=a, heads=1), dot-product(kv_from=a)")(torch.zeros(1, 3, dtype=torch.long))
    with pytest.raises(Exception, match="value_residual: the first layer's values have 8 channels, and those here 16"):
        model("dot-product(value_residual=true, kv_heads=1), dot-product(value_residual=true)")(
            torch.zeros(1, 3, dtype=torch.long)
        )


def test_value_residuals_start_as_the_mean_with_the_first_layer():
    mixer, x = built(DotProduct, value_residual=True), reads(5)
    written = mixer(x)
    assert_close(written.out, like(built(DotProduct), mixer, skip=("value_mix",))(x), **EXACT)
    again = mixer(x, shared={"first_value": -written.shared["first_value"]})
    assert_close(again, torch.zeros_like(x), **EXACT)
