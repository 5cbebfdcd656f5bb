import json
from datetime import date

import pytest

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE
from cdp_lib.contracts.silver import CUSTOMERS_SILVER
from cdp_lib.quality import VALUES_FIT, check_snapshot
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
    typed = (101, "Alba Ackerfeld", "alba@example.com", "Egypt", date(2025, 10, 16))
    assert tuple(row[name] for name in CUSTOMERS_SILVER.column_names) == typed
    assert row["_rescued_data"] is None


def test_build_customers_silver_cleans_texts_and_writes_addresses_in_lower_case(bronze_rows) -> None:
    received = ALBA | {
        "customer_id": " 101 ",
        "full_name": " Alba \t Ackerfeld\u00a0",
        "email": " Alba@Example.COM ",
        "country": "  ",
    }
    [row] = build_customers_silver(bronze_rows(CUSTOMERS_BRONZE, received)).collect()
    cleaned = (101, "Alba Ackerfeld", "alba@example.com", None, date(2025, 10, 16))
    assert tuple(row[name] for name in CUSTOMERS_SILVER.column_names) == cleaned
    assert row["_rescued_data"] is None


@pytest.mark.parametrize("blank", ["", " ", "\t\n", "\u00a0"])
def test_build_customers_silver_takes_a_blank_as_missing_and_not_as_misfit(bronze_rows, blank: str) -> None:
    rows = build_customers_silver(bronze_rows(CUSTOMERS_BRONZE, dict.fromkeys(ALBA, blank)))
    [row] = rows.collect()
    assert [row[name] for name in ALBA] == [None] * 5
    assert row["_rescued_data"] is None


@pytest.mark.parametrize(
    ("name", "text"), [("customer_id", "C-101"), ("customer_id", "101.5"), ("registration_date", "16.10.2025")]
)
def test_build_customers_silver_names_a_value_that_does_not_parse(bronze_rows, name: str, text: str) -> None:
    [row] = build_customers_silver(bronze_rows(CUSTOMERS_BRONZE, ALBA | {name: text})).collect()
    assert row[name] is None
    assert json.loads(row["_rescued_data"]) == {name: text}


def test_build_customers_silver_keeps_what_bronze_had_rescued(bronze_rows) -> None:
    received = {"customer_id": "x", "_rescued_data": '{"_record":"[1]"}'}
    [row] = build_customers_silver(bronze_rows(CUSTOMERS_BRONZE, received)).collect()
    assert row["_rescued_data"] == '{"_record":"[1]"}'


def test_build_customers_silver_keeps_the_record_as_received(bronze_rows) -> None:
    received = ALBA | {"full_name": '  Alba "A" \\', "email": None, "country": "\u2028"}
    [row] = build_customers_silver(bronze_rows(CUSTOMERS_BRONZE, received)).collect()
    assert json.loads(row["record"]) == {name: value for name, value in received.items() if value is not None}


def test_a_customer_whose_day_does_not_parse_is_in_quarantine_with_both_reasons(bronze_rows) -> None:
    rows = bronze_rows(CUSTOMERS_BRONZE, ALBA | {"registration_date": "soon"})
    checked = check_snapshot(build_customers_silver(rows), CUSTOMERS_SILVER)
    [refused] = checked.refused.collect()
    assert refused.broken_rules == [VALUES_FIT, "registration_date_is_present"]
    assert json.loads(refused.record)["registration_date"] == "soon"
    assert checked.kept.count() == 0


def test_customers_of_one_id_that_differ_only_in_blanks_are_two_different_records(bronze_rows) -> None:
    rows = bronze_rows(
        CUSTOMERS_BRONZE,
        ALBA | {"_record_hash": "h1"},
        ALBA | {"customer_id": " 101", "_record_hash": "h2"},
    )
    checked = check_snapshot(build_customers_silver(rows), CUSTOMERS_SILVER)
    assert (checked.kept.count(), checked.refused.count()) == (0, 2)
