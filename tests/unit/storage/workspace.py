"""A session that keeps the statements it is given, and answers as a Databricks workspace would: none is here to ask."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cdp_lib.contracts.table import TableContract
from cdp_lib.storage import DeltaStore


class Workspace:
    """Session of a workspace.

    Attributes:
        statements: What it was told, without questions.
    """

    def __init__(self, there: Iterable[TableContract], detail: dict[str, Any]) -> None:
        self.there = {contract.name for contract in there}
        self.detail = {"numFiles": 3, "sizeInBytes": 30, "properties": {}, "clusteringColumns": []} | detail
        self.statements: list[str] = []
        self.answer: list[Any] = []
        self.conf = self

    def set(self, name: str, value: str) -> None:
        pass

    def sql(self, statement: str) -> Workspace:
        self.answer = []
        if statement == "SHOW TABLES IN `cat1`.`sales`":
            self.answer = [{"tableName": name} for name in self.there]
        elif statement.startswith("DESCRIBE DETAIL"):
            self.answer = [self.detail]
        else:
            self.statements.append(statement)
        return self

    def collect(self) -> list[Any]:
        return self.answer


def store_of_databricks(*there: TableContract, **detail: Any) -> DeltaStore:
    """The store of a workspace's schema.

    Args:
        there: Tables that exist.
        detail: What the workspace says of each.
    """
    return DeltaStore(Workspace(there, detail), "cat1", "sales")  # type: ignore[arg-type]


def said(store: DeltaStore) -> list[str]:
    """What the workspace was told."""
    statements: list[str] = store.session.statements  # type: ignore[attr-defined]
    return statements
