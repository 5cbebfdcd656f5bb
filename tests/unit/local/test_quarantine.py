"""Tests of the queries for quarantined rows and rows with warnings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pyspark.sql import DataFrame

from cdp_lib.contracts.identity import PERSON_LINKS_SILVER
from cdp_lib.contracts.silver import CUSTOMERS_SILVER, RETAILS_SILVER, STORES_SILVER
from cdp_lib.contracts.table import Column, TableContract
from cdp_lib.errors import CdpError
from cdp_lib.storage import DeltaStore
from cdp_local.quarantine import (
    Example,
    Finding,
    checked_table,
    examples_by_rule,
    findings,
    first_quarantined,
    quarantined_rows,
    shared_identities,
    warned_rows,
)

FrameOf = Callable[..., DataFrame]
FIRST, SECOND = "20260101T000000Z-1", "20260102T000000Z-2"


def rejected(key: str | None, *rules: str, batch_id: str = FIRST) -> dict[str, Any]:
    return {"record": f'{{"key":"{key}"}}', "broken_rules": list(rules), "record_key": key, "_batch_id": batch_id}


def write(store: DeltaStore, frame_of: FrameOf, contract: TableContract, *rows: dict[str, Any]) -> None:
    store.replace(contract, frame_of(contract.columns, *rows))


def test_row_that_breaks_several_rules_counts_per_rule_and_once_in_total(store: DeltaStore, frame_of: FrameOf) -> None:
    rows = [
        rejected("10", "store_name_is_present", "location_is_present", batch_id=SECOND),
        rejected("9", "location_is_present"),
        rejected(None, "store_id_is_present"),
    ]
    write(store, frame_of, STORES_SILVER.quarantine, *rows)

    found = findings(quarantined_rows(store, [STORES_SILVER]))

    assert found == [
        Finding("stores_silver", "store_id_is_present", 1, 1, FIRST, None),
        Finding("stores_silver", "store_name_is_present", 1, 1, SECOND, "10"),
        Finding("stores_silver", "location_is_present", 2, 1, FIRST, "9"),
    ]
    assert found[0].meaning == "A store has a number: sales refer to it."


def test_finding_of_a_removed_rule_says_so(store: DeltaStore, frame_of: FrameOf) -> None:
    write(store, frame_of, STORES_SILVER.quarantine, rejected("1", "is_nice"), rejected("2", "store_id_is_present"))

    known, unknown = findings(quarantined_rows(store, [STORES_SILVER]))

    assert (known.rule, unknown.rule) == ("store_id_is_present", "is_nice")
    assert unknown.meaning.startswith("A rule of an earlier code version: full_refresh=true")


def test_examples_have_the_smallest_keys_first_and_rows_without_key_last(store: DeltaStore, frame_of: FrameOf) -> None:
    rows = [rejected(key, "location_is_present") for key in (None, "100", "20", "3")]
    write(store, frame_of, STORES_SILVER.quarantine, *rows)
    exploded = quarantined_rows(store, [STORES_SILVER])

    def keys(number: int) -> list[str | None]:
        return [row.key for row in examples_by_rule(exploded, number)["stores_silver", "location_is_present"]]

    assert keys(2) == ["3", "20"]
    assert keys(9) == ["3", "20", "100", None]
    assert examples_by_rule(exploded, 0) == {}
    assert [row[0] for row in first_quarantined(store, STORES_SILVER, 3)] == ["3", "20", "100"]


def test_quarantines_of_an_earlier_version_can_be_read(store: DeltaStore, frame_of: FrameOf) -> None:
    """An earlier version of the platform wrote quarantine tables without a key column and with other comments."""
    old = replace(
        CUSTOMERS_SILVER.quarantine,
        columns=(
            Column("record", "STRING", "as received", required=True),
            Column("broken_rules", "ARRAY<STRING>", "rules", required=True),
            Column("_batch_id", "STRING", "batch", required=True),
        ),
    )
    write(store, frame_of, old, {"record": "{}", "broken_rules": ["country_is_present"], "_batch_id": FIRST})
    write(store, frame_of, STORES_SILVER.quarantine, rejected("1", "location_is_present"))

    rows = quarantined_rows(store, [CUSTOMERS_SILVER, STORES_SILVER, RETAILS_SILVER])

    assert [(found.table, found.key) for found in findings(rows)] == [
        ("customers_silver", None),
        ("stores_silver", "1"),
    ]
    assert examples_by_rule(rows, 1) == {
        ("customers_silver", "country_is_present"): [Example(None, "{}")],
        ("stores_silver", "location_is_present"): [Example("1", '{"key":"1"}')],
    }
    assert first_quarantined(store, CUSTOMERS_SILVER, 1) == [(None, ["country_is_present"], FIRST, "{}")]


def test_warnings_are_counted_by_rule_with_the_keys_of_rows(store: DeltaStore, frame_of: FrameOf) -> None:
    rows = [
        {"customer_id": 20, "_warnings": ["full_name_is_present", "email_looks_like_one"], "_batch_id": SECOND},
        {"customer_id": 3, "_warnings": ["email_looks_like_one"], "_batch_id": FIRST},
        {"customer_id": 4, "_warnings": [], "_batch_id": FIRST},
        {"customer_id": 5, "_warnings": None, "_batch_id": FIRST},
    ]
    write(store, frame_of, CUSTOMERS_SILVER, *rows)

    warned = warned_rows(store, [CUSTOMERS_SILVER, STORES_SILVER, RETAILS_SILVER])

    assert findings(warned) == [
        Finding("customers_silver", "full_name_is_present", 1, 1, SECOND, "20"),
        Finding("customers_silver", "email_looks_like_one", 2, 1, FIRST, "3"),
    ]
    assert examples_by_rule(warned, 5)["customers_silver", "email_looks_like_one"] == [
        Example("3", None),
        Example("20", None),
    ]


def test_missing_tables_have_no_findings(store: DeltaStore) -> None:
    assert quarantined_rows(store, [STORES_SILVER]) is None
    assert warned_rows(store, [CUSTOMERS_SILVER]) is None
    assert (findings(None), examples_by_rule(None, 3)) == ([], {})
    assert first_quarantined(store, STORES_SILVER, 3) == []
    assert shared_identities(store) == 0


def test_records_with_a_shared_identifier_are_counted(store: DeltaStore, frame_of: FrameOf) -> None:
    rows = [
        {"record_key": "email:b@example.com", "reason": "shared_value"},
        {"record_key": "contact:2", "reason": "only_record"},
        {"record_key": "email:a@example.com", "reason": "shared_value"},
    ]
    known = {"source": "events", "person_id": 1, "component": "c"}
    write(store, frame_of, PERSON_LINKS_SILVER, *(known | row for row in rows))

    assert shared_identities(store) == 2
    assert shared_identities(store, ["person_links_silver"]) == 2
    assert shared_identities(store, ["customers_silver"]) == 0


@pytest.mark.parametrize("name", ["stores_silver", "stores_silver_quarantine"])
def test_table_is_found_by_its_name_or_the_name_of_its_quarantine(name: str) -> None:
    assert checked_table(name) is STORES_SILVER


@pytest.mark.parametrize("name", ["", "stores", "country_gold", "country_gold_quarantine"])
def test_table_without_rules_is_rejected(name: str) -> None:
    with pytest.raises(CdpError, match=f"^Table '{name}' has no rules.* customers_silver, .*, consents_silver.$"):
        checked_table(name)
