"""The views that Azure Synapse serverless SQL reads the published copies of gold tables by: one per table."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cdp_lib.contracts.table import TableContract
from cdp_lib.published import PUBLISHED_TABLES

SCHEMA = "sales"
DATA_SOURCE = "gold"

_TYPES = {
    "BIGINT": "BIGINT",
    "BOOLEAN": "BIT",
    "DATE": "DATE",
    "DOUBLE": "FLOAT",
    "INT": "INT",
    # Contracts promise no length: this is the longest one short of MAX. In this collation serverless SQL reads UTF-8
    # rightly, whatever the database's own is, and leaves out what a filter on a text does not ask for.
    "STRING": "VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8",
    "TIMESTAMP": "DATETIME2(6)",
}
_DECIMAL = re.compile(r"DECIMAL\(\d+,\d+\)")


def views_script() -> str:
    """The script that makes all views, as T-SQL for `sqlcmd`."""
    head = (
        "-- One view per gold table, without the columns that hold personal data. What columns mean: docs/tables.md.\n"
        "-- Written from the contracts in src/cdp_lib/contracts/ by `make docs`; a test keeps it fresh.\n"
        "USE [$(database)];\n"
    )
    return "GO\n\n".join([head, *(view_statement(contract) for contract in PUBLISHED_TABLES)]) + "GO\n"


def view_statement(contract: TableContract) -> str:
    """The statement that makes a table's view, or makes it anew."""
    columns = contract.public_columns
    return (
        f"-- {contract.comment}\n"
        f"CREATE OR ALTER VIEW [{SCHEMA}].[{view_name(contract)}] AS\n"
        f"SELECT\n{_lines(f'[{column.name}]' for column in columns)}\n"
        f"FROM OPENROWSET(BULK '{contract.name}', DATA_SOURCE = '{DATA_SOURCE}', FORMAT = 'DELTA') WITH (\n"
        f"{_lines(f'[{column.name}] {tsql_type(column.type)}' for column in columns)}\n"
        ") AS [rows];\n"
    )


def view_name(contract: TableContract) -> str:
    """Name of a table's view: the table's, without its layer."""
    return contract.name.removesuffix(f"_{contract.layer}")


def tsql_type(spark_type: str) -> str:
    """The T-SQL type that holds every value of a Spark SQL type.

    Raises:
        ValueError: Serverless SQL has none that this module knows.
    """
    if _DECIMAL.fullmatch(spark_type):
        return spark_type
    if spark_type not in _TYPES:
        raise ValueError(f"No T-SQL type for {spark_type}: add it to {__name__}.")
    return _TYPES[spark_type]


def _lines(items: Iterable[str]) -> str:
    return ",\n".join(f"    {item}" for item in items)
