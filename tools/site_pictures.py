"""Take pictures of the built site in Chromium, to be looked at after a change of its style.

    site_pictures.py SITE FOLDER

SITE is the folder with the built site, FOLDER the one for the pictures.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

#: Pages, and a screen's width and height for each picture.
PAGES = (
    *("index", "tutorial", "faq", "command-line", "changes", "how-to/index", "how-to/share-a-key"),
    *("explanation/which-primitive", "explanation/limits", "reference/message_queue"),
)
SCREENS = {"wide": (1440, 900), "narrow": (360, 740)}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def served(site: Path) -> Iterator[str]:
    """Serve a folder on an unused port, and give its URL."""
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start the system's Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        sys.exit("no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        with playwright.chromium.launch(executable_path=program) as browser:
            yield browser


def take(page: Page, path: Path, *, whole: bool = False) -> None:
    """Save a picture of the page: of the screen, or of the whole length."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path, full_page=whole)
    print(path)


def main() -> None:
    """Save each page on each screen, and the front page and the search in dark mode."""
    site, folder = map(Path, sys.argv[1:])
    with served(site) as url, chromium() as browser:
        for screen, (width, height) in SCREENS.items():
            page = browser.new_page(viewport={"width": width, "height": height})
            for name in PAGES:
                page.goto(f"{url}/{name}.html")
                take(page, folder / f"{name.replace('/', '-')}-{screen}.png", whole=True)
            page.close()
        page = browser.new_page(color_scheme="dark")
        for name in ("index", "reference/semaphore"):
            page.goto(f"{url}/{name}.html")
            take(page, folder / f"{name.replace('/', '-')}-dark.png")
        page.goto(f"{url}/search.html?q=receive_many")
        page.wait_for_selector("#search-results li")
        take(page, folder / "search-dark.png")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: site_pictures.py SITE FOLDER")
    main()
