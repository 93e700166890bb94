from collections.abc import Iterator

import pytest

from .chromium import PROGRAM, Chromium


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if PROGRAM is None:
        pytest.skip("needs Chromium: chromium, chromium-browser, google-chrome or chrome on the PATH")
    with Chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser
