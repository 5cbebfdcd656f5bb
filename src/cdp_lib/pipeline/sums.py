"""Sums of the rows of a table, by measure (`SUMS`)."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.sums import SUMS
from cdp_lib.contracts.table import TableContract


def sum_columns(contract: TableContract) -> dict[str, Column]:
    """Return an aggregate expression for each measure of a table: its sum as text, null for an empty table.

    Text keeps every digit of a decimal, and has the same form in every state.
    """
    return {name: sf.sum(sf.expr(sql)).cast("string") for name, sql in SUMS.get(contract.name, {}).items()}


def picked_sums(contract: TableContract, values: Mapping[str, str | None]) -> dict[str, str]:
    """Return the sums of a table's measures from the values of its `sum_columns`. The sum of no rows is 0.

    Args:
        contract: Contract of the table.
        values: Values by name. Values with other names are ignored.
    """
    return {name: values[name] or "0" for name in SUMS.get(contract.name, {})}


def read_sums(rows: DataFrame, contract: TableContract) -> dict[str, str]:
    """Return the sums of a table's measures with one query. Run no query if the table has no measures.

    Args:
        rows: Rows of the table.
        contract: Contract of the table.
    """
    columns = sum_columns(contract)
    if not columns:
        return {}
    [row] = rows.agg(*(column.alias(name) for name, column in columns.items())).collect()
    return picked_sums(contract, row.asDict())
