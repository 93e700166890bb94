import re

import pytest

from zoo.lab.compare.folder import Folder
from zoo.lab.compare.format import (
    count,
    format_estimate,
    format_guess,
    format_judgement,
    format_lr,
    format_ratio,
    format_value,
    ranking,
    verdict,
)
from zoo.lab.compare.judge import Conclusion, Judgement, judge
from zoo.lab.compare.report import columns
from zoo.lab.compare.results import DataResult, gather
from zoo.lab.statistics import Difference, Estimate, Sample, estimate

from .samples import COPY, TEXT, plan, write_arm


def one(tmp_path, values, data=COPY, seeds=3, **changes):
    """The result of made-up runs: values by pattern."""
    made, folder = plan(*values, data=(data,), seeds=seeds, **changes), Folder(tmp_path)
    for index, some in enumerate(values.values()):
        write_arm(folder, made, index, some)
    (result,) = gather(made, folder).data
    return result


def test_figures():
    assert format_value(0.9876, "accuracy") == "98.8 %"
    assert format_value(1.23456, "loss") == "1.235"
    assert format_value(None, "loss") == format_value(float("nan"), "accuracy") == "n/a"
    assert format_lr(None) == "n/a"
    assert format_lr(0.0003) == "0.0003"


def seeded(*values):
    return estimate(Sample(dict(enumerate(values))))


def test_estimates():
    assert format_estimate(seeded(0.5), "accuracy") == "50.0 %"
    assert format_estimate(seeded(0.8, 0.9, 1.0), "accuracy") == "90.0 ± 24.8 %"
    assert format_estimate(seeded(0.3, 1.0), "accuracy") == "65.0 % (0 to 100)"
    assert format_estimate(seeded(0.8, 0.9, 1.0), "loss") == "0.900 ± 0.248"
    assert format_estimate(None, "loss") == "n/a"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "n/a"), (0, "0"), (999, "999"), (999.4, "999"), (999.6, "1k"), (1000, "1k"), (33400, "33.4k"),
     (99960, "100k"), (999_499, "999k"), (999_999, "1M"), (1_200_000, "1.2M"), (3.3e9, "3.3G"), (5e12, "5T"),
     (2.5e15, "2.5P")],
)  # fmt: skip
def test_large_numbers(value, text):
    assert count(value) == text


def judged(metric, *lead, min_effect=0.01, guess=None, lows=0.5):
    """One pair of arms, a and b, in words."""
    difference = Difference("a", "b", *lead)
    estimates = dict.fromkeys("ab", Estimate(0.9, lows, 1.0, 3))
    (found,) = judge([difference], estimates, metric=metric, guess=guess, min_effect=min_effect)
    return format_judgement(found, DataResult("x", metric, (), (found,), {}, None, min_effect))


def test_the_higher_accuracy_and_the_lower_loss_are_better():
    lead = (0.1, 0.05, 0.15, 0.004, 3)
    assert judged("accuracy", *lead) == (
        "a is better than b by 10.0 points (95 % interval 5.0 to 15.0), p = 0.004, 3 seeds"
    )
    assert judged("loss", *lead) == (
        "b is better than a by 0.100 nats (95 % interval 0.050 to 0.150), p = 0.004, 3 seeds"
    )


def test_a_negative_difference_is_told_from_the_other_side():
    lead = (-0.1, -0.15, -0.05, 0.0001, 5)
    assert judged("accuracy", *lead) == (
        "b is better than a by 10.0 points (95 % interval 5.0 to 15.0), p < 0.001, 5 seeds"
    )
    assert judged("loss", *lead).startswith("a is better than b by 0.100 nats (95 % interval 0.050 to 0.150)")


def test_what_chance_would_do_is_not_called_better():
    text = judged("accuracy", -0.02, -0.1, 0.06, 0.31, 3)
    assert text == (
        "b and a cannot be distinguished: the first leads the second by 2.0 points (95 % interval -6.0 to 10.0), "
        "p = 0.31, 3 seeds"
    )
    assert "better" not in text


def test_fewer_than_three_seeds_are_no_verdict():
    assert judged("accuracy", 0.5, 0.4, 0.6, 0.001, 2) == (
        "a leads b by 50.0 points (95 % interval 40.0 to 60.0), p = 0.001, 2 seeds: too few seeds for a verdict, which "
        "takes 3"
    )
    assert judged("accuracy", 0.5, None, None, None, 1) == (
        "a leads b by 50.0 points on one seed, which says nothing about chance"
    )
    assert "better than" in judged("accuracy", 0.5, 0.4, 0.6, 0.001, 3)


def test_an_arm_that_is_not_above_guessing_is_not_better():
    lead = (0.1, 0.05, 0.15, 0.004, 3)
    assert judged("accuracy", *lead, guess=0.5, lows=0.5) == (
        "a leads b by 10.0 points (95 % interval 5.0 to 15.0), p = 0.004, 3 seeds: it is not above guessing by more "
        "than chance"
    )
    assert "better than" in judged("accuracy", *lead, guess=0.5, lows=0.5001)
    assert "better than" in judged("loss", *lead, lows=0.0)


def test_a_difference_below_the_threshold_is_called_small():
    lead = (0.009, 0.005, 0.013, 0.004, 3)
    assert judged("accuracy", *lead).endswith("3 seeds, a small difference")
    assert judged("accuracy", *lead, min_effect=0.009).endswith("3 seeds")
    assert judged("loss", *lead).endswith("3 seeds, a small difference")


def test_no_difference():
    assert judged("loss", 0.0, 0.0, 0.0, 1.0, 3) == "a and b have the same mean, 3 seeds"
    assert judged("loss", 0.0, None, None, None, 1) == "a and b have the same mean, one seed"


def test_nothing_is_minus_zero():
    text = judged("accuracy", 0.0001, -0.0001, 0.0003, 0.2, 3)
    assert "-0.0" not in text
    assert "interval 0.0 to 0.0" in text


def test_who_is_level_shares_the_first_place(tmp_path):
    shares = {"dot-product": [0.7, 0.71, 0.7], "correlation": [1.0, 0.9999, 1.0], "involution": [1.0, 1.0, 1.0]}
    assert verdict(one(tmp_path, shares)) == (
        "involution and correlation are ahead with 100.0 %, and ahead of every other by more than chance."
    )


def test_a_pattern_of_several_words_stands_in_quotes(tmp_path):
    shares = {"correlation, involution": [0.5, 0.51, 0.5], "correlation + involution": [0.9, 0.91, 0.91]}
    result = one(tmp_path, shares)
    assert verdict(result).startswith("'correlation + involution' is ahead with 90.7")
    (judgement,) = result.judgements
    assert format_judgement(judgement, result).startswith(
        "'correlation + involution' is better than 'correlation, involution' by 40.3 points"
    )


def test_all_may_be_level(tmp_path):
    thrice = {"dot-product": [1.0, 1.0, 1.0], "correlation": [1.0, 1.0, 1.0]}
    assert verdict(one(tmp_path / "a", thrice)) == "All reached 100.0 %."
    once = {"dot-product": [1.0], "correlation": [1.0]}
    assert verdict(one(tmp_path / "b", once, seeds=1)) == "All reached 100.0 %; one seed says nothing about chance."


def test_what_is_said_of_the_first_holds_for_each_of_them(tmp_path):
    """`dot-product` is surely ahead of `involution`; `correlation`, with the same mean, may be by chance."""
    shares = {
        "dot-product": [0.9001, 0.9003, 0.9002],
        "correlation": [0.97, 0.83, 0.9],
        "involution": [0.8, 0.801, 0.802],
    }
    result = one(tmp_path, shares)
    better = [(each.better, each.worse) for each in result.judgements if each.is_significant]
    assert better == [("dot-product", "involution")]
    assert verdict(result) == (
        "dot-product and correlation are ahead with 90.0 %, but ahead of none of the others by more than chance."
    )


def test_the_verdict_on_a_task(tmp_path):
    result = one(
        tmp_path, {"dot-product": [0.5, 0.51, 0.5], "correlation": [0.9, 0.91, 0.91], "involution": [0.9, 0.91, 0.9]}
    )
    assert [arm.arm.pattern for arm in ranking(result)] == ["correlation", "involution", "dot-product"]
    assert re.fullmatch(
        r"correlation is ahead with 90\.7 ± 1\.\d %; ahead of dot-product by more than chance, "
        r"not of involution\.",
        verdict(result),
    )
    assert format_guess(result) == f"Guessing gives {100 * result.guess:.1f} %."
    assert 0.25 < result.guess < 0.6  # four symbols, of which one has come most often


def test_the_verdict_on_a_text_takes_the_lowest_loss(tmp_path):
    result = one(tmp_path, {"dot-product": [1.5, 1.51, 1.52], "correlation": [1.4, 1.41, 1.42]}, data=TEXT)
    assert (result.metric, result.guess, format_guess(result)) == ("loss", None, "")
    assert (
        verdict(result)
        == "correlation is ahead with 1.410 ± 0.025 nats per token, and ahead of every other by more than chance."
    )


def test_masked_tokens_have_a_unit_of_their_own(tmp_path):
    made, folder = plan("correlation", data=(TEXT,), seeds=1), Folder(tmp_path)
    write_arm(folder, made, 0, [1.5], unigram_loss=3.0)
    (result,) = gather(made, folder).data
    assert verdict(result).startswith("correlation reached 1.500 nats per masked token")
    assert columns(result)[1] == "validation loss (nats per masked token)"


def test_a_small_lead_is_told_as_such(tmp_path):
    losses = {"dot-product": [1.5, 1.501, 1.502], "correlation": [1.495, 1.496, 1.497], "involution": [1.6, 1.6, 1.6]}
    result = one(tmp_path / "a", losses, data=TEXT)
    assert verdict(result) == (
        "correlation is ahead with 1.496 ± 0.002 nats per token; ahead of dot-product and involution by more than "
        "chance, of dot-product by little (less than 0.010 nats)."
    )
    result = one(tmp_path / "b", losses, data=TEXT, min_effects={"accuracy": 0.01, "loss": 0.001})
    assert verdict(result).endswith("and ahead of every other by more than chance.")
    alone = {name: losses[name] for name in ("dot-product", "correlation")}
    assert verdict(one(tmp_path / "c", alone, data=TEXT)).endswith(
        "; ahead of dot-product by more than chance, by little (less than 0.010 nats)."
    )


def test_where_nobody_is_above_guessing_nobody_is_ahead(tmp_path):
    """Two arms that have learned nothing: 54.2 and 52.7 % against 53.0 and 51.4 %, where guessing gives 50 %."""
    data = "mqar(vocab=64, pairs=2, length=16)"
    values = {"dot-product": [0.542, 0.527], "correlation": [0.530, 0.514]}
    result = one(tmp_path / "two", values, data=data, seeds=2)
    assert result.guess == pytest.approx(0.5, abs=0.01)
    assert [each.conclusion for each in result.judgements] == [Conclusion.TOO_FEW_SEEDS]
    assert re.fullmatch(
        r"dot-product is ahead with 53\.4 ± .*, but no arm is above guessing \(50\.\d %\) by more than chance; "
        r"2 seeds are too few for a verdict, which takes 3\.",
        verdict(result),
    )
    values = {"dot-product": [0.512, 0.512, 0.511], "correlation": [0.470, 0.471, 0.470]}
    result = one(tmp_path / "three", values, data=data)
    assert [each.conclusion for each in result.judgements] == [Conclusion.GUESSING]
    assert re.fullmatch(
        r"dot-product is ahead with .*, but no arm is above guessing \(50\.\d %\) by more than chance\.",
        verdict(result),
    )


def test_the_verdict_where_chance_decides(tmp_path):
    result = one(tmp_path, {"dot-product": [0.5, 0.6, 0.7], "correlation": [0.82, 0.58, 0.61]})
    assert re.fullmatch(r"correlation is ahead with 67.0 .* %?.*, but .*\.", verdict(result))
    assert not any(each.is_significant for each in result.judgements)


def test_the_verdict_of_one_seed_of_one_pattern_and_of_nothing(tmp_path):
    result = one(tmp_path / "a", {"dot-product": [0.5], "correlation": [0.6]}, seeds=1)
    assert verdict(result) == "correlation is ahead with 60.0 %; one seed says nothing about chance."
    result = one(tmp_path / "b", {"dot-product": [0.9, 0.91, 0.9]})
    assert re.fullmatch(r"dot-product reached 90\.3 ± 1\.\d %\.", verdict(result))
    result = one(tmp_path / "c", {"dot-product": [None], "correlation": []}, seeds=1)
    assert verdict(result) == "No run has a result."


def test_a_judgement_knows_who_is_better():
    lead = Difference("a", "b", -0.1, -0.2, -0.05, 0.001, 3)
    estimates = dict.fromkeys("ab", Estimate(0.5, 0.4, 0.6, 3))
    for metric, better in (("accuracy", "b"), ("loss", "a")):
        (found,) = judge([lead], estimates, metric=metric, guess=None, min_effect=0.01)
        assert found == Judgement(lead, Conclusion.BETTER, better, "ab".replace(better, ""))


def test_a_size_that_is_far_off_is_marked():
    assert format_ratio(None, "none") == "n/a"
    assert format_ratio(1.0, "none") == "1.000"
    assert [format_ratio(ratio, "params") for ratio in (1.004, 0.966)] == ["1.004", "0.966, off by 3.4%"]
    assert format_ratio(0.966, "state") == "0.966"
