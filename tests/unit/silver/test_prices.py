from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from pyspark.sql import DataFrame

from cdp_lib.contracts.silver import PRODUCT_PRICES_SILVER
from cdp_lib.contracts.table import Column
from cdp_lib.silver.prices import price_periods

SIGHTING = (
    Column("product_id", "INT", ""),
    Column("price", "DECIMAL(18,2)", ""),
    Column("updated_at", "TIMESTAMP", ""),
    Column("extracted_at", "TIMESTAMP", ""),
    Column("_batch_id", "STRING", ""),
)

Sighting = tuple[int, str] | tuple[int, str, int]
Periods = list[tuple[str, date | None, date | None, str]]


def april(day: int) -> date:
    return date(2025, 4, day)


@pytest.fixture
def periods(frame_of: Callable[..., DataFrame]) -> Callable[..., Periods]:
    """Periods of a product: each sighting is the day of April it was extracted on, its price, and when it changed."""

    def build(*sightings: Sighting, product_id: int = 1) -> Periods:
        rows = [
            {
                "product_id": product,
                "price": Decimal(price),
                "updated_at": datetime(2025, 4, changed[0], 8, tzinfo=UTC) if changed else None,
                "extracted_at": datetime(2025, 4, extracted, 23, tzinfo=UTC),
                "_batch_id": f"b{extracted:02}",
            }
            for product, (extracted, price, *changed) in [*((1, s) for s in sightings), (2, (1, "7")), (2, (2, "7"))]
        ]
        prices = price_periods(frame_of(SIGHTING, *rows))
        assert prices.dtypes == [(column.name, column.type.lower()) for column in PRODUCT_PRICES_SILVER.columns]
        mine = [row for row in prices.collect() if row.product_id == product_id]
        mine.sort(key=lambda row: row.valid_from or date.min)
        return [(str(row.price), row.valid_from, row.valid_to, row["_batch_id"]) for row in mine]

    return build


def test_the_first_known_price_is_open_to_both_sides(periods) -> None:
    assert periods((5, "10")) == [("10.00", None, None, "b05")]
    assert periods((5, "10", 3)) == [("10.00", None, None, "b05")]


def test_a_price_that_does_not_change_is_one_period_of_the_batch_that_first_gave_it(periods) -> None:
    assert periods((5, "10"), (6, "10.0"), (7, "10", 7)) == [("10.00", None, None, "b05")]


def test_a_price_is_valid_from_the_day_it_was_first_seen_where_the_source_does_not_say(periods) -> None:
    assert periods((5, "10"), (9, "12")) == [("10.00", None, april(9), "b05"), ("12.00", april(9), None, "b09")]


def test_a_price_is_valid_from_when_the_source_says_that_it_changed(periods) -> None:
    assert periods((5, "10"), (9, "12", 6)) == [("10.00", None, april(6), "b05"), ("12.00", april(6), None, "b09")]


def test_a_price_that_comes_back_is_a_period_of_its_own(periods) -> None:
    assert periods((5, "10"), (6, "12"), (7, "10")) == [
        ("10.00", None, april(6), "b05"),
        ("12.00", april(6), april(7), "b06"),
        ("10.00", april(7), None, "b07"),
    ]


def test_of_changes_on_one_day_the_last_counts_for_the_whole_day(periods) -> None:
    assert periods((5, "10"), (8, "12", 8), (9, "14", 8)) == [
        ("10.00", None, april(8), "b05"),
        ("14.00", april(8), None, "b09"),
    ]


def test_a_later_batch_that_says_its_price_holds_since_before_a_period_ends_that_period(periods) -> None:
    assert periods((5, "10"), (6, "12", 6), (7, "14", 4)) == [
        ("10.00", None, april(4), "b05"),
        ("14.00", april(4), None, "b07"),
    ]


def test_a_price_that_changes_again_before_the_first_one_was_seen_is_valid_from_then(periods) -> None:
    assert periods((5, "10"), (6, "12", 2)) == [("10.00", None, april(2), "b05"), ("12.00", april(2), None, "b06")]


def test_prices_of_products_have_nothing_to_do_with_each_other(periods) -> None:
    assert periods((5, "10"), (6, "12"), product_id=2) == [("7.00", None, None, "b01")]


def test_every_day_has_one_price(periods) -> None:
    found = periods((1, "10"), (3, "12", 2), (5, "14"), (7, "10", 4), (8, "9", 8), (9, "11", 8))
    assert [valid_to for _, _, valid_to, _ in found[:-1]] == [valid_from for _, valid_from, _, _ in found[1:]]
    assert (found[0][1], found[-1][2]) == (None, None)
    assert len({valid_from for _, valid_from, _, _ in found}) == len(found)


def test_no_sightings_are_no_periods(frame_of) -> None:
    assert price_periods(frame_of(SIGHTING)).count() == 0
