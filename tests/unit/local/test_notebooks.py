"""Notebooks in Databricks source format, Python and SQL, as a workspace runs them."""

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
    """Writes notebooks into a folder and runs them."""

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
    """Notebooks that need no session."""
    return Notebooks(tmp_path, None)  # type: ignore[arg-type]


def test_a_python_notebook_has_the_globals_of_a_workspace(notebooks: Notebooks) -> None:
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


def test_a_notebook_that_runs_to_its_end_gives_nothing(offline: Notebooks) -> None:
    assert offline.run("end.py", "print('hello')") is None


def test_exit_gets_past_except_exception(offline: Notebooks) -> None:
    cell = "try:\n    dbutils.notebook.exit('early')\nexcept Exception:\n    pass\ndbutils.notebook.exit('late')"

    assert offline.run("exit.py", cell) == "early"


def test_a_notebook_runs_others_by_their_path_relative_to_itself(offline: Notebooks) -> None:
    offline.write("parts/inner.py", "dbutils.notebook.exit(dbutils.widgets.get('word') * 2)")
    offline.write("parts/outer.py", "dbutils.notebook.exit(dbutils.notebook.run('./inner', 60, {'word': 'ab'}))")

    assert offline.run("main.py", "dbutils.notebook.exit(dbutils.notebook.run('parts/outer.py') + '!')") == "abab!"


def test_a_notebook_that_is_not_there_is_named(offline: Notebooks) -> None:
    with pytest.raises(FileNotFoundError, match=r"main\.py runs \./inner, which is not there"):
        offline.run("main.py", "dbutils.notebook.run('./inner')")


@pytest.mark.parametrize("cell", ["1 / 0", "import sys\nsys.exit(3)", "raise ValueError('no')", "syntax error"])
def test_an_error_is_raised_and_its_traceback_stands_in_the_output(offline: Notebooks, cell: str) -> None:
    with pytest.raises((ArithmeticError, SystemExit, ValueError, SyntaxError)) as error:
        offline.run("wrong.py", "print('before')", cell)

    assert offline.printed.startswith("before\nTraceback") or error.type is SyntaxError
    assert "wrong.py" in offline.printed
    assert error.typename in offline.printed


def test_a_secret_is_redacted_wherever_it_is_shown(notebooks: Notebooks) -> None:
    with pytest.raises(ValueError, match=SECRET):  # the runner redacts what it shows of it
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
def test_a_magic_of_a_workspace_is_refused(offline: Notebooks, name: str, cell: str) -> None:
    with pytest.raises(CdpError, match=r"magic\.\w+ uses %\w+.*, which runs in a workspace only"):
        offline.run(name, cell)


def test_magics_that_change_nothing_here_are_left_out(offline: Notebooks) -> None:
    offline.run("magic.py", "# MAGIC %md\n# MAGIC # Title", "# MAGIC %pip install nothing", "print('%sql')")

    assert offline.printed == "%sql\n"


def test_a_sql_notebook_is_a_workspaces(offline: Notebooks) -> None:
    with pytest.raises(CdpError, match=r"ask\.sql is no Python notebook: it runs in a workspace only"):
        offline.run("ask.sql", "SELECT 1")


def test_notebooks_side_by_side_never_see_a_module_that_is_not_complete(
    offline: Notebooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there_and_back.py").write_text("import back_and_there\ndone = True\n")
    (tmp_path / "back_and_there.py").write_text("import there_and_back\ndone = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    paths = [
        offline.write(f"{name}_notebook.py", f"from {name} import done", "import not_there_at_all")
        for name in ("there_and_back", "back_and_there")
    ]
    import_ahead([*paths, offline.write("broken.py", "syntax error"), offline.write("q.sql", "SELECT 1")])
    assert sys.modules["there_and_back"].done and sys.modules["back_and_there"].done
    assert "not_there_at_all" not in sys.modules
