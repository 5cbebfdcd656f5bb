"""Runs one Python notebook, in Databricks source format."""

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
from cdp_local.dbutils import Jobs, LocalDbutils, NotebookExit, NotebookUtils, SecretStore, TaskValues, Widgets
from cdp_local.engines import catalog_of

_MAGIC = re.compile(r"^(?:#|--) MAGIC (%(?!md\b|pip\b).*)$", re.MULTILINE)


@dataclass(frozen=True)
class Workspace:
    """What every notebook of a run shares.

    Attributes:
        spark: Session.
        secrets: Secret scopes.
        task_values: Task values of the run by task and key.
    """

    spark: SparkSession
    secrets: SecretStore
    task_values: dict[tuple[str, str], Any]


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
        if path.suffix != ".py":
            raise CdpError(f"{path.name} is no Python notebook: it runs in a workspace only.")
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
        found = [file for file in (other, other.with_suffix(".py")) if file.is_file()]
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
