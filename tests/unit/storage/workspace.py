"""A fake session of a Databricks workspace, which records SQL statements and returns results for a few of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cdp_lib.contracts.table import TableContract
from cdp_lib.storage import DeltaStore


class Workspace:
    """Fake session of a Databricks workspace.

    Attributes:
        statements: Recorded SQL statements that are not queries.
    """

    def __init__(self, existing: Iterable[TableContract], detail: dict[str, Any]) -> None:
        self.existing = {contract.name for contract in existing}
        self.detail = {"numFiles": 3, "sizeInBytes": 30, "properties": {}, "clusteringColumns": []} | detail
        self.statements: list[str] = []
        self.answer: list[Any] = []
        self.conf = self

    def set(self, name: str, value: str) -> None:
        pass

    def sql(self, statement: str) -> Workspace:
        self.answer = []
        if statement == "SHOW TABLES IN `cat1`.`sales`":
            self.answer = [{"tableName": name} for name in self.existing]
        elif statement.startswith("DESCRIBE DETAIL"):
            self.answer = [self.detail]
        else:
            self.statements.append(statement)
        return self

    def collect(self) -> list[Any]:
        return self.answer


def store_of_databricks(*existing: TableContract, **detail: Any) -> DeltaStore:
    """Return a store on a schema of a fake workspace.

    Args:
        existing: Tables that exist in the schema.
        detail: Result of DESCRIBE DETAIL, the same for every table.
    """
    return DeltaStore(Workspace(existing, detail), "cat1", "sales")  # type: ignore[arg-type]


def statements_of(store: DeltaStore) -> list[str]:
    """Return the SQL statements that a store sent to its fake workspace."""
    statements: list[str] = store.session.statements  # type: ignore[attr-defined]
    return statements
