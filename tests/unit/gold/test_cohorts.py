"""Retention of cohorts: by hand, and against a second account of any customers."""

from __future__ import annotations

import calendar
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp_lib.contracts.silver import (
    CUSTOMER_ACQUISITIONS_SILVER,
    CUSTOMER_LINKS_SILVER,
    EVENTS_SILVER,
    RETAILS_SILVER,
)
from cdp_lib.gold.cohorts import build_cohort_retention_gold

# Number: day of registration, purchases (day, money), days with an event.
Customers = dict[int, tuple[date, list[tuple[date, int]], list[date]]]


@pytest.fixture
def cohorts(frame_of):
    """Cells of these customers: by cohort type, month, kind and first day of the window, (retained, of how many)."""

    def build(customers: Customers, as_of: date, kind: str = "page_view") -> dict[tuple[Any, ...], Any]:
        acquisitions = [
            {
                "customer_id": number,
                "registration_date": registered,
                "first_purchase_date": min((day for day, _ in bought), default=None),
                "acquisition_date": min([registered, *(day for day, _ in bought)]),
            }
            for number, (registered, bought, _) in customers.items()
        ]
        sales = [
            {"customer_id": number, "transaction_date": day, "price": Decimal(money)}
            for number, (_, bought, _) in customers.items()
            for day, money in bought
        ]
        common = {"product_id": 1, "store_id": 1, "quantity": 1, "_batch_id": "b"}
        events = [
            {
                "event_id": f"{number}-{day}",
                "event_type": kind,
                "occurred_at": datetime(day.year, day.month, day.day, 9, tzinfo=UTC),
                "identity": f"customer:{number}",
                "_batch_id": "b",
            }
            for number, (*_, days) in customers.items()
            for day in days
        ]
        links = [{"identity": f"customer:{n}", "customer_id": n, "reason": "customer_id"} for n in customers]
        rows = build_cohort_retention_gold(
            frame_of(CUSTOMER_ACQUISITIONS_SILVER.columns, *acquisitions),
            frame_of(RETAILS_SILVER.columns, *(s | common | {"transaction_id": n} for n, s in enumerate(sales))),
            frame_of(EVENTS_SILVER.columns, *events),
            frame_of(CUSTOMER_LINKS_SILVER.columns, *links),
            as_of,
        ).collect()
        cells = {(row.cohort_type, row.cohort_month, row.retention_type, row.window_start): row for row in rows}
        assert len(cells) == len(rows)
        return cells

    return build


JAN, FEB, MAR = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)
# Acquired in January: 1 to 4, of whom 4 never bought. In February: 5 and 6; 6 bought before registering.
CUSTOMERS: Customers = {
    1: (date(2026, 1, 5), [(date(2026, 1, 5), 100), (date(2026, 2, 4), 50), (date(2026, 4, 1), 30)], []),
    2: (date(2026, 1, 10), [(date(2026, 1, 20), 200)], [date(2026, 1, 17)]),
    3: (date(2026, 1, 31), [(date(2026, 3, 2), 80)], [date(2026, 2, 7), date(2026, 6, 30)]),
    4: (date(2026, 1, 31), [], []),
    5: (date(2026, 2, 3), [(date(2026, 2, 3), 10), (date(2026, 2, 10), 10)], []),
    6: (date(2026, 3, 5), [(date(2026, 2, 28), 60)], []),
}
AS_OF = date(2026, 6, 30)


def shares(cells, *cohort, kind: str) -> dict[int, tuple[int, int] | None]:
    """By first day or month of the window, what is retained and of how much; None where it is not over."""
    return {
        start: None if row.numerator is None else (int(row.numerator), int(row.denominator))
        for (*of_cohort, of_kind, start), row in cells.items()
        if (tuple(of_cohort), of_kind) == (cohort, kind)
    }


def test_january_by_hand(cohorts) -> None:
    cells = cohorts(CUSTOMERS, AS_OF)
    january = ("acquisition", JAN)
    # Days since acquisition: 1: 0, 30, 86. 2: 7, 10. 3: 7, 30, 150. Day 180 of 31 January is 30 July.
    assert shares(cells, *january, kind="n_day") == {
        1: (0, 4),
        7: (2, 4),
        30: (2, 4),
        60: (0, 4),
        90: (0, 4),
        180: None,
    }
    assert shares(cells, *january, kind="unbounded") == {
        1: (3, 4), 7: (3, 4), 30: (2, 4), 60: (2, 4), 90: (1, 4), 180: None,
    }  # fmt: skip
    assert shares(cells, *january, kind="bracket") == {
        1: (2, 4), 8: (3, 4), 31: (0, 4), 61: (1, 4), 91: None,
    }  # fmt: skip
    assert shares(cells, *january, kind="purchase") == {
        0: (2, 4),
        1: (1, 4),
        2: (1, 4),
        3: (1, 4),
        4: (0, 4),
        5: (0, 4),
    }
    assert shares(cells, *january, kind="revenue") == {
        0: (300, 300), 1: (50, 300), 2: (80, 300), 3: (30, 300), 4: (0, 300), 5: (0, 300),
    }  # fmt: skip
    assert cells["acquisition", JAN, "n_day", 7].retention == 0.5
    assert cells["acquisition", JAN, "bracket", 8].window_end == 30
    assert cells["acquisition", JAN, "unbounded", 7].window_end is None


def test_cohorts_of_the_first_purchase_by_hand(cohorts) -> None:
    cells = cohorts(CUSTOMERS, AS_OF)
    sizes = {key[1]: row.cohort_size for key, row in cells.items() if key[0] == "first_purchase"}
    assert sizes == {JAN: 2, FEB: 2, MAR: 1}  # 1 and 2; 5 and 6; 3, who was acquired in January
    assert shares(cells, "first_purchase", FEB, kind="purchase") == {
        0: (2, 2),
        1: (0, 2),
        2: (0, 2),
        3: (0, 2),
        4: (0, 2),
    }
    assert shares(cells, "first_purchase", FEB, kind="n_day")[7] == (1, 2)
    # What 3 did before the first purchase does not count; 120 days after it they came back, in a bracket not over yet.
    assert shares(cells, "first_purchase", MAR, kind="unbounded")[90] == (1, 1)
    assert shares(cells, "first_purchase", MAR, kind="bracket")[91] is None


def test_a_window_that_is_not_over_for_all_is_not_known_and_one_that_is_to_come_is_not_there(cohorts) -> None:
    cells = cohorts(CUSTOMERS, date(2026, 2, 7))
    january = shares(cells, "acquisition", JAN, kind="n_day")
    assert january == {1: (0, 4), 7: (2, 4), 30: None}  # 7 February is day 7 of 31 January
    assert shares(cells, "acquisition", JAN, kind="purchase") == {0: (2, 4), 1: None}
    assert shares(cohorts(CUSTOMERS, date(2026, 2, 6)), "acquisition", JAN, kind="n_day")[7] is None


def test_a_mail_that_is_sent_makes_nobody_active(cohorts) -> None:
    assert shares(cohorts(CUSTOMERS, AS_OF, "email_sent"), "acquisition", JAN, kind="n_day")[7] == (0, 4)


def test_without_revenue_in_the_first_month_there_is_no_revenue_retention(cohorts) -> None:
    cells = cohorts({1: (date(2026, 1, 5), [(date(2026, 2, 1), 10)], [])}, AS_OF)
    row = cells["acquisition", JAN, "revenue", 1]
    assert (row.numerator, row.denominator, row.retention) == (10, 0, None)


def month_end(day: date) -> date:
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])


def second_account(customers: Customers, as_of: date) -> dict[tuple[Any, ...], tuple[int | None, int]]:
    """Retained and of how many, of activity and purchases, counted customer by customer."""
    cohorts: dict[tuple[str, date], list[tuple[date, set[date], list[date]]]] = defaultdict(list)
    for registered, bought, events in customers.values():
        sales = [day for day, _ in bought if day <= as_of]
        active = {*sales, *(day for day in events if day <= as_of)}
        starts = [day for day in [registered, *sales] if day <= as_of]
        if starts:
            cohorts["acquisition", min(starts).replace(day=1)].append((min(starts), active, sales))
        if sales:
            cohorts["first_purchase", min(sales).replace(day=1)].append((min(sales), active, sales))
    windows = [(kind, n, n) for kind in ("n_day", "unbounded") for n in (1, 7, 30, 60, 90, 180, 365)]
    windows += [("bracket", *each) for each in ((1, 7), (8, 30), (31, 60), (61, 90), (91, 180), (181, 365))]
    cells: dict[tuple[Any, ...], tuple[int | None, int]] = {}
    for (cohort_type, month), members in cohorts.items():
        for kind, first, last in windows:
            if month + timedelta(days=first) <= as_of:
                is_over = month_end(month) + timedelta(days=last) <= as_of
                upper = 10_000 if kind == "unbounded" else last
                count = sum(any(first <= (d - day_0).days <= upper for d in active) for day_0, active, _ in members)
                cells[cohort_type, month, kind, first] = (count if is_over else None, len(members))
        for k in range(25):
            begin = date(month.year + (month.month - 1 + k) // 12, (month.month - 1 + k) % 12 + 1, 1)
            if begin <= as_of:
                count = sum(any(day.replace(day=1) == begin for day in sales) for *_, sales in members)
                is_over = month_end(begin) <= as_of
                cells[cohort_type, month, "purchase", k] = (count if is_over else None, len(members))
    return cells


days = st.dates(date(2025, 10, 1), date(2026, 6, 30))
people = st.dictionaries(
    st.integers(1, 9),
    st.tuples(days, st.lists(st.tuples(days, st.integers(0, 99)), max_size=5), st.lists(days, max_size=3, unique=True)),
    min_size=1,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(customers=people, as_of=days)
def test_of_any_customers_cells_are_those_of_a_second_account(cohorts, engine: str, customers, as_of) -> None:
    if engine != "sail":
        pytest.skip("the same expressions, on the engine that is quick to plan them")
    cells = cohorts(customers, as_of)
    expected = second_account(customers, as_of)
    counted = {key: row for key, row in cells.items() if key[2] != "revenue"}
    assert {
        key: (None if row.numerator is None else int(row.numerator), row.cohort_size) for key, row in counted.items()
    } == expected
    for cohort in {key[:2] for key in cells}:
        open_ended = [
            row.retention
            for key, row in sorted(cells.items())
            if key[:3] == (*cohort, "unbounded") and row.retention is not None
        ]
        assert open_ended == sorted(open_ended, reverse=True), "retention on or after a day never rises"
    for row in cells.values():
        assert row.numerator is None or row.retention is None or 0 <= row.retention
        assert row.retention is None or row.retention == pytest.approx(float(row.numerator) / float(row.denominator))
