"""One browser for all tests of pages, and a way to open a page that has to be quiet and alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.inspect.browser import ABSENT, CHROMIUM, DRIVER, Browser, browser

from sentvec.inspect.page import Page


@pytest.fixture(scope="session")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip(ABSENT)
    with browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture
def shown(window, tmp_path) -> Iterator[Callable[..., Browser]]:
    """Open a page; at the end, look whether it complained or asked for anything from outside."""

    def show(page: Page, *, width: int = 1200, height: int = 900, dark: bool = False) -> Browser:
        window.size(width, height, dark=dark)
        window.open(page.save(tmp_path / "page.html"))
        window.settle()
        return window

    yield show
    assert window.complaints() == []
    assert window.run("return performance.getEntriesByType('resource').map(e => e.name)") == []
