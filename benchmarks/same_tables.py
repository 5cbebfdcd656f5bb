"""Whether contestants have made the same tables: seconds of unequal results say nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, PRODUCTS_BRONZE, STORE_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.gold import GOLD_TABLES
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.contracts.table import Column
from cdp_lib.errors import CdpError

COMPARED = (CUSTOMERS_BRONZE, PRODUCTS_BRONZE, STORE_BRONZE, TRANSACTIONS_BRONZE, RETAILS_SILVER, *GOLD_TABLES)
"""Tables that everybody makes."""

_DUCKDB_TYPES = {"STRING": "VARCHAR", "INT": "INTEGER"}

Contents = dict[str, tuple[int, int]]
"""Table → its rows, and the sum of their hashes: equal where the rows are, in whatever order."""


def contents_of(warehouse: Path) -> Contents:
    """What the tables of a contestant hold, of the columns that everybody has, in the types of the contracts.

    Args:
        warehouse: Folder of the Delta tables.

    Raises:
        CdpError: A table is not there.
    """
    contents = {}
    with duckdb.connect() as connection:
        for contract in COMPARED:
            try:
                table = DeltaTable(warehouse / contract.name).to_pyarrow_dataset()
            except TableNotFoundError:
                raise CdpError(f"{contract.name} was not made.") from None
            connection.register("compared", table)
            columns = [_value(each) for each in contract.columns if not (each.name.startswith("_") or each.optional)]
            query = f"SELECT count(*), sum(hash({', '.join(columns)})::HUGEINT) FROM compared"
            rows, hashes = connection.execute(query).fetchall()[0]
            contents[contract.name] = (rows, hashes or 0)
    return contents


def _value(column: Column) -> str:
    """A column as it is compared: the last digits of a quotient are the engine's own."""
    value = f"CAST({column.name} AS {_DUCKDB_TYPES.get(column.type, column.type)})"
    return f"round({value}, 6)" if column.type == "DOUBLE" else value


def ensure_same(contents: Mapping[str, Contents]) -> dict[str, int]:
    """Compare what contestants have made.

    Args:
        contents: Contestant → what its tables hold.

    Returns:
        Table → rows.

    Raises:
        CdpError: A table of one is not that of another.
    """
    first, *others = contents
    for other in others:
        for table, expected in contents[first].items():
            if contents[other][table] != expected:
                rows = f"{expected[0]:,} and {contents[other][table][0]:,} rows"
                raise CdpError(f"{table} of {first} and of {other} are not the same ({rows}): nothing is compared.")
    return {table: rows for table, (rows, _) in contents[first].items()}
