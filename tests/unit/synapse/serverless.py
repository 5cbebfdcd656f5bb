"""Substitute for serverless SQL: sqlfluff parses the scripts, and DuckDB runs their views over Delta tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from sqlfluff.core import FluffConfig, Linter
from sqlfluff.core.parser import BaseSegment
from sqlglot import exp, parse_one

SYNAPSE = Path(__file__).resolve().parents[3] / "synapse"
SCRIPTS = sorted(SYNAPSE.glob("*.sql"))
VARIABLES = {"database": "cdp", "storage_account": "contosolake", "gold_path": "gold"}

_COLLATION = " COLLATE Latin1_General_100_BIN2_UTF8"


@dataclass(frozen=True)
class View:
    """A view that the scripts create.

    Attributes:
        name: Schema and name of the view.
        selected: Columns of the SELECT clause.
        folder: Folder after BULK.
        options: Other options of OPENROWSET, by name.
        columns: Types of the columns in the WITH clause, by name.
        statement: The whole T-SQL statement.
        openrowset: The part of the statement from OPENROWSET to the end of its WITH clause.
    """

    name: str
    selected: tuple[str, ...]
    folder: str
    options: dict[str, str]
    columns: dict[str, str]
    statement: str
    openrowset: str

    @property
    def in_duckdb(self) -> str:
        """The statement that creates the view in DuckDB.

        OPENROWSET reads the files of a folder. The view in DuckDB reads a DuckDB table that is named after the folder.
        Like OPENROWSET, the view finds columns by name and casts them to the types in the WITH clause.
        """
        read = ", ".join(
            f"CAST([{name}] AS {type_.removesuffix(_COLLATION)}) AS [{name}]" for name, type_ in self.columns.items()
        )
        statement = self.statement.replace(self.openrowset, f"(SELECT {read} FROM [{self.folder}])")
        return parse_one(statement, read="tsql").transform(_with_types_of_serverless).sql("duckdb")

    def rows(self, files: pa.Table) -> pa.Table:
        """Return the rows of the view if OPENROWSET reads the given rows of a table."""
        with duckdb.connect() as connection:
            connection.register("files", files)
            schema = self.name.partition(".")[0]
            connection.execute(f"CREATE TABLE {self.folder} AS FROM files; CREATE SCHEMA {schema}; {self.in_duckdb}")
            return connection.sql(f"FROM {self.name}").to_arrow_table()


def _with_types_of_serverless(node: exp.Expr) -> exp.Expr:
    """Convert FLOAT to DOUBLE, because FLOAT has 53 bits in T-SQL, but sqlglot assumes 24 bits; and BIT to BOOLEAN."""
    if isinstance(node, exp.DataType) and node.is_type("FLOAT", "BIT"):
        return exp.DataType.build("DOUBLE" if node.is_type("FLOAT") else "BOOLEAN")
    return node


def contents(table: DeltaTable) -> pa.Table:
    """Return the rows of a Delta table, with times in UTC without a time zone, as in DATETIME2."""
    rows = table.to_pyarrow_table()
    fields = [
        field.with_type(pa.timestamp("us")) if pa.types.is_timestamp(field.type) else field for field in rows.schema
    ]
    return rows.cast(pa.schema(fields))


def script(path: Path) -> str:
    """Return the text of a script after its variables are replaced, as `sqlcmd` sends it."""
    return re.sub(r"\$\((\w+)\)", lambda found: VARIABLES[found[1]], path.read_text(encoding="utf-8"))


@cache
def parsed(path: Path) -> BaseSegment:
    """Return the syntax tree of a script."""
    # Replace credentials by schemas, because sqlfluff does not know GRANT … ON a credential.
    text = script(path).replace("DATABASE SCOPED CREDENTIAL::", "SCHEMA::")
    result = Linter(config=FluffConfig(overrides={"dialect": "tsql"})).parse_string(text)
    assert result.violations == [], path.name
    assert result.tree is not None
    return result.tree


def batches(path: Path) -> list[BaseSegment]:
    """Return the T-SQL batches of a script. GO separates the batches."""
    return list(parsed(path).recursive_crawl("batch"))


def views() -> Iterator[View]:
    """Yield all views that the scripts create."""
    for path in SCRIPTS:
        for statement in parsed(path).recursive_crawl("create_view_statement"):
            yield _view(statement)


def _view(statement: BaseSegment) -> View:
    [name] = statement.get_children("object_reference")
    [select] = statement.recursive_crawl("select_clause")
    [openrowset] = statement.recursive_crawl("openrowset_segment")
    [files] = openrowset.get_children("bracketed")
    [clause] = openrowset.recursive_crawl("openrowset_with_clause")
    folder, *values = [literal.raw.strip("'") for literal in files.recursive_crawl("quoted_literal")]
    options = [keyword.raw for keyword in files.get_children("keyword") if keyword.raw != "BULK"]
    # A column is a name in brackets, followed by its type up to the end of the line.
    columns = re.findall(r"\[(\w+)\] (.+?),?\n", clause.raw)
    return View(
        name=name.raw.replace("[", "").replace("]", ""),
        selected=tuple(column.raw.strip("[]") for column in select.recursive_crawl("column_reference")),
        folder=folder,
        options=dict(zip(options, values, strict=True)),
        columns=dict(columns),
        statement=statement.raw,
        openrowset=openrowset.raw,
    )
