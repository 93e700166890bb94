import re

import pytest

from zoo.lab.compare.folder import Folder
from zoo.lab.compare.results import gather
from zoo.lab.compare.words import (
    count,
    difference_in_words,
    estimate_in_words,
    lr_in_words,
    ranking,
    told,
    verdict,
)
from zoo.lab.statistics import Difference, estimate

from .samples import COPY, TEXT, plan, write_arm


def one(tmp_path, values, data=COPY, seeds=3, **changes):
    """The result of made-up runs: values by pattern."""
    made, folder = plan(*values, data=(data,), seeds=seeds, **changes), Folder(tmp_path)
    for index, some in enumerate(values.values()):
        write_arm(folder, made, index, some)
    (result,) = gather(made, folder).data
    return result


def test_figures():
    assert told(0.9876, "accuracy") == "98.8 %"
    assert told(1.23456, "loss") == "1.235"
    assert told(None, "loss") == told(float("nan"), "accuracy") == "n/a"
    assert lr_in_words(None) == "n/a"
    assert lr_in_words(0.0003) == "0.0003"


def test_estimates():
    assert estimate_in_words(estimate([0.5]), "accuracy") == "50.0 %"
    assert estimate_in_words(estimate([0.8, 0.9, 1.0]), "accuracy") == "90.0 ± 24.8 %"
    assert estimate_in_words(estimate([0.3, 1.0]), "accuracy") == "65.0 % (0 to 100)"
    assert estimate_in_words(estimate([0.8, 0.9, 1.0]), "loss") == "0.900 ± 0.248"
    assert estimate_in_words(None, "loss") == "n/a"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "n/a"), (0, "0"), (999, "999"), (999.4, "999"), (999.6, "1k"), (1000, "1k"), (33400, "33.4k"),
     (99960, "100k"), (999_499, "999k"), (999_999, "1M"), (1_200_000, "1.2M"), (3.3e9, "3.3G"), (5e12, "5T"),
     (2.5e15, "2.5P")],
)  # fmt: skip
def test_large_numbers(value, text):
    assert count(value) == text


def test_the_higher_accuracy_and_the_lower_loss_are_better():
    lead = Difference("a", "b", mean=0.1, low=0.05, high=0.15, p=0.004, seeds=3)
    assert difference_in_words(lead, "accuracy") == (
        "a is better than b by 10.0 points (95 % interval 5.0 to 15.0), p = 0.004, 3 seeds"
    )
    assert difference_in_words(lead, "loss") == (
        "b is better than a by 0.100 nats (95 % interval 0.050 to 0.150), p = 0.004, 3 seeds"
    )


def test_a_negative_difference_is_told_from_the_other_side():
    lead = Difference("a", "b", mean=-0.1, low=-0.15, high=-0.05, p=0.0001, seeds=5)
    assert difference_in_words(lead, "accuracy") == (
        "b is better than a by 10.0 points (95 % interval 5.0 to 15.0), p < 0.001, 5 seeds"
    )
    assert difference_in_words(lead, "loss").startswith(
        "a is better than b by 0.100 nats (95 % interval 0.050 to 0.150)"
    )


def test_what_chance_would_do_is_not_called_better():
    told_apart = Difference("a", "b", mean=-0.02, low=-0.1, high=0.06, p=0.31, seeds=3)
    text = difference_in_words(told_apart, "accuracy")
    assert text == (
        "b and a cannot be told apart: the first leads the second by 2.0 points (95 % interval -6.0 to 10.0), "
        "p = 0.31, 3 seeds"
    )
    assert "better" not in text


def test_one_seed_and_no_difference():
    assert difference_in_words(Difference("a", "b", 0.5, None, None, None, 1), "accuracy") == (
        "a leads b by 50.0 points on one seed, which says nothing about chance"
    )
    assert difference_in_words(Difference("a", "b", 0.0, 0.0, 0.0, 1.0, 3), "loss") == (
        "a and b came to the same mean, 3 seeds"
    )
    assert difference_in_words(Difference("a", "b", 0.0, None, None, None, 1), "loss") == (
        "a and b came to the same mean, one seed"
    )


def test_nothing_is_minus_zero():
    text = difference_in_words(Difference("a", "b", 0.0001, -0.0001, 0.0003, 0.2, 3), "accuracy")
    assert "-0.0" not in text
    assert "interval 0.0 to 0.0" in text


def test_who_is_level_shares_the_first_place(tmp_path):
    shares = {"dot-product": [0.5, 0.51, 0.5], "correlation": [1.0, 0.9999, 1.0], "involution": [1.0, 1.0, 1.0]}
    assert verdict(one(tmp_path, shares)) == (
        "involution and correlation are ahead with 100.0 %, and ahead of every other by more than chance."
    )


def test_a_pattern_of_several_words_stands_in_quotes(tmp_path):
    shares = {"correlation, involution": [0.5, 0.51, 0.5], "correlation + involution": [0.9, 0.91, 0.91]}
    result = one(tmp_path, shares)
    assert verdict(result).startswith("'correlation + involution' is ahead with 90.7")
    (told_apart,) = (difference_in_words(difference, "accuracy") for difference in result.differences)
    assert told_apart.startswith("'correlation + involution' is better than 'correlation, involution' by 40.3 points")


def test_all_may_be_level(tmp_path):
    twice = {"dot-product": [1.0, 1.0], "correlation": [1.0, 1.0]}
    assert verdict(one(tmp_path / "a", twice, seeds=2)) == "All came to 100.0 %."
    once = {"dot-product": [1.0], "correlation": [1.0]}
    assert verdict(one(tmp_path / "b", once, seeds=1)) == "All came to 100.0 %; one seed says nothing about chance."


def test_what_is_said_of_the_first_holds_for_each_of_them(tmp_path):
    """`dot-product` is surely ahead of `involution`; `correlation`, with the same mean, may be by chance."""
    shares = {
        "dot-product": [0.9001, 0.9003, 0.9002],
        "correlation": [0.97, 0.83, 0.9],
        "involution": [0.8, 0.801, 0.802],
    }
    result = one(tmp_path, shares)
    told_apart = [(pair.first, pair.second) for pair in result.differences if pair.is_told_apart]
    assert told_apart == [("dot-product", "involution")]
    assert verdict(result) == (
        "dot-product and correlation are ahead with 90.0 %, but ahead of none of the others by more than chance."
    )


def test_the_verdict_on_a_task(tmp_path):
    result = one(
        tmp_path, {"dot-product": [0.5, 0.51, 0.5], "correlation": [0.9, 0.91, 0.91], "involution": [0.9, 0.91, 0.9]}
    )
    assert [arm.arm.pattern for arm in ranking(result)] == ["correlation", "involution", "dot-product"]
    assert verdict(result) == (
        "correlation is ahead with 90.7 ± 1.4 %; ahead of dot-product by more than chance, not of involution."
    )


def test_the_verdict_on_a_text_takes_the_lowest_loss(tmp_path):
    result = one(tmp_path, {"dot-product": [1.5, 1.51, 1.52], "correlation": [1.4, 1.41, 1.42]}, data=TEXT)
    assert result.metric == "loss"
    assert (
        verdict(result)
        == "correlation is ahead with 1.410 ± 0.025 nats per token, and ahead of every other by more than chance."
    )


def test_the_verdict_where_chance_decides(tmp_path):
    result = one(tmp_path, {"dot-product": [0.5, 0.6, 0.7], "correlation": [0.72, 0.58, 0.61]})
    assert re.fullmatch(
        r"correlation is ahead with 63.7 ± .* %, but ahead of none of the others by more than chance\.", verdict(result)
    )


def test_the_verdict_of_one_seed_of_one_pattern_and_of_nothing(tmp_path):
    result = one(tmp_path / "a", {"dot-product": [0.5], "correlation": [0.6]}, seeds=1)
    assert verdict(result) == "correlation is ahead with 60.0 %; one seed says nothing about chance."
    result = one(tmp_path / "b", {"dot-product": [0.5]}, seeds=1)
    assert verdict(result) == "dot-product came to 50.0 %."
    result = one(tmp_path / "c", {"dot-product": [None], "correlation": []}, seeds=1)
    assert verdict(result) == "No run has come to a figure."


def test_one_that_lost_a_seed_is_not_beaten_by_one_that_it_beats(tmp_path):
    """By the seeds that both have `correlation` is better, although its mean suffers from a third one."""
    values = {"dot-product": [0.50, 0.51, None, None], "correlation": [0.60, 0.6101, 0.2, 0.2]}
    result = one(tmp_path, values, seeds=4)
    (difference,) = result.differences
    assert difference_in_words(difference, "accuracy").startswith("correlation is better than dot-product")
    assert "dot-product is ahead" in verdict(result)
    assert verdict(result).endswith("but ahead of none of the others by more than chance.")
