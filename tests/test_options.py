import enum
import pathlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal, TypeVar

import pytest
from pydantic import Field

from zoo import TokenMixer
from zoo.errors import UsageError
from zoo.plugin.options import FILLED_BY_HOST, REQUIRED, Option, check_options, did_you_mean, options_of, parameters_of
from zoo.plugin.pattern import Call, parse_call


class Everything(TokenMixer):
    """A mixer with options of every kind.

        y = x

    Options:
        lags: how many tokens back,
            the nearest first.
        pool: how: "sum" or "max".

    Cost: t.

    Other: no section of options.
        scale: not told here.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        lags: int = 3,
        pool: Literal["sum", "max"] = "sum",
        scale: float = 1.0,
        window: int | None = None,
        gated: bool = False,
        sizes: tuple[int, ...] = (1, 2),
        untyped=7,
        hook: Callable[[int], int] | None = None,
        anything: Any = None,
        mode: Literal["a", "b"] | None = None,
        taps: list[int] = [1],  # noqa: B006
        order: Annotated[int, Field(ge=1, le=4)] = 2,
    ):
        super().__init__()


class NoInit(TokenMixer):
    pass


class InitWithoutParameters(TokenMixer):
    def __init__(self):
        super().__init__()


class Needs(TokenMixer):
    def __init__(self, dim, order: int, layers: int, layer_index: int):
        super().__init__()


class Strange(TokenMixer):
    def __init__(self, dim, positional=1, /, *rest, broken: "NoSuchType" = 3, **more):  # noqa: F821
        super().__init__()


OPTIONS = {option.name: option for option in options_of(Everything)}


NAMES = [
    "heads", "lags", "pool", "scale", "window", "gated", "sizes", "untyped", "hook", "anything", "mode", "taps", "order"
]  # fmt: skip


def check(**given):
    return check_options(Everything, given, "everything")


def test_options_are_the_parameters_but_dim_in_their_order():
    assert list(OPTIONS) == NAMES
    assert OPTIONS["lags"].default == 3
    assert OPTIONS["heads"].default is REQUIRED


def test_meanings_come_from_the_options_section_of_the_docstring():
    assert OPTIONS["lags"].meaning == "how many tokens back, the nearest first."
    assert OPTIONS["pool"].meaning == 'how: "sum" or "max".'
    assert OPTIONS["scale"].meaning == ""


def test_types_are_told_as_a_person_writes_them():
    told = {name: option.type_text for name, option in OPTIONS.items()}
    assert told["pool"] == "sum | max"
    assert told["lags"] == "int"
    assert told["window"] == "int | None"
    assert told["sizes"] == "tuple[int, ...]"
    assert told["untyped"] == "int | float"
    assert told["anything"] == "Any"
    assert told["mode"] == "a | b | None"
    assert told["taps"] == "list[int]"
    assert told["order"] == "int"


def test_what_the_host_fills_is_not_required_of_the_user():
    required = {option.name for option in options_of(Needs) if option.required}
    assert required == {"order"}
    assert {"layers", "layer_index", "heads", "context"} == FILLED_BY_HOST
    with pytest.raises(UsageError, match=r"^needs needs a value for its option 'order': needs\(order=…\)$"):
        check_options(Needs, {}, "needs")
    assert check_options(Needs, {"order": 2}, "needs") == {"order": 2}


def test_a_mixer_without_init_takes_dim_and_has_no_options():
    assert options_of(NoInit) == ()
    assert "dim" in parameters_of(NoInit)
    with pytest.raises(UsageError, match=r"^plain has no option 'lags'; it has no options$"):
        check_options(NoInit, {"lags": 1}, "plain")


def test_a_mixer_with_an_init_without_parameters_is_not_told_the_width():
    assert options_of(InitWithoutParameters) == ()
    assert "dim" not in parameters_of(InitWithoutParameters)


def test_parameters_that_cannot_be_given_by_name_are_no_options():
    assert [option.name for option in options_of(Strange)] == ["broken"]
    assert "dim" not in parameters_of(Strange)


def test_an_annotation_that_cannot_be_evaluated_leaves_the_type_of_the_default():
    assert check_options(Strange, {"broken": 4}, "strange") == {"broken": 4}
    with pytest.raises(UsageError, match=r"^strange: option broken='x' should be a valid integer or a valid number$"):
        check_options(Strange, {"broken": "x"}, "strange")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"lags": 0, "pool": "max"}, {"lags": 0, "pool": "max"}),
        ({"scale": 2}, {"scale": 2.0}),
        ({"window": None}, {"window": None}),
        ({"sizes": (3, 4, 5)}, {"sizes": (3, 4, 5)}),
        ({"untyped": 8}, {"untyped": 8}),
        ({"hook": max}, {"hook": max}),
        ({"anything": "at all"}, {"anything": "at all"}),
        ({"mode": None}, {"mode": None}),
        ({"taps": (1, 2)}, {"taps": [1, 2]}),
        ({"order": 4}, {"order": 4}),
    ],
)
def test_fitting_values_are_taken(given, expected):
    checked = check(**given)
    assert checked == expected
    assert [type(value) for value in checked.values()] == [type(value) for value in expected.values()]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"lags": "3"}, "everything: option lags='3' should be a valid integer"),
        ({"lags": 3.0}, "everything: option lags=3.0 should be a valid integer"),
        ({"lags": True}, "everything: option lags=True should be a valid integer"),
        ({"lags": None}, "everything: option lags=None should be a valid integer"),
        ({"gated": 1}, "everything: option gated=1 should be a valid boolean"),
        ({"pool": "mean"}, "everything: option pool='mean' should be 'sum' or 'max'"),
        ({"scale": "big"}, "everything: option scale='big' should be a valid number"),
        ({"window": "no"}, "everything: option window='no' should be a valid integer"),
        ({"sizes": (1, "a")}, "everything: option sizes=(1, 'a') should be a valid integer"),
        ({"untyped": None}, "everything: option untyped=None should be a valid integer or a valid number"),
        ({"mode": "c"}, "everything: option mode='c' should be 'a' or 'b'"),
        ({"order": 5}, "everything: option order=5 should be less than or equal to 4"),
    ],
)
def test_other_values_are_refused_with_what_was_expected(given, text):
    with pytest.raises(UsageError) as error:
        check(**given)
    assert str(error.value) == text


def test_an_unknown_option_is_refused_with_the_nearest_and_with_all():
    with pytest.raises(UsageError) as error:
        check(lag=1)
    assert str(error.value) == (
        f"everything has no option 'lag' (did you mean 'lags'?); its options: {', '.join(NAMES)}"
    )


def test_dim_is_no_option():
    with pytest.raises(UsageError, match="everything has no option 'dim'"):
        check(dim=8)


def test_did_you_mean():
    assert did_you_mean("corelation", ["involution", "correlation"]) == " (did you mean 'correlation'?)"
    assert did_you_mean("xyz", ["involution", "correlation"]) == ""
    assert did_you_mean("anything", []) == ""


class Kind(enum.Enum):
    SOFT = "soft"
    HARD = "hard"
    NONE = "none"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Types(TokenMixer):
    def __init__(
        self,
        *,
        optional_list: list[int] | None = None,
        list_default=[1, 2],  # noqa: B006
        set_default=frozenset({1}),
        nested: list[list[int]] = (),
        names: set[str] = frozenset(),
        repeated: Iterable[int] = (),
        maybe_repeated: Iterable[int] | None = None,
        sequence: Sequence[int] = (),
        pair: tuple[int, int] = (1, 2),
        maybe_pair: tuple[int, int] | None = None,
        kind: Kind = Kind.SOFT,
        maybe_kind: Kind | None = None,
        level: Level = Level.LOW,
        file: pathlib.Path = pathlib.Path("x"),
        pool: Literal["none", "sum"] = "sum",
        scale=1,
        gate=False,
    ):
        super().__init__()


@pytest.mark.parametrize(
    ("spelt", "expected"),
    [
        ("optional_list=(1, 2)", [1, 2]),
        ("optional_list=none", None),
        ("list_default=(3,)", [3]),
        ("set_default=(2, 2)", frozenset({2})),
        ("nested=((1, 2), ())", [[1, 2], []]),
        ("names=(b, a)", {"a", "b"}),
        ("repeated=(1, 2)", (1, 2)),
        ("maybe_repeated=(1, 2)", (1, 2)),
        ("maybe_repeated=none", None),
        ("sequence=(1, 2)", (1, 2)),
        ("pair=(8, 9)", (8, 9)),
        ("maybe_pair=(8, 9)", (8, 9)),
        ("kind=hard", Kind.HARD),
        ("kind=none", Kind.NONE),
        ("maybe_kind=none", None),
        ("maybe_kind=soft", Kind.SOFT),
        ("maybe_kind='none'", Kind.NONE),
        ("level=2", Level.HIGH),
        ("file='a/b.txt'", pathlib.Path("a/b.txt")),
        ("pool=none", "none"),
        ("scale=0.5", 0.5),
        ("scale=2", 2),
        ("gate=true", True),
    ],
)
def test_every_type_has_a_spelling_that_reads_back(spelt, expected):
    call = parse_call(f"types({spelt})")
    checked = check_options(Types, call.keywords, "types")
    (value,) = checked.values()
    assert value == expected
    assert type(value) is type(expected)
    again = parse_call(str(Call("types", tuple(checked.items()))))
    assert check_options(Types, again.keywords, "types") == checked
    if isinstance(value, tuple):
        assert list(value) == list(value) != []


def test_every_default_has_a_spelling():
    defaults = {option.name: option.default for option in options_of(Types)}
    call = Call("types", tuple(defaults.items()))
    assert Call("types", tuple(check_options(Types, parse_call(str(call)).keywords, "types").items())) == call


@pytest.mark.parametrize(
    ("spelt", "text"),
    [
        ("kind=firm", "kind='firm' should be 'soft', 'hard' or 'none'"),
        ("maybe_kind=firm", "maybe_kind='firm' should be 'soft', 'hard' or 'none'"),
        ("level=3", "level=3 should be 1 or 2"),
        ("pair=(8,)", "pair=(8,) should have 2 values, not 1"),
        ("pair=()", "pair=() should have 2 values, not 0"),
        ("maybe_pair=(8, 9, 10)", "maybe_pair=(8, 9, 10) should have 2 values, not 3"),
        ("optional_list=3", "optional_list=3 should be a valid list"),
        ("optional_list=(a,)", "optional_list=('a',) should be a valid integer"),
        ("nested=(1, 2)", "nested=(1, 2) should be a valid list"),
        ("repeated=('1',)", "repeated=('1',) should be a valid integer"),
        ("file=3", "file=3 should be a valid string"),
        ("pool=max", "pool='max' should be 'none' or 'sum'"),
        ("pool=true", "pool=True should be 'none' or 'sum'"),
        ("gate=1", "gate=1 should be a valid boolean"),
        ("scale=big", "scale='big' should be a valid integer or a valid number"),
    ],
)
def test_what_does_not_fit_is_told_as_a_person_spells_it(spelt, text):
    with pytest.raises(UsageError) as error:
        check_options(Types, parse_call(f"types({spelt})").keywords, "types")
    assert str(error.value) == f"types: option {text}"


def test_choices_are_shown():
    told = {option.name: option.type_text for option in options_of(Types)}
    assert told["kind"] == "soft | hard | none"
    assert told["maybe_kind"] == "soft | hard | none | None"
    assert told["maybe_pair"] == "tuple[int, int] | None"
    assert told["scale"] == "int | float"


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no")

    __str__ = __repr__


@pytest.mark.parametrize(
    "annotation",
    [Unprintable(), Unprintable, 3, "x", TypeVar("T"), ..., [int], {"a": 1}, lambda: None, Callable[..., int] | None],
)
def test_any_annotation_is_shown_and_none_is_a_bug(annotation):
    option = Option("x", annotation, 1, "")
    assert option.type_text
    with suppress(UsageError):  # as of a function
        assert option.check(2, "owner") == 2
