"""Every registered mixer, with default and with drawn options, alone and in whole models, against every law."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zoo import build_model, create_mixer
from zoo.errors import UsageError
from zoo.options import FILLED_BY_HOST
from zoo.registry import get_registry
from zoo.testing.laws import LAWS, check_round_trip, laws_of
from zoo.testing.running import WholeModel, drawn
from zoo.testing.strategies import Case, cases, cuts, options, sizes, values
from zoo.testing.streaming_laws import check_streaming

REGISTRY = get_registry()
ENTRIES = {REGISTRY.display_name(entry): entry for entry in REGISTRY.list()}
PROMISES = [(name, law) for name, entry in ENTRIES.items() for law in laws_of(entry.cls)]

HYBRIDS = ["correlation*3, involution", "dot-product + involution", "leviathan-moe, correlation/none"]
LAWS_OF_MODELS = ["purity", "causality", "prefix", "batch-independence", "streaming", "state"]
VOCABULARY = 11


def build(name, dtype=torch.float64, dim=16, heads=2):
    torch.manual_seed(0)
    return drawn(create_mixer(name, dim=dim, heads=heads).to(dtype))


def read(b=3, t=12, dim=16, dtype=torch.float64):
    return torch.randn(b, t, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def test_there_are_mixers_to_judge():
    assert ENTRIES
    assert not [f"{plugin.origin}: {plugin.error}" for plugin in REGISTRY.broken]


@pytest.mark.parametrize(("name", "law"), PROMISES)
def test_with_default_options(name, law):
    LAWS[law](build(name), read())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "law"), PROMISES)
def test_with_default_options_over_the_borders_of_chunks(name, law):
    LAWS[law](build(name), read(b=2, t=135))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ENTRIES)
def test_in_lower_precision(name, dtype):
    laws = laws_of(ENTRIES[name].cls)
    for law in {"shapes", "streaming"} & set(laws):
        laws[law](build(name, dtype), read(dtype=dtype))


@pytest.mark.parametrize("name", ENTRIES)
@given(data=st.data())
def test_with_drawn_options(name, data):
    case = data.draw(cases(ENTRIES[name]))
    for check in laws_of(case.mixer).values():
        check(case.mixer, case.reads)
    check_round_trip(ENTRIES[name].cls, name, case.options)


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if entry.cls.causal])
@given(data=st.data())
def test_in_drawn_pieces(name, data):
    case = data.draw(cases(ENTRIES[name]))
    check_streaming(case.mixer, case.reads, data.draw(cuts(case.reads.shape[1])))


@pytest.mark.parametrize("law", LAWS_OF_MODELS)
@pytest.mark.parametrize("pattern", HYBRIDS)
def test_whole_model(pattern, law):
    LAWS[law](whole_model(pattern), tokens(3, 10))


@given(data=st.data())
@pytest.mark.parametrize("pattern", HYBRIDS)
def test_whole_model_in_drawn_pieces(pattern, data):
    given_tokens = tokens(data.draw(st.integers(1, 3)), data.draw(st.integers(1, 12)))
    check_streaming(whole_model(pattern), given_tokens, data.draw(cuts(given_tokens.shape[1])))


@pytest.mark.parametrize("positions", ["none", "learned"])
def test_whole_model_knows_its_positions_when_it_streams(positions):
    name = next(name for name, entry in ENTRIES.items() if entry.cls.causal)
    LAWS["streaming"](whole_model(name, positions=positions), tokens(2, 9))


def whole_model(pattern, **settings):
    torch.manual_seed(0)
    model = build_model(pattern, vocab_size=VOCABULARY, dim=16, heads=2, context=16, **settings)
    return drawn(WholeModel(model.double()))


def tokens(b, t):
    return torch.randint(VOCABULARY, (b, t), generator=torch.Generator().manual_seed(1))


# The strategies themselves: each value can be drawn, and what a mixer refuses is not.


def test_values_of_annotations():
    from typing import Literal

    assert reachable(values(bool)) == {True, False}
    assert reachable(values(int)) == {0, 1, 2, 3, 4}
    assert reachable(values(Literal["a", "b"])) == {"a", "b"}
    assert reachable(values(Literal["a"] | int | None)) == {"a", None, 0, 1, 2, 3, 4}
    assert values(str) is None
    assert values(float) is None


def reachable(strategy):
    from hypothesis import find

    found = set()
    while True:
        try:
            found.add(find(strategy, lambda value: value not in found))
        except Exception:
            return found
