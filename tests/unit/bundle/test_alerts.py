"""Tests of the alerts: their queries run on the serving views, and an alert triggers only when it should."""

from __future__ import annotations

import operator
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from databricks.sdk.service.sql import AlertV2
from sqlglot import exp, parse_one

from cdp_lib.contracts.analytics import KPI_MONTHLY_GOLD
from cdp_lib.contracts.kpis import KPIS
from cdp_lib.contracts.ops import PIPELINE_RUNS_OPS, RECONCILIATION_OPS
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_lib.reconciliation import WHOLE_TABLE
from cdp_lib.serving import Serving, definitions
from cdp_lib.storage import DeltaStore
from cdp_local.bundle import Bundle

PROJECT = Path(__file__).resolve().parents[3]
ALERTS: dict[str, Any] = yaml.safe_load((PROJECT / "resources/alerts.yml").read_text(encoding="utf-8"))["resources"][
    "alerts"
]
NOW = datetime.now(UTC)
WATCHED = ["revenue", "active_customers", "new_customers", "retention_rate"]


def resolved(value: Any, bundle: Bundle, key: str = "") -> Any:
    """Return a part of an alert as it is deployed, with variables resolved."""
    if isinstance(value, dict):
        return {name: resolved(each, bundle, name) for name, each in value.items()}
    if isinstance(value, list):
        return [resolved(each, bundle) for each in value]
    text = bundle.resolve(value) if isinstance(value, str) else value
    return float(text) if key == "double_value" else text


def state_of(alert: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Return the state of an alert whose query returned these rows. The Databricks documentation defines the state."""
    evaluation = alert["evaluation"]
    if not rows:
        return str(evaluation["empty_result_state"])
    values = [row[evaluation["source"]["name"]] for row in rows]
    if evaluation["source"].get("aggregation"):
        assert evaluation["source"]["aggregation"] == "MAX"
        values = [max(value for value in values if value is not None)]
    assert evaluation["comparison_operator"] == "GREATER_THAN"
    # A workspace evaluates a comparison with null as false, so an alert that returns null would never trigger.
    assert values[0] is not None
    return "TRIGGERED" if operator.gt(float(values[0]), evaluation["threshold"]["value"]["double_value"]) else "OK"


class Platform:
    """Tables of the platform and serving views in one schema."""

    def __init__(self, store: DeltaStore, bundle: Bundle) -> None:
        self.store = store
        self.bundle = bundle

    def write(self, contract: TableContract, *rows: dict[str, Any]) -> None:
        self.store.replace(contract, self.store.frame(contract, rows))

    def make_view(self, view: str) -> None:
        """Create one of the serving views."""
        self.store.create_view(view, definitions(Serving(self.store, self.store, None, "USD", 5))[view])

    def evaluate(self, key: str) -> tuple[str, list[dict[str, Any]]]:
        """Run the query of an alert. Return the state of the alert and the rows of the query."""
        alert = resolved(ALERTS[key], self.bundle)
        rows = [row.asDict() for row in self.store.session.sql(alert["query_text"]).collect()]
        return state_of(alert, rows), rows


@pytest.fixture
def platform(store: DeltaStore, catalog: str, schema: str) -> Platform:
    bundle = Bundle(PROJECT, {"catalog": catalog, "schema": schema, "serving_schema": schema})
    return Platform(store, bundle)


@pytest.fixture
def deployed() -> dict[str, dict[str, Any]]:
    """The alerts as deployed with the default value of every variable."""
    overrides = {"notification_email": "team@example.com", "warehouse_id": "abc"}
    return {key: resolved(alert, Bundle(PROJECT, overrides)) for key, alert in ALERTS.items()}


# Configuration


def test_every_alert_is_valid_for_the_sdk(deployed: dict[str, dict[str, Any]]) -> None:
    for alert in deployed.values():
        assert AlertV2.from_dict(alert).as_dict() == alert


def test_every_alert_notifies_the_team_and_pauses_with_the_jobs() -> None:
    for alert in ALERTS.values():
        assert alert["warehouse_id"] == "${var.warehouse_id}"
        assert alert["schedule"]["pause_status"] == "${var.schedule_state}"
        assert alert["schedule"]["timezone_id"] == "UTC"
        assert alert["evaluation"]["notification"]["subscriptions"] == [{"user_email": "${var.notification_email}"}]
        assert alert["evaluation"]["threshold"]["value"]["double_value"].startswith("${var.")
        assert alert["evaluation"]["threshold"]["value"]["double_value"] in alert["custom_description"]


def test_every_query_reads_one_serving_view_by_its_full_name(deployed: dict[str, dict[str, Any]]) -> None:
    read = {}
    for key, alert in deployed.items():
        query = parse_one(alert["query_text"], read="databricks")
        read[key] = [table.sql() for table in query.find_all(exp.Table)]
        assert "${var.catalog}.${resources.schemas.serving.name}." in ALERTS[key]["query_text"]
    assert read == {
        "freshness": ["cat1.sales_serving.table_freshness"],
        "quarantine_rate": ["cat1.sales_serving.reconciliation"],
        "kpi_out_of_band": ["cat1.sales_serving.kpis"],
    }


def test_compared_column_is_in_the_query(deployed: dict[str, dict[str, Any]]) -> None:
    for alert in deployed.values():
        query = parse_one(alert["query_text"], read="databricks")
        assert alert["evaluation"]["source"]["name"] in query.named_selects


def test_watched_table_and_kpis_exist(deployed: dict[str, dict[str, Any]]) -> None:
    assert re.findall("'(.*?)'", deployed["freshness"]["query_text"]) == [RETAILS_SILVER.name]
    assert re.findall("'(.*?)'", deployed["kpi_out_of_band"]["query_text"]) == ["all", *WATCHED]
    assert set(WATCHED) <= {kpi.name for kpi in KPIS if "all" in kpi.dimensions}


# Freshness


def change(table: str, hours_ago: float, state: str = "refreshed") -> dict[str, Any]:
    return {
        "run_id": f"{hours_ago}",
        "table_name": table,
        "state": state,
        "started_at": NOW - timedelta(hours=hours_ago),
        "engine": "sail 4.1",
        "code_version": "1",
    }


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ([], "TRIGGERED"),
        ([change("customers_silver", 1)], "TRIGGERED"),
        ([change("retails_silver", 1, "failed")], "TRIGGERED"),
        ([change("retails_silver", 200), change("retails_silver", 30), change("customers_silver", 40)], "OK"),
        ([change("retails_silver", 36.5), change("customers_silver", 1)], "TRIGGERED"),
    ],
    ids=["no runs", "another table", "only failed", "within the limit", "over the limit"],
)
def test_freshness_depends_on_the_last_change_of_retails_silver(
    platform: Platform, changes: list[dict[str, Any]], state: str
) -> None:
    platform.write(PIPELINE_RUNS_OPS, *changes)
    platform.make_view("table_freshness")

    found, rows = platform.evaluate("freshness")

    assert found == state
    sales = ("retails_silver", "refreshed")
    hours = [row["started_at"] for row in changes if (row["table_name"], row["state"]) == sales]
    assert [row["hours_since_change"] for row in rows] == (
        [pytest.approx((datetime.now(UTC) - max(hours)).total_seconds() / 3600, abs=0.05)] if hours else []
    )


# Quarantine


def batch(table: str, day: int | None, rows_in: int, quarantined: int) -> dict[str, Any]:
    """Return the reconciliation row of a batch from March 2026. If `day` is None, return that of the whole table."""
    return {
        "table_name": table,
        "batch_id": f"202603{day:02}T030000Z-1" if day else WHOLE_TABLE,
        "rows_in": rows_in,
        "rows_out": rows_in - quarantined,
        "rows_quarantined": quarantined,
        "rows_superseded": 0,
        "is_balanced": True,
    }


@pytest.mark.parametrize(
    ("batches", "worst", "state"),
    [
        ([], None, "OK"),
        ([batch("retails_silver", 9, 0, 0)], None, "OK"),
        ([batch("retails_silver", 9, 100, 2), batch("stores_silver", 9, 50, 0)], 0.02, "OK"),
        ([batch("retails_silver", 9, 100, 2), batch("stores_silver", 9, 40, 1)], 0.025, "TRIGGERED"),
        ([batch("retails_silver", 9, 100, 90), batch("retails_silver", 10, 100, 0)], 0.0, "OK"),
        ([batch("retails_silver", 9, 100, 0), batch("retails_silver", 10, 1, 1)], 1.0, "TRIGGERED"),
        ([batch("retails_bronze", 9, 100, 90), batch("retails_silver", 9, 100, 1)], 0.01, "OK"),
        ([batch("retails_silver", 9, 100, 90), batch("retails_silver", None, 9000, 90)], 0.9, "TRIGGERED"),
    ],
    ids=[
        "no batches",
        "no rows",
        "at the limit",
        "over the limit",
        "an older batch",
        "the newest batch",
        "bronze",
        "the whole table",
    ],
)
def test_quarantine_rate_uses_the_newest_batch_of_the_worst_table(
    platform: Platform, batches: list[dict[str, Any]], worst: float | None, state: str
) -> None:
    platform.write(RECONCILIATION_OPS, *batches)
    platform.make_view("reconciliation")

    found, rows = platform.evaluate("quarantine_rate")

    assert found == state
    assert max((row["quarantine_rate"] for row in rows), default=None) == worst
    assert [row["quarantine_rate"] for row in rows] == sorted((row["quarantine_rate"] for row in rows), reverse=True)


# KPIs


def figures(
    kpi: str, values: list[float | None], as_of: date = date(2026, 6, 30), dimension: str = "all"
) -> list[dict[str, Any]]:
    """Return the rows of a KPI: one value per month, up to the month of `as_of`."""
    months = [as_of.replace(day=1)]
    while len(months) < len(values):
        months.insert(0, (months[0] - timedelta(1)).replace(day=1))
    return [
        {
            "month": month,
            "dimension": dimension,
            "dimension_value": "all" if dimension == "all" else "Egypt",
            "kpi": kpi,
            "value": value,
            "numerator": value,
            "denominator": 1.0,
            "as_of": as_of,
        }
        for month, value in zip(months, values, strict=True)
    ]


STEADY: list[float | None] = [100.0, 102.0, 98.0, 101.0, 99.0, 100.0]
"""Values with mean 100 and standard deviation √2, so that the band is 95.76 to 104.24."""


@pytest.mark.parametrize(
    ("rows", "deviating", "state"),
    [
        ([], [], "OK"),
        (figures("revenue", [500.0]), [], "OK"),
        (figures("revenue", [*STEADY[1:], 500.0]), [], "OK"),
        (figures("revenue", [*STEADY, 104.2]), [], "OK"),
        (figures("revenue", [*STEADY, 104.3]), ["revenue"], "TRIGGERED"),
        (figures("revenue", [*STEADY, 95.7]), ["revenue"], "TRIGGERED"),
        (figures("revenue", [*STEADY, 0.0], date(2026, 6, 29)), [], "OK"),
        (figures("revenue", [*STEADY, 500.0, 0.0], date(2026, 6, 29)), ["revenue"], "TRIGGERED"),
        # The band is computed from the previous twelve months. With the older values, the band would be wide.
        (figures("revenue", [9000.0, 1.0, *STEADY, *STEADY, 105.0]), ["revenue"], "TRIGGERED"),
        (figures("retention_rate", [None, *[0.1] * 6, 0.1]), [], "OK"),
        (figures("retention_rate", [None, *[0.1] * 6, 0.2]), ["retention_rate"], "TRIGGERED"),
        (figures("retention_rate", [None, *[0.1] * 5, 0.9]), [], "OK"),
        (figures("retention_rate", [*[0.1] * 8, None]), [], "OK"),
        (figures("new_customers", [0.0] * 9), [], "OK"),
        (figures("new_customers", [*[0.0] * 8, 5.0]), ["new_customers"], "TRIGGERED"),
        (figures("cac", [*STEADY, 500.0]) + figures("revenue", [*STEADY, 500.0], dimension="country"), [], "OK"),
        (
            figures("revenue", [*STEADY, 101.0]) + figures("active_customers", [*STEADY, 110.0]),
            ["active_customers"],
            "TRIGGERED",
        ),
    ],
    ids=[
        "no figures",
        "one month",
        "five months before",
        "within the band",
        "above the band",
        "below the band",
        "incomplete month",
        "month before an incomplete month",
        "older months",
        "constant",
        "changed after constant",
        "five values before",
        "no value",
        "always 0",
        "first above 0",
        "not watched",
        "one of two",
    ],
)
def test_kpi_outside_its_usual_band_triggers_the_alert(
    platform: Platform, rows: list[dict[str, Any]], deviating: list[str], state: str
) -> None:
    platform.write(KPI_MONTHLY_GOLD, *rows)
    platform.make_view("kpis")

    found, result = platform.evaluate("kpi_out_of_band")

    assert found == state
    assert [row["kpi"] for row in result if row["deviations"] > 3] == deviating


def test_thresholds_come_from_the_bundle_variables() -> None:
    bundle = Bundle(PROJECT, {"quarantine_rate_limit": "0.5"})
    assert resolved(ALERTS["quarantine_rate"], bundle)["evaluation"]["threshold"] == {"value": {"double_value": 0.5}}
    assert "More than 0.5 of the rows" in resolved(ALERTS["quarantine_rate"], bundle)["custom_description"]
