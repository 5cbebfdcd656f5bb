"""Views for Azure Synapse serverless SQL. Each view reads the published copy of one gold table."""

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
    # Contracts do not limit the length of strings. VARCHAR(8000) is the longest type except VARCHAR(MAX).
    # Serverless SQL needs this collation to read UTF-8 correctly in any database, and to skip data by string filters.
    "STRING": "VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8",
    "TIMESTAMP": "DATETIME2(6)",
}
_DECIMAL = re.compile(r"DECIMAL\(\d+,\d+\)")


def views_script() -> str:
    """Return the T-SQL script that creates all views. The program `sqlcmd` runs the script."""
    head = (
        "-- One view per gold table, without personal data. docs/tables.md describes the columns.\n"
        "-- Generated from the contracts in src/cdp_lib/contracts/ by `make docs`; a test keeps it up to date.\n"
        "USE [$(database)];\n"
    )
    return "GO\n\n".join([head, *(view_statement(contract) for contract in PUBLISHED_TABLES)]) + "GO\n"


def view_statement(contract: TableContract) -> str:
    """Return the statement that creates or replaces the view of a table."""
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
    """Return the name of the view of a table: the table name without the suffix for its layer."""
    return contract.name.removesuffix(f"_{contract.layer}")


def tsql_type(spark_type: str) -> str:
    """Return the T-SQL type that holds every value of a Spark SQL type.

    Raises:
        ValueError: This module has no T-SQL type for the Spark SQL type.
    """
    if _DECIMAL.fullmatch(spark_type):
        return spark_type
    if spark_type not in _TYPES:
        raise ValueError(f"No T-SQL type for {spark_type}: add it to {__name__}.")
    return _TYPES[spark_type]


def _lines(items: Iterable[str]) -> str:
    return ",\n".join(f"    {item}" for item in items)
