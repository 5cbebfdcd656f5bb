"""Keeps the arrows between the folders true, by what the code imports."""

from __future__ import annotations

import ast
from pathlib import Path

import grimp
import pytest

PROJECT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((PROJECT / "notebooks").rglob("*.py"))

# Module → what of cdp_lib it may import. A package stands for all of its modules.
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "contracts": {"contracts"},
    "columns": set(),
    "landing": {"errors", ""},
    "sources": {"contracts", "errors", "landing", "sources"},
    "bronze": {"columns", "contracts", "errors", "landing"},
    "silver": {"columns", "contracts", "silver.received"},
    "gold": {"columns", "contracts"},
    "quality": {"contracts"},
    "tables": {"contracts", "errors", "quality"},
    "settings": {"errors"},
    "secrets": {"errors"},
    "task_values": set(),
}

GRAPH = grimp.build_graph("cdp_lib", "cdp_local")
MODULES = sorted(module for module in GRAPH.modules if module.startswith("cdp_lib."))


def _within(module: str, allowed: set[str]) -> bool:
    return any(module == name or (name and module.startswith(f"{name}.")) for name in allowed)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_along_the_arrows(module: str) -> None:
    name = module.removeprefix("cdp_lib.")
    package = name.split(".")[0]
    assert package in ARROWS, f"{module} has no arrows: say in ARROWS what it may import"
    imported = {other.removeprefix("cdp_lib").lstrip(".") for other in GRAPH.find_modules_directly_imported_by(module)}
    assert {other for other in imported if not _within(other, ARROWS[package])} == set()


def test_the_library_never_imports_the_local_workspace() -> None:
    assert not [module for module in MODULES if GRAPH.find_shortest_chain(module, "cdp_local") is not None]


def _calls(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def test_only_settings_asks_the_clock() -> None:
    clocks = {
        "datetime.now",
        "datetime.utcnow",
        "date.today",
        "time.time",
        "sf.current_timestamp",
        "sf.current_date",
        "sf.now",
    }
    asking = {path.name for path in (PROJECT / "src" / "cdp_lib").rglob("*.py") if _calls(path) & clocks}
    assert asking == {"settings.py"}


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
                call for call in calls if call.endswith((".writeTo", ".saveAsTable", "spark.table", "spark.sql"))
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
