import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import DataFrame

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.silver import CUSTOMERS_SILVER, RETAILS_SILVER, TRANSACTIONS_SILVER
from cdp_lib.contracts.table import Column, Rule, TableContract
from cdp_lib.quality import KEY_IS_UNIQUE, VALUES_FIT, CheckedRows, check_rows, check_snapshot

CONTRACTS = {name: contract for name, contract in TABLES.items() if contract.rules}

GOOD: dict[str, dict[str, Any]] = {
    "customers_silver": {
        "customer_id": 101,
        "full_name": "Alba Ackerfeld",
        "email": "alba@example.com",
        "country": "Egypt",
        "registration_date": date(2025, 10, 16),
    },
    "products_silver": {
        "product_id": 1,
        "product_name": "Yoga Mat",
        "category": "Fitness",
        "price": Decimal("499.00"),
    },
    "stores_silver": {"store_id": 1, "store_name": "City Mall Store", "location": "UAE"},
    "transactions_silver": {
        "transaction_id": 31,
        "customer_id": 101,
        "product_id": 1,
        "store_id": 1,
        "quantity": 3,
        "transaction_date": date(2025, 4, 1),
    },
    "retails_silver": {
        "transaction_id": 31,
        "customer_id": 101,
        "product_id": 1,
        "store_id": 1,
        "quantity": 3,
        "transaction_date": date(2025, 4, 1),
        "full_name": "Alba Ackerfeld",
        "email": "alba@example.com",
        "country": "Egypt",
        "registration_date": date(2025, 10, 16),
        "product_name": "Yoga Mat",
        "category": "Fitness",
        "price": Decimal("499.00"),
        "store_name": "City Mall Store",
        "location": "UAE",
        "_customer_is_known": True,
        "_product_is_known": True,
        "_store_is_known": True,
    },
}

BREAKING: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("customers_silver", "customer_id_is_present"): [{"customer_id": None}],
    ("customers_silver", "country_is_present"): [{"country": None}],
    ("customers_silver", "registration_date_is_present"): [{"registration_date": None}],
    ("products_silver", "product_id_is_present"): [{"product_id": None}],
    ("products_silver", "product_name_is_present"): [{"product_name": None}],
    ("products_silver", "category_is_present"): [{"category": None}],
    ("products_silver", "price_is_not_negative"): [{"price": Decimal("-0.01")}, {"price": None}],
    ("stores_silver", "store_id_is_present"): [{"store_id": None}],
    ("stores_silver", "store_name_is_present"): [{"store_name": None}],
    ("stores_silver", "location_is_present"): [{"location": None}],
    ("transactions_silver", "transaction_id_is_present"): [{"transaction_id": None}],
    ("transactions_silver", "quantity_is_positive"): [{"quantity": 0}, {"quantity": -1}, {"quantity": None}],
    ("transactions_silver", "transaction_date_is_present"): [{"transaction_date": None}],
    ("retails_silver", "customer_is_known"): [{"_customer_is_known": None}, {"_customer_is_known": False}],
    ("retails_silver", "product_is_known"): [{"_product_is_known": None}],
    ("retails_silver", "store_is_known"): [{"_store_is_known": None}],
}
"""For every rule the changes that make a good row break it, and no other rule."""

KEEPING: dict[str, list[dict[str, Any]]] = {
    "customers_silver": [{"full_name": None}, {"email": None}],
    "products_silver": [{"price": Decimal("0.00")}],
    "transactions_silver": [
        {"customer_id": None},
        {"product_id": None},
        {"store_id": None},
        {"quantity": 1},
        {"transaction_date": date(1900, 1, 1)},
    ],
    "retails_silver": [{"registration_date": date(2025, 12, 31)}, {"full_name": None}],
}
"""Changes that look odd and break nothing."""

CHECK_COLUMNS = (
    Column("record", "STRING", ""),
    Column("_rescued_data", "STRING", ""),
    Column("_record_hash", "STRING", ""),
    Column("_batch_id", "STRING", ""),
    Column("_customer_is_known", "BOOLEAN", ""),
    Column("_product_is_known", "BOOLEAN", ""),
    Column("_store_is_known", "BOOLEAN", ""),
)

Rows = Callable[..., DataFrame]


@pytest.fixture
def rows(frame_of: Callable[..., DataFrame]) -> Rows:
    """Rows ready to be checked: good ones with changes; rows of the same record have the same hash."""

    def build(contract: TableContract, *changes: dict[str, Any]) -> DataFrame:
        own = {column.name for column in contract.columns}
        columns = (*contract.columns, *(column for column in CHECK_COLUMNS if column.name not in own))
        good = GOOD[contract.name] | {"_batch_id": "b1"}
        received = [good | change for change in changes]
        texts = [json.dumps(row, default=str) for row in received]
        return frame_of(
            columns, *({"record": text, "_record_hash": text} | row for text, row in zip(texts, received, strict=True))
        )

    return build


def reasons(checked: CheckedRows) -> list[list[str]]:
    return sorted(row.broken_rules for row in checked.refused.collect())


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
def test_a_row_that_breaks_a_rule_is_refused_with_its_name(rows: Rows, contract: TableContract) -> None:
    broken = [(rule.name, change) for rule in contract.rules for change in BREAKING[contract.name, rule.name]]
    named = [change | {"record": f"{number} breaks {name}"} for number, (name, change) in enumerate(broken)]
    checked = check_rows(rows(contract, *named, {}), contract)
    refused = {row.record: row.broken_rules for row in checked.refused.collect()}
    assert refused == {change["record"]: [name] for change, (name, _) in zip(named, broken, strict=True)}
    assert checked.kept.count() == 1


def test_every_rule_has_a_row_that_breaks_it_and_every_such_row_a_rule() -> None:
    assert set(BREAKING) == {(name, rule.name) for name, contract in CONTRACTS.items() for rule in contract.rules}


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
def test_rows_that_break_nothing_are_kept_as_they_are(rows: Rows, rows_of, contract: TableContract) -> None:
    changes = [{}, *KEEPING.get(contract.name, [])]
    checked = check_rows(rows(contract, *changes), contract)
    expected = [GOOD[contract.name] | {"_batch_id": "b1"} | change for change in changes]
    assert rows_of(checked.kept) == sorted(
        (tuple(row[name] for name in contract.column_names) for row in expected), key=repr
    )
    assert checked.kept.dtypes == [(column.name, column.type.lower()) for column in contract.columns]
    assert checked.refused.count() == 0


@pytest.mark.parametrize("check", [check_rows, check_snapshot])
@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
def test_a_row_with_a_value_that_did_not_fit_is_refused(rows: Rows, contract: TableContract, check) -> None:
    checked = check(rows(contract, {"_rescued_data": '{"x":"y"}'}), contract)
    assert reasons(checked) == [[VALUES_FIT]]


def test_a_row_is_refused_with_every_rule_it_breaks_and_as_it_was_received(rows: Rows) -> None:
    broken = {"customer_id": None, "country": None, "_rescued_data": "{}", "record": '{"customer_id":"x"}'}
    [row] = check_snapshot(rows(CUSTOMERS_SILVER, broken), CUSTOMERS_SILVER).refused.collect()
    assert row.asDict() == {
        "record": '{"customer_id":"x"}',
        "broken_rules": [VALUES_FIT, "customer_id_is_present", "country_is_present"],
        "_batch_id": "b1",
    }


def test_a_row_without_key_is_refused_for_that_alone(rows: Rows) -> None:
    no_keys = [{"customer_id": None, "country": country} for country in ("Egypt", "Qatar")]
    checked = check_snapshot(rows(CUSTOMERS_SILVER, *no_keys), CUSTOMERS_SILVER)
    assert reasons(checked) == [["customer_id_is_present"]] * 2


def test_identical_copies_of_a_row_are_superseded_by_one_of_them(rows: Rows) -> None:
    checked = check_snapshot(rows(CUSTOMERS_SILVER, {}, {}, {}, {"customer_id": 102}), CUSTOMERS_SILVER)
    assert sorted(row.customer_id for row in checked.kept.collect()) == [101, 102]
    assert (checked.refused.count(), checked.received) == (0, 4)


def test_identical_copies_of_a_bad_row_are_refused_once(rows: Rows) -> None:
    checked = check_snapshot(rows(CUSTOMERS_SILVER, *[{"country": None}] * 3), CUSTOMERS_SILVER)
    assert reasons(checked) == [["country_is_present"]]
    assert checked.received == 3


def test_two_different_rows_of_one_key_are_both_refused(rows: Rows) -> None:
    checked = check_snapshot(rows(CUSTOMERS_SILVER, {}, {"country": "Qatar"}, {"customer_id": 102}), CUSTOMERS_SILVER)
    assert reasons(checked) == [[KEY_IS_UNIQUE]] * 2
    assert [row.customer_id for row in checked.kept.collect()] == [102]


def test_of_rows_a_a_b_of_one_key_a_and_b_are_refused_and_one_a_is_superseded(rows: Rows) -> None:
    checked = check_snapshot(rows(CUSTOMERS_SILVER, {}, {}, {"country": "Qatar"}), CUSTOMERS_SILVER)
    refused = checked.refused.collect()
    assert sorted(json.loads(row.record)["country"] for row in refused) == ["Egypt", "Qatar"]
    assert reasons(checked) == [[KEY_IS_UNIQUE]] * 2
    assert (checked.kept.count(), checked.received) == (0, 3)


def test_a_good_and_a_bad_row_of_one_key_are_both_refused_the_bad_one_with_both_reasons(rows: Rows) -> None:
    checked = check_snapshot(rows(CUSTOMERS_SILVER, {}, {"country": None}), CUSTOMERS_SILVER)
    assert reasons(checked) == [["country_is_present", KEY_IS_UNIQUE], [KEY_IS_UNIQUE]]


def test_check_rows_does_not_look_at_keys(rows: Rows) -> None:
    checked = check_rows(rows(RETAILS_SILVER, {}, {"quantity": 4}), RETAILS_SILVER)
    assert (checked.kept.count(), checked.refused.count()) == (2, 0)


def test_rows_of_a_key_of_several_columns_are_compared_by_all_of_them(frame_of) -> None:
    contract = TableContract(
        "prices_silver",
        "silver",
        "One row per product and day.",
        (Column("product_id", "INT", "", required=True), Column("day", "INT", "", required=True)),
        ("product_id", "day"),
    )
    received = [(1, 1, "a"), (1, 2, "b"), (2, 1, "c"), (2, 1, "d")]
    names = ("product_id", "day", "_record_hash")
    rows = frame_of((*contract.columns, *CHECK_COLUMNS), *(dict(zip(names, row, strict=True)) for row in received))
    checked = check_snapshot(rows, contract)
    assert sorted(tuple(row) for row in checked.kept.collect()) == [(1, 1), (1, 2)]
    assert reasons(checked) == [[KEY_IS_UNIQUE]] * 2


def test_a_rule_that_cannot_be_answered_counts_as_broken(frame_of) -> None:
    contract = TableContract(
        "t_silver", "silver", "One row.", (Column("n", "INT", ""),), rules=(Rule("n_is_small", "n < 5"),)
    )
    rows = frame_of((*contract.columns, *CHECK_COLUMNS), {"n": 4}, {"n": 5}, {"n": None})
    checked = check_rows(rows, contract)
    assert checked.kept.collect() == [(4,)]
    assert reasons(checked) == [["n_is_small"]] * 2


@pytest.mark.parametrize("check", [check_rows, check_snapshot])
def test_no_rows_are_checked_to_no_rows(rows: Rows, check) -> None:
    checked = check(rows(TRANSACTIONS_SILVER), TRANSACTIONS_SILVER)
    assert (checked.kept.count(), checked.refused.count(), checked.received) == (0, 0, 0)


@pytest.mark.parametrize("seed", range(3))
def test_every_row_received_is_kept_refused_or_superseded(rows: Rows, seed: int) -> None:
    chance = random.Random(seed)
    changes = [
        {
            "transaction_id": chance.choice([None, *range(8)]),
            "quantity": chance.choice([None, 0, 1, 1, 1]),
            "_rescued_data": chance.choice([None] * 9 + ["{}"]),
        }
        for _ in range(60)
    ]
    different = Counter(tuple(change.values()) for change in changes)
    rows_of_key = Counter(key for key, _, _ in different)
    good = {
        (key, quantity, rescued)
        for key, quantity, rescued in different
        if key is not None and quantity == 1 and rescued is None and rows_of_key[key] == 1
    }
    checked = check_snapshot(rows(TRANSACTIONS_SILVER, *changes), TRANSACTIONS_SILVER)
    kept, refused = checked.kept.count(), checked.refused.count()
    assert checked.received == 60
    assert sorted(row.transaction_id for row in checked.kept.collect()) == sorted(key for key, _, _ in good)
    assert refused == len(different) - len(good)
    assert checked.received - kept - refused == 60 - len(different)
