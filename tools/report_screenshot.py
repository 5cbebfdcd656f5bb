"""Take a screenshot of a report in Chromium.

    .venv/bin/python tools/report_screenshot.py .cdp-demo/report.html docs/images/report.png --height 900

The environment needs the packages for tests, and Chromium on the PATH.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def take(report: Path, image: Path, width: int, height: int, scheme: str, section: str) -> None:
    """Write a PNG of a report.

    Args:
        report: HTML file of the report.
        image: PNG file to write.
        width: Width of the window in pixels, such as 1400 for a desktop or 390 for a phone.
        height: Height of the window in pixels; 0 for the whole page.
        scheme: light or dark.
        section: Id of the section at the top of the image; empty for the top of the page.

    Raises:
        SystemExit: No browser is on the PATH.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        raise SystemExit(f"No browser is on the PATH: install one of {', '.join(BROWSERS)}.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        dark = scheme == "dark"
        page = browser.new_page(
            viewport={"width": width, "height": height or 1000}, color_scheme="dark" if dark else "light"
        )
        page.goto(report.resolve().as_uri())
        page.wait_for_selector("body[data-state=drawn]")
        if section:
            page.locator(f"#{section}").evaluate("element => element.scrollIntoView()")
        page.screenshot(path=image, full_page=not height)
        browser.close()


def main() -> None:
    """Read the command line, and write the image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--width", type=int, default=1400)
    parser.add_argument("--height", type=int, default=0, help="0: the whole page")
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    parser.add_argument("--section", default="", help="id of the section at the top")
    take(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
