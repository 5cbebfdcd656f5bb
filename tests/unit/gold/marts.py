"""Build marts from the sales of a test."""

from __future__ import annotations

from decimal import Decimal

from pyspark.sql import DataFrame

from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_lib.pipeline.graph import platform_graph

SETTINGS = {"price_bands": (Decimal(500), Decimal(1500))}
"""Settings of the marts. All others are None."""


def mart_of(contract: TableContract, sales: DataFrame) -> DataFrame:
    """Build a mart from sales, without its technical columns. Its upstream tables are also built from these sales."""
    return whole_mart_of(contract, sales).select(*(name for name in contract.column_names if name[0] != "_"))


def whole_mart_of(contract: TableContract, sales: DataFrame) -> DataFrame:
    """Build a mart from sales, with all its columns."""
    if contract == RETAILS_SILVER:
        return sales
    if contract.layer == "silver":
        # Several sales may have the same product or store, but a silver table has one row per key.
        return sales.select(*(name for name in contract.column_names if name in sales.columns)).dropDuplicates(
            [*contract.key]
        )
    table = platform_graph().tables[contract.name]
    built: DataFrame = table.build(
        *(whole_mart_of(each, sales) for each in table.reads), **{name: SETTINGS.get(name) for name in table.settings}
    )
    return built
