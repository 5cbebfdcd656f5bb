"""Tests of the report page in a browser, and of the report's figures on every engine."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from browser import OpenReport, Rows, datasets_in, open_browser
from cdp_lib.pipeline.graph import LAYERS, platform_graph
from cdp_local.report.dashboard import CHARTS, Dashboard, read_dashboard
from cdp_local.report.page import DASHBOARD, write_page

PROJECT = Path(__file__).resolve().parents[2]
SCREENSHOTS = PROJECT / "build" / "screenshots"
"""Folder of screenshots that a person can check."""

# Widgets without rows: the sample data has too few buyers for predictions, no new customer in July, no rejected row,
# and neither order numbers nor discounts nor returns.
EMPTY = {
    "cac-by-channel",
    "clv-to-cac-by-channel",
    "discounts-and-returns-by-month",
    "household-revenue",
    "households-by-size",
    "model-deciles",
    "order-value-by-month",
    "promotion-table",
    "quarantine-table",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, cdp: Callable[..., Any]) -> Path:
    """Run the job on the sample data with Sail, and return its home folder. No figures of few people are withheld."""
    home = tmp_path_factory.mktemp("home")
    run = cdp("run", "--home", home, "--var", "minimum_cell_size=1")
    assert run.returncode == 0, run.stderr
    assert f"Report: {home / 'report.html'}" in run.stdout
    return home


@pytest.fixture(scope="module")
def dashboard() -> Dashboard:
    return read_dashboard(PROJECT / DASHBOARD)


def filtered_rows(dashboard: Dashboard, datasets: dict[str, Rows], dataset: str, **selected: str) -> Rows:
    """Return the rows of a dataset that match the filters. A filter without a selected value uses its default."""
    filters = [each for each in dashboard.filters if dataset in each.datasets]
    return [
        row
        for row in datasets[dataset]
        if all(row[each.column] == selected.get(each.column, each.default) for each in filters)
    ]


# On every engine


def test_every_dataset_has_the_same_rows_on_every_engine(
    home: Path, cdp: Callable[..., Any], engine: str, tmp_path: Path
) -> None:
    on_sail = datasets_in(home / "report.html")
    copy = tmp_path / "home"
    shutil.copytree(home, copy)
    (copy / "report.html").unlink()
    written = cdp("report", "--engine", engine, "--home", copy)
    assert written.returncode == 0, written.stderr
    on_engine = datasets_in(copy / "report.html")
    assert on_engine.keys() == on_sail.keys()
    for name, rows in on_engine.items():
        assert len(rows) == len(on_sail[name]), name
        for row, sail_row in zip(sorted_rows(rows), sorted_rows(on_sail[name]), strict=True):
            assert row.keys() == sail_row.keys()
            for column, value in row.items():
                same = pytest.approx(sail_row[column], rel=1e-9) if isinstance(value, float) else sail_row[column]
                assert value == same, (name, column)


def sorted_rows(rows: Rows) -> Rows:
    return sorted(rows, key=lambda row: [str(value) for value in row.values() if not isinstance(value, float)])


def test_figures_equal_the_tables(home: Path, dashboard: Dashboard) -> None:
    datasets = datasets_in(home / "report.html")
    by_month = {row["month"]: row["revenue"] for row in filtered_rows(dashboard, datasets, "kpi_trend")}
    assert by_month["2025-05-01"] == 72_311 and sum(by_month.values()) == 177_585
    [tile] = filtered_rows(dashboard, datasets, "kpi_tiles")
    assert (tile["month"], tile["revenue"], tile["revenue_before"]) == ("2025-07-01", 20_388, by_month["2025-06-01"])
    assert sum(row["customers"] for row in filtered_rows(dashboard, datasets, "clv_bands")) == 50
    [egypt] = filtered_rows(dashboard, datasets, "customer_tiles", country="Egypt")
    assert egypt["customers"] == sum(
        row["customers"] for row in filtered_rows(dashboard, datasets, "segments", country="Egypt")
    )


def test_default_filter_values_exist(home: Path, dashboard: Dashboard) -> None:
    datasets = datasets_in(home / "report.html")
    for each in dashboard.filters:
        for dataset in each.datasets:
            assert each.default in {row[each.column] for row in datasets[dataset]}, (each.name, dataset)


def test_report_without_a_run_is_an_error_of_one_line(cdp: Callable[..., Any], tmp_path: Path) -> None:
    answer = cdp("report", "--home", tmp_path)
    assert answer.returncode == 1
    assert len(answer.stderr.splitlines()) == 1 and "`cdp run` creates them" in answer.stderr


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def opened(browser: Browser, home: Path) -> Iterator[OpenReport]:
    opened = OpenReport(browser, home / "report.html")
    yield opened
    opened.page.close()


def test_report_writes_nothing_to_the_console_and_uses_no_network(opened: OpenReport, home: Path) -> None:
    assert opened.console == []
    assert opened.requested == [(home / "report.html").as_uri()]


def test_each_widget_shows_its_rows(opened: OpenReport, home: Path, dashboard: Dashboard) -> None:
    datasets = datasets_in(home / "report.html")
    shown = opened.rows()
    widgets = [widget for page in dashboard.pages for widget in page.widgets if widget.kind != "text"]
    assert len(widgets) > 50 and shown.keys() == {widget.name for widget in widgets}
    for widget in widgets:
        rows = filtered_rows(dashboard, datasets, widget.dataset)
        if widget.kind not in CHARTS:
            assert shown[widget.name] == len(rows), widget.name
        figure = opened.page.locator(f"#{widget.name}")
        if not shown[widget.name]:
            assert "No data." in figure.inner_text()
        elif widget.kind == "table":
            assert figure.locator("tbody tr").count() == len(rows)
            assert figure.locator("th").count() == len(widget.encodings["columns"])
        elif widget.kind in CHARTS:
            marks = figure.locator("svg [role=graphics-symbol]").count()
            assert marks >= shown[widget.name], widget.name
    assert {name for name, rows in shown.items() if not rows} == EMPTY


def test_lineage_picture_has_every_table(opened: OpenReport) -> None:
    named = opened.page.locator(".lineage text").all_text_contents()
    layers = {layer: opened.page.locator(f".lineage .{layer} rect").count() for layer in LAYERS}
    tables = platform_graph().tables
    assert sorted(named) == sorted(tables)
    assert layers == Counter(table.contract.layer for table in tables.values())


def test_tile_shows_its_figure_and_the_change(opened: OpenReport) -> None:
    assert opened.text("#overview-transactions .value") == "5"
    assert opened.text("#overview-transactions .change") == "▼ −66.7 % · month before: 15"
    assert opened.text("#overview-churn_rate .value") == "100%"
    assert opened.text("#overview-churn_rate .change") == "▲ +20 points · month before: 80%"
    assert opened.text("#customers-predictive-clv .value") == "no data"


def test_charts_have_a_text_description(opened: OpenReport) -> None:
    for chart in opened.page.locator("figure:is(.bar, .line, .heatmap) .body:has(svg)").all():
        assert chart.get_attribute("role") == "img"
        assert len(chart.get_attribute("aria-label") or "") > 20
    label = opened.page.locator("#revenue-by-country .body").get_attribute("aria-label")
    assert label and label.startswith("Revenue by country, bar chart of country, revenue:") and "Egypt" in label


def test_filter_changes_only_the_widgets_that_use_it(opened: OpenReport, home: Path, dashboard: Dashboard) -> None:
    before = opened.rows()
    opened.page.select_option("#country-filter", "Egypt")
    opened.wait()
    datasets = datasets_in(home / "report.html")
    [egypt] = filtered_rows(dashboard, datasets, "kpi_tiles", country="Egypt")
    assert opened.text("#sales-transactions .value") == f"{egypt['transactions']}"
    assert (
        opened.text("#customers-count .value")
        == f"{filtered_rows(dashboard, datasets, 'customer_tiles', country='Egypt')[0]['customers']}"
    )
    opened.page.select_option("#period-filter", "2025-05")
    opened.wait()
    [may] = filtered_rows(dashboard, datasets, "kpi_tiles", country="Egypt", period="2025-05")
    assert opened.text("#sales-transactions .value") == f"{may['transactions']}"
    assert opened.rows()["revenue-by-store"] == before["revenue-by-store"]
    opened.page.select_option("#country-filter", "All countries")
    opened.page.select_option("#segment-filter", "At risk")
    opened.wait()
    assert opened.text("#customers-count .value") == "13"
    assert opened.console == []


@pytest.fixture(scope="module")
def large(home: Path, dashboard: Dashboard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the report of a shop with 450 stores, 300 categories and one country, and return its path."""
    charts = {"sales": 10, "customers": 5, "pieces": 20.5}
    rows = datasets_in(home / "report.html") | {
        "stores": [
            {"store_name": f"Store {n:03}", "location": "Atlantis", "revenue": None if n == 7 else 9000.5 - n} | charts
            for n in range(450)
        ],
        "categories": [
            {
                "department": f"Department {n % 9}",
                "category": f"Category {n:03}",
                "revenue": n,
                "pieces": 1,
                "products": 2,
            }
            for n in range(300)
        ],
        "top_stores": [{"store_name": f"Store with a long name {n:03}", "revenue": 9000.5 - n} for n in range(13)],
        "country_revenue": [{"period": "Latest month", "country": "Atlantis", "revenue": 1.0}],
    }
    path = tmp_path_factory.mktemp("large") / "report.html"
    write_page(path, dashboard, rows, home / "cache")
    return path


@pytest.fixture
def opened_large(browser: Browser, large: Path) -> Iterator[OpenReport]:
    opened = OpenReport(browser, large)
    yield opened
    opened.page.close()


def column_of(opened: OpenReport, place: int) -> list[str]:
    """Return the texts in a column of the table of stores. The first column has the place 1."""
    return opened.page.locator(f"#store-table tbody td:nth-child({place})").all_text_contents()


def test_table_is_sorted_by_keyboard_and_tells_the_order(opened_large: OpenReport) -> None:
    heading = opened_large.page.locator("#store-table th").nth(3)
    assert heading.get_attribute("aria-sort") is None
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    names = column_of(opened_large, 1)
    assert (names[0], names[-1], len(names)) == ("Store 000", "Store 007", 450)
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    names = column_of(opened_large, 1)
    assert (names[0], names[-1]) == ("Store 449", "Store 007")  # a missing value is last in both orders
    opened_large.page.locator("#store-table th button").first.press("Enter")
    assert opened_large.page.locator("#store-table th[aria-sort]").count() == 1


def test_search_keeps_the_matching_rows(opened_large: OpenReport) -> None:
    assert opened_large.text("#store-table .search span") == "450 rows"
    opened_large.page.get_by_label("Search in Stores").fill("store 44")
    assert column_of(opened_large, 1) == [f"Store 44{n}" for n in range(10)]
    assert opened_large.text("#store-table .search span") == "10 of 450 rows"
    assert opened_large.console == []


def test_country_chart_of_one_country_gives_way(opened_large: OpenReport, opened: OpenReport) -> None:
    assert opened.page.locator("#revenue-by-country").is_visible()
    assert not opened_large.page.locator("#revenue-by-country").is_visible()
    department = opened_large.page.locator("#revenue-by-department").bounding_box()
    grid = opened_large.page.locator("#sales .grid").bounding_box()
    assert department and grid and department["width"] == grid["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_large_shop_is_readable_on_phone_and_screen(browser: Browser, large: Path, scheme: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for device, width, height in (("phone", 390, 844), ("screen", 1440, 1000)):
        opened = OpenReport(browser, large, width, height, scheme)
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        table = opened.page.locator("#category-table").bounding_box()
        assert table and table["height"] < height  # 300 rows scroll in their table, not in the page
        opened.page.locator("#sales").screenshot(path=SCREENSHOTS / f"large-{device}-{scheme}.png")
        assert opened.console == []
        opened.page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_is_readable_on_phone_and_screen(browser: Browser, home: Path, scheme: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for device, width, height in (("phone", 390, 844), ("screen", 1400, 1000)):
        opened = OpenReport(browser, home / "report.html", width, height, scheme)
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        ink, paper = opened.page.evaluate(
            "['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name].match(/\\d+/g).map(Number))"
        )
        assert contrast(ink, paper) > 7
        labels = opened.page.locator("#revenue-by-month svg text").first.evaluate("one => getComputedStyle(one).fill")
        card = opened.page.locator("#revenue-by-month").evaluate("one => getComputedStyle(one).backgroundColor")
        assert contrast(*([int(part) for part in re.findall(r"\d+", color)] for color in (labels, card))) > 4.5
        opened.page.screenshot(path=SCREENSHOTS / f"report-{device}-{scheme}.png", full_page=True)
        assert opened.console == []
        opened.page.close()


def contrast(one: list[int], other: list[int]) -> float:
    """Return the contrast ratio of two colours, as WCAG 2 defines it."""

    def luminance(color: list[int]) -> float:
        shares = [part / 255 for part in color[:3]]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
