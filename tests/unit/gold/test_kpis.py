"""Tests of the KPIs: KPIs of twelve customers equal values computed by hand; KPIs of random data are plausible."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from cdp_lib.contracts.analytics import CUSTOMER_VALUE_GOLD
from cdp_lib.contracts.identity import PERSON_LINKS_SILVER, PERSONS_SILVER
from cdp_lib.contracts.kpis import ADDS_OVER_MONTHS, CUSTOMER_DIMENSIONS, KPIS, MEASURES
from cdp_lib.contracts.silver import (
    CRM_CONTACTS_SILVER,
    EVENTS_SILVER,
    EXCHANGE_RATES_SILVER,
    MARKETING_SPEND_SILVER,
    RETAILS_SILVER,
)
from cdp_lib.contracts.table import TableContract
from cdp_lib.gold.category_monthly_sales import build_category_monthly_sales_gold
from cdp_lib.gold.country_category_monthly_sales import build_country_category_monthly_sales_gold
from cdp_lib.gold.country_monthly_orders import build_country_monthly_orders_gold
from cdp_lib.gold.kpis.build import _people
from cdp_lib.gold.kpis.monthly import build_kpi_monthly_gold
from cdp_lib.silver.activities import build_activities_silver

from ..purchases import purchases_of, with_month

# On Spark, `make test` compares the whole table with the embedded engine instead (tests/end_to_end/test_refresh.py).
pytestmark = pytest.mark.torture

Row = dict[str, Any]
Figures = dict[tuple[str, str, str], dict[int, float | None]]

AS_OF = date(2026, 6, 30)
MARGIN = 0.4
TERMS = {"gross_margin": MARGIN, "business_time_zone": "UTC"}

EGYPT, UAE = "Egypt", "UAE"
# For each customer id: country, day of acquisition, sales as (day, money, category). Customers 8, 10 and 12
# never bought. Customer 9 bought twice on one day.
CUSTOMERS: dict[int, tuple[str, date, list[tuple[date, int, str]]]] = {
    1: (EGYPT, date(2026, 1, 5), [(date(2026, month, 10), 100, "Fitness") for month in range(1, 7)]),
    2: (EGYPT, date(2026, 1, 5), [(date(2026, 1, 10), 200, "Fitness"), (date(2026, 2, 20), 50, "Fitness")]),
    3: (EGYPT, date(2026, 1, 5), [(date(2026, 1, 10), 100, "Tech")]),
    4: (EGYPT, date(2026, 1, 5), [(date(2026, 1, 10), 100, "Tech"), (date(2026, 3, 5), 100, "Tech")]),
    5: (EGYPT, date(2026, 2, 1), [(date(2026, 2, 10), 300, "Tech"), (date(2026, 2, 20), 300, "Tech")]),
    6: (EGYPT, date(2026, 2, 1), [(date(2026, 2, 15), 40, "Fitness"), (date(2026, 3, 15), 80, "Tech")]),
    7: (UAE, date(2026, 2, 25), [(date(2026, 2, 25), 10, "Fitness")]),
    8: (UAE, date(2026, 3, 1), []),
    9: (UAE, date(2026, 4, 1), [(date(2026, 4, 2), 60, "Fitness"), (date(2026, 4, 2), 60, "Tech")]),
    10: (UAE, date(2026, 4, 1), []),
    11: (UAE, date(2026, 5, 1), [(date(2026, 6, 1), 500, "Tech")]),
    12: (UAE, date(2026, 6, 15), []),
}
CHANNELS = {1: "paid_search", 2: "paid_search", 3: "email", 5: "paid_social"}
PREDICTED = {1: 80.0, 2: 30.0, 3: 10.0}
SEGMENTS = {1: "Champions", 11: "New", 8: "Never bought", 10: "Never bought", 12: "Never bought"}


def at(month: int, day: int) -> datetime:
    return datetime(2026, month, day, 9, tzinfo=UTC)


def event(number: int, kind: str, when: datetime, identity: str, **values: Any) -> Row:
    return {"event_id": f"e{number}", "event_type": kind, "occurred_at": when, "identity": identity, **values}


# February: a customer and a device. April: mailings. May: a customer on one day. June: a customer daily, a device once.
EVENTS = [
    event(1, "page_view", at(2, 3), "customer:3"),
    event(2, "page_view", at(2, 4), "device:d9"),
    event(3, "email_sent", at(4, 1), "email:a@example.com", email="a@example.com", campaign="spring"),
    event(4, "email_sent", at(4, 1), "email:b@example.com", email="b@example.com", campaign="spring"),
    event(5, "email_sent", at(4, 1), "email:c@example.com", email="c@example.com", campaign="spring"),
    event(6, "email_open", at(4, 2), "email:a@example.com", email="a@example.com", campaign="spring"),
    event(7, "email_open", at(4, 3), "email:a@example.com", email="a@example.com", campaign="spring"),
    event(8, "email_click", at(4, 3), "email:b@example.com", email="b@example.com", campaign="spring"),
    event(9, "unsubscribe", at(4, 4), "email:c@example.com", email="c@example.com", campaign="spring"),
    event(10, "page_view", at(5, 31), "customer:2", session_id="s0"),
    event(11, "checkout", at(6, 3), "customer:1", session_id="s3"),
    event(12, "product_view", at(6, 24), "device:d1"),
    *(event(100 + day, "page_view", at(6, day), "customer:1", session_id=f"s{day}") for day in range(1, 31)),
]

SPEND = [
    ("2026-01-01", "paid_search", "100.00", "USD"),
    ("2026-01-01", "email", "20.00", "EUR"),
    ("2026-02-01", "paid_social", "1000.00", "AED"),
    ("2026-02-01", "email", "20.00", "EUR"),  # February has no rate, so the rate of January applies
    ("2026-04-01", "paid_search", "50.00", "GBP"),  # the currency has no rate
]
RATES = [
    ("2026-01-01", "USD", "1"),
    ("2026-01-01", "EUR", "1.10"),
    ("2026-02-01", "USD", "1"),
    ("2026-02-01", "AED", "0.2723"),
    ("2026-03-01", "EUR", "1.20"),
]


Sources = dict[str, Any]


@pytest.fixture
def sources_of(frame_of: Callable[..., Any]) -> Callable[..., Sources]:
    """Return a function that builds the input tables of the KPIs from customers and events."""

    def build(customers: dict[int, Any], events: list[Row], as_of: date) -> Sources:
        def frame(contract: TableContract, rows: list[Row]) -> Any:
            names = contract.column_names
            return frame_of(contract.columns, *({k: v for k, v in row.items() if k in names} for row in rows))

        acquired = {number: each for number, each in customers.items() if each[1] <= as_of}
        sales = [
            {
                "customer_id": number,
                "transaction_date": day,
                "price": Decimal(money),
                "revenue": Decimal(money),
                "category": category,
                "country": c,
            }
            for number, (c, _, sold) in customers.items()
            for day, money, category in sold
        ]
        common = {"product_id": 1, "store_id": 1, "quantity": 1, "_batch_id": "b"}
        events_silver = frame(EVENTS_SILVER, [row | {"_batch_id": "b"} for row in events])
        contacts = [
            {
                "contact_id": f"c{number}",
                "acquisition_channel": channel,
                "is_email_allowed": number != 3,
                "is_phone_allowed": False if number == 3 else None,
            }
            for number, channel in CHANNELS.items()
        ]
        links = [
            {"record_key": f"customer:{number}", "source": "customers", "customer_id": number, "person_id": number}
            for number in customers
        ]
        retails = with_month(
            frame(RETAILS_SILVER, [sale | common | {"transaction_id": n} for n, sale in enumerate(sales)])
        )
        return dict(
            persons_silver=frame(
                PERSONS_SILVER,
                [
                    {"person_id": n, "country": c, "acquisition_channel": CHANNELS.get(n)}
                    for n, (c, *_) in customers.items()
                ],
            ),
            person_links_silver=frame(PERSON_LINKS_SILVER, links),
            crm_contacts_silver=frame(CRM_CONTACTS_SILVER, [contact | {"_batch_id": "b"} for contact in contacts]),
            events_silver=events_silver,
            activities_silver=build_activities_silver(events_silver, "UTC"),
            retails_silver=retails,
            purchases_silver=purchases_of(retails),
            category_monthly_sales_gold=build_category_monthly_sales_gold(retails, None),
            country_category_monthly_sales_gold=build_country_category_monthly_sales_gold(retails, None),
            country_monthly_orders_gold=build_country_monthly_orders_gold(retails, None),
            marketing_spend_silver=frame(
                MARKETING_SPEND_SILVER,
                [
                    {
                        "month": date.fromisoformat(month),
                        "channel": channel,
                        "campaign": "all",
                        "amount": Decimal(amount),
                        "currency": currency,
                        "_batch_id": "b",
                    }
                    for month, channel, amount, currency in SPEND
                ],
            ),
            exchange_rates_silver=frame(
                EXCHANGE_RATES_SILVER,
                [
                    {"month": date.fromisoformat(month), "currency": currency, "rate": Decimal(rate), "_batch_id": "b"}
                    for month, currency, rate in RATES
                ],
            ),
            customer_value_gold=frame(
                CUSTOMER_VALUE_GOLD,
                [
                    {
                        "person_id": number,
                        "as_of": as_of,
                        "acquisition_date": day,
                        "first_purchase_date": min((day for day, *_ in sold if day <= as_of), default=None),
                        "transaction_count": len(sold),
                        "purchase_day_count": len({day for day, *_ in sold}),
                        "tenure_days": 0,
                        "total_revenue": Decimal(0),
                        "historic_clv": Decimal(0),
                        "segment": SEGMENTS.get(number, "Lost"),
                        "prediction_state": "predicted",
                        "predictive_clv": PREDICTED.get(number),
                    }
                    for number, (_, day, sold) in acquired.items()
                ],
            ),
        )

    return build


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
    assert figures["consent_rate", "consent_channel", "email"] == {6: pytest.approx(3 / 4)}
    assert figures["consent_rate", "consent_channel", "phone"] == {6: 0}  # a missing answer means no consent
    assert figures["consent_rate", "consent_channel", "sms"] == {6: None}  # no contact has an answer
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
