"""Runs one notebook, in Databricks source format, Python or SQL."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from pyspark.sql import SparkSession
from sqlglot import TokenType, tokenize

from cdp_lib.errors import CdpError
from cdp_local.dbutils import Jobs, LocalDbutils, NotebookExit, NotebookUtils, SecretStore, TaskValues, Widgets
from cdp_local.engines import run_statement

_CELL_END = re.compile(r"^(?:#|--) COMMAND -{10}$", re.MULTILINE)
_IGNORED_MAGIC = ("%md", "%pip")
_IDENTIFIER_CLAUSE = re.compile(r"IDENTIFIER\s*\(([^()]*)\)", re.IGNORECASE)
_PARAMETER = re.compile(r"(?<!:):([a-zA-Z_]\w*)")
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
    """
    if path.suffix == ".sql":
        _run_sql(path, parameters, workspace)
        return None
    return _run_python(path, parameters, workspace, output, task_key)


def _run_python(
    path: Path, parameters: Mapping[str, str], workspace: Workspace, output: TextIO, task_key: str
) -> str | None:
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

    source = path.read_text(encoding="utf-8")
    for line in source.splitlines():
        if line.startswith("# MAGIC %") and not line.removeprefix("# MAGIC ").startswith(_IGNORED_MAGIC):
            raise CdpError(f"{path.name} uses {line.removeprefix('# MAGIC ')}, which runs in a workspace only.")
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
    try:
        exec(compile(source, str(path), "exec"), namespace)
    except NotebookExit as end:
        return end.value
    except Exception:
        output.write(workspace.secrets.redact(traceback.format_exc()))
        raise
    return None


def _run_sql(path: Path, parameters: Mapping[str, str], workspace: Workspace) -> None:
    context: list[str] = []
    for statement in _statements(path.read_text(encoding="utf-8")):
        sql = _with_names(statement, parameters, path)
        run_statement(workspace.spark, sql)
        if sql.upper().startswith("USE "):
            context.append(sql)
        elif created := _CREATED_VIEW.match(sql):
            workspace.views.mkdir(parents=True, exist_ok=True)
            name = created[1].replace("`", "")
            (workspace.views / f"{name}.sql").write_text(";\n".join([*context, sql]))


def _statements(source: str) -> list[str]:
    """The statements of a SQL notebook, in order, without comments before them."""
    statements = []
    for cell in _CELL_END.split(source):
        code = "\n".join(line for line in cell.splitlines() if not line.startswith("-- "))
        start = 0
        for token in tokenize(code, read="databricks"):
            if token.token_type == TokenType.SEMICOLON:
                statements.append(code[start : token.start])
                start = token.end + 1
        statements.append(code[start:])
    return [statement.strip() for statement in statements if statement.strip()]


def _with_names(statement: str, parameters: Mapping[str, str], path: Path) -> str:
    """The statement with `IDENTIFIER('…' || :parameter)` and `:parameter` replaced by what they stand for.

    A workspace binds them itself; of the local engines neither does in every statement.
    """

    def literal(match: re.Match[str]) -> str:
        if match[1] not in parameters:
            raise CdpError(f"{path.name} asks for parameter '{match[1]}', which the job does not have.")
        escaped = parameters[match[1]].replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"

    def identifier(match: re.Match[str]) -> str:
        name = "".join(part.strip().strip("'") for part in match[1].split("||"))
        return ".".join(f"`{part}`" for part in name.split("."))

    return _IDENTIFIER_CLAUSE.sub(identifier, _PARAMETER.sub(literal, statement))
