"""Tests of the alerts: their queries run on the serving views, and an alert triggers only when it should."""

from __future__ import annotations

import operator
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from databricks.sdk.service.sql import AlertV2, AlertV2Subscription
from sqlglot import exp, parse_one

from cdp_lib.contracts.analytics import KPI_MONTHLY_GOLD
from cdp_lib.contracts.bronze import BRONZE_TABLES
from cdp_lib.contracts.kpis import KPIS
from cdp_lib.contracts.ops import PIPELINE_RUNS_OPS, RECONCILIATION_OPS
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_lib.reconciliation import WHOLE_TABLE
from cdp_lib.serving import Serving, definitions
from cdp_lib.storage import DeltaStore
from cdp_local.bundle import Bundle

PROJECT = Path(__file__).resolve().parents[3]
OPTIONAL = PROJECT / "resources" / "optional" / "system_alerts.yml"


def read(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


ALWAYS: dict[str, Any] = read(PROJECT / "resources" / "alerts.yml")["resources"]["alerts"]
ALERTS: dict[str, Any] = ALWAYS | read(OPTIONAL)["resources"]["alerts"]
VARIABLES = read(PROJECT / "databricks.yml")["variables"]
OPTIONAL_DEFAULTS = {f"${{var.{name}}}": str(each["default"]) for name, each in read(OPTIONAL)["variables"].items()}
LISTS = {f"${{var.{name}}}": each["default"] for name, each in VARIABLES.items() if each.get("type") == "complex"}
JOB_ID = re.compile(r"\$\{resources\.jobs\.(\w+)\.id\}")
# The queries get this time instead of the clock, so that a result does not depend on the moment of the test.
NOW = datetime(2026, 3, 1, 0, 30, tzinfo=UTC)
CLOCK = {"current_timestamp()": f"TIMESTAMP'{NOW:%Y-%m-%d %H:%M:%S}Z'", "current_date()": f"DATE'{NOW:%Y-%m-%d}'"}
WATCHED = ["revenue", "active_customers", "new_customers", "retention_rate"]


def resolved(value: Any, bundle: Bundle, key: str = "") -> Any:
    """Return a part of an alert as it is deployed, with variables resolved."""
    if isinstance(value, dict):
        return {name: resolved(each, bundle, name) for name, each in value.items()}
    if isinstance(value, list):
        return [resolved(each, bundle) for each in value]
    if not isinstance(value, str):
        return value
    if value in LISTS:
        return resolved(LISTS[value], bundle)
    for reference, default in OPTIONAL_DEFAULTS.items():
        value = value.replace(reference, default)
    # A job has an id only after its deployment. Here, the id is the key of the job.
    text = bundle.resolve(JOB_ID.sub(r"\1", value))
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
        self.system_tables: dict[str, str] = {}

    def write(self, contract: TableContract, *rows: dict[str, Any]) -> None:
        self.store.replace(contract, self.store.frame(contract, rows))

    def write_system_table(self, name: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
        """Create a temporary view that replaces a system table of Databricks."""
        table = name.replace(".", "_")
        self.store.session.createDataFrame(rows, columns).createOrReplaceTempView(table)
        self.system_tables[name] = table

    def make_view(self, view: str) -> None:
        """Create one of the serving views."""
        self.store.create_view(view, definitions(Serving(self.store, self.store, None, "USD", 5))[view])

    def evaluate(self, key: str) -> tuple[str, list[dict[str, Any]]]:
        """Run the query of an alert at `NOW`. Return the state of the alert and the rows of the query."""
        alert = resolved(ALERTS[key], self.bundle)
        query = alert["query_text"]
        for text, replacement in (self.system_tables | CLOCK).items():
            query = query.replace(text, replacement)
        rows = [row.asDict() for row in self.store.session.sql(query).collect()]
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
        assert alert["evaluation"]["notification"]["subscriptions"] == "${var.alert_subscriptions}"
        assert alert["evaluation"]["notification"]["notify_on_ok"]
    assert VARIABLES["alert_subscriptions"]["default"] == [{"user_email": "${var.notification_email}"}]


def test_every_limit_is_a_variable_that_the_description_names() -> None:
    limits = {key: alert["evaluation"]["threshold"]["value"]["double_value"] for key, alert in ALERTS.items()}
    # These three have no limit, or one limit for each table.
    assert (limits.pop("failed_tables"), limits.pop("reconciliation"), limits.pop("source_freshness")) == (0, 0, 1)
    for key, limit in limits.items():
        assert limit.startswith("${var.") and limit in ALERTS[key]["custom_description"]
    for name in re.findall(r"\$\{var\.(\w+_hours)\}", ALERTS["source_freshness"]["query_text"]):
        assert name in ALERTS["source_freshness"]["custom_description"]


def test_every_query_reads_tables_by_their_full_names(deployed: dict[str, dict[str, Any]]) -> None:
    tables = {}
    for key, alert in deployed.items():
        query = parse_one(alert["query_text"], read="databricks")
        named = {each.alias for each in query.find_all(exp.CTE)}
        tables[key] = sorted({f"{t.catalog}.{t.db}.{t.name}" for t in query.find_all(exp.Table) if t.name not in named})
    assert tables == {
        "freshness": ["cat1.sales_serving.table_freshness"],
        "source_freshness": ["cat1.sales_serving.table_freshness"],
        "failed_tables": ["cat1.sales.pipeline_runs_ops"],
        "reconciliation": ["cat1.sales_serving.reconciliation"],
        "quarantine_rate": ["cat1.sales_serving.reconciliation"],
        "kpi_out_of_band": ["cat1.sales_serving.kpis"],
        "run_time": ["system.lakeflow.job_run_timeline"],
        "cost": ["system.billing.list_prices", "system.billing.usage"],
    }
    for key in ALWAYS:
        schema = "sales" if key == "failed_tables" else "serving"
        assert f"${{var.catalog}}.${{resources.schemas.{schema}.name}}." in ALERTS[key]["query_text"]


def test_compared_column_is_in_the_query(deployed: dict[str, dict[str, Any]]) -> None:
    for alert in deployed.values():
        query = parse_one(alert["query_text"], read="databricks")
        assert alert["evaluation"]["source"]["name"] in query.named_selects


def test_watched_table_and_kpis_exist(deployed: dict[str, dict[str, Any]]) -> None:
    assert re.findall("'(.*?)'", deployed["freshness"]["query_text"]) == [RETAILS_SILVER.name]
    assert re.findall("'(.*?)'", deployed["kpi_out_of_band"]["query_text"]) == ["all", *WATCHED]
    assert set(WATCHED) <= {kpi.name for kpi in KPIS if "all" in kpi.dimensions}
    slow = re.findall(r"(\w+)=(\d+)", VARIABLES["source_freshness_hours"]["default"])
    assert {name for name, _ in slow} < {contract.name for contract in BRONZE_TABLES}
    assert " ".join("=".join(each) for each in slow) == VARIABLES["source_freshness_hours"]["default"]


def test_system_alerts_watch_jobs_of_the_bundle(files: list[tuple[Path, dict[str, Any]]]) -> None:
    jobs = {key for _, content in files for key in content.get("resources", {}).get("jobs", {})}
    assert set(JOB_ID.findall(ALERTS["cost"]["query_text"])) == jobs
    # A rebuild and an erasure are slow, and a run of cdp_events takes as long as there are messages.
    slow = {"cdp_rebuild", "cdp_erasure", "cdp_events"}
    assert set(JOB_ID.findall(ALERTS["run_time"]["query_text"])) == jobs - slow


@pytest.mark.parametrize("target", ["staging", "prod", "adls"], indirect=True)
def test_a_notification_destination_is_notified_like_the_team(whole_bundle: dict[str, Any]) -> None:
    variables = whole_bundle["variables"]
    assert "default" not in variables["notification_destination_id"]
    assert variables["alert_subscriptions"]["default"] == [
        {"user_email": "${var.notification_email}"},
        {"destination_id": "${var.notification_destination_id}"},
    ]
    assert variables["job_webhooks"]["default"] == [{"id": "${var.notification_destination_id}"}]
    assert AlertV2Subscription.from_dict(variables["alert_subscriptions"]["default"][1]).destination_id


def test_no_destination_is_notified_by_default(bundle: dict[str, Any]) -> None:
    assert bundle["variables"]["job_webhooks"]["default"] == []
    assert "notification_destination_id" not in bundle["variables"]


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
    assert [row["hours_since_change"] for row in rows] == ([(NOW - max(hours)).total_seconds() / 3600] if hours else [])


@pytest.mark.parametrize(
    ("changes", "late", "state"),
    [
        ([], {}, "OK"),
        ([change("customers_bronze", 30), change("exchange_rates_bronze", 800)], {}, "OK"),
        ([change("customers_bronze", 37)], {"customers_bronze": 36}, "TRIGGERED"),
        ([change("customers_bronze", 1), change("events_bronze", 90)], {"events_bronze": 36}, "TRIGGERED"),
        ([change("exchange_rates_bronze", 850)], {"exchange_rates_bronze": 840}, "TRIGGERED"),
        ([change("events_bronze", 90), change("events_bronze", 1)], {}, "OK"),
        ([change("events_bronze", 90, "failed"), change("customers_silver", 90)], {}, "OK"),
        ([change("store_bronze", 9000), change("store_bronze", 1, "failed")], {"store_bronze": 8760}, "TRIGGERED"),
    ],
    ids=[
        "no runs",
        "within the limits",
        "a customer source",
        "one of two sources",
        "a slow source",
        "changed since",
        "never landed",
        "fails since",
    ],
)
def test_every_source_has_a_limit_of_freshness(
    platform: Platform, changes: list[dict[str, Any]], late: dict[str, float], state: str
) -> None:
    platform.write(PIPELINE_RUNS_OPS, *changes)
    platform.make_view("table_freshness")

    found, rows = platform.evaluate("source_freshness")

    assert found == state
    assert {row["table_name"]: row["limit_hours"] for row in rows if row["share_of_limit"] > 1} == late


# Failures


@pytest.mark.parametrize(
    ("runs", "failed", "state"),
    [
        ([], [], "OK"),
        ([change("stores_silver", 2, "failed"), change("stores_silver", 1)], [], "OK"),
        ([change("stores_silver", 2), change("stores_silver", 1, "failed")], ["stores_silver"], "TRIGGERED"),
        ([change("stores_silver", 1, "failed"), change("stores_silver", 1)], [], "OK"),
        ([change("stores_silver", 9, "failed"), change("customers_silver", 1)], ["stores_silver"], "TRIGGERED"),
    ],
    ids=["no runs", "repaired", "failed", "repaired run", "others refreshed since"],
)
def test_table_whose_latest_refresh_failed_triggers_the_alert(
    platform: Platform, runs: list[dict[str, Any]], failed: list[str], state: str
) -> None:
    error = "Batch 20260309T030000Z-1 is refused: 90 of 100 rows break rules."
    platform.write(PIPELINE_RUNS_OPS, *[run | ({"error": error} if run["state"] == "failed" else {}) for run in runs])

    found, rows = platform.evaluate("failed_tables")

    assert found == state
    assert [(row["table_name"], row["error"]) for row in rows] == [(name, error) for name in failed]


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


@pytest.mark.parametrize(
    ("lost", "state"),
    [([0, 0], "OK"), ([0, 3], "TRIGGERED"), ([-1, 0], "TRIGGERED")],
    ids=["balanced", "missing", "too many"],
)
def test_batch_that_does_not_add_up_triggers_the_alert(platform: Platform, lost: list[int], state: str) -> None:
    batches = [batch("retails_silver", day, 100, 2) for day in (9, 10)]
    platform.write(
        RECONCILIATION_OPS,
        *[
            each | {"rows_out": each["rows_out"] - number, "is_balanced": number == 0}
            for each, number in zip(batches, lost, strict=True)
        ],
    )
    platform.make_view("reconciliation")

    found, rows = platform.evaluate("reconciliation")

    assert found == state
    assert [row["rows_missing"] for row in rows] == [abs(number) for number in lost if number]


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
            "is_complete": month < as_of.replace(day=1) or (as_of + timedelta(1)).day == 1,
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


# Duration and cost

RUNS = "job_id STRING, run_id STRING, period_start_time TIMESTAMP, period_end_time TIMESTAMP, result_state STRING"


def run(number: int, minutes: float, days_ago: float, result: str = "SUCCEEDED", job: str = "cdp_refresh") -> list[Any]:
    """Return the rows of a run in the system table. A run of more than an hour has several rows."""
    start, rest = NOW - timedelta(days=days_ago), minutes
    rows = []
    while rest > 60:
        rows.append((job, f"{number}", start, start + timedelta(minutes=60), None))
        start, rest = start + timedelta(minutes=60), rest - 60
    return [*rows, (job, f"{number}", start, start + timedelta(minutes=rest), result)]


def usual(minutes: float, number: int = 5, result: str = "SUCCEEDED") -> list[Any]:
    return [row for day in range(number) for row in run(day, minutes, day + 2, result)]


@pytest.mark.parametrize(
    ("rows", "slow", "state"),
    [
        ([], [], "OK"),
        (usual(20) + run(9, 59, 0.5), [], "OK"),
        (usual(20) + run(9, 62, 0.5), ["9"], "TRIGGERED"),
        (usual(20) + run(9, 300, 0.5, "TIMED_OUT"), ["9"], "TRIGGERED"),
        (usual(20) + run(9, 300, 1.5), [], "OK"),
        (usual(20, 4) + run(9, 300, 0.5), [], "OK"),
        (usual(20, 5, "FAILED") + run(9, 300, 0.5), [], "OK"),
        (usual(1) + run(9, 9, 0.5), [], "OK"),
        (usual(20) + run(9, 300, 0.5, job="cdp_rebuild"), [], "OK"),
        (usual(20) + run(9, 300, 0.5, job="another"), [], "OK"),
    ],
    ids=[
        "no runs",
        "within the ratio",
        "over the ratio",
        "timed out",
        "older than a day",
        "too few runs before",
        "failed runs before",
        "short",
        "rebuild",
        "another job",
    ],
)
def test_run_that_takes_longer_than_usual_triggers_the_alert(
    platform: Platform, rows: list[Any], slow: list[str], state: str
) -> None:
    platform.write_system_table("system.lakeflow.job_run_timeline", RUNS, rows)

    found, result = platform.evaluate("run_time")

    assert found == state
    assert [row["run_id"] for row in result if row["times_usual"] > 3] == slow


USAGE = (
    "cloud STRING, sku_name STRING, usage_unit STRING, usage_date DATE, usage_end_time TIMESTAMP,"
    " usage_quantity DECIMAL(38, 18), usage_metadata STRUCT<job_id: STRING>"
)
PRICES = (
    "cloud STRING, sku_name STRING, usage_unit STRING, price_start_time TIMESTAMP, price_end_time TIMESTAMP,"
    " pricing STRUCT<effective_list: STRUCT<default: DECIMAL(38, 18)>>"
)


def usage(quantity: int, days_ago: int, job: str | None = "cdp_refresh", sku: str = "JOBS") -> tuple[Any, ...]:
    day = NOW - timedelta(days=days_ago)
    return ("AZURE", sku, "DBU", day.date(), day, Decimal(quantity), (job,))


def price(amount: str, since: float, until: float | None = None) -> tuple[Any, ...]:
    ends = None if until is None else NOW - timedelta(days=until)
    return ("AZURE", "JOBS", "DBU", NOW - timedelta(days=since), ends, ((Decimal(amount),),))


@pytest.mark.parametrize(
    ("rows", "costs", "state"),
    [
        ([], [], "OK"),
        ([usage(200, 1)], [100], "OK"),
        ([usage(201, 1)], [100.5], "TRIGGERED"),
        ([usage(150, 1), usage(150, 1, "cdp_stream")], [150], "TRIGGERED"),
        ([usage(150, 1), usage(150, 2)], [75, 75], "OK"),
        ([usage(900, 1, "another"), usage(900, 1, None)], [], "OK"),
        ([usage(900, 0), usage(900, 3)], [], "OK"),
        ([usage(150, 2, "cdp_maintenance"), usage(400, 1)], [200, 75], "TRIGGERED"),
    ],
    ids=["nothing", "at the limit", "over the limit", "two jobs", "two days", "other jobs", "other days", "one of two"],
)
def test_expensive_day_triggers_the_alert(platform: Platform, rows: list[Any], costs: list[float], state: str) -> None:
    platform.write_system_table("system.billing.usage", USAGE, rows)
    # The price doubled ten days ago.
    platform.write_system_table("system.billing.list_prices", PRICES, [price("0.25", 99, 10), price("0.50", 10)])

    found, result = platform.evaluate("cost")

    assert found == state
    assert [float(row["cost"]) for row in result] == costs


def test_thresholds_come_from_the_bundle_variables() -> None:
    bundle = Bundle(PROJECT, {"quarantine_rate_limit": "0.5"})
    assert resolved(ALERTS["quarantine_rate"], bundle)["evaluation"]["threshold"] == {"value": {"double_value": 0.5}}
    assert "More than 0.5 of the rows" in resolved(ALERTS["quarantine_rate"], bundle)["custom_description"]
