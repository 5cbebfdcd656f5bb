"""A fake session of a Databricks workspace, which records SQL statements and returns results for a few of them."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from sqlglot.dialects.databricks import Databricks
from sqlglot.tokens import TokenType

from cdp_lib.contracts.table import TableContract
from cdp_lib.storage import DeltaStore


class Workspace:
    """Fake session of a Databricks workspace.

    Attributes:
        statements: Recorded SQL statements that are not queries.
        groups: Account groups that the identity of the session is a member of.
        checked: Account groups whose membership was checked.
    """

    def __init__(self, existing: Iterable[TableContract], detail: dict[str, Any]) -> None:
        self.existing = {contract.name: contract for contract in existing}
        self.groups: set[str] = set()
        self.checked: list[str] = []
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
        elif statement.startswith("SELECT is_account_group_member"):
            [group] = strings_in(statement)
            self.checked.append(group)
            self.answer = [{"is_member": group in self.groups}]
        else:
            self.statements.append(statement)
        return self

    def table(self, name: str) -> SimpleNamespace:
        types = self.existing[name.split("`")[-2]].types
        return SimpleNamespace(columns=list(types), dtypes=[(column, type_.lower()) for column, type_ in types.items()])

    def collect(self) -> list[Any]:
        return self.answer


def strings_in(statement: str) -> list[str]:
    """Return the values of the string literals of a statement."""
    tokens = Databricks().tokenize(statement)
    return [token.text for token in tokens if token.token_type == TokenType.STRING]


def store_of_databricks(*existing: TableContract, unmasked_group: str = "", **detail: Any) -> DeltaStore:
    """Return a store on a schema of a fake workspace. Its identity is a member of the unmasked group.

    Args:
        existing: Tables that exist in the schema.
        unmasked_group: Account group that reads personal data.
        detail: Result of DESCRIBE DETAIL, the same for every table.
    """
    workspace = Workspace(existing, detail)
    workspace.groups = {unmasked_group}
    return DeltaStore(workspace, "cat1", "sales", unmasked_group)  # type: ignore[arg-type]


def statements_of(store: DeltaStore) -> list[str]:
    """Return the SQL statements that a store sent to its fake workspace."""
    statements: list[str] = store.session.statements  # type: ignore[attr-defined]
    return statements
