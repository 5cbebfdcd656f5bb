"""Runs one notebook, in Databricks source format, Python or SQL."""

from __future__ import annotations

import ast
import importlib
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

from pyspark.sql import SparkSession
from sqlglot import TokenType, tokenize

from cdp_lib.errors import CdpError
from cdp_lib.storage.delta import sql_literal
from cdp_local.dbutils import Jobs, LocalDbutils, NotebookExit, NotebookUtils, SecretStore, TaskValues, Widgets
from cdp_local.engines import catalog_of, keep_view, run_statement

_CELL_END = re.compile(r"^(?:#|--) COMMAND -{10}$", re.MULTILINE)
_MAGIC = re.compile(r"^(?:#|--) MAGIC (%(?!md\b|pip\b).*)$", re.MULTILINE)
_IDENTIFIER_CLAUSE = re.compile(r"IDENTIFIER\s*\(([^()]*)\)", re.IGNORECASE)
_CREATED_VIEW = re.compile(r"CREATE\s+OR\s+REPLACE\s+VIEW\s+([\w.`]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Workspace:
    """What every notebook of a run shares.

    Attributes:
        spark: Session.
        secrets: Secret scopes.
        task_values: Task values of the run by task and key.
        views: Folder in which the definition of each view is kept, for sessions to come.
    """

    spark: SparkSession
    secrets: SecretStore
    task_values: dict[tuple[str, str], Any]
    views: Path


def import_ahead(paths: Iterable[Path]) -> None:
    """Import what notebooks import, one module after the other.

    Notebooks that run side by side may otherwise be the first to import modules that import each other, which Python
    can't do from two threads at once: one of them would see a module that is not complete. What can't be imported is
    left to its notebook to say.

    Args:
        paths: Files of the notebooks.
    """
    for path in paths:
        for name in _imported_modules(path):
            with suppress(Exception):
                importlib.import_module(name)


def _imported_modules(path: Path) -> Iterator[str]:
    """Modules that a Python notebook imports; none of one that is not Python."""
    if path.suffix == ".py":
        with suppress(SyntaxError):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    yield from (alias.name for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    yield node.module


def run_notebook(
    path: Path, parameters: Mapping[str, str], workspace: Workspace, output: TextIO, task_key: str = ""
) -> str | None:
    """Run a notebook from top to bottom.

    Args:
        path: File of the notebook.
        parameters: Its parameters.
        workspace: What the notebooks of the run share.
        output: Takes what the notebook prints and displays, secrets redacted.
        task_key: Task the notebook runs as, empty for none.

    Returns:
        The value the notebook ended with, None where it ran to its end.

    Raises:
        CdpError: The notebook asks for what there is in a workspace only, or for a parameter it was not given.
    """
    source = path.read_text(encoding="utf-8")
    try:
        if magic := _MAGIC.search(source):
            raise CdpError(f"{path.name} uses {magic[1]}, which runs in a workspace only.")
        if path.suffix == ".sql":
            _run_sql(path, source, parameters, workspace, output)
        else:
            _run_python(path, source, parameters, workspace, output, task_key)
    except NotebookExit as end:
        return end.value
    except BaseException:  # a notebook may also call sys.exit
        output.write(workspace.secrets.redact(traceback.format_exc()))
        raise
    return None


def _run_python(
    path: Path, source: str, parameters: Mapping[str, str], workspace: Workspace, output: TextIO, task_key: str
) -> None:
    def run_other(relative: str, arguments: dict[str, str]) -> str | None:
        other = (path.parent / relative).resolve()
        found = [file for file in (other, other.with_suffix(".py"), other.with_suffix(".sql")) if file.is_file()]
        if not found:
            raise FileNotFoundError(f"{path.name} runs {relative}, which is not there")
        return run_notebook(found[0], arguments, workspace, output, task_key)

    def show(*values: object, sep: str = " ", end: str = "\n", **_: object) -> None:
        output.write(workspace.secrets.redact(sep.join(str(value) for value in values) + end))

    def display(value: Any) -> None:
        show(value.toPandas().to_string() if hasattr(value, "toPandas") else value)

    if catalog := catalog_of(workspace.spark) if "spark." in source else None:
        catalog.register_all()  # it may name any table
    namespace = {
        "__name__": "__main__",
        "__file__": str(path),
        "spark": workspace.spark,
        "display": display,
        "print": show,
        "dbutils": LocalDbutils(
            widgets=Widgets(parameters),
            secrets=workspace.secrets,
            notebook=NotebookUtils(run_other),
            jobs=Jobs(TaskValues(task_key, workspace.task_values)),
        ),
    }
    exec(compile(source, str(path), "exec"), namespace)


def _run_sql(path: Path, source: str, parameters: Mapping[str, str], workspace: Workspace, output: TextIO) -> None:
    context: list[str] = []
    for statement in _statements(source):
        sql = _with_names(statement, parameters, path)
        output.write(workspace.secrets.redact(f"{sql};\n"))
        for row in run_statement(workspace.spark, sql):
            output.write(workspace.secrets.redact(f"{row}\n"))
        if sql.upper().startswith("USE "):
            context.append(sql)
        elif created := _CREATED_VIEW.match(sql):
            keep_view(workspace.views, created[1].replace("`", ""), [*context, sql])


def _statements(source: str) -> list[str]:
    """The statements of a SQL notebook, in order, without the comments around them."""
    statements = []
    for cell in _CELL_END.split(source):
        start = end = None
        for token in tokenize(cell, read="databricks"):
            if token.token_type != TokenType.SEMICOLON:
                start, end = token.start if start is None else start, token.end + 1
            elif start is not None:
                statements.append(cell[start:end])
                start = None
        if start is not None:
            statements.append(cell[start:end])
    return statements


def _with_names(statement: str, parameters: Mapping[str, str], path: Path) -> str:
    """The statement with `IDENTIFIER('…' || :parameter)` and `:parameter` replaced by what they stand for.

    A workspace binds them itself; of the local engines neither does in every statement.
    """

    def identifier(match: re.Match[str]) -> str:
        name = "".join(part.strip().strip("'") for part in match[1].split("||"))
        return ".".join(f"`{part}`" for part in name.split("."))

    sql, copied = "", 0
    for colon, name in pairwise(tokenize(statement, read="databricks")):
        # A colon right after a word or a bracket takes a field out of a value: it marks no parameter.
        follows_value = re.match(r"[\w\])`\"']", statement[colon.start - 1 : colon.start])
        if colon.token_type == TokenType.COLON and name.start == colon.end + 1 and not follows_value:
            if name.text not in parameters:
                raise CdpError(f"{path.name} asks for parameter '{name.text}', which the job does not have.")
            literal = sql_literal(parameters[name.text])
            sql, copied = f"{sql}{statement[copied : colon.start]}{literal}", name.end + 1
    return _IDENTIFIER_CLAUSE.sub(identifier, sql + statement[copied:])
