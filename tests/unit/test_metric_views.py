"""Tests of metric views: the measures are the KPIs, and the expressions return the same values as the table."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from pyspark.sql import SparkSession
from sqlglot import exp, parse_one

from cdp_lib.contracts.analytics import KPI_MONTHLY_GOLD
from cdp_lib.contracts.kpis import DIMENSIONS, KPIS, Dimension, Kpi
from cdp_lib.metric_views import metric_view_name, metric_views
from cdp_lib.serving import Serving, definitions
from cdp_lib.storage import DeltaStore

VIEWS = {name: json.loads(text) for name, text in metric_views("`cat1`.`out`.`kpis`", "EUR", "month").items()}
BY_DIMENSION = {dimension: VIEWS[metric_view_name(dimension, "month")] for dimension in DIMENSIONS}
WEEKLY = {name: json.loads(text) for name, text in metric_views("w", "EUR", "week").items()}
MONTHS = [date(2025, month, 1) for month in range(1, 13)] + [date(2026, 1, 1), date(2026, 2, 1)]

Place = tuple[str, str, str]
Parts = tuple[float | None, float | None]


def kpis_of(dimension: Dimension) -> list[Kpi]:
    return [kpi for kpi in KPIS if dimension in kpi.dimensions]


# Definitions


def test_measures_of_a_view_are_the_kpis_of_its_dimension() -> None:
    assert set(VIEWS) == {metric_view_name(dimension, "month") for dimension in DIMENSIONS}
    for dimension, view in BY_DIMENSION.items():
        assert [measure["name"] for measure in view["measures"]] == [kpi.name for kpi in kpis_of(dimension)]
        for measure, kpi in zip(view["measures"], kpis_of(dimension), strict=True):
            assert measure["display_name"] == kpi.title
            assert measure["comment"].startswith(kpi.definition)


def test_weekly_views_have_the_same_expressions_over_weeks() -> None:
    assert not VIEWS.keys() & WEEKLY.keys()
    assert metric_view_name("consent_channel", "week") not in WEEKLY, "consent has no weeks"
    for name, view in WEEKLY.items():
        monthly = VIEWS[name.replace("weekly_", "")]
        assert view["dimensions"][0]["expr"] == "week"
        of_month = {measure["name"]: measure for measure in monthly["measures"]}
        assert {m["name"] for m in view["measures"]} == {k.name for k in KPIS if k.has_weeks} & of_month.keys()
        for measure in view["measures"]:
            assert measure["expr"] == of_month[measure["name"]]["expr"]
            assert ("window" in measure) == ("window" in of_month[measure["name"]])
            assert "read “week” for “month”" in measure["comment"]
            assert [window["order"] for window in measure.get("window", [])] in ([], ["week"])


def test_definition_is_yaml_without_dollar_signs() -> None:
    for name, text in metric_views("`cat1`.`out`.`kpis`", "EUR", "month").items():
        assert yaml.safe_load(text) == VIEWS[name]
        assert "$" not in text


def test_definition_has_only_fields_of_the_specification() -> None:
    column_fields = {"name", "expr", "comment", "display_name", "format"}
    for dimension, view in BY_DIMENSION.items():
        assert view.keys() == {"version", "comment", "source", "filter", "dimensions", "measures"}
        assert view["version"] == "1.1"
        assert view["source"] == "`cat1`.`out`.`kpis`"
        assert view["filter"] == f"dimension = '{dimension}'"
        assert [field["name"] for field in view["dimensions"]] == ["month", *({dimension} - {"all"})]
        columns = [*view["dimensions"], *view["measures"]]
        assert len({column["name"] for column in columns}) == len(columns)
        for column in columns:
            assert column_fields - {"format"} <= column.keys() <= column_fields | {"window"}
            assert len(column["display_name"]) <= 255


def test_format_depends_on_the_unit() -> None:
    formats = {m["name"]: m["format"] for view in VIEWS.values() for m in view["measures"]}
    for kpi in KPIS:
        kind = {"money": "currency", "share": "percentage"}.get(kpi.unit, "number")
        assert formats[kpi.name]["type"] == kind
        assert formats[kpi.name].get("currency_code") == ("EUR" if kind == "currency" else None)
        assert formats[kpi.name]["decimal_places"]["type"] in ("max", "exact")
    assert formats["active_customers"]["decimal_places"]["places"] == 0
    assert formats["dau"]["decimal_places"]["places"] == 2


def test_measure_that_is_not_additive_over_months_has_the_latest_month() -> None:
    latest = [{"order": "month", "range": "current", "semiadditive": "last"}]
    for dimension, view in BY_DIMENSION.items():
        for measure, kpi in zip(view["measures"], kpis_of(dimension), strict=True):
            assert measure.get("window") == (None if kpi.adds_over_months else latest)
            assert ("Value of the latest month" in measure["comment"]) == (not kpi.adds_over_months)


def test_every_expression_aggregates_columns_of_the_view() -> None:
    for view in VIEWS.values():
        for measure in view["measures"]:
            expression = parse_one(measure["expr"], read="databricks")
            assert expression.find(exp.AggFunc)
            columns = {column.name for column in expression.find_all(exp.Column)}
            assert columns <= set(KPI_MONTHLY_GOLD.column_names)


def test_kpis_that_are_not_additive_over_a_dimension() -> None:
    single = {(kpi.name, dimension) for kpi in KPIS for dimension in kpi.dimensions if not kpi.adds_over(dimension)}
    assert single == {
        ("active_customers", "category"),
        ("clv_to_cac", "channel"),
        ("payback_months", "channel"),
        ("consent_rate", "consent_channel"),
    }


# Results


@pytest.fixture(scope="module")
def figures() -> dict[tuple[Place, date], Parts]:
    """Rows with a numerator and a denominator for each KPI, dimension value and month. Some are 0 or null."""
    chance = random.Random(7)
    parts: dict[tuple[Place, date], Parts] = {}
    for kpi in KPIS:
        for dimension in kpi.dimensions:
            for value in ["all"] if dimension == "all" else ["A", "B", "unknown"]:
                for month in MONTHS[-1:] if kpi.is_of_latest_month else MONTHS:
                    numerator = chance.choice([None, 0.0, *(chance.uniform(1, 9000) for _ in range(6))])
                    denominator = chance.choice([None, 0.0, *(float(chance.randint(1, 90)) for _ in range(6))])
                    parts[(kpi.name, dimension, value), month] = (
                        None if value == "unknown" and kpi.name == "cac" else numerator,
                        1.0 if kpi.denominator == "1" else denominator,
                    )
    return parts


def quotient(numerator: float | None, denominator: float | None) -> float | None:
    return numerator / denominator if numerator is not None and denominator else None


def combined(kpi: Kpi, parts: list[Parts]) -> float | None:
    """Return the value of a KPI over several rows. Rows without a value do not count.

    The value is the sum of numerators, divided by the sum of denominators if the KPI has a denominator.
    """
    known = [(n, d) for n, d in parts if n is not None and d]
    numerator = sum(n for n, _ in known)
    return (numerator if kpi.denominator == "1" else numerator / sum(d for _, d in known)) if known else None


@pytest.fixture
def ask(
    spark: SparkSession, frame_of: Callable[..., Any], figures: dict[tuple[Place, date], Parts]
) -> Callable[..., list[dict[str, Any]]]:
    """Return a function that evaluates the metric view of a dimension. It returns all measures for each group."""
    rows = [
        {
            "month": month,
            "dimension": dimension,
            "dimension_value": value,
            "kpi": kpi,
            "value": quotient(*parts),
            "numerator": parts[0],
            "denominator": parts[1],
            "as_of": date(2026, 2, 28),
        }
        for ((kpi, dimension, value), month), parts in figures.items()
    ]
    frame = frame_of(KPI_MONTHLY_GOLD.columns, *rows)

    def select(dimension: Dimension, **by: str) -> list[dict[str, Any]]:
        view = BY_DIMENSION[dimension]
        names = [f"{expression} AS {name}" for name, expression in by.items()]
        measures = [f"{measure['expr']} AS {measure['name']}" for measure in view["measures"]]
        query = (
            f"SELECT {', '.join(names + measures)} FROM {{rows}} WHERE {view['filter']}"
            f" GROUP BY {', '.join(by.values())}"
        )
        return [row.asDict() for row in spark.sql(query, rows=frame).collect()]

    return select


def close(value: float | None) -> Any:
    return None if value is None else pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_measure_by_month_and_value_is_the_value_of_the_table(
    ask: Callable[..., list[dict[str, Any]]], figures: dict[tuple[Place, date], Parts], dimension: Dimension
) -> None:
    rows = ask(dimension, month="month", place="dimension_value")

    for row in rows:
        for kpi in kpis_of(dimension):
            parts = figures.get(((kpi.name, dimension, row["place"]), row["month"]), (None, None))
            assert row[kpi.name] == close(quotient(*parts)), (kpi.name, row["month"], row["place"])
    given = {(month, place[2]) for place, month in figures if place[1] == dimension}
    assert {(row["month"], row["place"]) for row in rows} == given


@pytest.mark.parametrize("dimension", ["all", "channel"])
def test_additive_measure_over_several_months_combines_their_parts(
    ask: Callable[..., list[dict[str, Any]]], figures: dict[tuple[Place, date], Parts], dimension: Dimension
) -> None:
    rows = ask(dimension, year="year(month)", place="dimension_value")

    assert {row["year"] for row in rows} == {2025, 2026}
    additive = [kpi for kpi in kpis_of(dimension) if kpi.adds_over_months]
    assert len(additive) > 5
    for row in rows:
        for kpi in additive:
            monthly_parts = [
                parts
                for (place, month), parts in figures.items()
                if place == (kpi.name, dimension, row["place"]) and month.year == row["year"]
            ]
            assert row[kpi.name] == close(combined(kpi, monthly_parts)), kpi.name


@pytest.mark.parametrize("dimension", ["channel", "segment", "category", "consent_channel"])
def test_measure_over_several_values_combines_their_parts_or_is_null(
    ask: Callable[..., list[dict[str, Any]]], figures: dict[tuple[Place, date], Parts], dimension: Dimension
) -> None:
    parts: dict[tuple[str, date], list[Parts]] = defaultdict(list)
    for (place, month), figure in figures.items():
        if place[1] == dimension:
            parts[place[0], month].append(figure)

    for row in ask(dimension, month="month"):
        for kpi in kpis_of(dimension):
            expected = combined(kpi, parts[kpi.name, row["month"]]) if kpi.adds_over(dimension) else None
            assert row[kpi.name] == close(expected), (kpi.name, row["month"])


# Creation


class Recorder:
    """Fake of a Databricks session that records the SQL statements."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.conf = SimpleNamespace(set=lambda name, value: None)

    def sql(self, statement: str) -> None:
        self.statements.append(statement)


def test_metric_views_on_databricks_read_the_serving_view_kpis() -> None:
    session: Any = Recorder()
    store, serving = DeltaStore(session, "cat1", "sales"), DeltaStore(session, "cat1", "sales_serving")
    for name, definition in definitions(Serving(store, serving, None, "AED", 5)).items():
        if name in VIEWS or name in WEEKLY:
            serving.create_metric_view(name, definition)

    created = {}
    for statement in session.statements:
        shape = r"CREATE OR REPLACE VIEW (\S+) WITH METRICS LANGUAGE YAML AS \$\$\n(.*)\n\$\$"
        match = re.fullmatch(shape, statement, re.DOTALL)
        assert match, statement
        created[match[1]] = yaml.safe_load(match[2])
    assert set(created) == {f"`cat1`.`sales_serving`.`{name}`" for name in (*VIEWS, *WEEKLY)}
    for name, view in created.items():
        is_weekly = name.split("`")[-2] in WEEKLY
        assert view["source"] == f"`cat1`.`sales_serving`.`{'kpis_by_week' if is_weekly else 'kpis'}`"
        [currency] = {m["format"].get("currency_code", "AED") for m in view["measures"]}
        assert currency == "AED"


def test_local_engines_have_no_metric_views(store: DeltaStore) -> None:
    assert not {*VIEWS} & {*definitions(Serving(store, store, None, "USD", 5))}


def test_only_databricks_has_metric_views(store: DeltaStore, engine: str) -> None:
    assert store.is_databricks == (engine == "databricks")
