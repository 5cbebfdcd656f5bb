"""Tests of running notebooks in Databricks source format."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from cdp_lib.errors import CdpError
from cdp_local.dbutils import SecretStore
from cdp_local.notebooks import Workspace, import_ahead, run_notebook

SECRET = "blue-moon"  # pragma: allowlist secret


class Notebooks:
    """Helper that writes notebooks into a folder and runs them."""

    def __init__(self, folder: Path, spark: SparkSession) -> None:
        self.folder = folder
        self.output = io.StringIO()
        secrets = SecretStore(folder / "no secrets", {("cdp", "key"): SECRET})
        self.workspace = Workspace(spark, secrets, {})

    def write(self, name: str, *cells: str) -> Path:
        mark = "--" if name.endswith(".sql") else "#"
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{mark} Databricks notebook source\n" + f"\n\n{mark} COMMAND ----------\n\n".join(cells))
        return path

    def run(self, name: str, *cells: str, **parameters: str) -> str | None:
        return run_notebook(self.write(name, *cells), parameters, self.workspace, self.output, "task")

    @property
    def printed(self) -> str:
        return self.output.getvalue()


@pytest.fixture
def notebooks(tmp_path: Path, spark: SparkSession) -> Notebooks:
    return Notebooks(tmp_path, spark)


@pytest.fixture
def offline(tmp_path: Path) -> Notebooks:
    """Helper for notebooks that need no session."""
    return Notebooks(tmp_path, None)  # type: ignore[arg-type]


def test_python_notebook_has_the_globals_of_a_workspace(notebooks: Notebooks) -> None:
    ended_with = notebooks.run(
        "all.py",
        "# MAGIC %md\n# MAGIC # Title\n\nimport sys",
        "dbutils.widgets.text('n', '1')\nn = int(dbutils.widgets.get('n'))",
        "display(spark.range(n).selectExpr('id + 41 AS answer'))\nprint('rows', n, sep='=', end='!\\n')",
        "dbutils.jobs.taskValues.set('rows', n)\ndbutils.notebook.exit('done')\nprint('never')",
        n="2",
    )

    assert ended_with == "done"
    assert "answer" in notebooks.printed
    assert "42" in notebooks.printed
    assert notebooks.printed.endswith("rows=2!\n")
    assert notebooks.workspace.task_values == {("task", "rows"): 2}


def test_notebook_without_exit_returns_none(offline: Notebooks) -> None:
    assert offline.run("end.py", "print('hello')") is None


def test_except_exception_does_not_catch_notebook_exit(offline: Notebooks) -> None:
    cell = "try:\n    dbutils.notebook.exit('early')\nexcept Exception:\n    pass\ndbutils.notebook.exit('late')"

    assert offline.run("exit.py", cell) == "early"


def test_notebook_runs_other_notebooks_by_relative_path(offline: Notebooks) -> None:
    offline.write("parts/inner.py", "dbutils.notebook.exit(dbutils.widgets.get('word') * 2)")
    offline.write("parts/outer.py", "dbutils.notebook.exit(dbutils.notebook.run('./inner', 60, {'word': 'ab'}))")

    assert offline.run("main.py", "dbutils.notebook.exit(dbutils.notebook.run('parts/outer.py') + '!')") == "abab!"


def test_error_names_a_missing_notebook(offline: Notebooks) -> None:
    with pytest.raises(FileNotFoundError, match=r"main\.py runs \./inner, which does not exist"):
        offline.run("main.py", "dbutils.notebook.run('./inner')")


@pytest.mark.parametrize("cell", ["1 / 0", "import sys\nsys.exit(3)", "raise ValueError('no')", "syntax error"])
def test_error_is_raised_and_its_traceback_is_in_the_output(offline: Notebooks, cell: str) -> None:
    with pytest.raises((ArithmeticError, SystemExit, ValueError, SyntaxError)) as error:
        offline.run("wrong.py", "print('before')", cell)

    assert offline.printed.startswith("before\nTraceback") or error.type is SyntaxError
    assert "wrong.py" in offline.printed
    assert error.typename in offline.printed


def test_secrets_are_redacted_in_all_output(notebooks: Notebooks) -> None:
    with pytest.raises(ValueError, match=SECRET):  # the runner redacts the error before it prints it
        notebooks.run(
            "leak.py",
            "secret = dbutils.secrets.get('cdp', 'key')\nassert dbutils.secrets.list('cdp')[0].key == 'key'",
            "print('printed', secret)\ndisplay(secret)\ndisplay(spark.createDataFrame([(secret,)], 'secret string'))",
            "raise ValueError(f'can not use {secret}')",
        )

    assert SECRET not in notebooks.printed
    assert notebooks.printed.count("[REDACTED]") == 4


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("magic.py", "# MAGIC %sql\n# MAGIC SELECT 1"),
        ("magic.py", "# MAGIC %run ./other"),
        ("magic.sql", "-- MAGIC %python\n-- MAGIC print(1)"),
    ],
)
def test_workspace_magics_are_rejected(offline: Notebooks, name: str, cell: str) -> None:
    with pytest.raises(CdpError, match=r"magic\.\w+ uses %\w+.*, which runs in a workspace only"):
        offline.run(name, cell)


def test_markdown_and_pip_magics_are_ignored(offline: Notebooks) -> None:
    offline.run("magic.py", "# MAGIC %md\n# MAGIC # Title", "# MAGIC %pip install nothing", "print('%sql')")

    assert offline.printed == "%sql\n"


def test_sql_notebook_is_rejected(offline: Notebooks) -> None:
    with pytest.raises(CdpError, match=r"ask\.sql is not a Python notebook: it runs in a workspace only"):
        offline.run("ask.sql", "SELECT 1")


def test_import_ahead_completes_modules_that_import_each_other(
    offline: Notebooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "first_half.py").write_text("import second_half\ndone = True\n")
    (tmp_path / "second_half.py").write_text("import first_half\ndone = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    paths = [
        offline.write(f"{name}_notebook.py", f"from {name} import done", "import missing_module")
        for name in ("first_half", "second_half")
    ]
    import_ahead([*paths, offline.write("broken.py", "syntax error"), offline.write("q.sql", "SELECT 1")])
    assert sys.modules["first_half"].done and sys.modules["second_half"].done
    assert "missing_module" not in sys.modules
