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
from zoo.plugin.options import Option, options_of
from zoo.plugin.registry import Entry, Origin, Plugin, Registry, get_registry
from zoo.testing import LAWS, check_member, check_mixer
from zoo.testing.covering import OTHER, Choice, Covering, choices_of, seen_in
from zoo.testing.strategies import cases, cuts, options, values
from zoo.testing.subject import subject_of
from zoo.testing.traits import measure_traits

from .broken_forward import ConvolvesBothWays
from .control import Control, Projected
from .sound import BothDirections, Identity, Kind, LearnedPositions, ManyOptions, ShortConvolution

BUILT_IN = [plugin for plugin in get_registry().plugins if not plugin.of(MIXER)]

QUICK = settings(max_examples=100, database=None)


def one(mixer, law, **how):
    (result,) = check_mixer(mixer, only=[law], **how)
    return result


@pytest.mark.slow
def test_there_is_a_result_for_every_law_in_their_order():
    results = check_mixer(Identity, examples=2)
    assert [result.law for result in results] == list(LAWS)
    assert {result.status for result in results} == {"passed", "skipped", "advice"}
    for result in results:
        assert result.grade == LAWS[result.law].grade
        assert bool(result.message) == (result.status != "passed")
        assert (result.counterexample is None) == (result.status != "advice")
        assert result.seconds >= 0


@pytest.mark.slow
def test_a_counterexample_says_how_to_see_it_again():
    result = one(ConvolvesBothWays, "causality")
    assert result.status == "failed"
    assert result.counterexample == {
        "b": 1, "t": 2, "dim": 8, "heads": 1, "seed": 0, "options": {}, "cuts": []
    }  # fmt: skip
    assert one(ConvolvesBothWays, "causality").message == result.message


@pytest.mark.slow
def test_a_failure_that_is_expected_is_told_as_such_and_one_that_no_longer_fails_as_a_failure():
    expected = {"causality": "it looks around"}
    result = one(ConvolvesBothWays, "causality", expected_failures=expected)
    assert result.status == "expected"
    assert result.message.startswith("it looks around: write 0 depends on read 1")
    result = one(Identity, "causality", expected_failures=expected)
    assert result.status == "failed"
    assert "expect it no longer" in result.message


@pytest.mark.slow
def test_a_mixer_declares_itself_what_it_cannot_keep():
    class Declares(ConvolvesBothWays):
        expected_failures: ClassVar = {"causality": "a reason"}

    assert one(Declares, "causality").status == "expected"
    assert one(Declares, "prefix").status == "failed"


@pytest.mark.slow
def test_a_mixer_that_is_not_causal_is_held_to_no_causal_law():
    skipped = {result.law for result in check_mixer(BothDirections, examples=1) if "causal" in result.message}
    assert skipped == {name for name, law in LAWS.items() if law.causal}


@pytest.mark.slow
def test_a_longest_length_is_a_promise_to_refuse_more():
    assert one(LearnedPositions, "lengths").status == "passed"


@pytest.mark.slow
def test_laws_can_be_chosen_and_left_out():
    assert [r.law for r in check_mixer(Identity, only=["prefix", "causality"])] == ["causality", "prefix"]
    assert "shape" not in {r.law for r in check_mixer(Identity, skip=["shape"], examples=1)}


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (
            {"only": ["causalty"]},
            "no law of mixers is named 'causalty' \\(did you mean 'causality'\\?\\); there are: shape",
        ),
        ({"skip": ["x"]}, "no law of mixers is named 'x'"),
        ({"expected_failures": {"speed": "slow"}}, "no law of mixers is named 'speed'"),
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_given_options_stay_and_the_others_are_drawn():
    subject = subject_of("dot-product(window=2)", {"rope": False})
    assert str(subject.label) == "dot-product(window=2, rope=False)"
    free = {option.name for option in subject.free_options}
    assert {"kv_heads", "qk_norm", "gated", "bias"} <= free
    assert not free & {"window", "rope"}
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


@pytest.mark.slow
def test_an_option_that_cannot_be_guessed_has_to_be_given():
    with pytest.raises(UsageError, match=r"takes none of them: .*mode=.* should be 'this'; .*`options`"):
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


@pytest.mark.slow
def test_a_mixer_that_does_not_run_is_told_once_with_the_line(capsys):
    results = {result.law: result for result in check_mixer(Crashes)}
    failed = [name for name, result in results.items() if result.status == "failed"]
    assert failed == ["shape"]
    assert re.match(r"it does not run: RuntimeError: out of order, in test_check.py:\d+$", results["shape"].message)
    assert results["causality"].message == "it does not run: see shape"
    assert results["paper"].status == "passed"
    assert one(Crashes, "causality").status == "failed"
    assert "forward returns a tuple: return the write, or a Mixed" in one(ReturnsTuple, "shape").message
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_a_law_that_is_asked_for_is_asked_though_it_takes_long():
    assert one(Identity, "compile").status == "passed"


class WrongForOne(Projected):
    """A mean that is wrong for one value of one of five options.

        y_t = W 1/t sum_{s<=t} V x_s

    Options:
        gated: whether the read gates the write.
        norm: whether the value is divided by its size.
        kind: how far it looks.
        lag: a number.
        window: how many tokens count; None counts all.
    """

    def __init__(
        self,
        dim,
        *,
        gated: bool = False,
        norm: bool = True,
        kind: Literal["past", "near", "far"] = "past",
        lag: int = 1,
        window: int | None = None,
    ):
        super().__init__(dim)
        self.leaks = wrong_for(gated=gated, norm=norm, kind=kind, window=window)

    def mix(self, value):
        return value.roll(-1, 1) if self.leaks else value


WRONG: dict[str, Any] = {}


def wrong_for(**options):
    return all(options[name] == value and type(options[name]) is type(value) for name, value in WRONG.items())


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [{"gated": True}, {"norm": False}, {"kind": "near"}, {"kind": "far"}, {"window": 1}])
def test_a_mixer_that_is_wrong_for_one_choice_alone_is_caught_with_one_example(wrong, monkeypatch):
    monkeypatch.setattr(f"{__name__}.WRONG", wrong)
    result = one(WrongForOne, "causality", examples=1)
    assert result.status == "failed"
    assert result.counterexample["options"] == wrong  # the others are at their defaults
    assert (result.counterexample["b"], result.counterexample["t"]) == (1, 2)


class TakesOneOnlyBeside(Control):
    """Its window is taken only where it is gated.

    Options:
        gated: whether it is gated.
        window: how many tokens count; None counts all.
    """

    def __init__(self, *, gated: bool = False, window: int | None = None):
        super().__init__()
        if window is not None and not gated:
            raise ValueError("window needs gated=true")
        self.window = window

    def forward(self, x):
        return x if self.window is None else x.roll(-1, 1)


@pytest.mark.slow
def test_a_choice_that_is_taken_only_beside_another_is_looked_at():
    result = one(TakesOneOnlyBeside, "causality", examples=1)
    assert result.status == "failed"
    assert result.counterexample["options"]["gated"] is True


@pytest.mark.parametrize(
    ("annotation", "default", "expected"),
    [
        (bool, False, {False, True}),
        (Literal["a", "b"], "a", {"a", "b"}),
        (Kind, Kind.VALUES, {"values", "signs"}),
        (int | None, None, {None, OTHER}),
        (Literal["a"] | bool | None, None, {"a", False, True, None}),
        (Annotated[bool, "a note"], False, {False, True}),
        (int, 1, set()),
        (Any, None, set()),
    ],
)
def test_the_choices_of_an_option(annotation, default, expected):
    assert set(choices_of(Option("x", annotation, default, ""))) == expected


def test_choices_cost_no_more_cases_than_the_largest_option_has_choices():
    covering = Covering(subject_of(WrongForOne))
    cases_ = covering.cases(set(), sane=True)
    assert len(cases_) == 3
    assert set().union(*map(seen_in, cases_)) == {
        Choice(name, value) for name, among in covering._choices.items() for value in among
    }
    assert covering.cases(set(), sane=True) is cases_
    assert covering.cases(set().union(*map(seen_in, cases_)), sane=True) == []


class Unfinished(Control):
    """Without an equation and a paper."""

    paper = ""

    def forward(self, x):
        return x


@pytest.mark.slow
def test_finish_is_advice_unless_it_is_strict():
    asked = ["causality", "documentation", "paper"]
    told = {strict: check_mixer(Unfinished, only=asked, strict=strict) for strict in (False, True)}
    assert [result.status for result in told[False]] == ["passed", "advice", "advice"]
    assert [result.status for result in told[True]] == ["passed", "failed", "failed"]
    assert one(ConvolvesBothWays, "causality").status == "failed"


class Shifts(torch.nn.Module):
    """Each token takes what was read for the one before."""

    def forward(self, x):
        return x.roll(1, 1)


@pytest.mark.slow
def test_members_of_other_kinds_are_checked():
    (result,) = check_member("channel-mixer", Shifts, only=["token-wise"])
    assert result.status == "failed"
    assert result.message.startswith("write 0 is another one when the token stands alone (b=1, t=2)")
    (result,) = check_member("channel-mixer", "mlp(expansion=2)", only=["token-wise"], examples=2)
    assert result.status == "passed"
    with pytest.raises(UsageError, match=r"there is no kind 'chanel-mixer' .did you mean 'channel-mixer'"):
        check_member("chanel-mixer", Shifts)
    with pytest.raises(UsageError, match=r"no channel mixer is named 'swiglo' .did you mean 'swiglu'"):
        check_member("channel-mixer", "swiglo")
    with pytest.raises(UsageError, match="no law of channel mixers is named 'causality'"):
        check_member("channel-mixer", "mlp", only=["causality"])


def test_a_token_mixer_in_the_channel_place_is_held_to_the_laws_of_token_mixers():
    (result,) = check_member("channel-mixer", ShortConvolution, only=["streaming"], examples=2)
    assert result.status == "passed"


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


@pytest.mark.slow
def test_an_option_that_makes_a_mixer_fail_is_told_by_its_own_laws_alone():
    asked = ["shape", "causality", "streaming", "gradients", "precision", "options-refused"]
    failed = [result.law for result in check_mixer(FailsAtTwo, only=asked, strict=True) if result.status == "failed"]
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
    check_mixer(ConvolvesBothWays, examples=1, only=["causality", "seeded", "gradients", "precision"])
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
