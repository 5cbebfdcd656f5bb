"""Tests that a customer, product or store without optional values loses no sale, in silver and in the marts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from cdp_lib.contracts.bronze import (
    CUSTOMERS_BRONZE,
    PRODUCTS_BRONZE,
    STORE_BRONZE,
    TRANSACTIONS_BRONZE,
)
from cdp_lib.contracts.gold import (
    CATEGORY_COUNTRY_PERFORMANCE_GOLD,
    COUNTRY_DETAILED_ANALYSIS_GOLD,
    CUSTOMER_PRODUCT_AFFINITY_GOLD,
    CUSTOMER_REGISTRATION_TRENDS_GOLD,
    PRICE_SEGMENT_ANALYSIS_GOLD,
    PRODUCT_PERFORMANCE_GOLD,
    SEASONAL_ANALYSIS_GOLD,
    STORE_CUSTOMER_ANALYSIS_GOLD,
    STORE_PRODUCT_PERFORMANCE_GOLD,
)
from cdp_lib.contracts.silver import (
    CUSTOMER_ACQUISITIONS_SILVER,
    CUSTOMERS_SILVER,
    PRODUCTS_SILVER,
    PURCHASES_SILVER,
    RETAILS_SILVER,
    STORES_SILVER,
    TRANSACTIONS_SILVER,
)
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.landing import Load

from ..warehouse import MARTS, OF_SALES, Warehouse, customer, product, sale, store
from .shop import FEBRUARY, JANUARY

BARE: dict[BronzeContract, dict[str, Any]] = {
    CUSTOMERS_BRONZE: {"customer_id": "1"},
    PRODUCTS_BRONZE: {"product_id": 1, "price": Decimal("10.00")},
    STORE_BRONZE: {"store_id": 1},
}
"""Records with nothing but the columns that are not optional."""

EXPECTED = {
    COUNTRY_DETAILED_ANALYSIS_GOLD: [("unknown", 2)],
    CATEGORY_COUNTRY_PERFORMANCE_GOLD: [("unknown", "unknown", Decimal("40.00"))],
    PRODUCT_PERFORMANCE_GOLD: [(1, "unknown", "unknown", 2)],
    CUSTOMER_PRODUCT_AFFINITY_GOLD: [(1, None, 1, "unknown", "unknown", 2)],
    STORE_PRODUCT_PERFORMANCE_GOLD: [(1, "unknown", 1, "unknown", Decimal("40.00"))],
    STORE_CUSTOMER_ANALYSIS_GOLD: [(1, "unknown", "unknown", 2)],
    PRICE_SEGMENT_ANALYSIS_GOLD: [("Budget", "unknown", 2)],
    SEASONAL_ANALYSIS_GOLD: [("Winter", "unknown", Decimal("40.00"))],
    CUSTOMER_REGISTRATION_TRENDS_GOLD: [],
    CUSTOMER_ACQUISITIONS_SILVER: [(1, None, JANUARY, JANUARY)],
}
COLUMNS = {
    COUNTRY_DETAILED_ANALYSIS_GOLD: ("country", "total_transactions"),
    CATEGORY_COUNTRY_PERFORMANCE_GOLD: ("country", "category", "revenue"),
    PRODUCT_PERFORMANCE_GOLD: ("product_id", "product_name", "category", "unique_transactions"),
    CUSTOMER_PRODUCT_AFFINITY_GOLD: (
        *("customer_id", "full_name", "product_id", "product_name", "category", "purchase_frequency"),
    ),
    STORE_PRODUCT_PERFORMANCE_GOLD: ("store_id", "store_name", "product_id", "product_name", "revenue_generated"),
    STORE_CUSTOMER_ANALYSIS_GOLD: ("store_id", "store_name", "location", "total_transactions"),
    PRICE_SEGMENT_ANALYSIS_GOLD: ("price_segment", "category", "transaction_count"),
    SEASONAL_ANALYSIS_GOLD: ("season", "category", "seasonal_revenue"),
    CUSTOMER_REGISTRATION_TRENDS_GOLD: ("new_customers",),
    CUSTOMER_ACQUISITIONS_SILVER: CUSTOMER_ACQUISITIONS_SILVER.column_names,
}


@pytest.mark.parametrize(
    "is_column_missing",
    [pytest.param(True, id="no column"), pytest.param(False, id="no value", marks=pytest.mark.first_engine)],
)
def test_records_without_optional_values_keep_all_their_sales(warehouse: Warehouse, is_column_missing: bool) -> None:
    for contract, row in BARE.items():
        optional = [column.name for column in contract.received_columns if column.optional]
        warehouse.land(contract, 1, row, lacks=optional if is_column_missing else ())
    warehouse.land(TRANSACTIONS_BRONZE, 1, sale(1, JANUARY), sale(2, FEBRUARY))

    tables = (*OF_SALES, PURCHASES_SILVER, CUSTOMER_ACQUISITIONS_SILVER, *MARTS)
    warehouse.run(*(f"+{contract.name}" for contract in tables))
    warehouse.refresh(CUSTOMER_REGISTRATION_TRENDS_GOLD)

    names = ("transaction_id", "country", "registration_date", "email", "category", "store_name", "location")
    nothing = ("unknown", None, None, "unknown", "unknown", "unknown")
    assert warehouse.rows(RETAILS_SILVER, *names) == [(1, *nothing), (2, *nothing)]
    assert {contract: warehouse.broken_rules(contract) for contract in OF_SALES if contract.rules} == {
        contract: {} for contract in OF_SALES if contract.rules
    }
    assert {contract.name: warehouse.rows(contract, *COLUMNS[contract]) for contract in EXPECTED} == {
        contract.name: rows for contract, rows in EXPECTED.items()
    }
    warnings = {
        contract.name: warehouse.rows(contract, "_warnings")[0][0]
        for contract in (CUSTOMERS_SILVER, PRODUCTS_SILVER, STORES_SILVER)
    }
    assert warnings == {
        "customers_silver": ["country_is_present", "registration_date_is_present", "full_name_is_present"],
        "products_silver": ["product_name_is_present", "category_is_present"],
        "stores_silver": ["store_name_is_present", "location_is_present"],
    }
    assert warehouse.complaints() == []


def land_unreadable_values(warehouse: Warehouse, load: Load) -> None:
    """Load records in which optional values are null. Then load these records again, with unreadable values."""
    warehouse.land_sales(
        1,
        customers=[customer(1, registration_date=None)],
        products=[product(1)],
        store=[store(1)],
        transactions=[sale(1)],
    )
    warehouse.refresh()
    warehouse.land(CUSTOMERS_BRONZE, 2, customer(1, registration_date="soon"), load=load)
    warehouse.land(TRANSACTIONS_BRONZE, 2, sale(1, updated_at="yesterday"), load=load)
    warehouse.refresh()


@pytest.mark.parametrize("load", ["snapshot", "increment"])
@pytest.mark.first_engine
def test_value_that_does_not_fit_changes_the_warning_of_its_row(warehouse: Warehouse, load: Load) -> None:
    shop = warehouse
    land_unreadable_values(shop, load)

    assert shop.rows(CUSTOMERS_SILVER, "registration_date", "_warnings") == [
        (None, ["registration_date_is_present", "registration_date_is_plausible"])
    ]
    assert shop.rows(TRANSACTIONS_SILVER, "updated_at", "_warnings") == [(None, ["updated_at_is_readable"])]
    assert shop.broken_rules(RETAILS_SILVER) == {}
    assert shop.complaints() == []
    merged = shop.contents()
    shop.refresh(full_refresh="true")
    assert shop.contents() == merged


@pytest.mark.torture
def test_values_of_a_column_that_arrives_later_are_kept(warehouse: Warehouse) -> None:
    optional = [column.name for column in TRANSACTIONS_BRONZE.received_columns if column.optional]
    lacks = [name for name in optional if name != "transaction_date"]
    warehouse.land_sales(1, customers=[customer(1)], products=[product(1)], store=[store(1)])
    warehouse.land(TRANSACTIONS_BRONZE, 1, sale(1), lacks=lacks)
    names = ("transaction_id", "order_id", "channel", "discount", "revenue")
    paid = {"order_id": "r1", "channel": "web", "line_amount": "7.5", "discount_amount": "2.5"}
    without = (1, None, None, None, Decimal("20.0000"))
    for parameters in ({}, {"full_refresh": "true"}):
        warehouse.refresh(**parameters)
        assert warehouse.rows(RETAILS_SILVER, *names) == [without]

    warehouse.land(TRANSACTIONS_BRONZE, 2, sale(2, **paid), load="increment")
    for parameters in ({}, {"full_refresh": "true"}):
        warehouse.refresh(**parameters)
        with_values = (2, "r1", "web", Decimal("2.5000"), Decimal("7.5000"))
        assert warehouse.rows(RETAILS_SILVER, *names) == [without, with_values]
    assert warehouse.complaints() == []
