"""The built site in Chromium: `make site` runs these tests, in the environment of the docs.

They need no part of the library, and the library's tests need neither Sphinx nor a browser.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect
from site_pictures import chromium, served

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build/site"
PAGES = sorted(
    path.relative_to(SITE).as_posix()
    for path in SITE.rglob("*.html")
    if not path.is_relative_to(SITE / "_static")
)

#: The width of the page beyond the window.
BEYOND = """Math.max(...[document.documentElement, document.querySelector(".content")]
    .map(box => box.scrollWidth - box.clientWidth))"""
#: The boxes of code and tables whose content is wider than they are.
OVERFULL = """[...document.querySelectorAll("article pre, article .table-wrapper")]
    .filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.innerText.slice(0, 60))"""
#: The brightness of a colour of the body, from 0 to 255.
BRIGHTNESS = """property => {
    const rgb = getComputedStyle(document.body)[property].match(/\\d+/g).slice(0, 3);
    return rgb.reduce((sum, part) => sum + Number(part), 0) / 3;
}"""


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """The address of the site."""
    with served(SITE) as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium."""
    with chromium() as program:
        yield program


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A window of the size of a laptop's screen."""
    with browser.new_page(viewport={"width": 1440, "height": 900}) as window:
        yield window


def test_front_page_has_three_doors_that_lead_on(page: Page, url: str) -> None:
    doors = ("Tutorial", "How-to guides", "Reference")
    for door in doors:
        page.goto(f"{url}/index.html")
        assert page.locator(".doors li").count() == len(doors)
        page.locator(".doors").get_by_role("link", name=door).click()
        expect(page.locator("h1")).to_contain_text(door)


def test_front_page_says_who_it_is_for_on_the_first_screen(page: Page, url: str) -> None:
    page.goto(f"{url}/index.html")
    expect(page.get_by_text("Is it for you?")).to_be_in_viewport()
    expect(page.get_by_text("import IPC_CREAT")).to_be_in_viewport()


def test_page_of_the_reference_has_a_contents_list_and_coloured_code(page: Page, url: str) -> None:
    page.goto(f"{url}/reference/message_queue.html")
    expect(page.locator("h1")).to_contain_text("MessageQueue")
    assert page.locator(".toc-tree a").count() >= 2
    assert page.locator("article pre .kn").count() > 0
    assert page.locator("article button.copybtn").count() > 0


def test_every_page_is_in_the_side_bar(page: Page, url: str) -> None:
    page.goto(f"{url}/index.html")
    shown = page.locator(".sidebar-tree a").evaluate_all("links => links.map(a => a.pathname)")
    listed = {path.lstrip("/") for path in shown}
    assert set(PAGES) - listed - {"index.html", "search.html", "genindex.html"} == set()


def test_search_finds_receive_many(page: Page, url: str) -> None:
    page.goto(f"{url}/index.html")
    page.locator("input[name=q]").first.fill("receive_many")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results li a")
    found = page.locator("#search-results li a").evaluate_all("links => links.map(a => a.pathname)")
    assert "/reference/message_queue.html" in found


def test_every_page_fits_a_narrow_and_a_wide_screen(page: Page, url: str) -> None:
    problems = []
    for name in PAGES:
        page.goto(f"{url}/{name}", wait_until="domcontentloaded")
        for width in (360, 768, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            if page.evaluate(BEYOND) > 0:
                problems.append((name, width))
        problems += [(name, box) for box in page.evaluate(OVERFULL)]
    assert problems == []


def test_dark_mode_shows_light_text_on_a_dark_page(browser: Browser, url: str) -> None:
    with browser.new_page(color_scheme="dark") as page:
        page.goto(f"{url}/reference/semaphore.html")
        assert page.evaluate(BRIGHTNESS, "backgroundColor") < 60
        assert page.evaluate(BRIGHTNESS, "color") > 180


def test_site_asks_no_other_server_and_reports_no_error(page: Page, url: str) -> None:
    requests: list[Request] = []
    failures: list[str] = []
    page.on("request", lambda request: requests.append(request))
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("requestfailed", lambda request: failures.append(request.url))
    for name in ("index.html", "reference/semaphore.html"):
        page.goto(f"{url}/{name}")
    assert [request.url for request in requests if not request.url.startswith(url)] == []
    assert failures == []


def test_links_to_the_documentation_of_python_lead_there(page: Page, url: str) -> None:
    page.goto(f"{url}/explanation/which-primitive.html")
    link = page.get_by_role("link", name="multiprocessing")
    target = "https://docs.python.org/3/library/multiprocessing.html#module-multiprocessing"
    expect(link).to_have_attribute("href", target)
