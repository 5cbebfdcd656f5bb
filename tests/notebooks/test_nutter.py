"""Run the nutter notebooks on the engine under test, in the same way as a workspace runs them."""

from __future__ import annotations

import ast
import io
import re
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from cdp_local.dbutils import SecretStore
from cdp_local.notebooks import Workspace, run_notebook

FOLDER = Path(__file__).resolve().parent


@pytest.fixture
def run(spark: SparkSession, catalog: str, tmp_path: Path):
    """Run a nutter notebook, and return its results."""
    # Import here, after conftest.py has replaced the missing module.
    from common.testresult import TestResults

    def run_nutter(notebook: Path) -> TestResults:
        workspace = Workspace(spark, SecretStore(tmp_path / "no-secrets", {}), {})
        parameters = {"catalog": catalog, "location": str(tmp_path / "scratch")}
        value = run_notebook(notebook, parameters, workspace, io.StringIO())
        assert value is not None, "the notebook did not end with its results"
        return TestResults().deserialize(value)

    return run_nutter


def test_nutter_notebook_passes_and_drops_its_schema(run, notebook: Path, spark: SparkSession, catalog: str) -> None:
    results = run(notebook)
    assert {test.test_name for test in results.results} == names(notebook, "run_")
    assert [f"{test.test_name}: {test.stack_trace}" for test in results.results if not test.passed] == []
    schemas = [row[0] for row in spark.sql(f"SHOW SCHEMAS IN {catalog}").collect()]
    assert [schema for schema in schemas if "nutter_" in schema] == []


def test_every_run_method_has_an_assertion_method(notebook: Path) -> None:
    # Nutter treats an assertion_ method without a run_ method as a separate test.
    assert names(notebook, "run_") == names(notebook, "assertion_") != set()


@pytest.mark.first_engine
def test_broken_assertion_fails_only_its_own_test(run, tmp_path: Path) -> None:
    source = (FOLDER / "test_retails_silver.py").read_text(encoding="utf-8")
    broken, count = re.subn(r"(def assertion_1\w*\(self\):\n)", r"\1        assert 1 == 2\n", source)
    assert count == 1
    copy = tmp_path / "tests" / "notebooks" / "test_broken.py"
    copy.parent.mkdir(parents=True)
    copy.write_text(broken, encoding="utf-8")
    (tmp_path / "notebooks").symlink_to(FOLDER.parents[1] / "notebooks")

    results = run(copy)
    assert not results.passed()
    assert [test.test_name[0] for test in results.results if not test.passed] == ["1"]


def names(notebook: Path, prefix: str) -> set[str]:
    """Find the methods of a notebook whose names start with a prefix. Return the names without the prefix."""
    functions = [node for node in ast.walk(ast.parse(notebook.read_text())) if isinstance(node, ast.FunctionDef)]
    return {function.name.removeprefix(prefix) for function in functions if function.name.startswith(prefix)}
