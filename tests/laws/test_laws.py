"""Every registered mixer, with default and with drawn options, alone and in whole models, against every law."""

from typing import Annotated, Any, Literal

import pytest
import torch
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from zoo import TokenMixer, build_model, create_mixer
from zoo.options import options_of
from zoo.registry import MixerEntry, Origin, get_registry
from zoo.testing.laws import LAWS, check_round_trip, laws_of
from zoo.testing.running import WholeModel, drawn
from zoo.testing.strategies import cases, cuts, options, values
from zoo.testing.streaming_laws import check_streaming

REGISTRY = get_registry()
ENTRIES = {REGISTRY.display_name(entry): entry for entry in REGISTRY.list()}
PROMISES = [(name, law) for name, entry in ENTRIES.items() for law in laws_of(entry.cls)]

HYBRIDS = ["correlation*3, involution", "dot-product + involution", "leviathan-moe, correlation/none"]
LAWS_OF_MODELS = ["purity", "causality", "prefix", "batch-independence", "streaming", "state"]
VOCABULARY = 11
QUICK = settings(max_examples=100, database=None)


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


# Streaming is not asked of half precision: its rounding decides between experts that a router holds nearly equal.
@pytest.mark.parametrize(
    ("dtype", "law"), [(torch.float32, "shapes"), (torch.float32, "streaming"), (torch.bfloat16, "shapes")], ids=str
)
@pytest.mark.parametrize("name", ENTRIES)
def test_in_lower_precision(name, dtype, law):
    if law in laws_of(ENTRIES[name].cls):
        LAWS[law](build(name, dtype), read(dtype=dtype))


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


# The strategies themselves: every value can be drawn, and what a mixer refuses is not.


def drawable(strategy, among):
    """Which of some values a strategy can draw."""
    return [value for value in among if _finds(strategy, value)]


def _finds(strategy, wanted):
    try:
        find(strategy, lambda value: value == wanted and type(value) is type(wanted), settings=QUICK)
    except NoSuchExample:
        return False
    return True


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (bool, [False, True]),
        (int, [0, 1, 4]),
        (Literal["a", "b"], ["a", "b"]),
        (Literal["a"] | int | None, ["a", None, 0, 1, 4]),
        (float | None, [None]),
        (Annotated[int, "with a bound"], [0, 1, 4]),
    ],
)
def test_values_of_an_annotation(annotation, expected):
    among = ["a", "b", None, False, True, 0, 1, 4]
    assert drawable(values(annotation), among) == expected


@pytest.mark.parametrize("annotation", [str, float, Any, list[int]])
def test_an_annotation_that_does_not_say_its_values_is_not_drawn(annotation):
    assert values(annotation) is None


class Picky(TokenMixer):
    """Takes an even size only."""

    def __init__(self, dim, *, size: int, heads: int = 1, name: str = "x", gated: bool = False):
        super().__init__()
        if size % 2:
            raise ValueError(f"size={size} should be even")
        self.size, self.gated, self.weight = size, gated, torch.nn.Parameter(torch.zeros(dim))


PICKY = MixerEntry("picky", Picky, Origin("acme", "1.0", "acme"))


@given(chosen=options(options_of(Picky)))
def test_options_hold_what_is_required_and_nothing_that_the_host_fills(chosen):
    assert "size" in chosen
    assert set(chosen) <= {"size", "gated"}


@given(case=cases(PICKY, longest=5))
def test_cases_are_what_the_mixer_accepts(case):
    assert case.mixer.size == case.options["size"]
    assert case.mixer.size % 2 == 0
    assert case.mixer.weight.dtype == case.reads.dtype == torch.float64
    assert case.mixer.weight.all()
    assert case.reads.shape[1] <= 5
    assert case.reads.shape[2] == case.mixer.weight.shape[0]


@given(data=st.data(), time=st.integers(1, 12))
def test_cuts_lie_within_the_sequence(data, time):
    ends = data.draw(cuts(time))
    assert list(ends) == sorted(set(ends))
    assert all(0 < end < time for end in ends)


def test_every_way_to_cut_can_be_drawn():
    ways = [(), (1,), (2,), (1, 2)]
    assert drawable(cuts(3), ways) == ways
