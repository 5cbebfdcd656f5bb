"""The semantic model for Power BI: its tables, measures and row-level security.

Each KPI definition becomes a measure. The module `power_bi` writes the model to files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cdp_lib.contracts.analytics import (
    COHORT_RETENTION_GOLD,
    CUSTOMER_SEGMENTS_GOLD,
    CUSTOMER_VALUE_GOLD,
    KPI_MONTHLY_GOLD,
    KPI_WEEKLY_GOLD,
    MODEL_QUALITY_GOLD,
)
from cdp_lib.contracts.gold import (
    CATEGORY_COUNTRY_PERFORMANCE_GOLD,
    PRODUCT_PERFORMANCE_GOLD,
    SEASONAL_ANALYSIS_GOLD,
    STORE_CUSTOMER_ANALYSIS_GOLD,
    STORE_PRODUCT_PERFORMANCE_GOLD,
)
from cdp_lib.contracts.identity import PERSONS_SILVER
from cdp_lib.contracts.kpis import KPIS, Dimension, Kpi, PeriodName, Unit
from cdp_lib.contracts.ops import PIPELINE_RUNS_OPS, RECONCILIATION_OPS
from cdp_lib.contracts.segments import NOT_YET_A_CUSTOMER
from cdp_lib.contracts.table import Column, TableContract
from cdp_local.bundle import PROJECT, Bundle

DATA_TYPES = {
    "STRING": "string",
    "INT": "int64",
    "BIGINT": "int64",
    "DOUBLE": "double",
    "DECIMAL": "decimal",
    "BOOLEAN": "boolean",
    "DATE": "dateTime",
    "TIMESTAMP": "dateTime",
}
"""Data type in the model, by Spark type. The model has no columns of other Spark types."""

MINIMUM_CELL_SIZE = int(Bundle(PROJECT, {}).variable("minimum_cell_size"))
"""Smallest number of people whose figures the model shows: the default of the bundle variable."""

ANALYTICS_NEEDS_CONSENT = Bundle(PROJECT, {}).variable("analytics_needs_consent") == "true"
"""Whether the model has only persons who agreed to analytics: the default of the bundle variable."""

KPI_TABLES: dict[PeriodName, str] = {"month": "KPI values", "week": "Weekly KPI values"}
"""Table of the model with the KPIs of a kind of period."""

_WHOLE = "#,##0"
_MONEY = "#,##0.00"
_SHARE = "0.0%"
_FORMATS: dict[Unit, str] = {
    "money": _MONEY,
    "count": _WHOLE,
    "share": _SHARE,
    "months": "0.0",
    "ratio": "0.00",
    "points": "0.0",
}


@dataclass(frozen=True)
class Measure:
    """A measure of the model.

    Attributes:
        name: Display name.
        description: Description in a sentence or two.
        dax: DAX expression.
        format: Format string.
        folder: Display folder.
        is_hidden: Whether the measure is hidden from users. Only other measures use a hidden measure.
    """

    name: str
    description: str
    dax: str
    format: str
    folder: str = ""
    is_hidden: bool = False


@dataclass(frozen=True)
class CalculatedColumn:
    """A column that Power BI computes.

    Attributes:
        name: Name of the column.
        description: Description of the values.
        dax: DAX expression, which is computed for each row of the table.
        data_type: Data type in the model.
    """

    name: str
    description: str
    dax: str
    data_type: str


@dataclass(frozen=True)
class ModelTable:
    """A table of the model. Power BI reads its rows from a table of the platform.

    Attributes:
        name: Display name.
        contract: Contract of the platform table that the rows are read from.
        only: Names of the columns to read; empty for all columns without personal data.
        joins: Relationships to other tables of the model. Each maps a column of this table to the (table, column) pair
            that the column refers to.
        country: DAX expression that returns the country of a row. Users with the role `By country` see only the rows of
            their countries. If None, these users see all rows of a table in `OPEN_TABLES`, and no rows of any other
            table.
        measures: Measures of the table.
        calculated: Columns that Power BI computes.
        null_labels: String that replaces null, by name of the column.
        has_dimensions: Whether this is a table of KPI values, which has separate rows for each dimension of a KPI.
    """

    name: str
    contract: TableContract
    only: tuple[str, ...] = ()
    joins: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    country: str | None = None
    measures: tuple[Measure, ...] = ()
    calculated: tuple[CalculatedColumn, ...] = ()
    null_labels: Mapping[str, str] = field(default_factory=dict)
    has_dimensions: bool = False

    @property
    def columns(self) -> tuple[Column, ...]:
        """Columns to read. They have a known data type, no personal data, and a name that does not begin with `_`."""
        return tuple(
            column
            for column in self.contract.public_columns
            if (not self.only or column.name in self.only) and not column.name.startswith("_") and data_type(column)
        )


def data_type(column: Column) -> str | None:
    """Return the data type of a column in the model; None if the model supports no column of this Spark type."""
    return DATA_TYPES.get(column.type.partition("(")[0])


def text_literal(text: str) -> str:
    """Return a string as a literal. The languages DAX and M have the same syntax for string literals."""
    return '"' + text.replace('"', '""') + '"'


def as_identifier(name: str) -> str:
    """Convert a display name to an identifier: `Consent channel` becomes `ConsentChannel`."""
    return "".join(word.capitalize() for word in name.split())


# KPIs

DIMENSION_TABLES: dict[Dimension, str] = {
    "country": "Country",
    "channel": "Channel",
    "segment": "Segment",
    "category": "Category",
    "consent_channel": "Consent channel",
}
"""Table of the model, by KPI dimension. The dimension `all` has no table."""


def single_value_dimensions(kpi: Kpi) -> tuple[Dimension, ...]:
    """Return the dimensions over which a KPI is not additive.

    Example: one customer may buy in two categories, so the numbers of customers of these categories can't be added. If
    a user selects several values of such a dimension, the measure of the KPI is blank.
    """
    return tuple(dimension for dimension in kpi.dimensions if not kpi.adds_over(dimension))


def kpi_measure(kpi: Kpi, period: PeriodName = "month") -> Measure:
    """Return the measure of a KPI by month or by week."""
    single = single_value_dimensions(kpi)
    sentences = [
        kpi.definition,
        *(["In this measure, read “week” for “month”.", kpi.in_weeks] if period == "week" else []),
        f"Dimensions: {', '.join(name for name in kpi.dimensions if name != 'all')}."
        if len(kpi.dimensions) > 1
        else "",
        f"Blank if several values of {' or '.join(single)} are selected." if single else "",
        _several_periods_note(kpi, period),
    ]
    is_average = kpi.unit == "count" and kpi.denominator != "1"
    return Measure(
        name=kpi.title if period == "month" else f"{kpi.title} by week",
        description=" ".join(sentence for sentence in sentences if sentence),
        dax=_kpi_dax(kpi, single, period),
        format="#,##0.0" if is_average else _FORMATS[kpi.unit],
        folder=f"{kpi.owner}\\{kpi.unit}",
    )


def _several_periods_note(kpi: Kpi, period: PeriodName) -> str:
    if kpi.adds_over_months:
        return f"For several {period}s: calculated from their sums."
    return f"For several {period}s: the value of the latest {'complete ' if kpi.needs_whole_period else ''}{period}."


def _kpi_dax(kpi: Kpi, single: tuple[Dimension, ...], period: PeriodName) -> str:
    table = f"'{KPI_TABLES[period]}'"
    lines = ["VAR Place = [Dimension read]"]
    is_figure = f"NOT ISBLANK({table}[value])"
    place = [f"{table}[kpi] = {text_literal(kpi.name)}", f"{table}[dimension] = Place"]
    if kpi.adds_over_months:
        lines += _variable("Figures", _call("CALCULATETABLE", table, *place, is_figure))
    else:
        lines += _variable("OfKpi", _call("CALCULATETABLE", table, *place))
        periods = f"FILTER(OfKpi, {table}[is_complete])" if kpi.needs_whole_period else "OfKpi"
        lines += [f"VAR Latest = MAXX({periods}, {table}[{period}])"]
        lines += [f"VAR Figures = FILTER(OfKpi, {table}[{period}] = Latest && {is_figure})"]
    figure = f"SUMX(Figures, {table}[numerator])"
    if kpi.denominator != "1":
        figure = f"DIVIDE({figure}, SUMX(Figures, {table}[denominator]))"
    if single:
        values = f'COUNTROWS(DISTINCT(SELECTCOLUMNS(Figures, "value", {table}[dimension_value])))'
        lines += [f"VAR ValueCount = {values}"]
        are_several = f"Place IN {{{', '.join(text_literal(name) for name in single)}}} && ValueCount > 1"
        figure = f"IF(NOT ({are_several}), {figure})"
    return "\n".join([*lines, "RETURN", f"    {figure}"])


def _variable(name: str, value: str) -> list[str]:
    return [f"VAR {name} =", *(f"    {line}" for line in value.split("\n"))]


def _call(function: str, *arguments: str) -> str:
    return "\n".join([f"{function}(", ",\n".join(f"    {argument}" for argument in arguments), ")"])


def _dimension_read() -> Measure:
    lines = [f"VAR Of{as_identifier(table)} = ISFILTERED('{table}')" for table in DIMENSION_TABLES.values()]
    lines += [f"VAR Filtered = {' + '.join(f'INT(Of{as_identifier(table)})' for table in DIMENSION_TABLES.values())}"]
    lines += ["VAR OfOthers = ISFILTERED('Customer') || ISFILTERED('Product') || ISFILTERED('Store')"]
    sees_all = _call("CALCULATE", "NOT ISEMPTY('KPI values')", "REMOVEFILTERS()", "'KPI values'[dimension] = \"all\"")
    lines += _variable("SeesAll", sees_all)
    cases = [f"Of{as_identifier(table)}, {text_literal(dimension)}" for dimension, table in DIMENSION_TABLES.items()]
    switch = _call("SWITCH", "TRUE()", 'Filtered > 1 || OfOthers, "none"', *cases, 'SeesAll, "all"', '"country"')
    lines += ["RETURN", *(f"    {line}" for line in switch.split("\n"))]
    return Measure(
        "Dimension read",
        "Dimension whose rows the KPI measures read: the filtered dimension; `all` without a filter; none if two"
        " dimensions or a table that is no dimension of KPIs are filtered. `country` instead of `all` for users of the"
        " role By country.",
        "\n".join(lines),
        "",
        is_hidden=True,
    )


# Tables


def _over_batches(sum_of_rows: str) -> str:
    """Return a DAX expression for a sum over all batches of the table Reconciliation.

    The expression excludes the rows with the batch name `all`. They are totals of whole tables, so the sum would count
    each row twice.
    """
    return f"CALCULATE({sum_of_rows}, 'Reconciliation'[batch_id] <> \"all\")"


def _measure(name: str, description: str, dax: str, format: str = _WHOLE) -> Measure:
    return Measure(name, description, dax, format)


def _measure_of_people(name: str, description: str, people: str, dax: str, format: str = _WHOLE) -> Measure:
    """Return a measure of a table with a row per customer. The measure is blank for few customers.

    Args:
        name: Display name.
        description: Description in a sentence.
        people: DAX expression that counts the customers in the figure.
        dax: DAX expression of the figure.
        format: Format string.
    """
    sentence = f"{description} Blank for fewer than {MINIMUM_CELL_SIZE} customers."
    return Measure(name, sentence, f"IF({people} >= {MINIMUM_CELL_SIZE}, {dax})", format)


_COUNTRY = ("Country", "country")
_CUSTOMER = ("Customer", "person_id")
_SEGMENT = ("Segment", "segment")
_CATEGORY = ("Category", "category")
_COUNTRY_OF_CUSTOMER = "RELATED('Customer'[country])"
_CLV = "'Customer value'[predictive_clv]"
_CUSTOMERS, _BUYERS = "COUNTROWS('Customer value')", "COUNT('Customer value'[recency_days])"

_FIGURES_AS_OF = Measure(
    "Figures as of", "Last day that any figure includes.", "MAX('KPI values'[as_of])", "yyyy-MM-dd"
)


def _kpi_table(period: PeriodName, contract: TableContract, kpis: Iterable[Kpi], *others: Measure) -> ModelTable:
    """Return the table of KPI values of a kind of period, with a measure for each KPI, and with other measures."""
    return ModelTable(
        KPI_TABLES[period],
        contract,
        joins={
            period: ("Date", "date"),
            "kpi": ("KPI", "kpi"),
            **{dimension: (table, dimension) for dimension, table in DIMENSION_TABLES.items()},
        },
        country="[country]",
        measures=(*(kpi_measure(kpi, period) for kpi in kpis), *others),
        has_dimensions=True,
    )


MODEL_TABLES = (
    _kpi_table("month", KPI_MONTHLY_GOLD, KPIS, _FIGURES_AS_OF, _dimension_read()),
    _kpi_table("week", KPI_WEEKLY_GOLD, [kpi for kpi in KPIS if kpi.has_weeks]),
    ModelTable(
        "Customer",
        PERSONS_SILVER,
        only=("person_id", "country"),
        joins={"country": _COUNTRY},
        country="[country]",
    ),
    ModelTable(
        "Product",
        PRODUCT_PERFORMANCE_GOLD,
        only=("product_id", "product_name", "category"),
        joins={"category": _CATEGORY},
    ),
    ModelTable(
        "Store", STORE_CUSTOMER_ANALYSIS_GOLD, only=("store_id", "store_name", "location"), country="[location]"
    ),
    ModelTable(
        "Customer value",
        CUSTOMER_VALUE_GOLD,
        joins={"person_id": _CUSTOMER, "segment": _SEGMENT},
        country=_COUNTRY_OF_CUSTOMER,
        measures=(
            _measure_of_people("Customers counted", "Number of customers.", _CUSTOMERS, _CUSTOMERS),
            _measure_of_people(
                "Revenue so far",
                "Revenue of all sales of the customers.",
                _BUYERS,
                "SUM('Customer value'[total_revenue])",
                _MONEY,
            ),
            _measure_of_people(
                "Margin to expect",
                "Σ predictive customer lifetime value.",
                f"COUNT({_CLV})",
                f"SUM({_CLV})",
                _MONEY,
            ),
            _measure_of_people(
                "Margin to expect per customer",
                "Average predictive customer lifetime value of the customers with a prediction.",
                f"COUNT({_CLV})",
                f"AVERAGE({_CLV})",
                _MONEY,
            ),
            _measure_of_people(
                "Churn probability",
                "Average probability of no purchase within the churn horizon, for the customers with a prediction.",
                "COUNT('Customer value'[churn_probability])",
                "AVERAGE('Customer value'[churn_probability])",
                _SHARE,
            ),
            _measure_of_people(
                "Days since purchase",
                "Average days since the latest purchase, for the customers with a purchase.",
                _BUYERS,
                "AVERAGE('Customer value'[recency_days])",
            ),
        ),
        calculated=(
            CalculatedColumn(
                "predictive_clv_from",
                "lower end of the band of predictive_clv: 0, 1, 3, 10, 30, 100 and so on; blank without a prediction",
                f"VAR Clv = {_CLV}\n"
                "VAR Magnitude = IF(Clv >= 1, POWER(10, INT(LOG10(Clv))), 0)\n"
                "RETURN\n"
                "    IF(NOT ISBLANK(Clv), INT(Magnitude * IF(Clv >= 3 * Magnitude, 3, 1)))",
                "int64",
            ),
        ),
    ),
    ModelTable(
        "Customer segments",
        CUSTOMER_SEGMENTS_GOLD,
        only=("person_id", "as_of", "segment", "previous_as_of", "previous_segment"),
        joins={"person_id": _CUSTOMER, "segment": _SEGMENT},
        country=_COUNTRY_OF_CUSTOMER,
        measures=(
            _measure_of_people(
                "Customers moved",
                "Customers by their segment a month before (`previous_segment`) and their current segment.",
                "COUNTROWS('Customer segments')",
                "COUNTROWS('Customer segments')",
            ),
        ),
        null_labels={"previous_segment": NOT_YET_A_CUSTOMER},
    ),
    ModelTable(
        "Category sales",
        CATEGORY_COUNTRY_PERFORMANCE_GOLD,
        joins={"country": _COUNTRY, "category": _CATEGORY},
        country="[country]",
        measures=(
            _measure("Category revenue", "Revenue over all time.", "SUM('Category sales'[revenue])", _MONEY),
            _measure("Category pieces", "Pieces sold over all time.", "SUM('Category sales'[quantity_sold])"),
        ),
    ),
    ModelTable(
        "Store sales",
        STORE_PRODUCT_PERFORMANCE_GOLD,
        only=("store_id", "product_id", "quantity_sold", "revenue_generated"),
        joins={"store_id": ("Store", "store_id"), "product_id": ("Product", "product_id")},
        country="RELATED('Store'[location])",
        measures=(
            _measure("Store revenue", "Revenue over all time.", "SUM('Store sales'[revenue_generated])", _MONEY),
            _measure("Store pieces", "Pieces sold over all time.", "SUM('Store sales'[quantity_sold])"),
        ),
    ),
    ModelTable(
        "Season sales",
        SEASONAL_ANALYSIS_GOLD,
        joins={"category": _CATEGORY},
        measures=(
            _measure("Season revenue", "Revenue over all years.", "SUM('Season sales'[seasonal_revenue])", _MONEY),
            _measure("Season pieces", "Pieces sold over all years.", "SUM('Season sales'[seasonal_quantity])"),
        ),
    ),
    ModelTable(
        "Cohorts",
        COHORT_RETENTION_GOLD,
        joins={"cohort_month": ("Date", "date")},
        measures=(
            _measure(
                "Cohort retention",
                "Share of a cohort that returns in a window, or share of its first revenue; blank if the window is not"
                " over, or if several cohort types, retention types or windows are selected.",
                "VAR Known = FILTER('Cohorts', NOT ISBLANK('Cohorts'[retention]))\n"
                "VAR IsOne = HASONEVALUE('Cohorts'[cohort_type]) && HASONEVALUE('Cohorts'[retention_type])\n"
                "RETURN\n"
                "    IF(\n"
                "        IsOne && HASONEVALUE('Cohorts'[window_start]),\n"
                "        DIVIDE(SUMX(Known, 'Cohorts'[numerator]), SUMX(Known, 'Cohorts'[denominator]))\n"
                "    )",
                _SHARE,
            ),
        ),
    ),
    ModelTable(
        "Model quality",
        MODEL_QUALITY_GOLD,
        measures=(
            _measure(
                "Model quality value",
                "Value of the selected quality measure; blank if several are selected.",
                "IF(HASONEVALUE('Model quality'[measure]), AVERAGE('Model quality'[value]))",
                "0.000",
            ),
            _measure(
                "Model predicted",
                "Prediction for the time from cut_off to as_of; blank if several quality measures are selected.",
                "IF(HASONEVALUE('Model quality'[measure]), AVERAGE('Model quality'[predicted]))",
                "0.000",
            ),
            _measure(
                "Model actual",
                "Actual value in that time; blank if several quality measures are selected.",
                "IF(HASONEVALUE('Model quality'[measure]), AVERAGE('Model quality'[actual]))",
                "0.000",
            ),
        ),
    ),
    ModelTable(
        "Runs",
        PIPELINE_RUNS_OPS,
        only=("run_id", "table_name", "state", "reason", "started_at", "seconds", "engine", "code_version"),
        measures=(
            _measure("Latest run", "Start of the latest run, UTC.", "MAX('Runs'[started_at])", "yyyy-MM-dd HH:mm"),
            _measure(
                "Seconds to the end",
                "Longest refresh of a table, in seconds.",
                "CALCULATE(MAX('Runs'[seconds]), 'Runs'[state] = \"refreshed\")",
            ),
        ),
    ),
    ModelTable(
        "Reconciliation",
        RECONCILIATION_OPS,
        measures=(
            _measure("Batches", "Number of checked (table, batch) pairs.", "COUNTROWS('Reconciliation')"),
            _measure(
                "Batches that do not add up",
                "(Table, batch) pairs whose rows in differ from rows out + quarantined + superseded.",
                "COUNTROWS(FILTER('Reconciliation', NOT 'Reconciliation'[is_balanced])) + 0",
            ),
            _measure("Rows in", "Rows received with batches.", _over_batches("SUM('Reconciliation'[rows_in])")),
            _measure(
                "Rows in tables",
                "Received rows that are in the tables.",
                _over_batches("SUM('Reconciliation'[rows_out])"),
            ),
            _measure(
                "Rows in quarantine",
                "Received rows that are in quarantine.",
                _over_batches("SUM('Reconciliation'[rows_quarantined])"),
            ),
            _measure(
                "Rows superseded",
                "Received rows that later versions of the same record replaced.",
                _over_batches("SUM('Reconciliation'[rows_superseded])"),
            ),
        ),
    ),
)
"""Tables in display order.

The role `By country` sees all rows of the tables in `OPEN_TABLES`. In any other table, the role sees only the rows of
the user's countries, or no rows.
"""

OPEN_TABLES = ("Product",)
"""Tables without figures. The role `By country` sees all rows of these tables."""
