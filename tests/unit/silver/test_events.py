import json

import pytest

from cdp_lib.contracts.bronze import EVENTS_BRONZE
from cdp_lib.contracts.silver import EVENTS_SILVER
from cdp_lib.silver.events import build_events_silver

VIEW = {
    "event_id": "e1",
    "event_type": " page_view",
    "occurred_at": "2026-01-30T08:00:00+02:00",
    "channel": "web",
    "customer_id": "101",
    "anonymous_id": "device-1",
    "email": " Alba@Example.com",
    "session_id": "s1",
    "campaign": "New  Year",
    "product_id": "3",
    "consent": "True",
}


def test_build_events_silver_gives_every_field_its_name_and_type(bronze_rows) -> None:
    rows = build_events_silver(bronze_rows(EVENTS_BRONZE, VIEW))
    [row] = rows.withColumn("occurred_at", rows.occurred_at.cast("string")).collect()
    names = [name for name in EVENTS_SILVER.column_names if not name.startswith("_")]
    assert {name: row[name] for name in names} == {
        "event_id": "e1",
        "event_type": "page_view",
        "occurred_at": "2026-01-30 06:00:00",
        "channel": "web",
        "customer_id": 101,
        "anonymous_id": "device-1",
        "email": "alba@example.com",
        "session_id": "s1",
        "campaign": "New Year",
        "product_id": 3,
        "is_tracking_allowed": True,
        "consent_signal": None,
        "identity": "customer:101",
    }
    assert row["_rescued_data"] is None


@pytest.mark.parametrize(
    ("named", "identity"),
    [
        ({}, "customer:101"),
        ({"customer_id": None}, "email:alba@example.com"),
        ({"customer_id": " ", "email": ""}, "device:device-1"),
        ({"customer_id": None, "email": None, "anonymous_id": " "}, None),
        ({"email": None, "anonymous_id": None}, "customer:101"),
        ({"consent": "false"}, None),
        ({"consent": None}, "customer:101"),
    ],
)
def test_identity_is_the_customer_or_else_the_address_or_else_the_device(
    bronze_rows, named: dict[str, str | None], identity: str | None
) -> None:
    [row] = build_events_silver(bronze_rows(EVENTS_BRONZE, VIEW | named)).collect()
    assert row.identity == identity


def test_time_that_does_not_parse_is_null_and_rescued(bronze_rows) -> None:
    [row] = build_events_silver(bronze_rows(EVENTS_BRONZE, VIEW | {"occurred_at": "08:00"})).collect()
    assert (row["occurred_at"], json.loads(row["_rescued_data"])) == (None, {"occurred_at": "08:00"})


@pytest.mark.parametrize(
    ("name", "text", "column"),
    [
        ("customer_id", "C-101", "customer_id"),
        ("product_id", "3.5", "product_id"),
        ("consent", "unknown", "is_tracking_allowed"),
    ],
)
def test_event_with_an_optional_value_that_does_not_fit_is_kept_with_a_warning(
    bronze_rows, verdicts, name: str, text: str, column: str
) -> None:
    received = VIEW | {"anonymous_id": "device-1", name: text}
    [kept] = verdicts(build_events_silver(bronze_rows(EVENTS_BRONZE, received)), EVENTS_SILVER)
    assert (kept.broken_rules, kept["_warnings"], kept[column]) == ([], [f"{column}_is_readable"], None)


def test_event_without_identity_is_kept_with_a_warning(bronze_rows, verdicts) -> None:
    no_identity = dict.fromkeys(("customer_id", "email", "anonymous_id"))
    [verdict] = verdicts(build_events_silver(bronze_rows(EVENTS_BRONZE, VIEW | no_identity)), EVENTS_SILVER)
    assert (verdict.broken_rules, verdict["_warnings"]) == ([], ["identity_is_present"])
