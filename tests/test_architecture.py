"""Tests of the architecture: which modules import which, and which module may use clocks, engines and files."""

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

from cdp_lib.pipeline.decisions import Decisions
from cdp_lib.pipeline.graph import LAYERS, platform_graph
from cdp_lib.pipeline.group_history import GroupHistory
from cdp_lib.pipeline.number_ids import NumberIds
from cdp_lib.pipeline.resolve_touched import ResolveTouched
from cdp_lib.pipeline.table import BUSINESS_DATE, Append, Table

PROJECT = Path(__file__).resolve().parents[1]
LIBRARY = PROJECT / "src" / "cdp_lib"
NOTEBOOKS = sorted((PROJECT / "notebooks").rglob("*.py"))

# For each module: the modules of cdp_lib that it may import. An entry for a package applies to all modules of the
# package that have no entry.
ALLOWED_IMPORTS: dict[str, set[str]] = {
    "redaction": set(),
    "errors": {"redaction"},
    "limits": {"errors"},
    "json_text": set(),
    "contracts": {"contracts"},
    "contracts.table": set(),
    "contracts.kpis": set(),
    "contracts.segments": set(),
    "contracts.sums": set(),
    "columns": set(),
    "frames": {"columns"},
    "explore": {"contracts", "frames", "storage"},
    "quality": {"columns", "contracts.table", "frames"},
    "landing": {"errors", "", "json_text", "source_address"},
    "mapping": set(),
    "mapped_rows": {"columns", "contracts.table", "errors", "mapping"},
    "sources_file": {"contracts.bronze", "contracts.table", "errors", "mapping"},
    "source_address": set(),
    "sources": {
        "contracts.table",
        "errors",
        "json_text",
        "landing",
        "limits",
        "redaction",
        "source_address",
        "sources",
        "sources_file",
    },
    "ingest": {"errors", "landing", "secrets", "settings", "source_address", "sources", "sources_file"},
    # This module imports the package `cdp_lib`, to send it to the process in which Spark runs a micro-batch.
    "sources.event_stream": {"", "contracts.table", "errors", "json_text", "landing", "redaction", "settings"},
    "settings": {"errors", "identity.rules", "identity.rules_file", "limits", "reference.currencies"},
    "identity": {"identity"},
    "identity.pairs": {
        "frames",
        "identity.contradiction",
        "identity.evidence",
        "identity.model",
        "identity.rules",
    },
    "identity.evidence": {"identity.comparisons", "identity.model"},
    "identity.rules": set(),
    "identity.rules_file": {
        "contracts.identity",
        "errors",
        "identity.model",
        "identity.model_file",
        "identity.rules",
        "reference.phone_plans",
    },
    "identity.normalise": {"columns"},
    "identity.phones": set(),
    "identity.off": {"columns", "contracts.identity"},
    "identity.customers": {"identity.rules"},
    "secrets": {"errors", "redaction"},
    "identity.comparisons": {"identity.nicknames"},
    "identity.contradiction": {"identity.nicknames"},
    "identity.model": {"identity.comparisons"},
    "identity.model_file": {"errors", "identity.comparisons", "identity.model"},
    "identity.models": set(),
    "identity.nicknames": set(),
    "storage": {"storage.delta", "storage.lease"},
    "storage.lease": {"contracts.ops", "errors", "storage.delta"},
    "storage.delta": {"contracts.table", "errors", "frames"},
    # Modules that declare tables may import declarations and materializations, but not the runner and not the store.
    "bronze": {
        "columns",
        "contracts.bronze",
        "contracts.table",
        "errors",
        "frames",
        "json_text",
        "landing",
        "mapping",
        "pipeline.load_batches",
        "pipeline.table",
    },
    "business_date": {"columns", "contracts.silver", "frames", "pipeline.table"},
    "silver.received": {
        "columns",
        "contracts.table",
        "mapping",
        "quality",
    },
    **dict.fromkeys(
        (
            "silver.consent_files",
            "silver.rates",
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
    **dict.fromkeys(
        ("silver.contacts", "silver.spend"),
        {
            "columns",
            "contracts.bronze",
            "contracts.silver",
            "pipeline.merge_by_key",
            "pipeline.table",
            "silver.received",
            "silver.reserved",
        },
    ),
    **dict.fromkeys(
        ("silver.products", "silver.stores"),
        {
            "columns",
            "contracts.bronze",
            "contracts.silver",
            "pipeline.merge_by_key",
            "pipeline.table",
            "quality",
            "silver.received",
        },
    ),
    "silver.customers": {
        "contracts.bronze",
        "contracts.silver",
        "columns",
        "pipeline.merge_by_key",
        "pipeline.table",
        "quality",
        "silver.received",
        "silver.reserved",
    },
    "silver.identity_records": {
        "columns",
        "contracts.identity",
        "contracts.silver",
        "frames",
        "identity.normalise",
        "identity.phones",
        "identity.rules",
        "pipeline.table",
        "pipeline.union_touched",
        "reference.countries",
        "identity.evidence",
        "identity.model_file",
        "identity.pairs",
    },
    "silver.id_keys": {
        "contracts.bronze",
        "contracts.silver",
        "mapped_rows",
        "pipeline.number_ids",
        "pipeline.table",
    },
    "silver.prices": {
        "columns",
        "contracts.bronze",
        "contracts.silver",
        "pipeline.table",
        "pipeline.touched_keys",
        "quality",
        "silver.products",
    },
    "silver.acquisitions": {
        "contracts.identity",
        "contracts.silver",
        "identity.customers",
        "identity.rules",
        "pipeline.table",
    },
    "silver.purchases": {
        "columns",
        "contracts.identity",
        "contracts.silver",
        "identity.customers",
        "identity.rules",
        "pipeline.table",
        "pipeline.touched_keys",
    },
    "silver.activities": {
        "columns",
        "contracts.kpis",
        "contracts.silver",
        "pipeline.table",
        "pipeline.touched_keys",
    },
    "silver.identity_edges": {
        "contracts.identity",
        "frames",
        "identity.model_file",
        "identity.pairs",
        "identity.rules",
        "pipeline.merge_pairs",
        "pipeline.table",
    },
    "silver.person_links": {
        "contracts.identity",
        "contracts.silver",
        "identity.history",
        "identity.off",
        "identity.resolution",
        "identity.rules",
        "pipeline.decisions",
        "pipeline.group_history",
        "pipeline.resolve_touched",
        "pipeline.table",
    },
    "silver.consent_signals": {"columns"},
    "silver.events": {
        "columns",
        "contracts.bronze",
        "contracts.silver",
        "pipeline.merge_by_key",
        "pipeline.table",
        "silver.consent_signals",
        "silver.received",
    },
    "silver.consents": {
        "columns",
        "contracts.bronze",
        "contracts.consent",
        "contracts.identity",
        "contracts.silver",
        "frames",
        "pipeline.follow_groups",
        "pipeline.table",
        "pipeline.union_touched",
        "quality",
        "silver.consent_signals",
        "silver.events",
    },
    "silver.reserved": {"columns"},
    "silver.persons": {
        "columns",
        "contracts.identity",
        "contracts.silver",
        "contracts.table",
        "frames",
        "identity.rules",
        "pipeline.follow_groups",
        "pipeline.table",
        "reference.countries",
    },
    "silver.retails": {
        "columns",
        "contracts.silver",
        "contracts.table",
        "frames",
        "pipeline.merge_touched",
        "pipeline.table",
    },
    "gold": {
        "columns",
        "contracts.gold",
        "contracts.silver",
        "gold.mart",
        "pipeline.table",
        "pipeline.touched_keys",
    },
    "gold.price_segment_analysis": {
        "analytics.rfm",
        "columns",
        "contracts.gold",
        "contracts.silver",
        "gold.mart",
        "pipeline.table",
    },
    "gold.sales_by_week": {
        "contracts.gold",
        "contracts.silver",
        "frames",
        "gold.category_monthly_sales",
        "gold.country_category_monthly_sales",
        "gold.country_monthly_orders",
        "gold.mart",
        "pipeline.table",
        "pipeline.touched_keys",
    },
    "gold.mart": {"columns"},
    "gold.cohorts": {
        "columns",
        "contracts.analytics",
        "contracts.identity",
        "contracts.silver",
        "frames",
        "pipeline.table",
    },
    "gold.demographics": {
        "columns",
        "contracts.analytics",
        "contracts.identity",
        "contracts.silver",
        "contracts.table",
        "identity.customers",
        "identity.rules",
        "pipeline.table",
        "reference.countries",
    },
    "gold.model_fits": {
        "",
        "analytics.fits",
        "analytics.predictions",
        "analytics.summaries",
        "contracts.analytics",
        "contracts.silver",
        "errors",
        "frames",
        "gold.refits",
        "pipeline.table",
    },
    "gold.refits": {
        "analytics.spend",
        "contracts.analytics",
        "contracts.silver",
        "pipeline.table",
        "pipeline.work",
    },
    "gold.model_quality": {
        "analytics.holdout",
        "contracts.analytics",
        "contracts.silver",
        "frames",
        "gold.model_fits",
        "gold.refits",
        "pipeline.table",
    },
    "gold.profile": {
        "columns",
        "contracts.analytics",
        "contracts.consent",
        "contracts.identity",
        "contracts.profile",
        "contracts.silver",
        "frames",
        "identity.normalise",
        "identity.phones",
        "pipeline.follow_groups",
        "pipeline.table",
        "reference.countries",
    },
    "gold.segment_quality": {
        "analytics.promises",
        "analytics.segments",
        "contracts.analytics",
        "contracts.segments",
        "contracts.silver",
        "frames",
        "pipeline.table",
    },
    "gold.segments": {
        "analytics.segments",
        "business_date",
        "contracts.analytics",
        "contracts.segments",
        "contracts.silver",
        "pipeline.table",
    },
    "gold.value": {
        "analytics.predictions",
        "analytics.rfm",
        "analytics.segments",
        "analytics.summaries",
        "contracts.analytics",
        "contracts.silver",
        "gold.model_fits",
        "pipeline.table",
    },
    "gold.kpis": {"columns", "contracts.kpis", "contracts.table", "frames", "gold.kpis.measures", "gold.kpis.periods"},
    "gold.kpis.marketing": {
        "contracts.consent",
        "contracts.kpis",
        "frames",
        "gold.kpis.measures",
        "gold.kpis.periods",
    },
    "gold.kpis.engagement": {
        "columns",
        "contracts.kpis",
        "gold.kpis.measures",
        "gold.kpis.periods",
        "silver.activities",
    },
    "gold.kpis.build": {"columns", "contracts.kpis", "contracts.table", "frames", "gold.kpis"},
    **{
        f"gold.kpis.{name}": {
            "contracts.analytics",
            "contracts.consent",
            "contracts.gold",
            "contracts.identity",
            "contracts.silver",
            *marts,
            "gold.kpis.build",
            "gold.kpis.periods",
            "pipeline.table",
        }
        for name, marts in {
            "monthly": (
                "gold.category_monthly_sales",
                "gold.country_category_monthly_sales",
                "gold.country_monthly_orders",
            ),
            "weekly": ("gold.sales_by_week",),
        }.items()
    },
    "reference": {"columns"},
    # Tools of people: they read the tables, and build them again without writing.
    "identity.explain": {
        "contracts.identity",
        "errors",
        "identity.model",
        "identity.pairs",
        "identity.resolution",
        "identity.rules",
        "identity.way",
        "silver.person_links",
        "storage",
    },
    "identity.overrides": {"contracts.identity", "errors", "storage"},
    "identity.plan": {
        "contracts.silver",
        "errors",
        "frames",
        "identity.explain",
        "identity.resolution",
        "identity.rules",
        "silver.identity_edges",
        "silver.identity_records",
        "silver.person_links",
        "storage",
    },
    "identity.explore": {
        "identity.explain",
        "identity.model_file",
        "identity.plan",
        "identity.rules_file",
        "identity.story",
        "storage",
    },
    "identity.story": {
        "contracts.identity",
        "contracts.profile",
        "contracts.silver",
        "errors",
        "frames",
        "identity.normalise",
        "identity.phones",
        "storage",
    },
    # Numeric code without Spark.
    "analytics.histories": set(),
    "analytics.fits": {"analytics.histories"},
    "analytics.purchases": {"analytics.fits", "analytics.histories"},
    "analytics.spend": {"analytics.fits", "analytics.histories"},
    "analytics.lifetime_value": {"analytics.histories", "analytics.purchases"},
    "analytics.backtest": {"analytics.histories"},
    "analytics": {"analytics", "contracts.segments", "frames"},
    # The pipeline imports no module of a table: the graph collects the declarations by package name.
    "pipeline.table": {
        "contracts.table",
        "pipeline.change_sets",
        "pipeline.history",
        "pipeline.load_batches",
        "pipeline.state",
        "pipeline.sums",
        "pipeline.work",
    },
    "pipeline.sums": {"contracts.sums", "contracts.table"},
    "pipeline.fingerprint": {"contracts.table", "pipeline.table"},
    "pipeline.graph": {"errors", "pipeline.table"},
    "pipeline.state": {"contracts.ops", "errors", "storage"},
    "pipeline.work": {
        "contracts.silver",
        "contracts.table",
        "erasure.suppressions",
        "frames",
        "landing",
        "mapped_rows",
        "mapping",
        "pipeline.fingerprint",
        "pipeline.state",
        "pipeline.sums",
        "pipeline.table",
        "settings",
        "storage",
    },
    "pipeline.number_ids": {
        "contracts.table",
        "frames",
        "mapped_rows",
        "pipeline.table",
        "pipeline.work",
    },
    "pipeline.history": {"contracts.table", "frames", "quality"},
    "pipeline.guards": {"contracts.table", "errors", "pipeline.load_batches", "pipeline.state", "pipeline.work"},
    "pipeline.change_sets": {
        "columns",
        "contracts.table",
        "pipeline.guards",
        "pipeline.state",
        "pipeline.sums",
        "pipeline.table",
        "pipeline.work",
        "quality",
        "storage",
    },
    "pipeline.touched_keys": {
        "contracts.table",
        "frames",
        "pipeline.change_sets",
        "pipeline.load_batches",
        "pipeline.table",
        "pipeline.work",
    },
    "pipeline.follow_groups": {
        "contracts.table",
        "frames",
        "pipeline.change_sets",
        "pipeline.table",
        "pipeline.work",
    },
    "pipeline.union_touched": {
        "contracts.table",
        "frames",
        "pipeline.change_sets",
        "pipeline.load_batches",
        "pipeline.table",
        "pipeline.work",
    },
    "erasure.names": {"columns", "contracts.bronze", "contracts.table", "mapped_rows", "mapping"},
    "erasure.persons": {
        "contracts.identity",
        "contracts.silver",
        "contracts.table",
        "erasure.names",
        "errors",
        "identity.rules",
        "storage",
    },
    "erasure.scrub": {
        "columns",
        "contracts.table",
        "erasure.names",
        "errors",
        "json_text",
        "landing",
        "mapped_rows",
        "mapping",
    },
    "erasure.suppressions": {
        "contracts.ops",
        "contracts.table",
        "erasure.names",
        "erasure.persons",
        "errors",
        "mapping",
        "storage",
        "storage.delta",
    },
    "erasure.erase": {
        "contracts.bronze",
        "contracts.identity",
        "contracts.ops",
        "contracts.silver",
        "contracts.table",
        "erasure.names",
        "erasure.persons",
        "erasure.scrub",
        "erasure.suppressions",
        "pipeline.run",
        "storage.delta",
    },
    "erasure.traces": {"erasure.names", "erasure.persons"},
    "erasure.scan": {"erasure.traces"},
    "erasure.certificate": {
        "",
        "contracts",
        "contracts.bronze",
        "contracts.ops",
        "erasure.erase",
        "erasure.names",
        "erasure.persons",
        "erasure.scan",
        "erasure.traces",
        "mapped_rows",
        "pipeline.run",
        "storage",
        "storage.delta",
    },
    "erasure.access": {
        "contracts",
        "contracts.table",
        "erasure.erase",
        "erasure.names",
        "erasure.persons",
        "pipeline.run",
    },
    "pipeline.load_batches": {
        "contracts.table",
        "erasure.names",
        "erasure.scrub",
        "errors",
        "frames",
        "json_text",
        "landing",
        "pipeline.state",
        "pipeline.table",
        "pipeline.work",
    },
    "pipeline.merge_by_key": {
        "contracts.table",
        "frames",
        "pipeline.change_sets",
        "pipeline.guards",
        "pipeline.history",
        "pipeline.load_batches",
        "pipeline.state",
        "pipeline.table",
        "pipeline.work",
        "quality",
    },
    "pipeline.decisions": {"columns", "pipeline.table", "pipeline.work", "quality"},
    "pipeline.merge_pairs": {"contracts.table", "pipeline.change_sets", "pipeline.table", "pipeline.work"},
    "pipeline.resolve_touched": {
        "contracts.table",
        "frames",
        "pipeline.change_sets",
        "pipeline.table",
        "pipeline.work",
    },
    "pipeline.group_history": {
        "contracts.table",
        "frames",
        "pipeline.resolve_touched",
        "pipeline.table",
        "pipeline.work",
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
        "columns",
        "contracts.ops",
        "contracts.silver",
        "contracts.sums",
        "contracts.table",
        "erasure.suppressions",
        "errors",
        "landing",
        "mapping",
        "pipeline.adoption",
        "pipeline.change_sets",
        "pipeline.fingerprint",
        "pipeline.graph",
        "pipeline.guards",
        "pipeline.load_batches",
        "pipeline.state",
        "pipeline.sums",
        "pipeline.table",
        "pipeline.work",
        "redaction",
        "settings",
        "sources_file",
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
        "mapping",
        "pipeline.graph",
        "pipeline.history",
        "pipeline.load_batches",
        "pipeline.state",
        "pipeline.table",
        "pipeline.work",
        "quality",
        "storage",
    },
    "reconciliation": {
        "contracts.ops",
        "errors",
        "frames",
        "pipeline.graph",
        "pipeline.load_batches",
        "pipeline.state",
        "pipeline.table",
        "storage",
    },
    "verification": {
        "columns",
        "contracts.table",
        "frames",
        "pipeline.run",
        "pipeline.state",
        "pipeline.sums",
        "pipeline.table",
        "published",
        "quality",
        "reconciliation",
    },
    "model_registry": {
        "",
        "analytics.pyfunc",
        "analytics.spend",
        "contracts.analytics",
        "errors",
        "storage",
    },
    "stage": {
        "contracts.bronze",
        "erasure.erase",
        "erasure.suppressions",
        "errors",
        "landing",
        "model_registry",
        "pipeline.run",
        "protection",
        "published",
        "reconciliation",
        "secrets",
        "serving",
        "settings",
        "storage",
        "task_values",
        "verification",
    },
    "consent": {"contracts.consent", "contracts.identity", "errors", "storage"},
    "serving": {"consent", "contracts", "metric_views", "pipeline.state", "storage"},
    "protection": {"contracts", "errors", "pipeline.state", "storage"},
    "task_values": {"pipeline.run"},
    "maintenance": {"contracts", "errors", "storage.delta"},
    "metric_views": {"contracts.kpis"},
    "published": {
        "consent",
        "contracts.analytics",
        "contracts.consent",
        "contracts.gold",
        "contracts.table",
        "errors",
        "pipeline.state",
        "storage",
    },
}

BUILDERS = ("silver", "gold", "business_date", "analytics")
"""Modules and packages that contain builders of tables."""

GRAPH = grimp.build_graph("cdp_lib", "cdp_local")
MODULES = sorted(module for module in GRAPH.modules if module.startswith("cdp_lib."))


def _within(module: str, allowed: Iterable[str]) -> bool:
    return any(module == name or (name and module.startswith(f"{name}.")) for name in allowed)


def _entry_of(module: str) -> str:
    """Return the key of ALLOWED_IMPORTS that applies to a module; empty if there is none."""
    return max(
        (name for name in ALLOWED_IMPORTS if _within(module.removeprefix("cdp_lib."), [name])), key=len, default=""
    )


def _imported_by(module: str) -> set[str]:
    return {name.removeprefix("cdp_lib").lstrip(".") for name in GRAPH.find_modules_directly_imported_by(module)}


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_only_allowed_modules(module: str) -> None:
    imported = _imported_by(module)
    assert _entry_of(module) or not imported, f"{module} has no entry: add its imports to ALLOWED_IMPORTS"
    allowed = ALLOWED_IMPORTS.get(_entry_of(module), ())
    assert {name for name in imported if not _within(name, allowed)} == set()


def test_every_allowed_import_is_used() -> None:
    imported: dict[str, set[str]] = {}
    for module in MODULES:
        imported.setdefault(_entry_of(module), set()).update(_imported_by(module))
    unused = {
        f"{name} → {target}"
        for name, targets in ALLOWED_IMPORTS.items()
        for target in targets
        if not any(_within(module, [target]) for module in imported.get(name, ()))
    }
    assert unused == set()
    assert set(ALLOWED_IMPORTS) <= set(imported)


def test_library_does_not_import_the_local_workspace() -> None:
    assert not [module for module in MODULES if GRAPH.find_shortest_chain(module, "cdp_local") is not None]


def _calls(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def _names(path: Path) -> set[str]:
    """Return the dotted names in a module: `a.b` for the expression `a.b`, and for `from a import b`."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)} | {
        f"{node.module}.{alias.name}" for node in imports for alias in node.names
    }


@pytest.mark.parametrize(
    ("packages", "extras", "preinstalled"),
    # Only `cdp identity train` needs the extra `train`. Databricks has MLflow; elsewhere, it is optional.
    [(["cdp_lib"], [""], {"pyspark", "mlflow"}), (["cdp_lib", "cdp_local"], ["local", "train"], {"mlflow"})],
    ids=["in a workspace", "by make run"],
)
def test_every_imported_package_is_a_requirement(
    packages: list[str], extras: list[str], preinstalled: set[str]
) -> None:
    """Tests can't find a missing requirement by importing it: their environment has more packages than required."""
    graph = grimp.build_graph(*packages, include_external_packages=True)
    imported = {name.split(".")[0] for name in graph.modules} - {*packages} - sys.stdlib_module_names - preinstalled
    installed, waiting = set(), [("retail-cdp", extra) for extra in extras]
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
    """Return the modules of the library that contain one of the names, as paths such as `pipeline/run.py`."""
    modules = LIBRARY.rglob("*.py")
    return {path.relative_to(LIBRARY).as_posix() for path in modules if _names(path) & {*names}}


CLOCKS = {
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
"""Names of the functions that return the current time."""


def test_only_settings_reads_the_clock() -> None:
    assert _modules_that_name(*CLOCKS) == {"settings.py"}


def test_tests_use_fixed_times() -> None:
    """A test that compares two readings of the clock fails if midnight, or the end of a month, is between them."""
    clocks = CLOCKS - {"time.monotonic", "time.time"}  # these measure durations
    reading = {path.name for path in (PROJECT / "tests").rglob("*.py") if _names(path) & clocks}
    # The first test needs batches that are newer than those of a run that has just ended. The second tests the clock.
    assert reading == {"test_corruption.py", "test_settings.py"}


def test_only_the_runner_and_the_limits_measure_durations() -> None:
    assert _modules_that_name("time.perf_counter", "time.perf_counter_ns") == {"limits.py", "pipeline/run.py"}


def test_only_the_graph_the_fingerprint_and_the_store_import_modules_by_name() -> None:
    """These modules need it to find all tables, to hash code, and to load the store class of a local engine."""
    by_name = _modules_that_name("importlib.import_module", "pkgutil.walk_packages")
    assert by_name == {"pipeline/graph.py", "pipeline/fingerprint.py", "storage/__init__.py"}


def test_models_do_not_use_spark() -> None:
    spark_modules = {
        path.stem for path in (LIBRARY / "analytics").glob("*.py") if "pyspark" in path.read_text(encoding="utf-8")
    }
    assert spark_modules == {"summaries", "rfm", "segments", "predictions", "holdout"}


def test_library_never_sleeps() -> None:
    assert _modules_that_name("time.sleep") == set()


def test_library_uses_only_apis_of_spark_connect() -> None:
    unavailable = ("sparkContext", ".rdd", "_jvm", "_jsparkSession", ".cache(", ".persist(", "checkpoint(", "udf(")
    found = [
        f"{path.name}: {word}"
        for path in LIBRARY.rglob("*.py")
        for word in unavailable
        if word in path.read_text(encoding="utf-8")
    ]
    assert found == []


def test_only_storage_reads_and_writes_tables() -> None:
    table_calls = (".writeTo", ".saveAsTable", ".save", "spark.table", "spark.sql", "session.table", "session.sql")
    calling = {
        path.relative_to(LIBRARY).as_posix()
        for path in LIBRARY.rglob("*.py")
        if any(call.endswith(table_calls) for call in _calls(path))
    }
    assert calling == {"storage/delta.py", "storage/lease.py"}


def _files_of(packages: Iterable[str]) -> list[Path]:
    modules = {path: ".".join(path.relative_to(LIBRARY).with_suffix("").parts) for path in LIBRARY.rglob("*.py")}
    return sorted(path for path, module in modules.items() if _within(module, packages))


@pytest.mark.parametrize("path", _files_of(BUILDERS), ids=lambda path: path.relative_to(LIBRARY).as_posix())
def test_builder_uses_frames_and_no_session(path: Path) -> None:
    names = {node.id for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Name)}
    session_names = {
        name for name in _names(path) if re.search(r"(^|\.)(spark|session|sparkSession|SparkSession)\b", name)
    }
    assert (session_names, names & {"spark", "session"}) == (set(), set())
    assert not {call for call in _calls(path) if call.endswith(".table")}


def test_library_does_not_mention_the_local_engine() -> None:
    assert not [path.name for path in LIBRARY.rglob("*.py") if "sail" in path.read_text(encoding="utf-8").lower()]


BUILT = [
    table
    for table in platform_graph().tables.values()
    if table.contract.layer != "bronze"
    and not isinstance(table.materialization, Decisions | GroupHistory | NumberIds | ResolveTouched)
]
"""Tables whose builder gets a data frame per input. The other materializations call their builder with Arrow tables."""


@pytest.mark.parametrize("table", BUILT, ids=lambda table: table.name)
def test_builder_parameters_are_its_inputs_and_declared_settings(table: Table) -> None:
    parameters = [
        name for name, each in inspect.signature(table.build).parameters.items() if each.default is each.empty
    ]
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
def test_notebook_contains_no_logic(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    assert source.startswith("# Databricks notebook source\n# MAGIC %md\n# MAGIC # ")
    logic = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.If, ast.Try, ast.Lambda)
    assert not [node for node in ast.walk(tree) if isinstance(node, logic)]
    assert "F." not in source
    assert "sf." not in source
    # A notebook that shows figures has one cell per figure, and text between the cells.
    assert source.count("# COMMAND ----------") == 4 or "from cdp_lib.explore import Figures" in source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_finds_the_library_in_the_same_way(path: Path) -> None:
    head = path.read_text(encoding="utf-8").split("# COMMAND ----------\n")[1]
    assert head.startswith(
        "\nimport sys\nfrom importlib.util import find_spec\n\n"
        'sys.path += [] if find_spec("cdp_lib") else ["../../src"]\n\nfrom cdp_lib.'
    )
    assert path.read_text(encoding="utf-8").count("sys.path") == 1


@pytest.mark.parametrize("layer", LAYERS)
def test_stage_notebook_refreshes_its_own_layer(layer: str) -> None:
    [path] = (PROJECT / "notebooks" / layer).iterdir()
    assert path.stem == layer
    assert f'stage.refresh("{layer}", print)\n' in path.read_text(encoding="utf-8")
