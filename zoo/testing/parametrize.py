"""The laws as tests of pytest, one a mixer and law."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from zoo.contract import TokenMixer
from zoo.testing.check import EXAMPLES, Request, check_mixer
from zoo.testing.law import Tier
from zoo.testing.laws import LAWS

Test = TypeVar("Test", bound=Callable[..., Any])


def parametrize_with_laws(
    mixers: Iterable[str | type[TokenMixer]],
    *,
    options: Mapping[str, Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    only: Sequence[str] | None = None,
    skip: Sequence[str] = (),
    examples: int = EXAMPLES,
    tier: Tier = "quick",
    seed: int = 0,
) -> Callable[[Test], Test]:
    """Run a test once for each mixer and law:

        @parametrize_with_laws(["my-mixer", "my-mixer, dot-product"])
        def test_laws(law):
            law()

    Calling `law` fails the test with what was seen, or skips it with the reason. The arguments are those of
    `check_mixer`.
    """
    import pytest

    def one(mixer: str | type[TokenMixer], name: str) -> Callable[[], None]:
        def law() -> None:
            (result,) = check_mixer(
                mixer,
                options=options,
                expected_failures=expected_failures,
                only=[name],
                examples=examples,
                tier=tier,
                seed=seed,
            )
            if result.status == "failed":
                case = f"\nin the case {result.counterexample}" if result.counterexample else ""
                pytest.fail(f"{name}: {result.message}{case}\nlaw: {LAWS[name].promise}", pytrace=False)
            if result.status == "skipped":
                pytest.skip(result.message)
            if result.status == "expected":
                pytest.xfail(result.message)

        return law

    asked = Request(only=only, skip=skip, tier=tier).laws
    names = [law.id for law in asked if tier == "full" or law.tier == "quick"]
    cases = [
        pytest.param(one(mixer, name), id=f"{mixer if isinstance(mixer, str) else mixer.__name__}-{name}")
        for mixer in mixers
        for name in names
    ]
    return pytest.mark.parametrize("law", cases)
