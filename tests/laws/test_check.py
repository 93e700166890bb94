"""The ways in: what can be checked, what is asked of it, and what comes back."""

import re
import sys
from typing import Annotated, Any, ClassVar, Literal

import pytest
import torch
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from zoo.errors import PluginError, UsageError
from zoo.plugin.kinds import MIXER
from zoo.plugin.options import options_of
from zoo.plugin.registry import Entry, Origin, Plugin, Registry, get_registry
from zoo.testing import LAWS, check_mixer
from zoo.testing.strategies import cases, cuts, options, values
from zoo.testing.subject import subject_of
from zoo.testing.traits import measure_traits

from .broken_forward import ConvolvesBothWays
from .control import Control, Projected
from .sound import BothDirections, Identity, LearnedPositions, ManyOptions, ShortConvolution

BUILT_IN = [plugin for plugin in get_registry().plugins if not plugin.of(MIXER)]

QUICK = settings(max_examples=100, database=None)


def one(mixer, law, **how):
    (result,) = check_mixer(mixer, only=[law], **how)
    return result


def test_there_is_a_result_for_every_law_in_their_order():
    results = check_mixer(Identity, examples=2)
    assert [result.law for result in results] == list(LAWS)
    assert {result.status for result in results} == {"passed", "skipped"}
    for result in results:
        assert bool(result.message) == (result.status == "skipped")
        assert result.counterexample is None
        assert result.seconds >= 0


def test_a_counterexample_says_how_to_see_it_again():
    result = one(ConvolvesBothWays, "causality")
    assert result.status == "failed"
    assert result.counterexample == {
        "b": 1, "t": 2, "dim": 8, "heads": 1, "seed": 0, "options": {}, "cuts": []
    }  # fmt: skip
    assert one(ConvolvesBothWays, "causality").message == result.message


def test_a_failure_that_is_expected_is_told_as_such_and_one_that_no_longer_fails_as_a_failure():
    expected = {"causality": "it looks around"}
    result = one(ConvolvesBothWays, "causality", expected_failures=expected)
    assert result.status == "expected"
    assert result.message.startswith("it looks around: write 0 depends on read 1")
    result = one(Identity, "causality", expected_failures=expected)
    assert result.status == "failed"
    assert "expect it no longer" in result.message


def test_a_mixer_declares_itself_what_it_cannot_keep():
    class Declares(ConvolvesBothWays):
        expected_failures: ClassVar = {"causality": "a reason"}

    assert one(Declares, "causality").status == "expected"
    assert one(Declares, "prefix").status == "failed"


def test_a_mixer_that_is_not_causal_is_held_to_no_causal_law():
    skipped = {result.law for result in check_mixer(BothDirections, examples=1) if "causal" in result.message}
    assert skipped == {name for name, law in LAWS.items() if law.causal}


def test_a_longest_length_is_a_promise_to_refuse_more():
    assert one(LearnedPositions, "lengths").status == "passed"


@pytest.mark.slow
def test_laws_can_be_chosen_and_left_out():
    assert [r.law for r in check_mixer(Identity, only=["prefix", "causality"])] == ["causality", "prefix"]
    assert "shape" not in {r.law for r in check_mixer(Identity, skip=["shape"], examples=1)}


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"only": ["causalty"]}, "no law is named 'causalty' \\(did you mean 'causality'\\?\\); there are: shape, "),
        ({"skip": ["x"]}, "no law is named 'x'"),
        ({"expected_failures": {"speed": "slow"}}, "no law is named 'speed'"),
        ({"examples": 0}, "examples=0 should be 1 or more"),
        ({"only": ["shape"], "skip": ["shape"]}, "no law is left to ask"),
        ({"expected_failures": ["shape"]}, "expected_failures should be a dict"),
        ({"options": {"kernel": 3}}, "has no option 'kernel'"),
    ],
)
def test_what_cannot_be_asked(how, words):
    with pytest.raises(UsageError, match=words):
        check_mixer(ShortConvolution, **how)


@pytest.mark.parametrize(
    ("mixer", "error", "words"),
    [
        ("dot-produkt", UsageError, "did you mean 'dot-product'"),
        ("dot-product(heads=", UsageError, "expected"),
        ("acme:thing", PluginError, "pip install acme"),
        ("dot-product(heads=5)", UsageError, "tried with dim=.*heads=5 does not divide dim=128"),
    ],
)
def test_what_cannot_be_checked(mixer, error, words):
    with pytest.raises(error, match=words):
        check_mixer(mixer)


def test_a_model_is_as_long_as_its_mixers(monkeypatch):
    origin = Origin("acme", "1.0", "acme")
    known = Registry([*BUILT_IN, Plugin(origin, (Entry("short", LearnedPositions, origin),))])
    monkeypatch.setattr("zoo.model.build.get_registry", lambda: known)
    assert one("short*2", "lengths", examples=2).status == "passed"
    assert one("short*2", "streaming", examples=5).status == "passed"


def test_an_option_is_not_given_twice():
    with pytest.raises(UsageError, match="option 'window' is given twice"):
        check_mixer("dot-product(window=2)", options={"window": 3})


def test_options_of_a_model_belong_into_its_pattern():
    with pytest.raises(UsageError, match="write the options of its mixers into the pattern"):
        check_mixer("dot-product, involution", options={"heads": 2})


def test_given_options_stay_and_the_others_are_drawn():
    subject = subject_of("dot-product(window=2)", {"rope": False})
    assert str(subject.label) == "dot-product(window=2, rope=False)"
    assert {option.name for option in subject.free_options} == {"kv_heads", "qk_norm", "gated", "bias"}
    assert one(ManyOptions, "options-round-trip", options={}).status == "passed"


def test_a_pattern_of_one_mixer_is_a_mixer_and_any_other_a_model():
    assert not subject_of("dot-product(heads=2)").whole_model
    for pattern in ("dot-product*2", "dot-product, involution", "dot-product + involution", "dot-product/mlp"):
        assert subject_of(pattern).whole_model


class NeedsMode(Control):
    """Needs to be told a mode.

    Options:
        mode: its only one.
    """

    def __init__(self, dim, *, mode: str):
        super().__init__()
        if mode != "this":
            raise ValueError(f"mode={mode!r} should be 'this'")

    def forward(self, x):
        return 2 * x


def test_an_option_that_cannot_be_guessed_has_to_be_given():
    with pytest.raises(UsageError, match=r"takes none of them: .*mode=.* should be 'this'; .*--options"):
        check_mixer(NeedsMode)
    assert one(NeedsMode, "causality", options={"mode": "this"}).status == "passed"


class Crashes(Control):
    """Fails whatever it reads."""

    def forward(self, x):
        print("hello")
        raise RuntimeError("out of order")


class ReturnsTuple(Control):
    """Returns more than its write."""

    def forward(self, x):
        return x, x


def test_a_mixer_that_does_not_run_is_told_once_with_the_line(capsys):
    results = {result.law: result for result in check_mixer(Crashes)}
    failed = [name for name, result in results.items() if result.status == "failed"]
    assert failed == ["shape"]
    assert re.match(r"it does not run: RuntimeError: out of order, in test_check.py:\d+$", results["shape"].message)
    assert results["causality"].message == "it does not run: see shape"
    assert results["documentation"].status == "passed"
    assert one(Crashes, "causality").status == "failed"
    assert "forward returns a tuple: return the write, or a Mixed" in one(ReturnsTuple, "shape").message
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_a_law_that_is_asked_for_is_asked_whatever_the_tier():
    assert one(Identity, "compile").status == "passed"


class FailsAtTwo(Projected):
    """Fails at a size of two, and loses a token at three.

    Options:
        size: of what it looks at.
    """

    def __init__(self, dim, *, size: int = 1):
        super().__init__(dim)
        self.size = size

    def mix(self, value):
        assert self.size != 2
        return value[:, 1:] if self.size == 3 else value


def test_an_option_that_makes_a_mixer_fail_is_told_by_its_own_laws_alone():
    asked = ["shape", "causality", "streaming", "gradients", "precision", "options-refused"]
    failed = [result.law for result in check_mixer(FailsAtTwo, only=asked) if result.status == "failed"]
    assert failed == ["shape", "options-refused"]


@pytest.fixture
def two_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("two_threads")
def test_a_law_leaves_the_random_state_and_the_threads_alone():
    before = torch.get_rng_state()
    check_mixer(ConvolvesBothWays, examples=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == 2


def test_without_hypothesis_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'mixer-zoo\[testing\]'"):
        check_mixer(Identity)


class WideOnly(Projected):
    """Takes widths that are multiples of 64."""

    def __init__(self, dim):
        if dim % 64:
            raise ValueError(f"dim={dim} should be a multiple of 64")
        super().__init__(dim)


def test_a_mixer_that_takes_large_widths_only_is_checked_with_those():
    assert subject_of(WideOnly).shapes() == [(64, 8), (64, 4), (128, 4)]
    assert one(WideOnly, "streaming").status == "passed"


# The cases: every value can be drawn, and what a mixer refuses is not.


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
        (float | None, [None, 0.5]),
        (Annotated[int, "with a bound"], [0, 1, 4]),
    ],
)
def test_values_of_an_annotation(annotation, expected):
    among = ["a", "b", None, False, True, 0, 1, 4, 0.5]
    assert drawable(values(annotation), among) == expected


def test_values_near_a_default_are_drawn():
    assert drawable(values(int, 16), [15, 16, 17]) == [15, 17]
    assert drawable(values(float, 3.0), [3.0, 6.0]) == [6.0]


@pytest.mark.parametrize("annotation", [str, Any, list[int]])
def test_an_annotation_that_does_not_say_its_values_is_not_drawn(annotation):
    assert values(annotation) is None


class Picky(Control):
    """Takes an even size only."""

    def __init__(self, dim, *, size: int, heads: int = 1, name: str = "x", gated: bool = False):
        super().__init__()
        if size % 2:
            raise ValueError(f"size={size} should be even")
        self.size, self.gated, self.weight = size, gated, torch.nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        return self.weight * x


@given(chosen=options(options_of(Picky)))
def test_options_hold_what_is_required_and_nothing_that_the_host_fills(chosen):
    assert "size" in chosen
    assert set(chosen) <= {"size", "gated"}


@given(case=cases(subject_of(Picky), [(8, 1), (16, 2)], longest=5))
def test_cases_are_what_the_mixer_accepts(case):
    assert case.mixer.size == case.options["size"]
    assert case.mixer.size % 2 == 0
    assert case.mixer.weight.dtype == case.reads.dtype == torch.float64
    assert case.mixer.weight.all()
    assert case.reads.shape[1] <= 5
    assert case.reads.shape[2] == case.mixer.weight.shape[0]
    assert torch.equal(case.build().weight, torch.zeros(case.sizes.dim))


@given(data=st.data(), time=st.integers(1, 12))
def test_cuts_lie_within_the_sequence(data, time):
    ends = data.draw(cuts(time))
    assert list(ends) == sorted(set(ends))
    assert all(0 < end < time for end in ends)


def test_every_way_to_cut_can_be_drawn():
    ways = [(), (1,), (2,), (1, 2)]
    assert drawable(cuts(3), ways) == ways


# Traits, as zoo info shows them.


def test_traits_are_measured():
    traits = measure_traits(ShortConvolution(16), 16)
    assert traits.causal
    assert traits.state_exponent == 0
    assert traits.step_exponent < 0.5
    growing = measure_traits(Projected(16), 16)
    assert growing.state_exponent == pytest.approx(1, abs=0.01)
    blind = measure_traits(BothDirections(16), 16)
    assert not blind.causal
    assert blind.step_exponent is None
    assert not measure_traits(ConvolvesBothWays(16), 16).causal
    assert measure_traits(LearnedPositions(16), 16).lengths == (16, 64)
