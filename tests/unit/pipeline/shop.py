"""Test data: a shop with two sales."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from cdp_lib.contracts.silver import RETAILS_SILVER

from ..warehouse import Warehouse, customer, product, sale, store

JANUARY, FEBRUARY, MARCH = date(2026, 1, 10), date(2026, 2, 10), date(2026, 3, 1)


def sell(warehouse: Warehouse) -> None:
    """Land and refresh a customer, a product, a store and two sales."""
    warehouse.land_sales(
        1,
        customers=[customer(1)],
        products=[product(1)],
        store=[store(1)],
        transactions=[sale(1, JANUARY), sale(2, FEBRUARY)],
    )
    warehouse.refresh()


def prices_of_sales(warehouse: Warehouse) -> dict[int, Decimal]:
    """Return the price of each sale, by transaction id."""
    rows: list[tuple[Any, ...]] = warehouse.rows(RETAILS_SILVER, "transaction_id", "price")
    assert len(rows) == len(dict(rows)), "duplicate sale"
    return dict(rows)
