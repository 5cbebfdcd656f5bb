"""Tests of KPIs by week, of unknown figures, and of values that are called like a total."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from pyspark.sql import functions as sf

from cdp_lib.contracts.kpis import KNOWN_FROM, KPIS, MEASURES
from cdp_lib.gold.kpis.monthly import build_kpi_monthly_gold
from cdp_lib.gold.kpis.weekly import build_kpi_weekly_gold
from cdp_lib.gold.sales_by_week import build_sales_by_week_gold

from .kpi_sources import AS_OF, CUSTOMERS, EVENTS, TERMS, at, event

pytestmark = pytest.mark.torture

MONTHLY_MARTS = ("category_monthly_sales_gold", "country_category_monthly_sales_gold", "country_monthly_orders_gold")

WEEKLY_SUMS = ("revenue", "transactions", "new_customers", "first_time_buyers")


def values(rows: list[Any], *key: str) -> dict[date, float | None]:
    """Return the values of a KPI by the first day of the period. Without a dimension and a value: of all."""
    name, dimension, value = key if len(key) > 1 else (*key, "all", "all")
    return {r[0]: r.value for r in rows if (r.kpi, r.dimension, r.dimension_value) == (name, dimension, value)}


def monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


@pytest.fixture
def build(sources_of: Callable[..., Any]) -> Callable[..., list[Any]]:
    """Return a function that builds the rows of a KPI table."""

    def rows(
        table: Any, customers: Any = CUSTOMERS, events: Any = EVENTS, as_of: date = AS_OF, **inputs: Any
    ) -> list[Any]:
        sources = sources_of(customers, events, as_of)
        if table is build_kpi_weekly_gold:
            sources = {name: frame for name, frame in sources.items() if name not in MONTHLY_MARTS}
            sources["sales_by_week_gold"] = build_sales_by_week_gold(sources["retails_silver"], None)
        frames = {name: inputs[name](frame) if name in inputs else frame for name, frame in sources.items()}
        return list(table(**frames, **TERMS | {"as_of": as_of}).collect())

    return rows


@pytest.fixture
def weeks(build: Callable[..., list[Any]]) -> list[Any]:
    return build(build_kpi_weekly_gold)


def test_figures_of_weeks_equal_figures_of_their_days(weeks: list[Any]) -> None:
    expected: dict[str, dict[date, float]] = {name: defaultdict(float) for name in (*WEEKLY_SUMS, "active_customers")}
    for _, acquired, sales in CUSTOMERS.values():
        expected["new_customers"][monday(acquired)] += 1
        for week in {monday(day) for day, *_ in sales}:
            expected["active_customers"][week] += 1
        if sales:
            expected["first_time_buyers"][monday(min(day for day, *_ in sales))] += 1
        for day, money, _ in sales:
            expected["revenue"][monday(day)] += money
            expected["transactions"][monday(day)] += 1
    all_weeks = [date(2025, 12, 29) + timedelta(days=7 * number) for number in range(27)]
    for kpi, by_week in expected.items():
        assert values(weeks, kpi) == {week: by_week.get(week, 0) for week in all_weeks}, kpi


def test_retention_compares_a_week_with_the_week_before(build: Callable[..., list[Any]]) -> None:
    customers = {
        1: ("Egypt", date(2026, 1, 5), [(date(2026, 1, 11), 10, "Tech"), (date(2026, 1, 12), 10, "Tech")]),
        2: ("Egypt", date(2026, 1, 5), [(date(2026, 1, 5), 30, "Tech"), (date(2026, 1, 19), 10, "Tech")]),
    }
    rows = build(build_kpi_weekly_gold, customers, [], date(2026, 1, 20))
    first, second, third = (date(2026, 1, day) for day in (5, 12, 19))
    retention = values(rows, "retention_rate")
    assert (retention[first], retention[second], retention[third]) == (None, 0.5, None)  # the third week is not over
    assert values(rows, "revenue_churn_rate")[second] == 30 / 40
    assert values(rows, "reactivated_customers")[third] == 1
    assert {row[0]: row.is_complete for row in rows}[third] is False
    assert {row.is_complete for row in rows if row[0] != third} == {True}


@pytest.mark.parametrize(
    ("day", "week"),
    [
        (date(2025, 12, 28), date(2025, 12, 22)),
        (date(2026, 1, 4), date(2025, 12, 29)),  # 2026-W01
        (date(2026, 12, 31), date(2026, 12, 28)),  # 2026-W53
        (date(2027, 1, 3), date(2026, 12, 28)),
        (date(2027, 1, 4), date(2027, 1, 4)),  # 2027-W01
    ],
)
def test_weeks_at_the_turn_of_the_year_belong_to_their_monday(
    build: Callable[..., list[Any]], day: date, week: date
) -> None:
    rows = build(build_kpi_weekly_gold, {1: ("Egypt", day, [(day, 10, "Tech")])}, [], day)
    assert values(rows, "revenue")[week] == 10
    assert week.isocalendar()[:2] == day.isocalendar()[:2]


def test_spend_of_weeks_adds_up_to_months_and_is_unknown_with_a_month_without_spend(weeks: list[Any]) -> None:
    spend = values(weeks, "marketing_spend")
    assert spend[date(2025, 12, 29)] is None  # no spend is known in December
    assert spend[date(2026, 1, 5)] == pytest.approx(122 * 7 / 31)
    assert spend[date(2026, 1, 26)] == pytest.approx(122 * 6 / 31 + 294.3 / 28)
    assert spend[date(2026, 2, 23)] is None  # March has no spend
    known = [spend[date(2026, 1, 5) + timedelta(days=7 * number)] for number in range(7)]  # 5 January to 22 February
    assert sum(filter(None, known)) == pytest.approx(122 * 27 / 31 + 294.3 * 22 / 28, abs=1e-5)


def test_windows_end_with_the_week(weeks: list[Any]) -> None:
    # Customer 2 is active on 31 May, customer 1 on every day of June, and a device on 24 June.
    assert values(weeks, "mau")[date(2026, 6, 22)] == 3
    assert values(weeks, "wau")[date(2026, 6, 22)] == 2
    assert values(weeks, "wau")[date(2026, 6, 15)] == 1
    assert values(weeks, "dau")[date(2026, 6, 29)] == pytest.approx(31 / 30)  # up to as_of, 30 June


def test_every_kpi_has_weeks_or_says_why_not(weeks: list[Any]) -> None:
    assert {row.kpi for row in weeks} == {kpi.name for kpi in KPIS if kpi.has_weeks}
    assert all(kpi.in_weeks.startswith("None: ") for kpi in KPIS if not kpi.has_weeks)


# Unknown figures


def test_measures_that_a_source_may_lack_exist() -> None:
    assert {name for names in KNOWN_FROM.values() for name in names} <= set(MEASURES)


def test_figures_of_people_are_null_without_events_and_0_after_the_first_event(build: Callable[..., list[Any]]) -> None:
    without = build(build_kpi_monthly_gold, events=[])
    for kpi in ("dau", "wau", "mau", "stickiness", "sessions_per_user", "engagement_score", "email_open_rate"):
        assert set(values(without, kpi).values()) == {None}, kpi
    rows = build(build_kpi_monthly_gold, events=[event(1, "page_view", at(2, 3), "customer:3")])
    assert list(values(rows, "mau").values()) == [None, 1, 0, 0, 0, 0]
    assert list(values(rows, "dau").values()) == [None, 1 / 30, 0, 0, 0, 0]


def test_open_rate_is_null_before_the_first_opening_and_0_after_it(build: Callable[..., list[Any]]) -> None:
    def mailing(number: int, month: int, kind: str) -> dict[str, Any]:
        return event(number, kind, at(month, 2), "email:a@example.com", email="a@example.com", campaign=f"{month}")

    sent = [mailing(month, month, "email_sent") for month in (1, 2, 3)]
    rows = build(build_kpi_monthly_gold, events=[*sent, mailing(9, 2, "email_open")])
    assert list(values(rows, "email_open_rate").values()) == [None, 1, 0, None, None, None]
    assert set(values(rows, "email_click_rate").values()) == {None}


@pytest.mark.parametrize(
    ("kpi", "columns", "expected"),
    [
        ("return_rate", {"returned_revenue": 50}, 50 / 800),
        ("discount_rate", {"discount": 100, "list_revenue": 900}, 100 / 900),
        ("gross_margin_rate", {"cost": 200, "costed_revenue": 800}, 600 / 800),
    ],
)
def test_rates_of_sales_are_known_from_the_first_month_with_data(
    build: Callable[..., list[Any]], kpi: str, columns: dict[str, int], expected: float
) -> None:
    def with_data(groups: Any) -> Any:
        # Put the whole amount into one row of February.
        is_first = (sf.col("sale_month") == sf.lit(date(2026, 2, 1))) & (sf.col("category") == "Tech")
        is_egypt = sf.col("country") == "Egypt"
        for name, amount in columns.items():
            kept = sf.when(is_first & is_egypt, sf.lit(amount)).otherwise(sf.col(name))
            groups = groups.withColumn(name, kept.cast("decimal(38,4)"))
        return groups

    assert set(values(build(build_kpi_monthly_gold), kpi).values()) == {None}
    rows = build(build_kpi_monthly_gold, country_category_monthly_sales_gold=with_data)
    rates = list(values(rows, kpi).values())
    assert rates[0] is None and rates[1] == pytest.approx(expected)
    after = {0} if kpi == "return_rate" else {None}  # no other line has a discount or a cost: a rate of nothing
    assert {rate for rate in rates[2:4]} == after


# Values that are called like a total


@pytest.mark.parametrize("name", ["all", "All countries", "unknown"])
def test_a_value_that_is_called_like_a_total_changes_no_total(build: Callable[..., list[Any]], name: str) -> None:
    named = {
        number: (name if country == "UAE" else country, day, [(d, m, name if c == "Tech" else c) for d, m, c in sales])
        for number, (country, day, sales) in CUSTOMERS.items()
    }
    for table in (build_kpi_monthly_gold, build_kpi_weekly_gold):
        before, after = build(table), build(table, named)

        def figures(rows: list[Any], renamed: str) -> set[tuple[Any, ...]]:
            of_places = ("country", "category")
            return {
                (*row[:2], "renamed" if row[1] in of_places and row[2] == renamed else row[2], *row[3:]) for row in rows
            }

        countries = [row for row in before if row.dimension != "category"]
        assert figures(countries, "UAE") == figures([row for row in after if row.dimension != "category"], name)
        keys = [row[:4] for row in after]
        assert len(keys) == len(set(keys))
        assert values(before, "revenue", "category", "Tech") == values(after, "revenue", "category", name)
