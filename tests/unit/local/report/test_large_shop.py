"""Tests of the dashboard's queries with many stores, categories and countries, and with names that equal a label."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from cdp_local.report.dashboard import Dashboard, read_dashboard
from cdp_local.report.page import DASHBOARD

PROJECT = Path(__file__).resolve().parents[4]
MONTH, AS_OF = date(2026, 5, 1), date(2026, 5, 31)
STORES, CATEGORIES, COUNTRIES = 450, 300, 40
KPI_COLUMNS = "month DATE, dimension STRING, dimension_value STRING, kpi STRING, value DOUBLE, as_of DATE"

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def dashboard() -> Dashboard:
    return read_dashboard(PROJECT / DASHBOARD)


def name_of(kind: str, number: int) -> str:
    """Return the name of a category or country. The largest are called as the labels of the rest."""
    labels = [f"Other {kind}", "unknown", f"1 other {kind}", "All countries"]
    return labels[number] if number < len(labels) else f"{kind} {number:03}"


@pytest.fixture(scope="module")
def shop(spark: SparkSession) -> Iterator[SparkSession]:
    """Create the views of a shop with 450 stores, 300 categories and 40 countries."""
    stores = [(number, "Market" if number < 2 else f"Store {number:03}", 1000.0 - number) for number in range(STORES)]
    sold = [
        (name_of("countries", number % COUNTRIES), name_of("categories", number), 1000.0 - number)
        for number in range(CATEGORIES)
    ]
    kpis = [(MONTH, "all", "all", "transactions", 1.0, AS_OF)]
    for dimension, kind, size in (("country", "countries", COUNTRIES), ("category", "categories", CATEGORIES)):
        kpis += [(MONTH, dimension, name_of(kind, n), "revenue", 1000.0 - n, AS_OF) for n in range(size)]
    frames = {
        "store_sales": spark.createDataFrame(stores, "store_id BIGINT, store_name STRING, revenue DOUBLE"),
        "category_sales": spark.createDataFrame(sold, "country STRING, category STRING, revenue DOUBLE"),
        "kpis": spark.createDataFrame(kpis, KPI_COLUMNS),
    }
    for name, frame in frames.items():
        frame.createOrReplaceTempView(name)
    yield spark
    for name in frames:
        spark.catalog.dropTempView(name)


def rows_of(shop: SparkSession, dashboard: Dashboard, dataset: str) -> Rows:
    return shop.sql(dashboard.datasets[dataset].sql).toArrow().to_pylist()


def test_store_chart_has_the_largest_stores_and_the_others_together(shop: SparkSession, dashboard: Dashboard) -> None:
    rows = {row["store_name"]: row["revenue"] for row in rows_of(shop, dashboard, "top_stores")}
    assert len(rows) == 13
    assert rows["438 other stores"] == sum(1000.0 - number for number in range(12, STORES))
    assert (rows["Market (0)"], rows["Market (1)"]) == (1000.0, 999.0)


@pytest.mark.parametrize(("dimension", "kind", "size"), [("country", "countries", 40), ("category", "categories", 300)])
def test_month_has_the_largest_values_and_the_others_together(
    shop: SparkSession, dashboard: Dashboard, dimension: str, kind: str, size: int
) -> None:
    all_rows = rows_of(shop, dashboard, f"{dimension}_revenue")
    assert {row["period"] for row in all_rows} == {"2026-05", "Latest month"}
    rows = {row[dimension]: row["revenue"] for row in all_rows if row["period"] == "2026-05"}
    assert len(rows) == 13
    assert rows[f"{size - 12} other {kind}"] == sum(1000.0 - number for number in range(12, size))
    # A value that is called like the rest stays apart from it.
    assert (rows[f"1 other {kind} (value)"], rows["unknown"], rows[f"Other {kind}"]) == (998.0, 999.0, 1000.0)


def test_heatmap_has_at_most_13_countries_and_13_categories(shop: SparkSession, dashboard: Dashboard) -> None:
    rows = rows_of(shop, dashboard, "category_by_country")
    countries, categories = {row["country"] for row in rows}, {row["category"] for row in rows}
    assert len(countries) == 13 and len(categories) == 13
    assert {"Other countries", "Other countries (value)"} <= countries
    assert {"Other categories", "Other categories (value)", "unknown"} <= categories
    assert sum(row["revenue"] for row in rows) == sum(1000.0 - number for number in range(CATEGORIES))
    [cell] = [row for row in rows if row["category"] == "Other categories (value)"]
    assert (cell["country"], cell["revenue"]) == ("Other countries (value)", 1000.0)
