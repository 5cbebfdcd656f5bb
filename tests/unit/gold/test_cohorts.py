"""Tests of retention by cohort: comparisons with values computed by hand and with a second implementation."""

from __future__ import annotations

import calendar
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp_lib.contracts.identity import PERSON_LINKS_SILVER
from cdp_lib.contracts.silver import (
    CUSTOMER_ACQUISITIONS_SILVER,
    EVENTS_SILVER,
    RETAILS_SILVER,
)
from cdp_lib.gold.cohorts import build_cohort_retention_gold
from cdp_lib.silver.activities import build_activities_silver

from ..purchases import purchases_of

# For each customer id: day of registration, purchases as (day, money) pairs, and days with an event.
Customers = dict[int, tuple[date, list[tuple[date, int]], list[date]]]


@pytest.fixture
def cohorts(frame_of):
    """Return a function that builds rows of the cohort table.

    The function returns a dict of rows by (cohort type, cohort month, kind of retention, start of the window).

    By default, the events of each customer are linked to this customer. The argument `linked` changes links: `{1: 2}`
    links the events of customer 1 to customer 2, and `{1: None}` links them to nobody.
    """

    def build(
        customers: Customers, as_of: date, kind: str = "page_view", linked: dict[int, int | None] | None = None
    ) -> dict[tuple[Any, ...], Any]:
        acquisitions = [
            {
                "person_id": number,
                "registration_date": registered,
                "first_purchase_date": min((day for day, _ in bought), default=None),
                "acquisition_date": min([registered, *(day for day, _ in bought)]),
            }
            for number, (registered, bought, _) in customers.items()
        ]
        sales = [
            {
                "customer_id": number,
                "transaction_date": day,
                "quantity": 2,
                "price": Decimal(money) / 2,
                "revenue": Decimal(money),
            }
            for number, (_, bought, _) in customers.items()
            for day, money in bought
        ]
        common = {"product_id": 1, "store_id": 1, "_batch_id": "b"}
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
        links_by_number = {n: n for n in customers} | (linked or {})
        links = [
            {"record_key": f"customer:{n}", "source": "events", "person_id": person}
            for n, person in links_by_number.items()
            if person is not None
        ]
        rows = build_cohort_retention_gold(
            frame_of(CUSTOMER_ACQUISITIONS_SILVER.columns, *acquisitions),
            purchases_of(
                frame_of(RETAILS_SILVER.columns, *(s | common | {"transaction_id": n} for n, s in enumerate(sales)))
            ),
            build_activities_silver(frame_of(EVENTS_SILVER.columns, *events), "UTC"),
            frame_of(PERSON_LINKS_SILVER.columns, *links),
            as_of,
        ).collect()
        cells = {(row.cohort_type, row.cohort_month, row.retention_type, row.window_start): row for row in rows}
        assert len(cells) == len(rows)
        return cells

    return build


JAN, FEB, MAR, APR, MAY, JUN = (date(2026, month, 1) for month in range(1, 7))
# Acquired in January: 1 to 4; 4 never bought. Acquired in February: 5 to 8; 6 bought before registering, 7 has events
# but never bought. Acquired in March: 9, who first bought in April, and 10. Acquired in May: 11, without any activity.
# Acquired in June: 12.
CUSTOMERS: Customers = {
    1: (date(2026, 1, 5), [(date(2026, 1, 5), 100), (date(2026, 2, 4), 50), (date(2026, 4, 1), 30)], []),
    2: (date(2026, 1, 10), [(date(2026, 1, 20), 200)], [date(2026, 1, 17)]),
    3: (date(2026, 1, 31), [(date(2026, 3, 2), 80)], [date(2026, 2, 7), date(2026, 6, 30)]),
    4: (date(2026, 1, 31), [], []),
    5: (date(2026, 2, 3), [(date(2026, 2, 3), 10), (date(2026, 2, 10), 10)], []),
    6: (date(2026, 3, 5), [(date(2026, 2, 28), 60)], []),
    7: (date(2026, 2, 14), [], [date(2026, 2, 21), date(2026, 3, 16)]),
    8: (date(2026, 2, 28), [(date(2026, 2, 28), 40), (date(2026, 3, 1), 20), (date(2026, 4, 29), 25)], []),
    9: (date(2026, 3, 10), [(date(2026, 4, 10), 70)], [date(2026, 3, 11)]),
    10: (date(2026, 3, 31), [(date(2026, 3, 31), 90), (date(2026, 4, 7), 10)], []),
    11: (date(2026, 5, 5), [], []),
    12: (date(2026, 6, 20), [(date(2026, 6, 20), 15), (date(2026, 6, 21), 5)], []),
}
AS_OF = date(2026, 6, 30)


def shares(cells, *cohort, kind: str) -> dict[int, tuple[int, int] | None]:
    """Return (numerator, denominator) of each window of one cohort and kind of retention, by start of the window.

    The value is None if the window is not over.
    """
    return {
        start: None if row.numerator is None else (int(row.numerator), int(row.denominator))
        for (*of_cohort, of_kind, start), row in cells.items()
        if (tuple(of_cohort), of_kind) == (cohort, kind)
    }


def test_january_cohort_equals_values_computed_by_hand(cohorts) -> None:
    cells = cohorts(CUSTOMERS, AS_OF)
    january = ("acquisition", JAN)
    # Active days after acquisition. Customer 1: 0, 30, 86. Customer 2: 7, 10. Customer 3: 7, 30, 150. Day 180 after
    # 31 January is 30 July.
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


def test_february_cohort_equals_values_computed_by_hand(cohorts) -> None:
    cells = cohorts(CUSTOMERS, AS_OF)
    february = ("acquisition", FEB)
    # Active days after acquisition. Customer 5: 0, 7. Customer 6: 0. Customer 7: 7, 30. Customer 8: 0, 1, 60. Day 91
    # after 1 February is before `as_of`.
    assert shares(cells, *february, kind="n_day") == {1: (1, 4), 7: (2, 4), 30: (1, 4), 60: (1, 4), 90: (0, 4)}
    assert shares(cells, *february, kind="unbounded") == {1: (3, 4), 7: (3, 4), 30: (2, 4), 60: (1, 4), 90: (0, 4)}
    assert shares(cells, *february, kind="bracket") == {1: (3, 4), 8: (1, 4), 31: (1, 4), 61: (0, 4), 91: None}
    # Buyers in the first three months: 5, 6 and 8; 8; 8. Revenue in these months: 20 + 60 + 40; 20; 25.
    assert shares(cells, *february, kind="purchase") == {0: (3, 4), 1: (1, 4), 2: (1, 4), 3: (0, 4), 4: (0, 4)}
    assert shares(cells, *february, kind="revenue") == {
        0: (120, 120), 1: (20, 120), 2: (25, 120), 3: (0, 120), 4: (0, 120),
    }  # fmt: skip


def test_first_purchase_cohorts_equal_values_computed_by_hand(cohorts) -> None:
    cells = cohorts(CUSTOMERS, AS_OF)
    sizes = {key[1]: row.cohort_size for key, row in cells.items() if key[0] == "first_purchase"}
    # Customers by month of the first purchase. January: 1, 2. February: 5, 6, 8. March: 3, 10. April: 9. June: 12.
    # Customers 4, 7 and 11 never bought.
    assert sizes == {JAN: 2, FEB: 3, MAR: 2, APR: 1, JUN: 1}
    february = ("first_purchase", FEB)
    # Active days after the first purchase. Customer 5: 0, 7. Customer 6: 0. Customer 8: 0, 1, 60.
    assert shares(cells, *february, kind="n_day") == {1: (1, 3), 7: (1, 3), 30: (0, 3), 60: (1, 3), 90: (0, 3)}
    assert shares(cells, *february, kind="unbounded") == {1: (2, 3), 7: (2, 3), 30: (1, 3), 60: (1, 3), 90: (0, 3)}
    assert shares(cells, *february, kind="bracket") == {1: (2, 3), 8: (0, 3), 31: (1, 3), 61: (0, 3), 91: None}
    assert shares(cells, *february, kind="purchase") == {0: (3, 3), 1: (1, 3), 2: (1, 3), 3: (0, 3), 4: (0, 3)}
    assert shares(cells, *february, kind="revenue") == {
        0: (120, 120), 1: (20, 120), 2: (25, 120), 3: (0, 120), 4: (0, 120),
    }  # fmt: skip
    # Events of customer 3 before the first purchase are ignored. Customer 3 came back 120 days after the first
    # purchase, in a bracket that is not over.
    assert shares(cells, "first_purchase", MAR, kind="unbounded")[90] == (1, 2)
    assert shares(cells, "first_purchase", MAR, kind="bracket")[91] is None


def test_cohort_without_activity_has_zeros(cohorts) -> None:
    cells = cohorts(CUSTOMERS, AS_OF)
    may = ("acquisition", MAY)
    # `as_of` is 30 June: day 30 after 31 May, and day 60 after 1 May, so the window of day 60 begins on that day.
    assert shares(cells, *may, kind="n_day") == {1: (0, 1), 7: (0, 1), 30: (0, 1), 60: None}
    assert shares(cells, *may, kind="bracket") == {1: (0, 1), 8: (0, 1), 31: None}
    assert shares(cells, *may, kind="purchase") == {0: (0, 1), 1: (0, 1)}
    assert cells[*may, "n_day", 1].retention == 0
    assert cells[*may, "revenue", 1].retention is None


def test_window_waits_for_customers_acquired_on_last_day_of_month(cohorts) -> None:
    cells = cohorts(CUSTOMERS, AS_OF)
    # Customer 12 bought on day 1. For a customer acquired on 30 June, day 1 is after `as_of`. The month is over.
    assert shares(cells, "acquisition", JUN, kind="n_day") == {1: None, 7: None}
    assert shares(cells, "acquisition", JUN, kind="purchase") == {0: (1, 1)}
    assert shares(cells, "acquisition", JUN, kind="revenue") == {0: (20, 20)}


def test_day_windows_end_after_one_year_and_month_windows_after_two(cohorts) -> None:
    start, year_later = date(2023, 1, 31), date(2024, 1, 31)
    bought = [(start, 10), (date(2025, 1, 15), 20), (date(2025, 2, 15), 40)]
    customers: Customers = {1: (start, bought, [year_later])}
    january = ("acquisition", date(2023, 1, 1))
    cells = cohorts(customers, AS_OF)
    # The customer is active on the days 0, 365, 715 and 746.
    assert shares(cells, *january, kind="n_day") == dict.fromkeys((1, 7, 30, 60, 90, 180), (0, 1)) | {365: (1, 1)}
    assert shares(cells, *january, kind="unbounded") == dict.fromkeys((1, 7, 30, 60, 90, 180, 365), (1, 1))
    assert shares(cells, *january, kind="bracket") == dict.fromkeys((1, 8, 31, 61, 91), (0, 1)) | {181: (1, 1)}
    assert cells[*january, "bracket", 181].window_end == 365
    months = dict.fromkeys(range(25), 0)
    assert shares(cells, *january, kind="purchase") == {k: (n, 1) for k, n in (months | {0: 1, 24: 1}).items()}
    assert shares(cells, *january, kind="revenue") == {k: (n, 10) for k, n in (months | {0: 10, 24: 20}).items()}
    assert shares(cohorts(customers, year_later - timedelta(1)), *january, kind="bracket")[181] is None
    assert shares(cohorts(customers, year_later), *january, kind="bracket")[181] == (1, 1)


def test_customers_acquired_after_as_of_are_in_no_cohort(cohorts) -> None:
    sizes = {key[:2]: row.cohort_size for key, row in cohorts(CUSTOMERS, date(2026, 2, 13)).items()}
    # By 13 February, only customer 5 was acquired in February, and customer 3 has not bought.
    assert sizes == {
        ("acquisition", JAN): 4, ("acquisition", FEB): 1, ("first_purchase", JAN): 2, ("first_purchase", FEB): 1,
    }  # fmt: skip
    assert cohorts(CUSTOMERS, date(2025, 12, 31)) == {}


def test_unfinished_window_is_null_and_future_window_has_no_row(cohorts) -> None:
    cells = cohorts(CUSTOMERS, date(2026, 2, 7))
    january = shares(cells, "acquisition", JAN, kind="n_day")
    assert january == {1: (0, 4), 7: (2, 4), 30: None}  # 7 February is day 7 after 31 January
    assert shares(cells, "acquisition", JAN, kind="purchase") == {0: (2, 4), 1: None}
    assert shares(cohorts(CUSTOMERS, date(2026, 2, 6)), "acquisition", JAN, kind="n_day")[7] is None


@pytest.mark.parametrize(
    ("kind", "active"),
    [
        ("email_sent", 0),
        ("email_delivered", 0),
        ("email_bounced", 0),
        ("unsubscribe", 0),
        ("email_open", 2),
        ("email_click", 2),
    ],
)
@pytest.mark.first_engine
def test_opened_mail_is_an_activity_and_sent_mail_is_not(cohorts, kind: str, active: int) -> None:
    assert shares(cohorts(CUSTOMERS, AS_OF, kind), "acquisition", JAN, kind="n_day")[7] == (active, 4)


def test_events_count_for_linked_customer(cohorts) -> None:
    def active(linked: dict[int, int | None]) -> dict[int, tuple[int, int] | None]:
        return shares(cohorts(CUSTOMERS, AS_OF, linked=linked), "acquisition", JAN, kind="n_day")

    # On day 7, customers 2 and 3 have events but no purchase. Customer 4 was acquired on the same day as customer 3.
    # The id 999 belongs to no customer.
    assert active({2: None, 3: 4})[7] == (1, 4)
    assert active({2: 999, 3: None})[7] == (0, 4)


def test_revenue_retention_is_null_without_revenue_in_cohort_month(cohorts) -> None:
    cells = cohorts({1: (date(2026, 1, 5), [(date(2026, 2, 1), 10)], [])}, AS_OF)
    row = cells["acquisition", JAN, "revenue", 1]
    assert (row.numerator, row.denominator, row.retention) == (10, 0, None)


def month_end(day: date) -> date:
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])


def count_in_python(customers: Customers, as_of: date) -> dict[tuple[Any, ...], tuple[int | None, int, int]]:
    """Compute the cohort table in Python. Return (numerator, denominator, cohort size) of each row, by key."""
    cohorts: dict[tuple[str, date], list[tuple[date, set[date], list[tuple[date, int]]]]] = defaultdict(list)
    for registered, bought, events in customers.values():
        sales = [(day, money) for day, money in bought if day <= as_of]
        active = {*(day for day, _ in sales), *(day for day in events if day <= as_of)}
        starts = [day for day in [registered, *(day for day, _ in sales)] if day <= as_of]
        if starts:
            cohorts["acquisition", min(starts).replace(day=1)].append((min(starts), active, sales))
        if sales:
            first, _ = min(sales)
            cohorts["first_purchase", first.replace(day=1)].append((first, active, sales))
    windows = [(kind, n, n) for kind in ("n_day", "unbounded") for n in (1, 7, 30, 60, 90, 180, 365)]
    windows += [("bracket", *each) for each in ((1, 7), (8, 30), (31, 60), (61, 90), (91, 180), (181, 365))]
    cells: dict[tuple[Any, ...], tuple[int | None, int, int]] = {}
    for (cohort_type, month), members in cohorts.items():
        size = len(members)
        money_by_month: dict[date, int] = defaultdict(int)
        for *_, sales in members:
            for day, money in sales:
                money_by_month[day.replace(day=1)] += money
        for kind, first, last in windows:
            if month + timedelta(days=first) <= as_of:
                is_over = month_end(month) + timedelta(days=last) <= as_of
                upper = 10_000 if kind == "unbounded" else last
                count = sum(any(first <= (d - day_0).days <= upper for d in active) for day_0, active, _ in members)
                cells[cohort_type, month, kind, first] = (count if is_over else None, size, size)
        for k in range(25):
            begin = date(month.year + (month.month - 1 + k) // 12, (month.month - 1 + k) % 12 + 1, 1)
            if begin <= as_of:
                count = sum(any(day.replace(day=1) == begin for day, _ in sales) for *_, sales in members)
                is_over = month_end(begin) <= as_of
                cells[cohort_type, month, "purchase", k] = (count if is_over else None, size, size)
                money = money_by_month[begin] if is_over else None
                cells[cohort_type, month, "revenue", k] = (money, money_by_month[month], size)
    return cells


# Most days are close together, so that cohorts have several customers. Some days are years later, so that long windows
# are over.
days = st.dates(date(2025, 10, 1), date(2026, 6, 30)) | st.dates(date(2025, 10, 1), date(2028, 6, 30))
people = st.dictionaries(
    st.integers(1, 9),
    st.tuples(days, st.lists(st.tuples(days, st.integers(0, 99)), max_size=5), st.lists(days, max_size=3, unique=True)),
    min_size=1,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(customers=people, as_of=days)
def test_cells_equal_second_implementation_for_any_customers(cohorts, engine: str, customers, as_of) -> None:
    if engine != "sail":
        pytest.skip("the expressions are the same on every engine, and sail plans them fastest")
    cells = cohorts(customers, as_of)
    expected = count_in_python(customers, as_of)
    assert {key: (row.numerator, row.denominator, row.cohort_size) for key, row in cells.items()} == expected
    sizes = {key[:2]: row.cohort_size for key, row in cells.items()}
    of_type = {kind: sum(size for key, size in sizes.items() if key[0] == kind) for kind, _ in sizes}
    buyers = sum(any(day <= as_of for day, _ in bought) for _, bought, _ in customers.values())
    acquired = sum(
        any(day <= as_of for day in [registered, *(d for d, _ in bought)])
        for registered, bought, _ in customers.values()
    )
    assert (of_type.get("acquisition", 0), of_type.get("first_purchase", 0)) == (acquired, buyers)
    for cohort in {key[:2] for key in cells}:
        open_ended = [
            row.retention
            for key, row in sorted(cells.items())
            if key[:3] == (*cohort, "unbounded") and row.retention is not None
        ]
        assert open_ended == sorted(open_ended, reverse=True), "retention on or after a day never rises"
    for (cohort_type, _, kind, start), row in cells.items():
        if row.numerator is None or row.denominator == 0:
            assert row.retention is None
        else:
            assert row.retention == pytest.approx(float(row.numerator) / float(row.denominator))
            assert 0 <= row.retention <= (float("inf") if kind == "revenue" else 1)
            if (cohort_type, kind, start) == ("first_purchase", "purchase", 0):
                assert row.retention == 1, "every customer of a first-purchase cohort bought in the cohort month"
