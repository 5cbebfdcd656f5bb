"""Everything that the platform stores about a person, for a request of access (GDPR, articles 15 and 20)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as sf

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.table import BronzeContract, TableContract
from cdp_lib.erasure.erase import has_text_ids
from cdp_lib.erasure.names import CONTACT, NAMING_COLUMNS, Names, find_mentions
from cdp_lib.erasure.persons import Found, Request, find_persons, persons_of
from cdp_lib.pipeline.run import Runner


@dataclass(frozen=True)
class StoredRows:
    """The rows of one table about a person.

    Attributes:
        contract: Contract of the table.
        rows: Rows of the table, as Python values by column. Rows as received also say from which file they come.
    """

    contract: TableContract
    rows: Sequence[Mapping[str, Any]]


def stored_rows(runner: Runner, request: Request) -> list[StoredRows]:
    """Return all rows about a person: records as received first, then what the platform has made of them.

    Args:
        runner: Runner of the tables. Nothing is refreshed.
        request: Who the person is.

    Raises:
        CdpError: The request names nobody or several persons.
    """
    found = find_persons(runner.store, {"": request}, has_text_ids=has_text_ids(runner))[""]
    persons = sorted({*persons_of(runner.store, found.record_keys).values()})
    tables = []
    for contract in TABLES.values():
        if contract.layer == "ops" or not runner.store.exists(contract):
            continue
        rows = runner.store.read(contract)
        if contract in NAMING_COLUMNS and isinstance(contract, BronzeContract):
            mapping = runner.sources.mapping(contract.entity)
            condition = find_mentions(rows, contract, mapping, Names(found.names)).is_touched
        elif contract.name.endswith("_changes"):
            continue  # earlier versions of rows of the table itself
        else:
            conditions = [*_conditions(contract, found, persons)]
            if not conditions:
                continue
            condition = reduce(or_, conditions)
        if of_person := rows.where(sf.coalesce(condition, sf.lit(False))).toArrow().to_pylist():
            tables.append(StoredRows(contract, of_person))
    return tables


def _conditions(contract: TableContract, found: Found, persons: Sequence[int]) -> Iterator[Column]:
    """Yield conditions that are true for the rows about a person, one per column that tells the person."""
    wanted = {
        "person_id": persons,
        "customer_id": found.numbers,
        "contact_id": found.names.get(CONTACT, ()),
        **dict.fromkeys(("record_key", "record_a", "record_b", "identity"), found.record_keys),
    }
    for name, values in wanted.items():
        if values and name in contract.column_names:
            yield sf.col(name).isin(*values)
