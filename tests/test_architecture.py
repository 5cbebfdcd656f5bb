"""Keeps the arrows between the folders true, by what the code imports."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cdp_lib.contracts.silver import RECEIVED_AS

PROJECT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((PROJECT / "notebooks").rglob("*.py"))

# Module → what of cdp_lib it may import. A package stands for those of its modules that have no line of their own.
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "contracts": {"contracts"},
    "contracts.table": set(),
    "columns": set(),
    "frames": {"columns"},
    "landing": {"errors", ""},
    "sources": {"contracts.table", "errors", "landing", "sources"},
    # The library itself, to be sent to where Spark runs a micro-batch.
    "sources.event_stream": {"", "contracts.table", "errors", "landing", "settings"},
    "bronze": {"columns", "contracts.table", "errors", "frames", "landing"},
    "silver": {"columns", "contracts", "silver.received"},
    "silver.received": {"columns", "contracts.table"},
    "silver.retails": {"columns", "contracts", "frames"},
    "gold": {"contracts.gold"},
    "gold.marts": {"columns", "contracts", "frames"},
    "gold.value": {"contracts.analytics"},
    "gold.segments": {"contracts"},
    "gold.demographics": {"columns", "contracts.analytics", "reference"},
    "gold.cohorts": {"columns", "contracts", "frames"},
    "gold.kpis": {"columns", "contracts", "frames", "gold.kpis", "gold.marts"},
    "reference": {"columns"},
    # Numbers alone: nothing of these knows Spark.
    "analytics.histories": set(),
    "analytics.fits": {"analytics.histories"},
    "analytics.purchases": {"analytics.fits", "analytics.histories"},
    "analytics.spend": {"analytics.fits", "analytics.histories"},
    "analytics.lifetime_value": {"analytics.histories", "analytics.purchases"},
    "analytics.backtest": {"analytics.histories"},
    "analytics": {"analytics", "contracts.segments"},
    "quality": {"columns", "contracts.table"},
    "tables": {"contracts.table", "errors", "frames"},
    "runs": {"", "contracts.ops", "contracts.table", "settings", "tables"},
    "refresh.refreshed": set(),
    "refresh.batches": {"contracts", "frames", "quality", "refresh.refreshed", "runs", "settings", "tables"},
    "refresh.sales": {"contracts", "frames", "quality", "refresh.refreshed", "runs", "settings", "silver", "tables"},
    "refresh.changes": {"contracts", "frames", "runs", "settings", "tables"},
    "refresh.purchases": {"contracts", "refresh.changes", "runs", "settings", "silver", "tables"},
    "refresh.marts": {"columns", "contracts", "gold.marts", "refresh.changes", "runs", "settings", "tables"},
    "reconciliation": {"contracts", "errors", "runs", "tables"},
    "business_date": {"contracts.silver", "contracts.table", "errors", "frames", "settings", "tables"},
    "maintenance": {"contracts", "errors", "tables"},
    "metric_views": {"contracts.kpis"},
    "published": {"contracts", "gold.marts", "runs", "settings", "tables"},
    "model_fits": {"", "analytics", "contracts.analytics", "errors", "tables"},
    "settings": {"errors"},
    "secrets": {"errors"},
    "task_values": set(),
}

GRAPH = grimp.build_graph("cdp_lib", "cdp_local")
MODULES = sorted(module for module in GRAPH.modules if module.startswith("cdp_lib."))


def _within(module: str, allowed: Iterable[str]) -> bool:
    return any(module == name or (name and module.startswith(f"{name}.")) for name in allowed)


def _line_of(module: str) -> str:
    """The line of ARROWS that holds for a module, empty where there is none."""
    return max((name for name in ARROWS if _within(module.removeprefix("cdp_lib."), [name])), key=len, default="")


def _imported_by(module: str) -> set[str]:
    return {other.removeprefix("cdp_lib").lstrip(".") for other in GRAPH.find_modules_directly_imported_by(module)}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_along_the_arrows(module: str) -> None:
    imported = _imported_by(module)
    assert _line_of(module) or not imported, f"{module} has no arrows: say in ARROWS what it may import"
    assert {other for other in imported if not _within(other, ARROWS.get(_line_of(module), ()))} == set()


def test_every_arrow_is_of_use() -> None:
    imported: dict[str, set[str]] = {}
    for module in MODULES:
        imported.setdefault(_line_of(module), set()).update(_imported_by(module))
    unused = {
        f"{name} → {arrow}"
        for name, arrows in ARROWS.items()
        for arrow in arrows
        if not any(_within(other, [arrow]) for other in imported.get(name, ()))
    }
    assert unused == set()
    assert set(ARROWS) <= set(imported)


def test_the_library_never_imports_the_local_workspace() -> None:
    assert not [module for module in MODULES if GRAPH.find_shortest_chain(module, "cdp_local") is not None]


def _calls(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def _names(path: Path) -> set[str]:
    """Everything a module names as `a.b`, or imports as b from a."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)} | {
        f"{node.module}.{alias.name}" for node in imports for alias in node.names
    }


@pytest.mark.parametrize(
    ("packages", "extra", "there"),
    [(["cdp_lib"], "", {"pyspark"}), (["cdp_lib", "cdp_local"], "local", set())],
    ids=["in a workspace", "by make run"],
)
def test_what_is_imported_is_installed(packages: list[str], extra: str, there: set[str]) -> None:
    """Tests run where more is installed: what is missing elsewhere would be there."""
    graph = grimp.build_graph(*packages, include_external_packages=True)
    imported = {name.split(".")[0] for name in graph.modules} - {*packages} - sys.stdlib_module_names - there
    installed, waiting = set(), [("retail-cdp", extra)]
    while waiting:
        name, wanted = waiting.pop()
        for text in metadata.requires(name) or ():
            needed = Requirement(text)
            name = canonicalize_name(needed.name)
            if name not in installed and (not needed.marker or needed.marker.evaluate({"extra": wanted})):
                installed.add(name)
                waiting += [(name, each) for each in needed.extras or {""}]
    provided = metadata.packages_distributions()
    assert not [module for module in imported if not installed & {*map(canonicalize_name, provided.get(module, []))}]


def test_only_settings_asks_the_clock() -> None:
    clocks = {
        "datetime.now",
        "datetime.utcnow",
        "date.today",
        "time.time",
        "time.time_ns",
        "time.monotonic",
        "time.perf_counter",
        "sf.current_timestamp",
        "sf.current_date",
        "sf.now",
    }
    asking = {path.name for path in (PROJECT / "src" / "cdp_lib").rglob("*.py") if _names(path) & clocks}
    assert asking == {"settings.py"}


def test_models_know_nothing_of_spark() -> None:
    analytics = PROJECT / "src" / "cdp_lib" / "analytics"
    of_spark = {path.stem for path in analytics.glob("*.py") if "pyspark" in path.read_text(encoding="utf-8")}
    assert of_spark == {"summaries", "rfm", "predictions", "holdout"}


def test_only_tables_waits_for_others() -> None:
    waiting = {path.name for path in (PROJECT / "src" / "cdp_lib").rglob("*.py") if "time.sleep" in _names(path)}
    assert waiting == {"tables.py"}


def test_the_library_uses_only_what_spark_connect_offers() -> None:
    unavailable = ("sparkContext", ".rdd", "_jvm", "_jsparkSession", ".cache(", ".persist(", "checkpoint(", "udf(")
    found = [
        f"{path.name}: {word}"
        for path in (PROJECT / "src" / "cdp_lib").rglob("*.py")
        for word in unavailable
        if word in path.read_text(encoding="utf-8")
    ]
    assert found == []


def test_only_tables_reads_and_writes_tables() -> None:
    for path in (PROJECT / "src" / "cdp_lib").rglob("*.py"):
        if path.name != "tables.py":
            calls = _calls(path)
            assert not {
                call
                for call in calls
                if call.endswith((".writeTo", ".saveAsTable", ".save", "spark.table", "spark.sql"))
            }


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_thin(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    assert source.startswith("# Databricks notebook source\n# MAGIC %md\n# MAGIC # ")
    logic = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.If, ast.Try, ast.Lambda)
    assert not [node for node in ast.walk(tree) if isinstance(node, logic)]
    assert "F." not in source
    assert "sf." not in source
    assert source.count("# COMMAND ----------") == 4


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_finds_the_library_the_same_way_everywhere(path: Path) -> None:
    cell = 'dbutils.widgets.text("library_path", "../../src")\nsys.path.append(dbutils.widgets.get("library_path"))\n'
    assert cell in path.read_text(encoding="utf-8")


def _arguments(path: Path, function: str) -> list[list[str]]:
    """What a notebook calls a function with."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    calls = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == function]
    return [[ast.unparse(argument) for argument in call.args] for call in calls]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_logs_its_runs_under_its_own_name(path: Path) -> None:
    logs = _arguments(path, "RunLog")
    # Sources, views and maintenance leave no change of a table.
    has_no_table = path.parent.name == "ingest" or path.stem in ("kpi_metrics", "maintenance")
    assert logs == ([] if has_no_table else [["tables", "settings", repr(path.stem)]])


@pytest.mark.parametrize(
    "path", [path for path in NOTEBOOKS if path.parent.name == "bronze"], ids=lambda path: path.stem
)
def test_a_bronze_notebook_is_about_its_own_table(path: Path) -> None:
    names = {node.id for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Name)}
    assert {name for name in names if name.isupper()} == {path.stem.upper()}


def test_a_silver_notebook_refreshes_its_own_table() -> None:
    calls = {path.stem: _arguments(path, "refresh_from_batches") for path in NOTEBOOKS}
    expected = {
        contract.name: [["tables", "runs", "settings", contract.name.upper(), f"build_{contract.name}"]]
        for contract in RECEIVED_AS
    }
    assert {name: arguments for name, arguments in calls.items() if arguments} == expected
