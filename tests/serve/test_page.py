"""The page at /, as a person sees it in a browser: by mouse, by keys alone, on a phone, in two languages."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from tests.inspect.browser import ABSENT, CHROMIUM, DRIVER, Browser, browser
from tests.serve.conftest import KEY
from tests.serve.running import Running


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip(ABSENT)
    with browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture
def page(window: Browser, strict: Running) -> Iterator[Browser]:
    """Open the page, with the key given; at the end look whether it complained or asked anybody else."""
    window.size(1200, 900)
    window.open(f"{strict.url}/")
    window.run(
        "localStorage.clear(); localStorage.setItem('language', 'en'); sessionStorage.setItem('key', arguments[0])", KEY
    )
    window.open(f"{strict.url}/?again")
    wait(window, "#status dd")
    yield window
    assert window.complaints() == []
    asked = window.run("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in asked if not name.startswith(strict.url)] == []


def wait(window: Browser, css: str, count: int = 1) -> list[str]:
    late = time.monotonic() + 30
    while len(found := window.texts(css)) < count:
        assert time.monotonic() < late, (css, window.text("body"))
        time.sleep(0.1)
    return found


def test_it_asks_for_the_key(window: Browser, strict: Running) -> None:
    window.open(f"{strict.url}/")
    window.run("sessionStorage.clear()")
    window.open(f"{strict.url}/?locked")
    wait(window, "#status .bad")
    assert window.run("return document.activeElement.id") == "key"
    window.press(*KEY, "Enter")
    wait(window, "#status dd")
    assert not window.run("return document.querySelector('#lock').checkVisibility()")
    window.complaints()  # the browser itself tells of the 401


def test_similarity_as_a_map(page: Browser) -> None:
    page.run("document.querySelector('#texts').value = 'the cat\\nthe cat\\na dog <b>bold</b>'")
    page.click("#similar .go")
    cells = wait(page, "#similar td", 10)[1:]
    assert cells[0] == cells[1] == cells[4] == "1.00"
    assert cells[2] == cells[6] != "1.00"
    assert page.texts("#similar tbody th")[2] == "a dog <b>bold</b>"
    page.hover("#similar tbody tr:nth-child(3) td:nth-child(2)")
    assert page.text("#similar .readout").endswith("a dog <b>bold</b> / the cat")


def test_by_keys_alone(page: Browser) -> None:
    page.focus("#tab-similar")
    page.press("Right", "Right")
    assert page.run("return document.activeElement.id") == "tab-why"
    page.focus("#why-a")
    page.run("document.querySelector('#why-a').value = 'the cat'; document.querySelector('#why-b').value = 'a dog'")
    page.run(
        "document.querySelector('#why-a').dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'Enter', ctrlKey: true, bubbles: true}))"
    )
    wait(page, "#why td", 10)
    assert page.texts("#why tbody th") == ["[CLS]", "the", "cat", "[SEP]"]
    page.focus("#why td[tabindex='0']")
    page.press("Down", "Right")
    assert page.text("#why .readout").startswith("the × a adds")


def test_search_with_highlights(page: Browser) -> None:
    page.click("#tab-search")
    page.run("document.querySelector('#query').value = 'the cat'")
    page.click("#search .go")
    assert wait(page, "ol.hits li")[0].endswith("the cat sat")
    assert page.texts("ol.hits li:first-child mark") == ["the", "cat"]


def test_attention(page: Browser) -> None:
    page.click("#tab-attention")
    page.run("document.querySelector('#attended').value = 'the cat'")
    page.click("#attention .go")
    wait(page, "#attention td", 16)
    page.run("document.querySelector('#layer').value = 99")
    page.run("document.querySelector('#layer').removeAttribute('max')")
    page.click("#attention .go")
    assert "2 layers" in wait(page, "#attention .bad")[0]
    page.complaints()  # the browser itself tells of the 400


def test_two_languages(page: Browser) -> None:
    page.click("#language")
    assert page.texts("[role=tab]") == ["相似度", "搜索", "为何相似？", "注意力", "状态"]
    assert page.run("return document.documentElement.lang") == "zh"
    page.click("#language")
    assert page.texts("[role=tab]")[0] == "Similarity"


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_all_of_it(page: Browser, dark: bool) -> None:
    page.size(360, 700, dark=dark)
    page.click("#similar .go")
    wait(page, "#similar td", 10)
    assert page.run("return document.documentElement.scrollWidth") <= 360


def test_what_a_browser_is_allowed(strict: Running) -> None:
    answer = strict.get("/")
    assert answer.status == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
