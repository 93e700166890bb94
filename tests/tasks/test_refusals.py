"""What cannot be is refused in one line that says what would do."""

import pytest

from zoo.tasks.plugin import zoo_tasks

from .refused import REFUSED, SMALLEST

TASKS = zoo_tasks()


@pytest.mark.parametrize(("name", "options", "text"), REFUSED)
def test_a_refusal_says_what_would_do(name, options, text):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the whole text is compared
        TASKS[name](**options)
    assert str(refusal.value) == text


@pytest.mark.parametrize("name", TASKS)
def test_no_task_is_trained_on_nothing(name):
    with pytest.raises(ValueError, match=r"^examples=0 should be 1 or more$"):
        TASKS[name](examples=0)


@pytest.mark.parametrize("name", TASKS)
def test_what_is_just_allowed_stands_at_the_edge(name):
    task = TASKS[name](**SMALLEST[name])
    assert task.length == SMALLEST[name]["length"]
    for option in SMALLEST[name].keys() - {"named"}:
        less = SMALLEST[name] | {option: SMALLEST[name][option] - 1}
        with pytest.raises(ValueError, match="should be"):
            TASKS[name](**less)
