"""The semantic model for Power BI: its tables, what they are read from, their measures, and who sees which rows.

A measure for each KPI follows from its definition; `power_bi` writes all of it into files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cdp_lib.contracts.analytics import (
    COHORT_RETENTION_GOLD,
    CUSTOMER_SEGMENTS_GOLD,
    CUSTOMER_VALUE_GOLD,
    KPI_MONTHLY_GOLD,
    MODEL_QUALITY_GOLD,
)
from cdp_lib.contracts.gold import (
    CATEGORY_COUNTRY_PERFORMANCE_GOLD,
    PRODUCT_PERFORMANCE_GOLD,
    SEASONAL_ANALYSIS_GOLD,
    STORE_CUSTOMER_ANALYSIS_GOLD,
    STORE_PRODUCT_PERFORMANCE_GOLD,
)
from cdp_lib.contracts.kpis import KPIS, Dimension, Kpi, Unit
from cdp_lib.contracts.ops import PIPELINE_RUNS_OPS, RECONCILIATION_OPS
from cdp_lib.contracts.segments import NOT_YET
from cdp_lib.contracts.silver import CUSTOMERS_SILVER
from cdp_lib.contracts.table import Column, TableContract

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
"""Data type in the model of each Spark type. A column of any other type stays out."""

KPI_VALUES = "KPI values"
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
        name: Name for people.
        description: What it says, in a sentence or two.
        dax: DAX expression.
        format: Format string.
        folder: Display folder.
        is_hidden: Whether it is there for other measures alone.
    """

    name: str
    description: str
    dax: str
    format: str
    folder: str = ""
    is_hidden: bool = False


@dataclass(frozen=True)
class CalculatedColumn:
    """A column that Power BI works out.

    Attributes:
        name: Name of the column.
        description: What it says.
        dax: DAX expression over the table's row.
        data_type: Data type in the model.
    """

    name: str
    description: str
    dax: str
    data_type: str


@dataclass(frozen=True)
class Mart:
    """A table of the model that is read from a table of the platform.

    Attributes:
        name: Name for people.
        contract: The table that is read.
        only: Columns that are taken; all without personal data where there is none.
        joins: Table and column that a column refers to, by column.
        country: DAX for the country a row is of, in the role that opens single countries; None hides the table there.
        measures: Its measures.
        calculated: Columns that Power BI works out.
        instead_of_null: What a column says where it is null, by column.
        has_dimensions: Whether it is the table of KPIs, whose rows each belong to one of several dimensions.
    """

    name: str
    contract: TableContract
    only: tuple[str, ...] = ()
    joins: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    country: str | None = None
    measures: tuple[Measure, ...] = ()
    calculated: tuple[CalculatedColumn, ...] = ()
    instead_of_null: Mapping[str, str] = field(default_factory=dict)
    has_dimensions: bool = False

    @property
    def columns(self) -> tuple[Column, ...]:
        """Columns that are read: none with personal data, none of the platform's own, none without a data type."""
        return tuple(
            column
            for column in self.contract.public_columns
            if (not self.only or column.name in self.only) and not column.name.startswith("_") and data_type(column)
        )


def data_type(column: Column) -> str | None:
    """Data type of a column in the model, None where there is none."""
    return DATA_TYPES.get(column.type.partition("(")[0])


def text_literal(text: str) -> str:
    """A text as DAX and M write it."""
    return '"' + text.replace('"', '""') + '"'


def as_identifier(name: str) -> str:
    """A name as a variable can have it."""
    return "".join(word.capitalize() for word in name.split())


# KPIs

PLACES: dict[Dimension, str] = {
    "country": "Country",
    "channel": "Channel",
    "segment": "Segment",
    "category": "Category",
    "consent_channel": "Consent channel",
}
"""Table of the model for each dimension that KPIs are given by, but `all`."""


def one_at_a_time(kpi: Kpi) -> tuple[Dimension, ...]:
    """Dimensions of which a KPI has a figure for single values alone."""
    return tuple(dimension for dimension in kpi.dimensions if not kpi.adds_over(dimension))


def kpi_measure(kpi: Kpi) -> Measure:
    """The measure of a KPI."""
    single = one_at_a_time(kpi)
    sentences = [
        kpi.definition,
        f"By {', '.join(name for name in kpi.dimensions if name != 'all')}." if len(kpi.dimensions) > 1 else "",
        f"Of several values of {' or '.join(single)}: blank." if single else "",
        _of_several_months(kpi),
    ]
    is_average = kpi.unit == "count" and kpi.denominator != "1"
    return Measure(
        name=kpi.title,
        description=" ".join(sentence for sentence in sentences if sentence),
        dax=_kpi_dax(kpi, single),
        format="#,##0.0" if is_average else _FORMATS[kpi.unit],
        folder=f"{kpi.owner}\\{kpi.unit}",
    )


def _of_several_months(kpi: Kpi) -> str:
    if kpi.adds_over_months:
        return "Of several months: what they count, summed up."
    return f"Of several months: that of the latest {'whole one' if kpi.needs_whole_month else 'one'}."


def _kpi_dax(kpi: Kpi, single: tuple[Dimension, ...]) -> str:
    lines = ["VAR Place = [Dimension read]"]
    is_figure = "NOT ISBLANK('KPI values'[value])"
    place = [f"'KPI values'[kpi] = {text_literal(kpi.name)}", "'KPI values'[dimension] = Place"]
    if kpi.adds_over_months:
        lines += _variable("Figures", _call("CALCULATETABLE", "'KPI values'", *place, is_figure))
    else:
        lines += _variable("OfKpi", _call("CALCULATETABLE", "'KPI values'", *place))
        months = "FILTER(OfKpi, EOMONTH('KPI values'[month], 0) <= 'KPI values'[as_of])"
        lines += [f"VAR Latest = MAXX({months if kpi.needs_whole_month else 'OfKpi'}, 'KPI values'[month])"]
        lines += [f"VAR Figures = FILTER(OfKpi, 'KPI values'[month] = Latest && {is_figure})"]
    figure = "SUMX(Figures, 'KPI values'[numerator])"
    if kpi.denominator != "1":
        figure = f"DIVIDE({figure}, SUMX(Figures, 'KPI values'[denominator]))"
    if single:
        values = "COUNTROWS(DISTINCT(SELECTCOLUMNS(Figures, \"value\", 'KPI values'[dimension_value])))"
        lines += [f"VAR ValueCount = {values}"]
        are_several = f"Place IN {{{', '.join(text_literal(name) for name in single)}}} && ValueCount > 1"
        figure = f"IF(NOT ({are_several}), {figure})"
    return "\n".join([*lines, "RETURN", f"    {figure}"])


def _variable(name: str, value: str) -> list[str]:
    return [f"VAR {name} =", *(f"    {line}" for line in value.split("\n"))]


def _call(function: str, *arguments: str) -> str:
    return "\n".join([f"{function}(", ",\n".join(f"    {argument}" for argument in arguments), ")"])


def _dimension_read() -> Measure:
    lines = [f"VAR Of{as_identifier(table)} = ISFILTERED('{table}')" for table in PLACES.values()]
    lines += [f"VAR Filtered = {' + '.join(f'INT(Of{as_identifier(table)})' for table in PLACES.values())}"]
    lines += ["VAR OfOthers = ISFILTERED('Customer') || ISFILTERED('Product') || ISFILTERED('Store')"]
    sees_all = _call("CALCULATE", "NOT ISEMPTY('KPI values')", "REMOVEFILTERS()", "'KPI values'[dimension] = \"all\"")
    lines += _variable("SeesAll", sees_all)
    cases = [f"Of{as_identifier(table)}, {text_literal(dimension)}" for dimension, table in PLACES.items()]
    switch = _call("SWITCH", "TRUE()", 'Filtered > 1 || OfOthers, "none"', *cases, 'SeesAll, "all"', '"country"')
    lines += ["RETURN", *(f"    {line}" for line in switch.split("\n"))]
    return Measure(
        "Dimension read",
        "Which rows of KPIs count: those of the dimension that is filtered, else those of everything; none where two"
        " are, or a table that KPIs are not given by. Who sees single countries alone has those for everything.",
        "\n".join(lines),
        "",
        is_hidden=True,
    )


# The marts


def _of_batches(sum_of_rows: str) -> str:
    """Return a sum over batches: the account `all` of a whole table has rows that its batches have, too."""
    return f"CALCULATE({sum_of_rows}, 'Reconciliation'[batch_id] <> \"all\")"


def _measure(name: str, description: str, dax: str, format: str = _WHOLE) -> Measure:
    return Measure(name, description, dax, format)


_COUNTRY = ("Country", "country")
_CUSTOMER = ("Customer", "customer_id")
_SEGMENT = ("Segment", "segment")
_CATEGORY = ("Category", "category")
_COUNTRY_OF_CUSTOMER = "RELATED('Customer'[country])"
_CLV = "'Customer value'[predictive_clv]"

MARTS = (
    Mart(
        KPI_VALUES,
        KPI_MONTHLY_GOLD,
        joins={
            "month": ("Date", "date"),
            "kpi": ("KPI", "kpi"),
            **{dimension: (table, dimension) for dimension, table in PLACES.items()},
        },
        country="[country]",
        measures=(
            *(kpi_measure(kpi) for kpi in KPIS),
            Measure("Figures as of", "Last day that counts in any figure.", "MAX('KPI values'[as_of])", "yyyy-MM-dd"),
            _dimension_read(),
        ),
        has_dimensions=True,
    ),
    Mart(
        "Customer",
        CUSTOMERS_SILVER,
        only=("customer_id", "country"),
        joins={"country": _COUNTRY},
        country="[country]",
    ),
    Mart(
        "Product",
        PRODUCT_PERFORMANCE_GOLD,
        only=("product_id", "product_name", "category"),
        joins={"category": _CATEGORY},
    ),
    Mart("Store", STORE_CUSTOMER_ANALYSIS_GOLD, only=("store_id", "store_name", "location"), country="[location]"),
    Mart(
        "Customer value",
        CUSTOMER_VALUE_GOLD,
        joins={"customer_id": _CUSTOMER, "segment": _SEGMENT},
        country=_COUNTRY_OF_CUSTOMER,
        measures=(
            _measure("Customers counted", "Customers of today, one by one.", "COUNTROWS('Customer value')"),
            _measure("Revenue so far", "Revenue of all their sales.", "SUM('Customer value'[total_revenue])", _MONEY),
            _measure("Margin to expect", "Σ of their predictive customer lifetime value.", f"SUM({_CLV})", _MONEY),
            _measure(
                "Margin to expect per customer",
                "Predictive customer lifetime value, on average over those with a prediction.",
                f"AVERAGE({_CLV})",
                _MONEY,
            ),
            _measure(
                "Churn probability",
                "Probability of no purchase within the churn horizon, on average over those with a prediction.",
                "AVERAGE('Customer value'[churn_probability])",
                _SHARE,
            ),
            _measure(
                "Days since purchase",
                "Days from the latest purchase, on average over those who bought.",
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
    Mart(
        "Customer segments",
        CUSTOMER_SEGMENTS_GOLD,
        only=("customer_id", "as_of", "segment", "previous_as_of", "previous_segment"),
        joins={"customer_id": _CUSTOMER, "segment": _SEGMENT},
        country=_COUNTRY_OF_CUSTOMER,
        measures=(
            _measure(
                "Customers moved",
                "Customers, by the segment a month before (`previous_segment`) and that of today.",
                "COUNTROWS('Customer segments')",
            ),
        ),
        instead_of_null={"previous_segment": NOT_YET},
    ),
    Mart(
        "Category sales",
        CATEGORY_COUNTRY_PERFORMANCE_GOLD,
        joins={"country": _COUNTRY, "category": _CATEGORY},
        country="[country]",
        measures=(
            _measure("Category revenue", "Revenue of all time.", "SUM('Category sales'[revenue])", _MONEY),
            _measure("Category pieces", "Pieces sold of all time.", "SUM('Category sales'[quantity_sold])"),
        ),
    ),
    Mart(
        "Store sales",
        STORE_PRODUCT_PERFORMANCE_GOLD,
        only=("store_id", "product_id", "quantity_sold", "revenue_generated"),
        joins={"store_id": ("Store", "store_id"), "product_id": ("Product", "product_id")},
        country="RELATED('Store'[location])",
        measures=(
            _measure("Store revenue", "Revenue of all time.", "SUM('Store sales'[revenue_generated])", _MONEY),
            _measure("Store pieces", "Pieces sold of all time.", "SUM('Store sales'[quantity_sold])"),
        ),
    ),
    Mart(
        "Season sales",
        SEASONAL_ANALYSIS_GOLD,
        joins={"category": _CATEGORY},
        measures=(
            _measure("Season revenue", "Revenue of all years.", "SUM('Season sales'[seasonal_revenue])", _MONEY),
            _measure("Season pieces", "Pieces sold of all years.", "SUM('Season sales'[seasonal_quantity])"),
        ),
    ),
    Mart(
        "Cohorts",
        COHORT_RETENTION_GOLD,
        joins={"cohort_month": ("Date", "date")},
        measures=(
            _measure(
                "Cohort retention",
                "Share of a cohort, or of its first revenue, that a window sees again; blank where the window is not"
                " over, and for more than one kind of cohort, of retention or window.",
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
    Mart(
        "Model quality",
        MODEL_QUALITY_GOLD,
        measures=(
            _measure(
                "Model quality value",
                "The measure of quality that is chosen; blank for more than one.",
                "IF(HASONEVALUE('Model quality'[measure]), AVERAGE('Model quality'[value]))",
                "0.000",
            ),
            _measure(
                "Model predicted",
                "What a model said of the time from cut_off to as_of; blank for more than one measure of quality.",
                "IF(HASONEVALUE('Model quality'[measure]), AVERAGE('Model quality'[predicted]))",
                "0.000",
            ),
            _measure(
                "Model actual",
                "What came in that time; blank for more than one measure of quality.",
                "IF(HASONEVALUE('Model quality'[measure]), AVERAGE('Model quality'[actual]))",
                "0.000",
            ),
        ),
    ),
    Mart(
        "Runs",
        PIPELINE_RUNS_OPS,
        only=("run_id", "table_name", "state", "reason", "started_at", "seconds", "engine", "code_version"),
        measures=(
            _measure("Latest run", "Start of the latest run, UTC.", "MAX('Runs'[started_at])", "yyyy-MM-dd HH:mm"),
            _measure(
                "Seconds to the end",
                "Seconds that the slowest table took.",
                "CALCULATE(MAX('Runs'[seconds]), 'Runs'[state] = \"refreshed\")",
            ),
        ),
    ),
    Mart(
        "Reconciliation",
        RECONCILIATION_OPS,
        measures=(
            _measure("Batches", "Tables and batches that were counted.", "COUNTROWS('Reconciliation')"),
            _measure(
                "Batches that do not add up",
                "Tables and batches whose rows in are not those out, in quarantine and superseded.",
                "COUNTROWS(FILTER('Reconciliation', NOT 'Reconciliation'[is_balanced])) + 0",
            ),
            _measure("Rows in", "Rows that batches came with.", _of_batches("SUM('Reconciliation'[rows_in])")),
            _measure("Rows in tables", "Of those, rows in the tables.", _of_batches("SUM('Reconciliation'[rows_out])")),
            _measure(
                "Rows in quarantine", "Of those, rows refused.", _of_batches("SUM('Reconciliation'[rows_quarantined])")
            ),
            _measure(
                "Rows superseded",
                "Of those, rows that others have taken the place of.",
                _of_batches("SUM('Reconciliation'[rows_superseded])"),
            ),
        ),
    ),
)
"""In the order people read them; every one of them is hidden from the role, or cut to the countries of its reader."""

OPEN_TABLES = ("Product",)
"""Marts without a figure: the role sees all of their rows."""
