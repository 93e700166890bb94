import pytest

from zoo.errors import UsageError
from zoo.lab.tier import DEFAULT_TIER, find_tier, list_tiers
from zoo.train.resolve import load_preset, resolve

MQAR = "mqar(vocab=64, length=16, pairs=2)"


@pytest.fixture(autouse=True)
def _built_ins_only(own_world):
    """See the fixture."""


def test_there_are_three_from_the_smallest_to_the_largest():
    tiers = list_tiers()
    assert list(tiers) == ["smoke", "laptop", "paper"]
    assert [tier.seeds for tier in tiers.values()] == [1, 3, 5]
    assert [len(tier.lrs) for tier in tiers.values()] == [0, 0, 4]
    steps = [tier.settings("correlation", MQAR, {}).steps for tier in tiers.values()]
    assert steps == sorted(steps)
    assert steps[0] < steps[-1]
    assert DEFAULT_TIER in tiers
    for tier in tiers.values():
        assert tier.summary.startswith(("minutes", "an hour", "a machine"))


def test_an_unknown_tier_is_told_with_what_there_is():
    with pytest.raises(UsageError, match=r"'lapto' \(did you mean 'laptop'\?\); there are: smoke, laptop, paper"):
        find_tier("lapto")


def test_a_text_starts_from_the_preset_and_a_task_from_what_it_asks_for():
    smoke = find_tier("smoke")
    text = smoke.settings("correlation", "python-stdlib", {})
    assert (text.dim, text.layers) == tuple(load_preset("quick")[name] for name in ("dim", "layers"))
    assert (text.steps, text.evaluate_every, text.final_evaluation_tokens) == (200, 50, 32768)
    task = smoke.settings("correlation", MQAR, {})
    defined = resolve(flags={"mixer": "correlation", "data": MQAR})
    assert (task.steps, task.batch, task.dim) == (300, min(32, defined.batch), min(64, defined.dim))
    assert (task.context, task.channel_mixer, task.heads) == (16, defined.channel_mixer, defined.heads)


@pytest.mark.slow
def test_a_definition_is_cut_down_but_never_blown_up():
    small = "selective-copying(vocab=4, length=12, copy=2)"
    defined = resolve(flags={"mixer": "correlation", "data": small})
    assert defined.dim > 64
    assert find_tier("smoke").settings("correlation", small, {}).dim == 64
    assert find_tier("paper").settings("correlation", small, {}).dim == defined.dim
    smaller = "mqar(vocab=64, length=16, pairs=2)"
    assert find_tier("laptop").settings("correlation", smaller, {}).heads == 1


@pytest.mark.parametrize("data", [MQAR, "python-stdlib"])
def test_what_the_user_asks_for_stands_over_all(data):
    given = {"dim": 24, "batch": 200, "steps": 7, "layers": 3, "dropout": 0.5}
    made = find_tier("smoke").settings("correlation, involution", data, given)
    assert {name: getattr(made, name) for name in given} == given
    assert (made.mixer, made.data) == ("correlation, involution", data)


@pytest.mark.parametrize("data", [MQAR, "python-stdlib"])
def test_none_is_a_value_too(data):
    made = find_tier("smoke").settings("correlation, involution, correlation", data, {"layers": None, "dim": 32})
    assert made.layers is None
    assert made.dim == 32
    assert find_tier("smoke").settings("correlation", MQAR, {"stop_accuracy": None}).stop_accuracy is None


@pytest.mark.parametrize(
    ("given", "words"),
    [({"foo": 1}, "no setting 'foo'"), ({"foo": None}, "no setting 'foo'"), ({"dim": 0}, "dim=0 should be")],
)
def test_settings_that_cannot_be_are_refused(given, words):
    with pytest.raises(UsageError, match=words):
        find_tier("smoke").settings("correlation", MQAR, given)
