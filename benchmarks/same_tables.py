"""Compare the tables of all contestants. Durations are comparable only if the tables are equal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb
from baselines.marts import MARTS, SALES
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from sqlglot import parse_one

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, PRODUCTS_BRONZE, STORE_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.errors import CdpError

COMPARED: dict[str, list[str]] = {
    **{
        contract.name: [column.name for column in contract.received_columns if not column.optional]
        for contract in (CUSTOMERS_BRONZE, PRODUCTS_BRONZE, STORE_BRONZE, TRANSACTIONS_BRONZE)
    },
    **{name: parse_one(query).named_selects for name, query in {"retails_silver": SALES, **MARTS}.items()},
}
"""Columns to compare, by table. All contestants write these columns. The platform may write more columns."""

_DUCKDB_TYPES = {"STRING": "VARCHAR", "INT": "INTEGER"}

Contents = dict[str, tuple[int, int]]
"""Row count and sum of the row hashes, by table. Both values are independent of the order of the rows."""


def contents_of(warehouse: Path) -> Contents:
    """Return row count and sum of the row hashes for each compared table of a contestant.

    The hash of a row covers the compared columns, cast to the types in the contracts.

    Args:
        warehouse: Folder of the Delta tables.

    Raises:
        CdpError: A table is missing.
    """
    contents = {}
    with duckdb.connect() as connection:
        for name, columns in COMPARED.items():
            try:
                connection.register("compared", DeltaTable(warehouse / name).to_pyarrow_dataset())
            except TableNotFoundError:
                raise CdpError(f"{name} was not made.") from None
            types = {column.name: column.type for column in TABLES[name].columns}
            values = ", ".join(_value(column, types[column]) for column in columns)
            query = f"SELECT count(*), sum(hash({values})::HUGEINT) FROM compared"
            rows, hashes = connection.execute(query).fetchall()[0]
            contents[name] = (rows, hashes or 0)
    return contents


def _value(column: str, type_name: str) -> str:
    """Return the SQL expression of a value to hash. Doubles are rounded, because engines differ in the last digits."""
    value = f"CAST({column} AS {_DUCKDB_TYPES.get(type_name, type_name)})"
    return f"round({value}, 6)" if type_name == "DOUBLE" else value


def ensure_same(contents: Mapping[str, Contents]) -> dict[str, int]:
    """Check that all contestants have equal tables.

    Args:
        contents: For each contestant, the contents of its tables.

    Returns:
        Row count of each table.

    Raises:
        CdpError: A table differs between two contestants.
    """
    if not contents:
        return {}
    first, *rest = contents
    for other in rest:
        for table, expected in contents[first].items():
            if contents[other][table] != expected:
                rows = f"{expected[0]:,} and {contents[other][table][0]:,} rows"
                raise CdpError(
                    f"{table} of {first} and of {other} are not the same ({rows}): their times are not compared."
                )
    return {table: rows for table, (rows, _) in contents[first].items()}
