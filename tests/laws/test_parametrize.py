"""The laws as a third party's tests."""

import pytest

pytestmark = pytest.mark.slow
pytest_plugins = ["pytester"]

TESTS = '''
from zoo import TokenMixer
from zoo.testing import parametrize_with_laws


class Leaks(TokenMixer):
    """Each token writes the next read."""

    paper = "unpublished"
    expected_failures = {"prefix": "it looks ahead"}

    def forward(self, x):
        return x.roll(-1, 1)


@parametrize_with_laws([Leaks, "dot-product"], only=["shape", "causality", "prefix", "losses"], examples=5)
def test_laws(law):
    law()
'''


@pytest.fixture
def result(pytester):
    pytester.makepyfile(TESTS)
    return pytester.runpytest_subprocess("-v", "-p", "no:cacheprovider", "-W", "ignore")


def test_there_is_a_test_for_each_mixer_and_law(result):
    result.assert_outcomes(passed=4, failed=1, skipped=2, xfailed=1)
    result.stdout.fnmatch_lines_random(
        [
            "*test_laws?Leaks-shape? PASSED*",
            "*test_laws?Leaks-causality? FAILED*",
            "*test_laws?Leaks-prefix? XFAIL*",
            "*test_laws?dot-product-causality? PASSED*",
            "*test_laws?dot-product-losses? SKIPPED*",
        ]
    )


def test_a_failure_is_told_in_a_few_lines_without_a_traceback(result):
    result.stdout.fnmatch_lines(
        [
            "causality: write 0 depends on read 1 (b=1, t=2): |Δ| = *",
            "in the case {'b': 1, 't': 2, *",
            "law: Write t depends on the reads up to t only*",
        ]
    )
    result.stdout.no_fnmatch_line("*zoo/testing*Error*")
