"""Tests of the KPIs: KPIs of twelve customers equal values computed by hand; KPIs of random data are plausible."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from cdp_lib.contracts.kpis import ADDS_OVER_MONTHS, CUSTOMER_DIMENSIONS, KPIS, MEASURES
from cdp_lib.gold.kpis.build import _people
from cdp_lib.gold.kpis.monthly import build_kpi_monthly_gold

from .kpi_sources import AS_OF, CUSTOMERS, EGYPT, EVENTS, TERMS, UAE, Sources, at, event

# On Spark, `make test` compares the whole table with the embedded engine instead (tests/end_to_end/test_refresh.py).
pytestmark = pytest.mark.torture

Figures = dict[tuple[str, str, str], dict[int, float | None]]


def figures_of(rows: list[Any]) -> Figures:
    """Return the values of KPI rows in nested dicts: first by (KPI, dimension, dimension value), then by month."""
    figures: Figures = defaultdict(dict)
    for row in rows:
        figures[row.kpi, row.dimension, row.dimension_value][row.month.month] = row.value
    return dict(figures)


@pytest.fixture(scope="module")
def cache() -> dict[date, list[Any]]:
    return {}


@pytest.fixture
def rows_at(sources_of: Callable[..., Sources], cache: dict[date, list[Any]]) -> Callable[[date], list[Any]]:
    """Return a function that builds the KPI rows of the twelve customers for a given `as_of`."""

    def build(as_of: date) -> list[Any]:
        if as_of not in cache:
            cache[as_of] = build_kpi_monthly_gold(
                *sources_of(CUSTOMERS, EVENTS, as_of).values(), **TERMS | {"as_of": as_of}
            ).collect()
        return cache[as_of]

    return build


@pytest.fixture
def figures(rows_at: Callable[[date], list[Any]]) -> Figures:
    return figures_of(rows_at(AS_OF))


# Expected values of January to June.
OVERALL: dict[str, list[float | None]] = {
    "revenue": [500, 800, 280, 220, 100, 600],
    "transactions": [4, 6, 3, 3, 1, 2],
    "average_transaction_value": [125, 800 / 6, 280 / 3, 220 / 3, 100, 300],
    "active_customers": [4, 5, 3, 2, 1, 2],
    "first_time_buyers": [4, 3, 0, 1, 0, 1],
    "returning_customers": [0, 2, 2, 1, 1, 1],  # customers 1 and 2; 1 and 6; 1; 1; 1
    "reactivated_customers": [0, 0, 1, 0, 0, 0],  # customer 4, who bought in January
    "retention_rate": [None, 2 / 4, 2 / 5, 1 / 3, 1 / 2, 1 / 1],
    "churn_rate": [None, 2 / 4, 3 / 5, 2 / 3, 1 / 2, 0],
    # Revenue lost in February: 150 of customer 2, 100 each of customers 3 and 4. In March: 50 of 2, 600 of 5, 10 of 7.
    "revenue_churn_rate": [None, 350 / 500, 660 / 800, 180 / 280, 120 / 220, 0],
    "arpu": [125, 800 / 6, 280 / 3, 110, 50, 300],  # customer 3 (February) and 2 (May) only have events
    "arppu": [125, 160, 280 / 3, 110, 100, 300],
    "repeat_purchase_rate": [0, 3 / 7, 5 / 7, 5 / 8, 5 / 8, 5 / 9],  # customers 1, 2 and 5; then also 4 and 6
    "new_customers": [4, 3, 1, 2, 1, 1],
    "customers": [4, 7, 8, 10, 11, 12],
    "clv_historic": [50, 1300 * 0.4 / 7, 1580 * 0.4 / 8, 1800 * 0.4 / 10, 1900 * 0.4 / 11, 2500 * 0.4 / 12],
    "marketing_spend": [122, 294.3, None, None, None, None],  # March has no spend rows; April has no rate
    "cac": [122 / 4, 294.3 / 3, None, None, None, None],
    "cac_paid": [100 / 2, 272.3, None, None, None, None],
    "payback_months": [30.5 / 50, 98.1 / (320 / 6), None, None, None, None],
    "email_open_rate": [None, None, None, 2 / 3, None, None],  # a click is treated as an open
    "email_click_rate": [None, None, None, 1 / 3, None, None],
    # April: one person opens twice, another clicks. June: one person has 30 views and a checkout, another has one view.
    "engagement_score": [None, 1, None, (1 + 1 + 3) / 2, 1, (30 + 5 + 2) / 2],
    "sessions_per_user": [None, None, None, None, 1, 30],
    "dau": [
        None,
        2 / 30,
        0,
        3 / 30,
        1 / 30,
        31 / 30,
    ],  # a customer who is active on 31 May is not in the 30 days of June
    "wau": [None, 0, 0, 0, 1, 2],
    "mau": [None, 2, 0, 2, 1, 2],
    "stickiness": [None, 1 / 30, None, 3 / 60, 1 / 30, 31 / 60],
}


@pytest.mark.every_case
@pytest.mark.parametrize("kpi", OVERALL)
def test_kpi_of_all_equals_value_computed_by_hand(figures: Figures, kpi: str) -> None:
    assert figures[kpi, "all", "all"] == {
        month: value if value is None else pytest.approx(value, rel=1e-9) for month, value in enumerate(OVERALL[kpi], 1)
    }


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("kpi", "dimension", "value", "expected"),
    [
        ("revenue", "country", UAE, [0, 10, 0, 120, 0, 500]),
        ("revenue", "category", "Tech", [200, 600, 180, 60, 0, 500]),
        ("active_customers", "category", "Fitness", [2, 4, 1, 2, 1, 1]),  # Customers in February: 1, 2, 6 and 7
        ("revenue", "segment", "Champions", [100] * 6),
        ("retention_rate", "country", EGYPT, [None, 2 / 4, 2 / 4, 1 / 3, 1, 1]),
        ("new_customers", "channel", "unknown", [1, 2, 1, 2, 1, 1]),
        (
            "cac",
            "channel",
            "paid_search",
            [50, None, None, None, None, None],
        ),  # no new customer in February
        ("cac", "channel", "email", [22, None, None, None, None, None]),
        ("cac", "channel", "paid_social", [None, 272.3, None, None, None, None]),
        ("cac", "channel", "unknown", [None] * 6),
        ("customers", "segment", "Never bought", [0, 0, 1, 2, 2, 3]),
    ],
)
def test_kpi_by_dimension_equals_value_computed_by_hand(
    figures: Figures, kpi: str, dimension: str, value: str, expected: list[float | None]
) -> None:
    assert figures[kpi, dimension, value] == {
        month: each if each is None else pytest.approx(each, rel=1e-9) for month, each in enumerate(expected, 1)
    }


def test_state_kpis_have_only_the_latest_month(figures: Figures) -> None:
    assert figures["clv_predictive", "all", "all"] == {6: pytest.approx(40)}
    assert figures["clv_predictive", "channel", "paid_search"] == {6: pytest.approx(55)}
    assert figures["consent_rate", "consent_channel", "email"] == {6: pytest.approx(4 / 13)}
    assert figures["consent_rate", "consent_channel", "phone"] == {6: 0}  # without a decision, there is no consent
    assert figures["consent_rate", "consent_channel", "sms"] == {6: None}  # nobody has a decision
    assert figures["clv_to_cac", "all", "all"] == {6: None}  # the spend of April has no exchange rate


def test_rate_of_mailings_is_null_if_the_source_reports_no_openings_and_clicks(sources_of) -> None:
    sent = [each for each in EVENTS if each["event_type"] == "email_sent"]
    opened = [*sent, event(6, "email_open", at(4, 2), "email:a@example.com", email="a@example.com", campaign="spring")]
    for events, expected in ((sent, (None, None)), (opened, (pytest.approx(1 / 3), None))):
        sources = sources_of(CUSTOMERS, events, AS_OF)
        figures = figures_of(build_kpi_monthly_gold(*sources.values(), **TERMS | {"as_of": AS_OF}).collect())
        rates = (figures[name, "all", "all"][4] for name in ("email_open_rate", "email_click_rate"))
        assert tuple(rates) == expected


def test_data_after_as_of_do_not_count(rows_at: Callable[[date], list[Any]]) -> None:
    figures = figures_of(rows_at(date(2026, 3, 20)))
    assert figures["revenue", "all", "all"] == {1: 500, 2: 800, 3: 280}
    assert figures["customers", "all", "all"] == {1: 4, 2: 7, 3: 8}
    # CAC: 416.3 of spend / 7 customers of months with spend. CLV: (1,580 × 0.4 historic + 120 predicted) / 8 customers.
    assert figures["clv_to_cac", "all", "all"] == {3: pytest.approx((79 + 15) / (416.3 / 7))}
    assert figures["cac", "all", "all"][3] is None


def test_window_of_thirty_days_up_to_first_of_march_begins_in_january(sources_of: Callable[..., Sources]) -> None:
    as_of = date(2026, 3, 1)
    events = [event(1, "page_view", at(1, 31), "device:d1"), event(2, "page_view", at(3, 1), "device:d2")]
    rows = build_kpi_monthly_gold(*sources_of(CUSTOMERS, events, as_of).values(), **TERMS | {"as_of": as_of}).collect()
    assert figures_of(rows)["mau", "all", "all"] == {1: 1, 2: 1, 3: 2}


def test_unfinished_month_has_no_retention(rows_at: Callable[[date], list[Any]]) -> None:
    figures = figures_of(rows_at(date(2026, 3, 20)))
    for kpi in ("retention_rate", "churn_rate", "revenue_churn_rate"):
        assert figures[kpi, "all", "all"][3] is None
        assert figures[kpi, "all", "all"][2] is not None


def assert_plausible(rows: list[Any]) -> None:
    """Assert properties that all KPI rows have, whatever the input."""
    sums: dict[tuple[Any, ...], float] = defaultdict(float)
    of_all = {}
    for row in rows:
        if row.value is not None:
            assert row.value == pytest.approx(row.numerator / row.denominator, rel=1e-12)
        else:
            assert row.numerator is None or not row.denominator
        kpi = next(kpi for kpi in KPIS if kpi.name == row.kpi)
        assert row.dimension in kpi.dimensions
        if kpi.unit == "share" and row.value is not None:
            assert 0 <= row.value <= 1
        if kpi.is_additive and row.dimension in CUSTOMER_DIMENSIONS:
            if row.dimension == "all":
                of_all[row.month, row.kpi] = row.value
            else:
                sums[row.month, row.kpi, row.dimension] += row.value
    for (month, kpi, _), total in sums.items():
        assert total == pytest.approx(of_all[month, kpi], rel=1e-9, abs=1e-9)
    figures = figures_of(rows)
    parts = [
        figures[f"{kind}", "all", "all"]
        for kind in ("first_time_buyers", "returning_customers", "reactivated_customers")
    ]
    for month, active in figures["active_customers", "all", "all"].items():
        assert active == sum(part[month] or 0 for part in parts)


@pytest.mark.parametrize("as_of", [date(2026, 3, 20), AS_OF])
def test_kpis_of_example_are_plausible(rows_at: Callable[[date], list[Any]], as_of: date) -> None:
    assert_plausible(rows_at(as_of))


def test_every_kpi_has_a_row(figures: Figures) -> None:
    assert {kpi for kpi, *_ in figures} == {kpi.name for kpi in KPIS}


days = st.dates(date(2026, 1, 1), date(2026, 6, 30))
sold = st.lists(st.tuples(days, st.integers(0, 500), st.sampled_from(["Fitness", "Tech"])), max_size=6)
people = st.dictionaries(st.integers(1, 12), st.tuples(st.sampled_from([EGYPT, UAE]), days, sold), min_size=1)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(customers=people, as_of=days)
def test_kpis_of_any_customers_are_plausible(
    sources_of: Callable[..., Sources], engine: str, customers: dict[int, Any], as_of: date
) -> None:
    if engine != "sail":
        pytest.skip("the expressions are the same on every engine, and sail plans them fastest")
    # A customer is acquired on or before the first purchase.
    known = {
        number: (country, min([acquired, *(day for day, *_ in sales)]), sales)
        for number, (country, acquired, sales) in customers.items()
    }
    rows = build_kpi_monthly_gold(*sources_of(known, EVENTS, as_of).values(), **TERMS | {"as_of": as_of}).collect()
    assert_plausible(rows)


@pytest.mark.parametrize(
    ("kpi", "dimension", "value", "month", "people"),
    [
        ("active_customers", "all", "all", 1, 4),
        ("reactivated_customers", "all", "all", 1, None),  # nobody
        ("revenue", "all", "all", 1, None),  # sales
        ("revenue", "country", EGYPT, 1, None),
        ("revenue", "category", "Tech", 1, None),
        ("revenue", "segment", "Champions", 1, 1),  # sales to the customers of a segment
        ("transactions", "channel", "paid_search", 1, 2),
        ("retention_rate", "all", "all", 2, 2),  # two of four customers stay
        ("clv_historic", "country", UAE, 3, 1),  # two customers, one of them has bought
        ("marketing_spend", "channel", "email", 1, None),  # the shop's own figures
        ("cac", "channel", "email", 1, 1),
        ("dau", "all", "all", 5, 1),
    ],
)
def test_row_has_the_smallest_number_of_people_in_its_figures(
    rows_at: Callable[[date], list[Any]], kpi: str, dimension: str, value: str, month: int, people: int | None
) -> None:
    [row] = [
        row
        for row in rows_at(AS_OF)
        if (row.kpi, row.dimension, row.dimension_value, row.month.month) == (kpi, dimension, value, month)
    ]
    assert row.people == people


@pytest.mark.parametrize(("revenue", "people"), [(-50, 1), (0, None)])
def test_returns_without_a_sale_are_of_at_least_one_person(
    spark: SparkSession, revenue: int, people: int | None
) -> None:
    row = spark.sql(f"SELECT 'segment' AS dimension, 0D AS active_customers, {revenue}D AS revenue")
    assert [tuple(each) for each in row.select(_people(KPIS[0])).collect()] == [(people,)]


def test_kpis_that_count_people_do_not_add_over_months() -> None:
    adding = {kpi.name for kpi in KPIS if kpi.adds_over_months}
    assert {"revenue", "new_customers", "cac", "average_transaction_value", "email_open_rate"} <= adding
    assert not adding & {"active_customers", "arpu", "retention_rate", "mau", "customers", "clv_historic"}


def test_measures_that_add_over_months_exist() -> None:
    assert set(ADDS_OVER_MONTHS) <= set(MEASURES)
