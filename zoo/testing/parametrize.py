"""The laws as tests of pytest, one a member and law."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from zoo.testing.checker import EXAMPLES, Checker, Request
from zoo.testing.kinds import Suite, suite_of

Test = TypeVar("Test", bound=Callable[..., Any])


def parametrize_with_laws(
    members: Iterable[str | type],
    *,
    kind: str = "mixer",
    options: Mapping[str, Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    only: Sequence[str] | None = None,
    skip: Sequence[str] = (),
    examples: int = EXAMPLES,
    thorough: bool = False,
    strict: bool = True,
    seed: int = 0,
) -> Callable[[Test], Test]:
    """Run a test once for each member and law:

        @parametrize_with_laws(["my-mixer", "my-mixer, dot-product"])
        def test_laws(law):
            law()

    Calling `law` fails the test with what was seen, or skips it with the reason. The arguments are those of
    `check_member`, and `strict` is the default: what a package tests in itself is its finished work, and a test that
    only advises is not read. With ``strict=False`` a broken law of finish is skipped, with the advice as reason.
    """
    import pytest

    suite = suite_of(kind)

    def checker_of(member: str | type) -> Callable[[], tuple[Suite, Checker]]:
        @cache  # it is found when the first test runs, and what is learned of it is kept from one law to the next
        def find() -> tuple[Suite, Checker]:
            owner, subject = suite.subject(member, options)
            return owner, Checker(subject)

        return find

    def one(find: Callable[[], tuple[Suite, Checker]], name: str) -> Callable[[], None]:
        def law() -> None:
            owner, checker = find()
            request = Request(
                suite=owner,
                only=[name],
                examples=examples,
                thorough=thorough,
                strict=strict,
                seed=seed,
                expected_failures={**checker.subject.expected_failures, **(expected_failures or {})},
            )
            (result,) = checker.results(request)
            if result.status == "failed":
                case = f"\nin the case {result.counterexample}" if result.counterexample else ""
                promise = owner.laws[name].promise
                pytest.fail(f"{name}: {result.message}{case}\nlaw: {promise}", pytrace=False)
            if result.status in ("skipped", "advice"):
                pytest.skip(result.message)
            if result.status == "expected":
                pytest.xfail(result.message)

        return law

    asked = Request(suite=suite, only=only, skip=skip).laws
    names = [law.id for law in asked if thorough or not law.thorough]
    cases = [
        pytest.param(one(find, name), id=f"{member if isinstance(member, str) else member.__name__}-{name}")
        for member, find in ((member, checker_of(member)) for member in members)
        for name in names
    ]
    return pytest.mark.parametrize("law", cases)
