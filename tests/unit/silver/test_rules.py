"""Tests of the rules of silver tables, with rows that break each rule and unusual rows that break none."""

from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.silver import (
    CONSENTS_SILVER,
    CRM_CONTACTS_SILVER,
    CUSTOMERS_SILVER,
    EVENTS_SILVER,
    EXCHANGE_RATES_SILVER,
    MARKETING_SPEND_SILVER,
    PRODUCTS_SILVER,
    RETAILS_SILVER,
    SILVER_TABLES,
    STORES_SILVER,
    TRANSACTIONS_SILVER,
)
from cdp_lib.contracts.table import KEY_IS_UNIQUE, VALUES_FIT, Column, TableContract
from cdp_lib.pipeline.graph import platform_graph
from cdp_lib.pipeline.merge_by_key import MergeByKey
from cdp_lib.quality import check_rows, check_versions

Received = dict[str, Any]

TABLES = {
    table.contract: table for table in platform_graph().tables.values() if isinstance(table.materialization, MergeByKey)
}
"""Silver tables that received rows are merged into, by contract."""

GOOD: dict[TableContract, Received] = {
    CUSTOMERS_SILVER: {
        "customer_id": "101",
        "full_name": "Alba Ackerfeld",
        "email": "alba@example.com",
        "country": "Egypt",
        "registration_date": "2025-10-16",
    },
    PRODUCTS_SILVER: {
        "product_id": 1,
        "product_name": "Yoga Mat",
        "category": "Fitness",
        "price": Decimal("499.00"),
    },
    STORES_SILVER: {"store_id": 1, "store_name": "City Mall Store", "location": "UAE"},
    TRANSACTIONS_SILVER: {
        "transaction_id": 31,
        "customer_id": 101,
        "product_id": 1,
        "store_id": 1,
        "quantity": 3,
        "transaction_date": date(2025, 4, 1),
    },
    CRM_CONTACTS_SILVER: {"contactid": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff", "fullname": "Alba Ackerfeld"},
    EVENTS_SILVER: {
        "event_id": "e1",
        "event_type": "page_view",
        "occurred_at": "2026-01-30T08:00:00Z",
        "customer_id": "101",
    },
    MARKETING_SPEND_SILVER: {
        "month": "2026-01",
        "channel": "email",
        "campaign": "New Year",
        "amount": "530.00",
        "currency": "USD",
    },
    EXCHANGE_RATES_SILVER: {"month": "2026-01", "currency": "EUR", "rate": "1.08"},
    CONSENTS_SILVER: {
        "record_id": "r1",
        "email": "alba@example.com",
        "purpose": "marketing",
        "channel": "email",
        "state": "given",
        "decided_at": "2026-01-30T08:00:00Z",
    },
}
"""For each silver table: a bronze row that passes all rules. It was extracted on 31 January 2026."""


def each(column: str, *values: Any) -> list[Received]:
    return [{column: value} for value in values]


INVALID_EMAILS = ("alba", "alba@example", "@example.com", "alba@", "al ba@example.com", "a@b@example.com", "a@example.")
TOO_EARLY, TOO_LATE = "1989-12-31", "2026-02-02"

BREAKING: dict[TableContract, dict[str, list[Received]]] = {
    CUSTOMERS_SILVER: {
        "customer_id_is_present": each("customer_id", None, " "),
        "country_is_present": each("country", None, "\u00a0", "unknown"),
        "registration_date_is_present": each("registration_date", None, ""),
        "registration_date_is_plausible registration_date_is_present": each(
            "registration_date", TOO_EARLY, TOO_LATE, "9999-12-31", "16.10.2025", "2025"
        ),
        "updated_at_is_readable": each("updated_at", "yesterday"),
        "full_name_is_present": each("full_name", None, " "),
        "email_looks_like_one": each("email", *INVALID_EMAILS),
        "values_fit_their_columns customer_id_is_present": each("customer_id", "C-101", "101.5"),
    },
    PRODUCTS_SILVER: {
        "product_id_is_present": each("product_id", None),
        "product_name_is_present": each("product_name", None, " "),
        "category_is_present": each("category", None, ""),
        "price_is_not_negative": each("price", Decimal("-0.01"), None),
        "unit_cost_is_readable": each("unit_cost", "unknown"),
        "updated_at_is_readable": each("updated_at", "yesterday"),
    },
    STORES_SILVER: {
        "store_id_is_present": each("store_id", None),
        "store_name_is_present": each("store_name", None, "\t"),
        "location_is_present": each("location", None, ""),
        "updated_at_is_readable": each("updated_at", "30.01.2026"),
    },
    TRANSACTIONS_SILVER: {
        "transaction_id_is_present": each("transaction_id", None),
        "quantity_is_not_zero": each("quantity", 0, None),
        "transaction_date_is_present": each("transaction_date", None),
        "sold_at_is_readable": each("sold_at", "noon"),
        "unit_price_fits": each("unit_price", "free", "100000000000000"),
        "line_amount_fits": each("line_amount", "12,50"),
        "discount_amount_fits": each("discount_amount", "none"),
        "tax_amount_fits": each("tax_amount", "20 %"),
        "transaction_date_is_plausible": each("transaction_date", date(1989, 12, 31), date(2026, 2, 2)),
        "updated_at_is_readable": each("updated_at", "yesterday"),
    },
    CRM_CONTACTS_SILVER: {
        "contact_id_is_present": each("contactid", None, " "),
        "birth_date_is_plausible": each("birthdate", "1899-12-31", "2026-02-01", "31.12.1999"),
        "email_looks_like_one": each("emailaddress1", *INVALID_EMAILS),
        "customer_id_is_readable": each("cdp_customerid", "C-101"),
        "acquisition_date_is_readable": each("cdp_acquisitiondate", "soon"),
        "created_at_is_readable": each("createdon", "soon"),
        **{
            name: each(column, "maybe")
            for channel in ("email", "sms", "phone")
            for name, column in (
                (f"is_{channel}_allowed_is_readable", f"cdp_{channel}consent"),
                (f"{channel}_consent_at_is_readable", f"cdp_{channel}consenton"),
            )
        },
    },
    EVENTS_SILVER: {
        "event_id_is_present": each("event_id", None, ""),
        "event_type_is_present": each("event_type", None, " "),
        "occurred_at_is_present": each("occurred_at", None, ""),
        "occurred_at_is_plausible": each("occurred_at", "1989-12-31T23:59:59Z", "2026-02-02T00:00:01Z"),
        "identity_is_present": each("customer_id", None),
        "email_looks_like_one": each("email", *INVALID_EMAILS),
        "customer_id_is_readable identity_is_present": each("customer_id", "C-101"),
        "product_id_is_readable": each("product_id", "P-1"),
        "is_tracking_allowed_is_readable": each("consent", "maybe"),
    },
    MARKETING_SPEND_SILVER: {
        "month_is_present": each("month", None, ""),
        "channel_is_present": each("channel", None, " "),
        "campaign_is_present": each("campaign", None, ""),
        "amount_is_not_negative": each("amount", "-0.01", None),
        "currency_is_a_code": each("currency", None, "US", "USDT", "U$D", "840"),
    },
    EXCHANGE_RATES_SILVER: {
        "month_is_present": each("month", None, ""),
        "currency_is_a_code": each("currency", None, "E", "EURO"),
        "rate_is_positive": each("rate", "0", "-1.08", None),
    },
    CONSENTS_SILVER: {
        "record_id_is_present": each("record_id", None, " "),
        "identity_is_present": each("email", None, ""),
        "purpose_is_known channel_is_known": each("purpose", None, "research"),
        "channel_is_known": [*each("channel", None, "letter", "online"), {"purpose": "analytics"}],
        "state_is_known": each("state", None, "maybe"),
        "decided_at_is_present": each("decided_at", None, ""),
        "decided_at_is_plausible": each("decided_at", "1989-12-31T23:59:59Z", "2026-02-02T00:00:01Z"),
        "email_looks_like_one": each("email", *INVALID_EMAILS),
        "customer_id_is_readable": each("customer_id", "C-101"),
        "values_fit_their_columns decided_at_is_present": each("decided_at", "yesterday"),
    },
}
"""Changes to the good row, by the names of the rules that they break. The first name is the rule under test."""

VALID: dict[TableContract, list[Received]] = {
    CUSTOMERS_SILVER: [
        *each("email", None, "", "Alba.A+b@sub.example.co"),
        *each("registration_date", "1990-01-01", "2026-02-01"),
        *each("updated_at", "2026-01-30T08:00:00Z", None, " "),
    ],
    PRODUCTS_SILVER: each("price", Decimal("0.00")),
    STORES_SILVER: each("updated_at", "2026-01-30 08:00:00"),
    TRANSACTIONS_SILVER: [
        *each("transaction_date", date(1990, 1, 1), date(2026, 2, 1)),
        *({name: None} for name in ("customer_id", "product_id", "store_id")),
        {"quantity": 1},
    ],
    CRM_CONTACTS_SILVER: [
        *each("birthdate", None, "1900-01-01", "2026-01-31"),
        *each("emailaddress1", None, "alba@example.com"),
        {"fullname": None},
    ],
    EVENTS_SILVER: [
        *each("occurred_at", "1990-01-01T00:00:00Z", "2026-02-02T00:00:00Z"),
        {"customer_id": None, "email": "alba@example.com"},
        {"customer_id": None, "anonymous_id": "device-1"},
        {"product_id": None, "channel": None, "consent": None},
    ],
    MARKETING_SPEND_SILVER: [*each("amount", "0"), *each("currency", "usd", " EUR ")],
    EXCHANGE_RATES_SILVER: [*each("rate", "0.00000001"), *each("currency", "eur")],
    CONSENTS_SILVER: [
        *(
            {"purpose": purpose, "channel": channel}
            for purpose, channel in (("Analytics", "ALL"), ("tracking", "online"))
        ),
        *({"email": None, name: "101"} for name in ("customer_id", "contact_id")),
        *each("state", "refused", " Withdrawn "),
        *each("decided_at", "1990-01-01T00:00:00Z", "2026-02-02T00:00:00Z"),
    ],
}
"""Unusual changes to the good row that pass all rules."""

SALE_COLUMNS = (
    *RETAILS_SILVER.columns[:-2],
    Column("_batch_id", "STRING", ""),
    *(Column(f"_{noun}_is_known", "BOOLEAN", "") for noun in ("customer", "product", "store", "rate")),
    Column("record", "STRING", ""),
)
SALE = {
    "transaction_id": 31,
    "transaction_date": date(2025, 4, 1),
    "sale_month": date(2025, 4, 1),
    "registration_date": date(2025, 4, 1),
    "price": Decimal("499.00"),
    "customer_id": 101,
    "revenue": Decimal("499.00"),
    "_customer_is_known": True,
    "_product_is_known": True,
    "_store_is_known": True,
    "_rate_is_known": True,
}
BREAKING_SALES: dict[str, list[Received]] = {
    "customer_is_known": each("_customer_is_known", None, False),
    "product_is_known": [*each("_product_is_known", None, False), {"price": None}],
    "store_is_known": each("_store_is_known", None, False),
    "exchange_rate_is_known": each("_rate_is_known", False),
    "revenue_fits": each("revenue", None),
    "sale_is_not_before_registration": each("registration_date", date(2025, 4, 2)),
}
VALID_SALES = [
    *each("registration_date", None, date(2025, 3, 31)),
    {"customer_id": None, "_customer_is_known": None},
    {"revenue": Decimal("-499.00"), "quantity": Decimal(-1)},
]

every_table = pytest.mark.parametrize("contract", TABLES, ids=lambda contract: contract.name)


def expected(contract: TableContract, names: str) -> tuple[list[str], list[str]]:
    """Split the named rules into rejecting rules and warning rules. Return both lists in the order of the contract."""
    rules = [rule for rule in contract.rules if rule.name in names.split()]
    assert len(rules) == len(names.split())
    reject, warn = ([rule.name for rule in rules if rule.severity == severity] for severity in ("reject", "warn"))
    return reject, warn


def verdicts_of(rows: DataFrame) -> list[tuple[list[str], list[str]]]:
    """Return (broken rules, warnings) for each row, ordered by batch."""
    ordered = rows.orderBy(sf.col("_batch_id").cast("int")).select("broken_rules", "_warnings")
    return [(row["broken_rules"], row["_warnings"]) for row in ordered.collect()]


@pytest.fixture
def judge(bronze_rows) -> Callable[[TableContract, Iterable[Received]], list[tuple[list[str], list[str]]]]:
    """Return a function that checks changed copies of a row that breaks no rule.

    Each change gives one copy, in its own batch. The function returns (broken rules, warnings) for each copy.
    """

    def judge(contract: TableContract, changes: Iterable[Received]) -> list[tuple[list[str], list[str]]]:
        received = [GOOD[contract] | change | {"_batch_id": str(n)} for n, change in enumerate(changes)]
        rows = TABLES[contract].build(bronze_rows(TABLES[contract].reads[0], *received))
        return verdicts_of(check_versions(rows, contract))

    return judge


@pytest.mark.every_case
@every_table
def test_row_that_breaks_a_rule_has_the_name_of_the_rule(judge, contract: TableContract) -> None:
    broken = [(names, change) for names, changes in BREAKING[contract].items() for change in changes]
    verdicts = judge(contract, [change for _, change in broken])
    for (names, change), verdict in zip(broken, verdicts, strict=True):
        assert verdict == expected(contract, names), change


@pytest.mark.every_case
@every_table
def test_unusual_rows_that_pass_all_rules_are_kept(judge, contract: TableContract) -> None:
    changes = [{}, *VALID[contract]]
    assert dict(enumerate(judge(contract, changes))) == {number: ([], []) for number in range(len(changes))}


@every_table
def test_row_with_rescued_data_breaks_values_fit(judge, contract: TableContract) -> None:
    assert judge(contract, [{"_rescued_data": '{"x":"y"}'}]) == [([VALUES_FIT.name], [])]


@every_table
def test_different_rows_of_one_key_and_batch_break_key_is_unique(bronze_rows, contract: TableContract) -> None:
    received = [GOOD[contract] | {"_rescued_data": f'{{"x":"{text}"}}'} for text in ("one", "other")]
    for rows, names in ((received, [VALUES_FIT.name, KEY_IS_UNIQUE.name]), (received[:1] * 2, [VALUES_FIT.name])):
        built = TABLES[contract].build(bronze_rows(TABLES[contract].reads[0], *rows))
        verdicts = check_versions(built, contract).select("broken_rules").collect()
        assert [row.broken_rules for row in verdicts] == [names] * 2


def test_sale_that_breaks_a_rule_has_the_name_of_the_rule(frame_of) -> None:
    broken = [(names, change) for names, changes in BREAKING_SALES.items() for change in changes]
    sales = [SALE | change | {"_batch_id": str(number)} for number, (_, change) in enumerate(broken)]
    checked = check_rows(frame_of(SALE_COLUMNS, *sales), RETAILS_SILVER)
    verdicts = {row["_batch_id"]: (row.broken_rules, []) for row in checked.refused.collect()}
    verdicts |= {row["_batch_id"]: ([], row["_warnings"]) for row in checked.kept.collect()}
    assert verdicts == {str(number): expected(RETAILS_SILVER, names) for number, (names, _) in enumerate(broken)}


def test_unusual_sales_that_pass_all_rules_are_kept(frame_of) -> None:
    sales = [SALE | change for change in ({}, *VALID_SALES)]
    checked = check_rows(frame_of(SALE_COLUMNS, *sales), RETAILS_SILVER)
    assert [row["_warnings"] for row in checked.kept.collect()] == [[]] * len(sales)
    assert checked.refused.count() == 0


def test_every_rule_has_a_breaking_row_and_every_breaking_row_has_a_rule() -> None:
    shared_rules = {VALUES_FIT.name, KEY_IS_UNIQUE.name}
    breaking = {contract.name: rules for contract, rules in (*BREAKING.items(), (RETAILS_SILVER, BREAKING_SALES))}
    for contract in SILVER_TABLES:
        names = {names.split()[0] for names, changes in breaking.get(contract.name, {}).items() if changes}
        own = {rule.name for rule in contract.rules} - shared_rules
        assert names - shared_rules == own, contract.name
        assert shared_rules <= {rule.name for rule in contract.rules} or contract not in TABLES


def test_every_merged_table_has_test_rows() -> None:
    assert set(TABLES) == set(GOOD)
    assert list(GOOD) == list(BREAKING) == list(VALID)


@pytest.mark.every_case
@every_table
def test_builder_returns_the_columns_of_its_table(bronze_rows, contract: TableContract) -> None:
    rows = TABLES[contract].build(bronze_rows(TABLES[contract].reads[0], GOOD[contract]))
    types = dict(rows.dtypes)
    typed = {c.name: c.type.lower() for c in contract.columns if c.name != "_warnings"}
    assert {name: types.get(name) for name in typed} == typed


@every_table
def test_tombstone_needs_only_its_key(bronze_rows, contract: TableContract) -> None:
    key = {name: GOOD[contract][name] for name in TABLES[contract].reads[0].record_key}
    rows = TABLES[contract].build(bronze_rows(TABLES[contract].reads[0], key | {"_is_deleted": True}, key))
    by_is_deleted = {row["_is_deleted"]: row.asDict() for row in rows.collect()}
    assert set(by_is_deleted) == {True, False}
    assert all(by_is_deleted[True][name] is not None for name in contract.key)
