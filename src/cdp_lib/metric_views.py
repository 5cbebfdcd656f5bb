"""Metric views of Unity Catalog over the serving views `kpis` and `kpis_by_week`, for analysts and BI tools.

A definition is JSON, which is valid YAML. The definitions follow version 1.1 of the Databricks specification. This
version requires Databricks Runtime 17.3. The key `window` makes a measure semi-additive: over several months, the
measure has the value of the latest month or week. The specification marks this key as experimental. Tests compare the
results of the expressions with the tables of KPIs. No Databricks workspace has loaded the definitions yet.
"""

from __future__ import annotations

import json
from typing import Any

from cdp_lib.contracts.kpis import DIMENSIONS, KPIS, Dimension, Kpi, PeriodName

_SPECIFICATION = "1.1"


def metric_views(kpis: str, currency: str, period: PeriodName) -> dict[str, str]:
    """Return one metric view definition per dimension that has KPIs, by name of the view.

    Args:
        kpis: Full name of the serving view with the KPIs of the period.
        currency: ISO 4217 code of the reporting currency.
        period: Kind of the periods.
    """
    return {
        metric_view_name(dimension, period): json.dumps(
            _definition(dimension, kpis, currency, period), ensure_ascii=False, indent=2
        )
        for dimension in DIMENSIONS
        if _kpis_of(dimension, period)
    }


def metric_view_name(dimension: Dimension, period: PeriodName) -> str:
    """Return the name of the metric view of a dimension.

    >>> metric_view_name("all", "month"), metric_view_name("country", "month")
    ('kpi_metrics', 'country_kpi_metrics')
    >>> metric_view_name("all", "week"), metric_view_name("country", "week")
    ('weekly_kpi_metrics', 'country_weekly_kpi_metrics')
    """
    parts = [*([] if dimension == "all" else [dimension]), *([] if period == "month" else ["weekly"]), "kpi_metrics"]
    return "_".join(parts)


def _kpis_of(dimension: Dimension, period: PeriodName) -> list[Kpi]:
    return [kpi for kpi in KPIS if dimension in kpi.dimensions and (period == "month" or kpi.has_weeks)]


def _definition(dimension: Dimension, kpis: str, currency: str, period: PeriodName) -> dict[str, Any]:
    first_day = {
        "name": period,
        "expr": period,
        "comment": "First day of the month." if period == "month" else "Monday of the ISO week.",
        "display_name": period.capitalize(),
        "format": {"type": "date", "date_format": "year_month_day", "leading_zeros": True},
    }
    dimension_column = {
        "name": dimension,
        "expr": "dimension_value",
        "comment": DIMENSIONS[dimension],
        "display_name": dimension.replace("_", " ").capitalize(),
    }
    return {
        "version": _SPECIFICATION,
        "comment": f"KPIs by {period} and {DIMENSIONS[dimension]}" if dimension != "all" else f"KPIs by {period}",
        "source": kpis,
        "filter": f"dimension = '{dimension}'",
        "dimensions": [first_day] if dimension == "all" else [first_day, dimension_column],
        "measures": [_measure(kpi, dimension, currency, period) for kpi in _kpis_of(dimension, period)],
    }


def _measure(kpi: Kpi, dimension: Dimension, currency: str, period: PeriodName) -> dict[str, Any]:
    sentences = [kpi.definition]
    if period == "week":
        sentences += ["In this view, read “week” for “month”.", *filter(None, [kpi.in_weeks])]
    measure: dict[str, Any] = {"name": kpi.name, "expr": _expression(kpi, dimension), "display_name": kpi.title}
    if not kpi.adds_over(dimension):
        sentences.append("Null when several values are selected.")
    if not kpi.adds_over_months:
        sentences.append(f"Value of the latest {period} when several {period}s are selected.")
        measure |= {"window": [{"order": period, "range": "current", "semiadditive": "last"}]}
    return measure | {"comment": " ".join(sentences), "format": _format(kpi, currency)}


def _expression(kpi: Kpi, dimension: Dimension) -> str:
    """Return the SQL expression of a KPI: Σ numerator / Σ denominator.

    Rows whose `value` is null are left out of both sums. For one selected row, the result is therefore the `value` of
    this row. For several dimension values, the result is null if the KPI is not additive over the dimension.
    """
    has_value = f"FILTER (WHERE kpi = '{kpi.name}' AND value IS NOT NULL)"
    measure = f"sum(numerator) {has_value}"
    if kpi.denominator != "1":
        measure = f"{measure} / nullif(sum(denominator) {has_value}, 0)"
    if kpi.adds_over(dimension):
        return measure
    return f"CASE WHEN min(dimension_value) = max(dimension_value) THEN {measure} END"


def _format(kpi: Kpi, currency: str) -> dict[str, Any]:
    if kpi.unit == "money":
        return {"type": "currency", "currency_code": currency, "decimal_places": {"type": "exact", "places": 2}}
    if kpi.unit == "share":
        return {"type": "percentage", "decimal_places": {"type": "exact", "places": 1}}
    is_whole = kpi.unit == "count" and kpi.denominator == "1"
    return {"type": "number", "decimal_places": {"type": "max", "places": 0 if is_whole else 2}}
