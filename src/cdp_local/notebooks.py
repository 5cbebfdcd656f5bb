"""Runs Python notebooks that are in Databricks source format."""

from __future__ import annotations

import ast
import importlib
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from pyspark.sql import SparkSession

from cdp_lib.errors import CdpError
from cdp_lib.redaction import redact
from cdp_local.dbutils import Jobs, LocalDbutils, NotebookExit, NotebookUtils, SecretStore, TaskValues, Widgets
from cdp_local.engines import catalog_of
from cdp_local.terminal import printable

_MAGIC = re.compile(r"^(?:#|--) MAGIC (%(?!md\b|pip\b).*)$", re.MULTILINE)


@dataclass(frozen=True)
class Workspace:
    """Objects that all notebooks of a run share.

    Attributes:
        spark: Session.
        secrets: Secrets by scope and key.
        task_values: Task values of the run, by task and key.
    """

    spark: SparkSession
    secrets: SecretStore
    task_values: dict[tuple[str, str], Any]


def import_ahead(paths: Iterable[Path]) -> None:
    """Import the modules that notebooks import, one module after the other.

    Without this function, notebooks that run in parallel could import modules with circular imports at the same time.
    One thread would then see a partially initialized module. The function ignores import errors, because the notebook
    raises them later.

    Args:
        paths: Files of the notebooks.
    """
    for path in paths:
        for name in _imported_modules(path):
            with suppress(Exception):
                importlib.import_module(name)


def _imported_modules(path: Path) -> Iterator[str]:
    """Yield the names of the modules that a Python notebook imports. Yield none for a notebook in another language."""
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
        parameters: Parameters of the notebook.
        workspace: Session, secrets and task values that the notebooks of the run share.
        output: Stream for the output of the notebook. Secrets and control characters are removed from the output.
        task_key: Key of the task that runs the notebook; empty for none.

    Returns:
        The value of `dbutils.notebook.exit`; None if the notebook ran to its end.

    Raises:
        CdpError: The notebook needs a feature that only a workspace has, or is not a Python notebook.
    """
    source = path.read_text(encoding="utf-8")
    try:
        if magic := _MAGIC.search(source):
            raise CdpError(f"{path.name} uses {magic[1]}, which runs in a workspace only.")
        if path.suffix != ".py":
            raise CdpError(f"{path.name} is not a Python notebook: it runs in a workspace only.")
        _run_python(path, source, parameters, workspace, output, task_key)
    except NotebookExit as end:
        return end.value
    except BaseException:  # not Exception, because sys.exit in a notebook raises SystemExit
        output.write(printable(redact(traceback.format_exc())))
        raise
    return None


def _run_python(
    path: Path, source: str, parameters: Mapping[str, str], workspace: Workspace, output: TextIO, task_key: str
) -> None:
    def run_child(relative: str, arguments: dict[str, str]) -> str | None:
        child = (path.parent / relative).resolve()
        found = [file for file in (child, child.with_suffix(".py")) if file.is_file()]
        if not found:
            raise FileNotFoundError(f"{path.name} runs {relative}, which does not exist")
        return run_notebook(found[0], arguments, workspace, output, task_key)

    def show(*values: object, sep: str = " ", end: str = "\n", **_: object) -> None:
        output.write(printable(redact(sep.join(str(value) for value in values) + end)))

    def display(value: Any) -> None:
        show(value.toPandas().to_string() if hasattr(value, "toPandas") else value)

    if catalog := catalog_of(workspace.spark) if "spark." in source else None:
        catalog.register_all()  # the notebook may read any table
    namespace = {
        "__name__": "__main__",
        "__file__": str(path),
        "spark": workspace.spark,
        "display": display,
        "print": show,
        "dbutils": LocalDbutils(
            widgets=Widgets(parameters),
            secrets=workspace.secrets,
            notebook=NotebookUtils(run_child),
            jobs=Jobs(TaskValues(task_key, workspace.task_values)),
        ),
    }
    exec(compile(source, str(path), "exec"), namespace)
