"""Views for Azure Synapse serverless SQL. Each view reads the published copy of one gold table.

Views of tables with a row per customer are in a schema of their own, so that readers of the other views cannot see
single customers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cdp_lib.contracts.table import TableContract
from cdp_lib.published import PUBLISHED_TABLES

SCHEMA, SCHEMA_OF_CUSTOMERS = "sales", "customers"
ROLE_OF_CUSTOMERS = "cdp_customer_readers"
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


_GENERATED = (
    "-- Generated from the contracts in src/cdp_lib/contracts/ by `make docs`; a test keeps it up to date.\n"
    "USE [$(database)];\n"
)


def views_script() -> str:
    """Return the T-SQL script that creates the views without single customers. `sqlcmd` runs the script."""
    head = (
        "-- One view per gold table without single customers. docs/tables.md describes the columns.\n"
        "-- Copies have no rows of fewer people than the variable minimum_cell_size.\n"
    )
    # Earlier versions of the script created these views in the schema that all readers may read.
    moved = [f"DROP VIEW IF EXISTS [{SCHEMA}].[{view_name(each)}];\n" for each in _tables(per_customer=True)]
    return _script([head + _GENERATED, "".join(moved), *map(view_statement, _tables(per_customer=False))])


def customer_views_script() -> str:
    """Return the T-SQL script that creates the views with a row per customer, and the role of their readers."""
    head = (
        "-- One view per gold table with a row per customer: pseudonymised, not anonymous. Run this script only if\n"
        "-- synapse_customers is true, and give the role only to people who may see single customers.\n"
    )
    statements = [
        f"IF SCHEMA_ID('{SCHEMA_OF_CUSTOMERS}') IS NULL\n    EXEC ('CREATE SCHEMA [{SCHEMA_OF_CUSTOMERS}]');\n",
        f"IF DATABASE_PRINCIPAL_ID('{ROLE_OF_CUSTOMERS}') IS NULL\n    CREATE ROLE [{ROLE_OF_CUSTOMERS}];\n",
        f"GRANT SELECT ON SCHEMA::[{SCHEMA_OF_CUSTOMERS}] TO [{ROLE_OF_CUSTOMERS}];\n"
        f"GRANT REFERENCES ON DATABASE SCOPED CREDENTIAL::[workspace_identity] TO [{ROLE_OF_CUSTOMERS}];\n"
        f"DENY ADMINISTER DATABASE BULK OPERATIONS TO [{ROLE_OF_CUSTOMERS}];\n"
        f"GRANT CONTROL ON SCHEMA::[{SCHEMA_OF_CUSTOMERS}] TO [cdp_admins];\n"
        f"GRANT ALTER ON ROLE::[{ROLE_OF_CUSTOMERS}] TO [cdp_admins];\n",
    ]
    return _script([head + _GENERATED, *statements, *map(view_statement, _tables(per_customer=True))])


def _tables(*, per_customer: bool) -> list[TableContract]:
    return [contract for contract in PUBLISHED_TABLES if contract.is_per_customer == per_customer]


def _script(batches: Iterable[str]) -> str:
    return "GO\n\n".join(batches) + "GO\n"


def view_statement(contract: TableContract) -> str:
    """Return the statement that creates or replaces the view of a table."""
    columns = contract.public_columns
    schema = SCHEMA_OF_CUSTOMERS if contract.is_per_customer else SCHEMA
    return (
        f"-- {contract.comment}\n"
        f"CREATE OR ALTER VIEW [{schema}].[{view_name(contract)}] AS\n"
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
