"""Keeps the arrows between the folders true, by what the code imports."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cdp_lib.pipeline.graph import LAYERS, platform_graph
from cdp_lib.pipeline.table import BUSINESS_DATE, Append, Table

PROJECT = Path(__file__).resolve().parents[1]
LIBRARY = PROJECT / "src" / "cdp_lib"
NOTEBOOKS = sorted((PROJECT / "notebooks").rglob("*.py"))

# Module → what of cdp_lib it may import. A package stands for those of its modules that have no line of their own.
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "contracts": {"contracts"},
    "contracts.table": set(),
    "contracts.kpis": set(),
    "contracts.segments": set(),
    "columns": set(),
    "frames": {"columns"},
    "quality": {"columns", "contracts.table", "frames"},
    "landing": {"errors", ""},
    "sources": {"contracts.table", "errors", "landing", "sources"},
    # The library itself, to be sent to where Spark runs a micro-batch.
    "sources.event_stream": {"", "contracts.table", "errors", "landing", "settings"},
    "settings": {"errors"},
    "secrets": {"errors"},
    "storage": {"storage.delta", "storage.lease"},
    "storage.lease": {"contracts.ops", "errors", "storage.delta"},
    "storage.delta": {"contracts.table", "errors", "frames"},
    # What declares tables knows the declaration and the materializations, and neither the runner nor the store.
    "bronze": {
        "columns",
        "contracts.bronze",
        "contracts.table",
        "errors",
        "frames",
        "landing",
        "pipeline.load_batches",
        "pipeline.table",
    },
    "business_date": {"contracts.silver", "frames", "pipeline.table"},
    "silver": {"columns", "contracts.silver", "pipeline.table", "pipeline.touched_keys"},
    "silver.received": {"columns", "contracts.table", "quality"},
    **dict.fromkeys(
        (
            "silver.contacts",
            "silver.customers",
            "silver.events",
            "silver.products",
            "silver.rates",
            "silver.spend",
            "silver.stores",
            "silver.transactions",
        ),
        {
            "columns",
            "contracts.bronze",
            "contracts.silver",
            "pipeline.merge_by_key",
            "pipeline.table",
            "silver.received",
        },
    ),
    "silver.prices": {
        "contracts.bronze",
        "contracts.silver",
        "pipeline.table",
        "pipeline.touched_keys",
        "quality",
        "silver.products",
    },
    "silver.retails": {"contracts.silver", "contracts.table", "pipeline.merge_touched", "pipeline.table"},
    "gold": {
        "columns",
        "contracts.gold",
        "contracts.silver",
        "gold.mart",
        "pipeline.table",
        "pipeline.touched_keys",
    },
    "gold.mart": {"columns"},
    "gold.cohorts": {
        "columns",
        "contracts.analytics",
        "contracts.kpis",
        "contracts.silver",
        "frames",
        "pipeline.table",
    },
    "gold.demographics": {
        "columns",
        "contracts.analytics",
        "contracts.silver",
        "pipeline.table",
        "reference.countries",
    },
    "gold.model_fits": {
        "",
        "analytics.fits",
        "analytics.predictions",
        "analytics.spend",
        "analytics.summaries",
        "contracts.analytics",
        "contracts.silver",
        "errors",
        "frames",
        "pipeline.table",
    },
    "gold.model_quality": {"analytics.holdout", "contracts.analytics", "contracts.silver", "frames", "pipeline.table"},
    "gold.segments": {
        "analytics.rfm",
        "analytics.summaries",
        "business_date",
        "contracts.analytics",
        "contracts.segments",
        "contracts.silver",
        "pipeline.table",
    },
    "gold.value": {
        "analytics.predictions",
        "analytics.rfm",
        "analytics.summaries",
        "contracts.analytics",
        "contracts.silver",
        "gold.model_fits",
        "pipeline.table",
    },
    "gold.kpis": {"columns", "contracts.kpis", "frames", "gold.kpis.measures"},
    "gold.kpis.monthly": {
        "columns",
        "contracts.analytics",
        "contracts.gold",
        "contracts.kpis",
        "contracts.silver",
        "frames",
        "gold.category_monthly_sales",
        "gold.kpis",
        "pipeline.table",
    },
    "reference": {"columns"},
    # Numbers alone: nothing of these knows Spark.
    "analytics.histories": set(),
    "analytics.fits": {"analytics.histories"},
    "analytics.purchases": {"analytics.fits", "analytics.histories"},
    "analytics.spend": {"analytics.fits", "analytics.histories"},
    "analytics.lifetime_value": {"analytics.histories", "analytics.purchases"},
    "analytics.backtest": {"analytics.histories"},
    "analytics": {"analytics", "contracts.segments", "frames"},
    # What brings tables up to date knows none of them: the graph collects the declarations by the names of packages.
    "pipeline.table": {"contracts.table", "pipeline.load_batches", "pipeline.work"},
    "pipeline.fingerprint": {"contracts.table", "pipeline.table"},
    "pipeline.graph": {"errors", "pipeline.table"},
    "pipeline.state": {"contracts.ops", "storage"},
    "pipeline.work": {
        "contracts.table",
        "frames",
        "landing",
        "pipeline.fingerprint",
        "pipeline.state",
        "pipeline.table",
        "settings",
        "storage",
    },
    "pipeline.change_sets": {"columns", "contracts.table", "pipeline.state", "pipeline.work", "quality", "storage"},
    "pipeline.touched_keys": {"pipeline.change_sets", "pipeline.load_batches", "pipeline.table", "pipeline.work"},
    "pipeline.load_batches": {
        "contracts.table",
        "frames",
        "landing",
        "pipeline.state",
        "pipeline.table",
        "pipeline.work",
    },
    "pipeline.merge_by_key": {
        "frames",
        "pipeline.change_sets",
        "pipeline.load_batches",
        "pipeline.table",
        "pipeline.work",
        "quality",
    },
    "pipeline.merge_touched": {
        "contracts.table",
        "frames",
        "pipeline.change_sets",
        "pipeline.table",
        "pipeline.work",
        "quality",
    },
    "pipeline.run": {
        "",
        "contracts.ops",
        "errors",
        "landing",
        "pipeline.adoption",
        "pipeline.change_sets",
        "pipeline.fingerprint",
        "pipeline.graph",
        "pipeline.state",
        "pipeline.table",
        "pipeline.work",
        "settings",
        "storage",
    },
    "pipeline.adoption": {
        "contracts.bronze",
        "contracts.ops",
        "contracts.silver",
        "contracts.table",
        "landing",
        "pipeline.load_batches",
        "pipeline.state",
        "storage",
    },
    "pipeline.compaction": {
        "contracts.table",
        "frames",
        "landing",
        "pipeline.graph",
        "pipeline.load_batches",
        "pipeline.state",
        "pipeline.table",
        "quality",
        "storage",
    },
    "reconciliation": {
        "contracts.ops",
        "errors",
        "frames",
        "pipeline.graph",
        "pipeline.load_batches",
        "pipeline.merge_by_key",
        "pipeline.state",
        "pipeline.table",
        "quality",
        "storage",
    },
    "stage": {
        "contracts.bronze",
        "errors",
        "landing",
        "pipeline.run",
        "published",
        "reconciliation",
        "secrets",
        "serving",
        "settings",
        "storage",
        "task_values",
    },
    "serving": {"contracts", "metric_views", "pipeline.state", "storage"},
    "task_values": {"pipeline.run"},
    "maintenance": {"contracts", "errors", "storage.delta"},
    "metric_views": {"contracts.kpis"},
    "published": {"contracts.analytics", "contracts.gold", "contracts.table", "errors", "pipeline.state", "storage"},
}

BUILDERS = ("silver", "gold", "business_date", "analytics")
"""Modules, and packages of modules, in which tables are built of other tables."""

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


def _modules_that_name(*names: str) -> set[str]:
    """Modules of the library, as `pipeline/run.py`, that name one of these."""
    modules = LIBRARY.rglob("*.py")
    return {path.relative_to(LIBRARY).as_posix() for path in modules if _names(path) & {*names}}


def test_only_settings_asks_the_clock() -> None:
    clocks = {
        "datetime.now",
        "datetime.utcnow",
        "date.today",
        "time.time",
        "time.time_ns",
        "time.monotonic",
        "sf.current_timestamp",
        "sf.current_date",
        "sf.now",
    }
    assert _modules_that_name(*clocks) == {"settings.py"}


def test_only_the_runner_measures_how_long_something_takes() -> None:
    assert _modules_that_name("time.perf_counter", "time.perf_counter_ns") == {"pipeline/run.py"}


def test_only_the_graph_the_fingerprint_and_the_store_import_modules_by_name() -> None:
    """Tables are collected, code is hashed, and the store of another engine is opened."""
    by_name = _modules_that_name("importlib.import_module", "pkgutil.walk_packages")
    assert by_name == {"pipeline/graph.py", "pipeline/fingerprint.py", "storage/__init__.py"}


def test_models_know_nothing_of_spark() -> None:
    of_spark = {
        path.stem for path in (LIBRARY / "analytics").glob("*.py") if "pyspark" in path.read_text(encoding="utf-8")
    }
    assert of_spark == {"summaries", "rfm", "predictions", "holdout"}


def test_nothing_waits_by_the_clock() -> None:
    assert _modules_that_name("time.sleep") == set()


def test_the_library_uses_only_what_spark_connect_offers() -> None:
    unavailable = ("sparkContext", ".rdd", "_jvm", "_jsparkSession", ".cache(", ".persist(", "checkpoint(", "udf(")
    found = [
        f"{path.name}: {word}"
        for path in LIBRARY.rglob("*.py")
        for word in unavailable
        if word in path.read_text(encoding="utf-8")
    ]
    assert found == []


def test_only_storage_reads_and_writes_tables() -> None:
    of_tables = (".writeTo", ".saveAsTable", ".save", "spark.table", "spark.sql", "session.table", "session.sql")
    calling = {
        path.relative_to(LIBRARY).as_posix()
        for path in LIBRARY.rglob("*.py")
        if any(call.endswith(of_tables) for call in _calls(path))
    }
    assert calling == {"storage/delta.py", "storage/lease.py"}


def _files_of(packages: Iterable[str]) -> list[Path]:
    modules = {path: ".".join(path.relative_to(LIBRARY).with_suffix("").parts) for path in LIBRARY.rglob("*.py")}
    return sorted(path for path, module in modules.items() if _within(module, packages))


@pytest.mark.parametrize("path", _files_of(BUILDERS), ids=lambda path: path.relative_to(LIBRARY).as_posix())
def test_a_builder_sees_frames_and_no_session(path: Path) -> None:
    names = {node.id for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Name)}
    by_session = {
        name for name in _names(path) if re.search(r"(^|\.)(spark|session|sparkSession|SparkSession)\b", name)
    }
    assert (by_session, names & {"spark", "session"}) == (set(), set())
    assert not {call for call in _calls(path) if call.endswith(".table")}


def test_the_library_names_no_local_engine() -> None:
    assert not [path.name for path in LIBRARY.rglob("*.py") if "sail" in path.read_text(encoding="utf-8").lower()]


BUILT = [table for table in platform_graph().tables.values() if table.contract.layer != "bronze"]


@pytest.mark.parametrize("table", BUILT, ids=lambda table: table.name)
def test_a_builder_takes_a_frame_of_each_input_and_the_declared_settings(table: Table) -> None:
    parameters = list(inspect.signature(table.build).parameters)
    is_ledger = isinstance(table.materialization, Append)
    inputs = [
        *(contract.name for contract in table.reads),
        *(name.removesuffix(".csv") for name in table.files),
        *([table.name] if is_ledger else []),
    ]
    settings = {"as_of" if name == BUSINESS_DATE else name for name in table.settings}
    assert parameters[: len(inputs)] == inputs
    assert sorted(parameters[len(inputs) :]) == sorted({*settings, *(["recorded_at"] if is_ledger else [])})


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
    head = path.read_text(encoding="utf-8").split("# COMMAND ----------\n")[1]
    assert head.startswith(
        "\nimport sys\nfrom importlib.util import find_spec\n\n"
        'sys.path += [] if find_spec("cdp_lib") else ["../../src"]\n\nfrom cdp_lib.'
    )
    assert path.read_text(encoding="utf-8").count("sys.path") == 1


@pytest.mark.parametrize("layer", LAYERS)
def test_the_notebook_of_a_stage_refreshes_its_own_layer(layer: str) -> None:
    [path] = (PROJECT / "notebooks" / layer).iterdir()
    assert path.stem == layer
    assert f'stage.refresh("{layer}", print)\n' in path.read_text(encoding="utf-8")
