import json
from datetime import UTC, date, datetime

import pytest

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE
from cdp_lib.contracts.silver import CUSTOMERS_SILVER
from cdp_lib.contracts.table import KEY_IS_UNIQUE
from cdp_lib.silver.customers import build_customers_silver

ALBA = {
    "customer_id": "101",
    "full_name": "Alba Ackerfeld",
    "email": "alba@example.com",
    "country": "Egypt",
    "registration_date": "2025-10-16",
}


def test_build_customers_silver_types_ids_and_days(bronze_rows) -> None:
    [row] = build_customers_silver(bronze_rows(CUSTOMERS_BRONZE, ALBA)).collect()
    assert [row[name] for name in ALBA] == [101, "Alba Ackerfeld", "alba@example.com", "Egypt", date(2025, 10, 16)]
    assert (row["updated_at"], row["_rescued_data"]) == (None, None)


def test_build_customers_silver_cleans_texts_and_lowercases_addresses(bronze_rows) -> None:
    received = ALBA | {
        "customer_id": " 101 ",
        "full_name": " Alba \t Ackerfeld\u00a0",
        "email": " Alba@Example.COM ",
        "country": "  ",
    }
    [row] = build_customers_silver(bronze_rows(CUSTOMERS_BRONZE, received)).collect()
    assert [row[name] for name in ALBA] == [101, "Alba Ackerfeld", "alba@example.com", "unknown", date(2025, 10, 16)]
    assert row["_rescued_data"] is None


@pytest.mark.parametrize("blank", ["", " ", "\t\n", "\u00a0"])
def test_build_customers_silver_reads_blanks_as_null_without_rescuing_them(bronze_rows, blank: str) -> None:
    rows = build_customers_silver(bronze_rows(CUSTOMERS_BRONZE, dict.fromkeys(ALBA, blank)))
    [row] = rows.collect()
    assert [row[name] for name in ALBA] == [None, None, None, "unknown", None]
    assert row["_rescued_data"] is None


def test_country_with_the_name_of_a_total_is_marked_as_a_value(bronze_rows) -> None:
    [row] = build_customers_silver(bronze_rows(CUSTOMERS_BRONZE, ALBA | {"country": " all  Countries"})).collect()
    assert (row["country"], row["_country_fits"]) == ("all Countries (value)", True)
    assert json.loads(row["record"])["country"] == " all  Countries"


@pytest.mark.parametrize("text", ["C-101", "101.5"])
def test_build_customers_silver_rescues_a_number_that_does_not_parse(bronze_rows, text: str) -> None:
    [row] = build_customers_silver(bronze_rows(CUSTOMERS_BRONZE, ALBA | {"customer_id": text})).collect()
    assert row["customer_id"] is None
    assert json.loads(row["_rescued_data"]) == {"customer_id": text}


def test_build_customers_silver_keeps_rescued_data_of_bronze(bronze_rows) -> None:
    received = {"customer_id": "x", "_rescued_data": '{"_record":"[1]"}'}
    [row] = build_customers_silver(bronze_rows(CUSTOMERS_BRONZE, received)).collect()
    assert row["_rescued_data"] == '{"_record":"[1]"}'


def test_build_customers_silver_keeps_the_record_as_received(bronze_rows) -> None:
    received = ALBA | {"full_name": '  Alba "A" \\', "email": None, "country": "\u2028"}
    [row] = build_customers_silver(bronze_rows(CUSTOMERS_BRONZE, received)).collect()
    assert json.loads(row["record"]) == {name: value for name, value in received.items() if value is not None}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-01-30T08:00:00+02:00", datetime(2026, 1, 30, 6, tzinfo=UTC).timestamp()),
        ("2026-01-30 06:00:00", datetime(2026, 1, 30, 6, tzinfo=UTC).timestamp()),
        ("yesterday", None),
        (None, None),
    ],
)
def test_build_customers_silver_parses_updated_at(bronze_rows, text, seconds) -> None:
    rows = build_customers_silver(bronze_rows(CUSTOMERS_BRONZE, ALBA | {"updated_at": text}))
    [row] = rows.selectExpr("unix_seconds(updated_at) AS seconds", "_rescued_data").collect()
    assert tuple(row) == (seconds, None)


def test_build_customers_silver_keeps_every_version_and_marks_tombstones(bronze_rows) -> None:
    tombstone = {"customer_id": "101", "_is_deleted": True, "_batch_id": "b2"}
    rows = build_customers_silver(bronze_rows(CUSTOMERS_BRONZE, ALBA, ALBA, ALBA | {"_is_deleted": False}, tombstone))
    versions = rows.select("customer_id", "_is_deleted", "_batch_id").collect()
    assert sorted(tuple(row) for row in versions) == [*[(101, False, "b1")] * 3, (101, True, "b2")]


@pytest.mark.parametrize("text", ["soon", "16.10.2025", "9999-12-31"])
def test_customer_with_an_unusable_registration_date_is_kept_with_warnings(bronze_rows, verdicts, text: str) -> None:
    rows = bronze_rows(CUSTOMERS_BRONZE, ALBA | {"registration_date": text})
    [kept] = verdicts(build_customers_silver(rows), CUSTOMERS_SILVER)
    assert (kept.broken_rules, kept["registration_date"]) == ([], None)
    assert kept["_warnings"] == ["registration_date_is_present", "registration_date_is_plausible"]
    assert json.loads(kept.record)["registration_date"] == text


def test_customer_with_only_a_number_is_kept(bronze_rows, verdicts) -> None:
    [kept] = verdicts(build_customers_silver(bronze_rows(CUSTOMERS_BRONZE, {"customer_id": "101"})), CUSTOMERS_SILVER)
    assert kept.broken_rules == []
    assert kept["_warnings"] == ["country_is_present", "registration_date_is_present", "full_name_is_present"]


def test_records_of_one_customer_that_differ_only_in_blanks_are_different(bronze_rows, verdicts) -> None:
    rows = bronze_rows(CUSTOMERS_BRONZE, ALBA, ALBA | {"customer_id": " 101"})
    checked = verdicts(build_customers_silver(rows), CUSTOMERS_SILVER)
    assert [row.broken_rules for row in checked] == [[KEY_IS_UNIQUE.name]] * 2
