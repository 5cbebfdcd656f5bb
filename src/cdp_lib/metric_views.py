"""Metric views of Unity Catalog over the serving view `kpis`: the KPIs as measures for analysts and BI tools.

A definition is JSON, which is valid YAML. The definitions follow version 1.1 of the Databricks specification. This
version requires Databricks Runtime 17.3. The key `window` makes a measure semi-additive: over several months, the
measure has the value of the latest month. The specification marks this key as experimental. Tests compare the results
of the expressions with `kpi_monthly_gold`. The definitions have not been loaded into a Databricks workspace yet.
"""

from __future__ import annotations

import json
from typing import Any

from cdp_lib.contracts.kpis import DIMENSIONS, KPIS, Dimension, Kpi

_SPECIFICATION = "1.1"


def metric_views(kpis: str, currency: str) -> dict[str, str]:
    """Return one metric view definition per dimension, by name of the view.

    Args:
        kpis: Full name of the serving view `kpis`.
        currency: ISO 4217 code of the reporting currency.
    """
    return {
        metric_view_name(dimension): json.dumps(_definition(dimension, kpis, currency), ensure_ascii=False, indent=2)
        for dimension in DIMENSIONS
    }


def metric_view_name(dimension: Dimension) -> str:
    """Return the name of the metric view of a dimension.

    >>> metric_view_name("all"), metric_view_name("country")
    ('kpi_metrics', 'country_kpi_metrics')
    """
    return "kpi_metrics" if dimension == "all" else f"{dimension}_kpi_metrics"


def _definition(dimension: Dimension, kpis: str, currency: str) -> dict[str, Any]:
    month = {
        "name": "month",
        "expr": "month",
        "comment": "First day of the month.",
        "display_name": "Month",
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
        "comment": f"KPIs by month and {DIMENSIONS[dimension]}" if dimension != "all" else "KPIs by month",
        "source": kpis,
        "filter": f"dimension = '{dimension}'",
        "dimensions": [month] if dimension == "all" else [month, dimension_column],
        "measures": [_measure(kpi, dimension, currency) for kpi in KPIS if dimension in kpi.dimensions],
    }


def _measure(kpi: Kpi, dimension: Dimension, currency: str) -> dict[str, Any]:
    sentences = [kpi.definition]
    measure: dict[str, Any] = {"name": kpi.name, "expr": _expression(kpi, dimension), "display_name": kpi.title}
    if not kpi.adds_over(dimension):
        sentences.append("Null when several values are selected.")
    if not kpi.adds_over_months:
        sentences.append("Value of the latest month when several months are selected.")
        measure |= {"window": [{"order": "month", "range": "current", "semiadditive": "last"}]}
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
