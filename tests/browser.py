"""A report that is open in a browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

Rows = list[dict[str, Any]]


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start the browser of this machine without a window. Skip the test if the machine has no browser."""
    found = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    path = next(found, None)
    if path is None:
        pytest.skip("NOT CHECKED in a browser: chromium is not on PATH (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def datasets_in(page: Path) -> dict[str, Rows]:
    """Return the rows of each dataset in a report."""
    content = re.search(r'<script id="report" type="application/json">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert content
    return json.loads(content[1])["datasets"]


class OpenReport:
    """A report that is open in a browser.

    Attributes:
        page: Page of the browser that shows the report.
        console: Messages that the page wrote to the browser's console.
        requested: Addresses that the page requested.
    """

    def __init__(self, browser: Browser, path: Path, width: int = 1400, height: int = 1000, scheme: str = "light"):
        self.page: Page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.console: list[str] = []
        self.requested: list[str] = []
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.page.goto(path.as_uri())
        self.wait()

    def wait(self) -> None:
        self.page.wait_for_selector("body[data-state=drawn]")

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def rows(self) -> dict[str, int]:
        """Return the number of rows that each widget shows."""
        figures = self.page.eval_on_selector_all(
            "figure[id]", "all => all.map(one => [one.id, Number(one.dataset.rows)])"
        )
        return dict(figures)
