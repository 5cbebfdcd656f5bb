"""Tests of the DAX of KPIs. Expected figures are computed with the KPI formulas from sums of measures."""

from __future__ import annotations

import random
import re
from calendar import monthrange
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from functools import cache
from typing import Any

import pytest

from cdp_lib.contracts.kpis import CUSTOMER_DIMENSIONS, KPIS, MEASURES, Kpi
from cdp_local.semantic_model import DIMENSION_TABLES

from .conftest import MODEL
from .dax import Context, Engine, Filter, parse, selection
from .semantic_model import SemanticModel, read_model

pytestmark = pytest.mark.first_engine

AS_OF = date(2026, 5, 15)
MONTHS = [date(2026, month, 1) for month in (2, 3, 4, 5)]
FEBRUARY, MARCH, APRIL, MAY = MONTHS
VALUES = {
    "country": ["Egypt", "UAE", "Oman"],
    "channel": ["organic", "paid_search", "unknown"],
    "segment": ["Loyal", "Lost"],
    "category": ["Sports", "Toys"],
    "consent_channel": ["email", "sms"],
}
BY_DIMENSION = [name for name in CUSTOMER_DIMENSIONS if name != "all"]
OF_CATEGORIES = ("revenue", "transactions", "active_customers")
MARGIN = 0.4
USER = "someone@example.com"

Measures = dict[str, float | None]
Cell = tuple[date, str, str]


def random_cells() -> dict[Cell, Measures]:
    """Return random measures by (month, dimension, value).

    The values of each dimension add up to the same total. All measures of Oman are 0.
    """
    dice = random.Random(7)
    cells: dict[Cell, Measures] = {}

    def add(cell: Cell, counted: Measures) -> None:
        sums = cells.setdefault(cell, dict.fromkeys(MEASURES, 0))
        for name, value in counted.items():
            sums[name] = (sums[name] or 0) + (value or 0)

    for month in MONTHS:
        for country in VALUES["country"]:
            for channel in VALUES["channel"]:
                for segment in VALUES["segment"]:
                    counted = {name: 0 if country == "Oman" else dice.randint(1, 50) for name in MEASURES}
                    values = {"all": "all", "country": country, "channel": channel, "segment": segment}
                    for dimension, value in values.items():
                        add((month, dimension, value), counted)
        for category in VALUES["category"]:
            add((month, "category", category), {name: dice.randint(1, 50) for name in OF_CATEGORIES})
        for consent_channel in VALUES["consent_channel"]:
            add(
                (month, "consent_channel", consent_channel),
                {"known_persons": 40, "agreeing_persons": dice.randint(1, 40)},
            )
    for (_, dimension, value), counted in cells.items():
        counted["gross_margin"] = MARGIN
        if (dimension, value) == ("channel", "unknown"):
            counted |= {"spend": None, "paid_spend": None, "spend_to_date": None}
    return cells


CELLS = random_cells()


def summed(measures: Iterable[Measures]) -> Measures:
    """Return the sum of each measure over several (month, dimension, value) cells."""
    cells = list(measures)
    names = [name for name in MEASURES if name != "gross_margin"]
    return {name: sum(cell[name] or 0 for cell in cells) for name in names} | {"gross_margin": MARGIN}


def part(formula: str, measures: Measures) -> float | None:
    """Compute the numerator or denominator of a KPI. As in SQL, the result is null if a measure is null."""
    if any(measures.get(name, 0) is None for name in re.findall(r"[a-z_]+", formula)):
        return None
    nullif: Callable[[float, float], float] = lambda a, b: float("nan") if a == b else a  # noqa: E731
    result = float(eval(formula, {"nullif": nullif}, measures))
    return None if result != result else result


def figure(kpi: Kpi, measures: Measures) -> float | None:
    above, below = part(kpi.numerator, measures), part(kpi.denominator, measures)
    return None if above is None or not below else above / below


def kpi_rows(kpis: Iterable[Kpi]) -> list[dict[str, Any]]:
    """Return rows of some KPIs in the form of `kpi_monthly_gold`."""
    rows = []
    for (month, dimension, value), measures in CELLS.items():
        is_over = month.replace(day=monthrange(month.year, month.month)[1]) <= AS_OF
        for kpi in kpis:
            if dimension in kpi.dimensions and (month == MAY or not kpi.is_of_latest_month):
                known = is_over or not kpi.needs_whole_period
                rows.append(
                    {
                        "month": month,
                        "dimension": dimension,
                        "dimension_value": value,
                        "kpi": kpi.name,
                        "value": figure(kpi, measures) if known else None,
                        "numerator": part(kpi.numerator, measures) if known else None,
                        "denominator": part(kpi.denominator, measures) if known else None,
                        "as_of": AS_OF,
                        "is_complete": is_over,
                        **{name: value if name == dimension else None for name in DIMENSION_TABLES},
                    }
                )
    return rows


MODEL_READ = read_model(MODEL)
DECOYS = KPIS[:2]


def engine_of(
    kpis: Iterable[Kpi], access: Mapping[str | None, str] | None = None, weeks: Iterable[Mapping[str, Any]] = ()
) -> Engine:
    """Return an engine with rows of some KPIs, and with the given rows of weeks.

    `access` maps a country to the user who may see it.
    """
    days = [MONTHS[0] + timedelta(days=number) for number in range(120)]
    rows: dict[str, list[dict[str, Any]]] = {
        "KPI values": kpi_rows(kpis),
        "Weekly KPI values": [dict.fromkeys(DIMENSION_TABLES) | row for row in weeks],
        "KPI": [{"kpi": kpi.name} for kpi in KPIS],
        "Date": [{"date": day, "month": day.replace(day=1), "year": day.year} for day in days],
        "Country access": [{"user_principal_name": u, "country": c} for c, u in (access or {}).items()],
    }
    for dimension, table in DIMENSION_TABLES.items():
        rows[table] = [{dimension: value} for value in VALUES[dimension]]
    return Engine(MODEL_READ, rows, USER)


@cache
def unrestricted(kpi: Kpi) -> Engine:
    """Return an engine without a role. It also has rows of two other KPIs, which the KPI's measure must ignore."""
    return engine_of(dict.fromkeys((kpi, *DECOYS)))


@cache
def restricted(kpi: Kpi) -> Engine:
    """Return an engine in the role By country, for a user who may see Egypt and the UAE."""
    access: dict[str | None, str] = {"Egypt": USER, "UAE": USER, "Oman": "other@example.com"}
    return engine_of(dict.fromkeys((kpi, *DECOYS)), access).in_role("By country")


def period(*months: date) -> Filter:
    return selection("Date", "month", *months)


def by(dimension: str, *values: str) -> Filter:
    return selection(DIMENSION_TABLES[dimension], dimension, *values)  # type: ignore[index]


def expected(kpi: Kpi, months: list[date], dimension: str = "all", values: Iterable[str] = ("all",)) -> float | None:
    """Return the expected figure: sum the measures over months and dimension values, then apply the KPI formula."""
    if dimension not in kpi.dimensions:
        return None
    known = [month for month in months if not (kpi.needs_whole_period and month == MAY)]
    known = [month for month in known if month == MAY or not kpi.is_of_latest_month]
    if not kpi.adds_over_months:
        known = known[-1:]
        if kpi.is_of_latest_month and MAY not in months:
            return None
    cells = [CELLS[month, dimension, value] for month in known for value in values]
    defined = [measures for measures in cells if figure(kpi, measures) is not None]
    return figure(kpi, summed(defined)) if defined else None


def is_formula_of_parts(kpi: Kpi) -> bool:
    return "/" in kpi.numerator + kpi.denominator


def same(found: Any, wanted: float | None) -> bool:
    return found is None if wanted is None else found == pytest.approx(wanted, rel=1e-9)


EACH_KPI = pytest.mark.parametrize("kpi", KPIS, ids=lambda kpi: kpi.name)


@EACH_KPI
@pytest.mark.parametrize("month", MONTHS, ids=lambda month: f"{month:%b}")
def test_unfiltered_figure_is_that_of_all(kpi: Kpi, month: date) -> None:
    assert same(unrestricted(kpi).measure(kpi.title, period(month)), expected(kpi, [month]))


@EACH_KPI
@pytest.mark.parametrize("dimension", VALUES)
def test_figure_for_one_dimension_value_is_that_of_the_value(kpi: Kpi, dimension: str) -> None:
    for value in VALUES[dimension]:
        for month in (APRIL, MAY):
            found = unrestricted(kpi).measure(kpi.title, period(month), by(dimension, value))
            assert same(found, expected(kpi, [month], dimension, [value])), value


@EACH_KPI
@pytest.mark.parametrize("months", [MONTHS, [FEBRUARY, MARCH], [MARCH, MAY]], ids=["all", "two", "with a gap"])
def test_figure_for_several_months_is_that_of_the_period(kpi: Kpi, months: list[date]) -> None:
    assert same(unrestricted(kpi).measure(kpi.title, period(*months)), expected(kpi, months))
    if months == MONTHS:
        assert same(unrestricted(kpi).measure(kpi.title), expected(kpi, months))


@EACH_KPI
@pytest.mark.parametrize("dimension", BY_DIMENSION)
def test_figure_for_several_dimension_values_combines_their_sums(kpi: Kpi, dimension: str) -> None:
    # Spend of the last channel is unknown, so the channel is left out of the sums.
    for values in (VALUES[dimension][:2], VALUES[dimension]):
        for months in ([APRIL], MONTHS):
            wanted = None if is_formula_of_parts(kpi) else expected(kpi, months, dimension, values)
            assert same(unrestricted(kpi).measure(kpi.title, period(*months), by(dimension, *values)), wanted)


@EACH_KPI
def test_only_sales_kpis_add_up_over_categories_and_consent_channels(kpi: Kpi) -> None:
    is_sales_kpi = kpi.name in ("revenue", "transactions", "average_transaction_value")
    wanted = expected(kpi, [APRIL], "category", VALUES["category"]) if is_sales_kpi else None
    assert same(unrestricted(kpi).measure(kpi.title, period(APRIL), by("category", *VALUES["category"])), wanted)
    assert unrestricted(kpi).measure(kpi.title, by("consent_channel", *VALUES["consent_channel"])) is None


@EACH_KPI
def test_figure_is_blank_if_two_dimensions_are_filtered(kpi: Kpi) -> None:
    assert unrestricted(kpi).measure(kpi.title, by("country", "Egypt"), by("segment", "Loyal")) is None
    assert unrestricted(kpi).measure(kpi.title, selection("Store", "store_id", 1)) is None


@EACH_KPI
def test_user_with_two_countries_sees_their_combined_figure(kpi: Kpi) -> None:
    for months in ([APRIL], MONTHS):
        wanted = expected(kpi, months, "country", ["Egypt", "UAE"])
        assert same(restricted(kpi).measure(kpi.title, period(*months)), wanted)
    assert same(
        restricted(kpi).measure(kpi.title, period(APRIL), by("country", "UAE")),
        expected(kpi, [APRIL], "country", ["UAE"]),
    )


@EACH_KPI
def test_user_with_two_countries_sees_no_other_figures(kpi: Kpi) -> None:
    assert restricted(kpi).measure(kpi.title, by("country", "Oman")) is None
    for dimension in VALUES:
        if dimension != "country":
            assert restricted(kpi).measure(kpi.title, by(dimension, *VALUES[dimension][:1])) is None


@pytest.mark.parametrize(
    "access",
    [{}, {"Egypt": "other@example.com"}, {"": USER}, {None: USER}, {"all": USER}],
    ids=["no access", "access of another user", "empty", "blank", "all"],
)
def test_user_without_country_sees_nothing(access: dict[str | None, str]) -> None:
    seen = engine_of(KPIS, access).in_role("By country")
    assert seen.rows["KPI values"] == seen.rows["Country"] == []
    assert all(seen.measure(kpi.title) is None for kpi in KPIS)


def test_all_countries_role_sees_all_rows() -> None:
    engine = engine_of(DECOYS)
    assert engine.in_role("All countries").rows == engine.rows


def test_user_in_the_role_sees_only_their_own_access() -> None:
    rows = restricted(DECOYS[0]).rows["Country access"]
    assert {row["Country access", "user_principal_name"] for row in rows} == {USER}


def test_customers_and_stores_are_filtered_by_country(model: SemanticModel) -> None:
    rows = {
        "Customer": [{"person_id": 1, "country": "Egypt"}, {"person_id": 2, "country": "UAE"}],
        "Customer value": [{"person_id": number} for number in (1, 2, 3)],
        "Customer segments": [{"person_id": number} for number in (1, 2)],
        "Store": [{"store_id": 1, "location": "Egypt"}, {"store_id": 2, "location": "UAE"}],
        "Store sales": [{"store_id": number, "product_id": 1} for number in (1, 2, 3)],
        "Category sales": [{"country": "Egypt", "category": "Toys"}, {"country": "UAE", "category": "Toys"}],
        "Season sales": [{"season": "Winter"}],
        "Cohorts": [{"cohort_month": MAY}],
        "Country access": [{"user_principal_name": USER, "country": "UAE"}],
    }
    seen = Engine(model, rows, USER).in_role("By country").rows
    assert {table: len(table_rows) for table, table_rows in seen.items()} == {
        "Customer": 1,
        "Customer value": 1,
        "Customer segments": 1,
        "Store": 1,
        "Store sales": 1,
        "Category sales": 1,
        "Season sales": 0,
        "Cohorts": 0,
        "Country access": 1,
    }
    assert seen["Customer value"] == [{("Customer value", "person_id"): 2}]
    assert seen["Store sales"] == [{("Store sales", "store_id"): 2, ("Store sales", "product_id"): 1}]


@pytest.mark.parametrize("kpi", [kpi for kpi in KPIS if not kpi.is_of_latest_month], ids=lambda kpi: kpi.name)
def test_change_compares_the_latest_complete_month_with_the_month_before(kpi: Kpi) -> None:
    april, march = expected(kpi, [APRIL]), expected(kpi, [MARCH])
    if april is None or march is None:
        april = march = None
    assert same(unrestricted(kpi).measure(kpi.title, calculation="Latest whole month"), april)
    assert same(unrestricted(kpi).measure(kpi.title, calculation="Month before"), march)
    change = None if april is None or not march else (april - march) / abs(march)
    assert same(unrestricted(kpi).measure(kpi.title, calculation="Change on month before"), change)
    assert unrestricted(kpi).measure(kpi.title, period(MAY), calculation="Change on month before") is None
    assert unrestricted(kpi).measure(kpi.title, calculation="Year before") is None


@pytest.mark.parametrize(
    ("clv", "band"),
    [(None, None), (0.0, 0), (0.5, 0), (1.0, 1), (2.9, 1), (3.0, 3), (9.9, 3), (25.0, 10), (31.5, 30), (1234.0, 1000)],
)
def test_clv_band_starts_at_or_below_the_value(model: SemanticModel, clv: float | None, band: int | None) -> None:
    engine = Engine(model, {"Customer value": [{"predictive_clv": clv}]})
    column = parse(model.tables["Customer value"].columns["predictive_clv_from"].dax)
    (row,) = engine.rows["Customer value"]
    assert engine.evaluate(column, Context(row=row)) == band


def test_interpreter_rejects_invalid_dax() -> None:
    for broken in ("SUM('a'[b]", "IF(, 1)", "VAR x = 1", "1 +", "SUMX('a' 'a'[b])"):
        with pytest.raises(AssertionError):
            parse(broken)


# Weeks


@pytest.mark.parametrize("kpi", KPIS, ids=lambda kpi: kpi.name)
def test_weekly_measure_has_the_dax_of_the_month_over_the_table_of_weeks(model: SemanticModel, kpi: Kpi) -> None:
    weekly = model.tables["Weekly KPI values"].measures
    if not kpi.has_weeks:
        assert f"{kpi.title} by week" not in weekly
        return
    of_months = model.tables["KPI values"].measures[kpi.title].dax
    of_weeks = of_months.replace("'KPI values'", "'Weekly KPI values'").replace("[month]", "[week]")
    assert weekly[f"{kpi.title} by week"].dax == of_weeks


@pytest.mark.parametrize(
    ("name", "of_all", "of_user"),
    [
        ("revenue", 15, 7),  # both weeks
        ("active_customers", 5, 3),  # the latest week
        ("retention_rate", 1.0, 0.5),  # the latest week that is over
    ],
)
def test_weekly_measure_reads_weeks_by_dimension_and_role(name: str, of_all: float, of_user: float) -> None:
    [kpi] = [kpi for kpi in KPIS if kpi.name == name]
    egypt = {"dimension": "country", "dimension_value": "Egypt", "country": "Egypt"}
    of_everybody = {"dimension": "all", "dimension_value": "all", "country": None}
    figures = [
        (of_everybody, date(2026, 5, 4), True, 10),
        (of_everybody, date(2026, 5, 11), False, 5),
        (egypt, date(2026, 5, 4), True, 4),
        (egypt, date(2026, 5, 11), False, 3),
    ]
    rows = [
        {
            "week": week,
            "kpi": name,
            "is_complete": is_complete,
            **dict.fromkeys(("value", "numerator"), None if kpi.needs_whole_period and not is_complete else figure),
            "denominator": {10: 10, 4: 8}.get(figure),
            **place,
        }
        for place, week, is_complete, figure in figures
    ]
    engine = engine_of([kpi], {"Egypt": USER}, rows)
    assert engine.measure(f"{kpi.title} by week") == of_all
    assert engine.in_role("By country").measure(f"{kpi.title} by week") == of_user
