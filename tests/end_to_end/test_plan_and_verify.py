"""Tests of `cdp plan`, `cdp run --select` and `cdp verify` on Sail."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from cdp_lib.pipeline.graph import platform_graph

pytestmark = pytest.mark.first_engine

Cdp = Callable[..., subprocess.CompletedProcess[str]]
TABLES = len(platform_graph().tables) - 1
"""Number of tables that the samples use. They have no text identifiers, so `id_keys_silver` is not used."""


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory, cdp: Cdp) -> Path:
    """Return the home folder after one run on the sample data."""
    home = tmp_path_factory.mktemp("refreshed") / "home"
    run = cdp("run", "--home", home)
    assert run.returncode == 0, run.stderr
    return home


@pytest.fixture
def home(refreshed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(refreshed, tmp_path / "home"))


def versions(home: Path) -> dict[str, int]:
    return {log.parent.name: DeltaTable(log.parent).version() for log in (home / "warehouse").glob("*/*/_delta_log")}


def due(output: str) -> dict[str, str]:
    """Return the tables that a plan lists, with the reasons why they are due."""
    rows = [line.strip("│").split("│") for line in output.splitlines() if line.startswith("│")]
    return {table.strip(): why.strip() for table, why in rows}


def ended(output: str) -> list[str]:
    """Return the tables that a run reports as succeeded."""
    return [line.split()[0] for line in output.splitlines() if " succeeded " in line]


# Due tables


def test_every_table_is_due_before_the_first_run(cdp: Cdp, tmp_path: Path) -> None:
    plan = cdp("plan", "--home", tmp_path / "home")

    assert plan.returncode == 0, plan.stderr
    assert f"{TABLES} of {TABLES} tables are due" in plan.stdout
    assert set(due(plan.stdout).values()) == {"the table is new"}
    assert versions(tmp_path / "home") == {}


def test_nothing_is_due_after_a_run(cdp: Cdp, home: Path) -> None:
    before = versions(home)

    plan = cdp("plan", "--home", home)

    assert plan.stdout == f"Nothing is due: all {TABLES} tables are up to date with their inputs.\n"
    assert versions(home) == before


def tasks(output: str) -> dict[str, str]:
    """Return the final state of each stage in a run's output."""
    ended = {line.split()[0]: line.split()[1] for line in output.splitlines() if len(line.split()) > 1}
    return {stage: ended[stage] for stage in ("bronze", "is_anything_due", "silver", "gold", "publish")}


NEEDED = dict.fromkeys(("bronze", "is_anything_due", "silver", "gold", "publish"), "succeeded")
NOT_NEEDED = NEEDED | dict.fromkeys(("silver", "gold", "publish"), "excluded")


def test_run_without_due_tables_ends_after_bronze(cdp: Cdp, home: Path) -> None:
    before = versions(home)

    run = cdp("run", "--home", home)

    assert (run.returncode, tasks(run.stdout)) == (0, NOT_NEEDED)
    assert "Nothing is due" in run.stdout and f"Report: {home / 'report.html'}" in run.stdout
    assert versions(home) == before


def with_state(home: Path, name: str, **changes: object) -> None:
    """Change one value in the stored state of a table or view."""
    path = str(home / "warehouse" / "sales" / "table_state_ops")
    rows = DeltaTable(path).to_pyarrow_table().to_pylist()
    for row in rows:
        if row["table_name"] == name:
            row["state"] = json.dumps(json.loads(row["state"]) | changes)
    schema = DeltaTable(path).to_pyarrow_table().schema
    write_deltalake(path, pa.Table.from_pylist(rows, schema), mode="overwrite")


@pytest.mark.parametrize(
    ("options", "table", "change"),
    [
        (["--param", "as_of=2025-06-30"], "", {}),
        (["--param", "full_refresh=true"], "", {}),
        (["--var", "gross_margin=0.3"], "", {}),
        ([], "kpi_monthly_gold", {"is_rewriting": True}),
        ([], "sales_by_country_gold", {"fingerprint": "another builder"}),
        ([], "view kpis", {"fingerprint": "another query"}),
        (["--var", "synapse_location={home}/copies"], "", {}),
    ],
    ids=["a day", "a full refresh", "a setting", "a kill", "a builder", "a view", "copies"],
)
def test_due_tables_are_refreshed_without_new_batches(
    cdp: Cdp, home: Path, options: list[str], table: str, change: dict[str, object]
) -> None:
    if table:
        with_state(home, table, **change)

    run = cdp("run", "--home", home, *(option.format(home=home) for option in options))

    assert (run.returncode, tasks(run.stdout)) == (0, NEEDED), run.stderr
    if "full_refresh=true" not in options and "as_of=2025-06-30" not in options:
        again = cdp("run", "--home", home, *(option.format(home=home) for option in options))
        assert tasks(again.stdout) == NOT_NEEDED


def test_plan_lists_due_tables_and_their_downstream_tables_with_reasons(cdp: Cdp, home: Path) -> None:
    before = versions(home)

    plan = cdp("plan", "--home", home, "--var", "gross_margin=0.25")

    margin = "setting gross_margin changed: 1.0 → 0.25"
    assert due(plan.stdout) == {
        "customer_value_gold": margin,
        "customer_segments_gold": "customer_value_gold is due",
        "segment_movements_gold": "customer_segments_gold is due",
        "customer_profile_gold": "customer_value_gold is due",
        "kpi_monthly_gold": margin,
        "kpi_weekly_gold": margin,
    }
    assert versions(home) == before


# Selected tables


def test_selection_refreshes_only_the_table_and_reads_no_source(cdp: Cdp, home: Path) -> None:
    before = versions(home)

    run = cdp("run", "--home", home, "--select", "customer_value_gold", "--var", "gross_margin=0.25")

    assert (run.returncode, run.stderr) == (0, "")
    assert ended(run.stdout) == ["customer_value_gold"]
    written = {name for name, version in versions(home).items() if version != before[name]}
    assert written == {"customer_value_gold", "table_state_ops", "pipeline_runs_ops"}
    plan = cdp("plan", "--home", home, "--var", "gross_margin=0.25")
    assert due(plan.stdout)["customer_segments_gold"] == "customer_value_gold changed"


def test_selection_can_add_upstream_and_downstream_tables(cdp: Cdp, home: Path) -> None:
    graph = platform_graph()

    run = cdp("run", "--home", home, "--select", "+stores_silver", "--select", "customer_segments_gold+")

    selected = graph.upstream(["stores_silver"]) | graph.downstream(["customer_segments_gold"])
    assert run.returncode == 0, run.stderr
    assert (
        set(ended(run.stdout))
        == selected
        == {"store_bronze", "stores_silver"}
        | {
            "customer_segments_gold",
            "segment_movements_gold",
        }
    )


# Verification


def damage(home: Path) -> None:
    """Delete a row of a table, as a person could do by hand."""
    DeltaTable(home / "warehouse" / "sales" / "customers_silver").delete("customer_id = 101")


def test_verify_finds_every_row_of_a_run(cdp: Cdp, home: Path) -> None:
    verified = cdp("verify", "--home", home)

    assert (verified.returncode, verified.stderr) == (0, "")
    results = verification(verified.stdout)
    assert {numbers for *numbers, _ in results.values() for numbers in [tuple(numbers)]} == {("0", "0", "0")}
    assert len(results) == TABLES
    not_compared = {name for name, (*_, result) in results.items() if result != "right"}
    ledgers = {
        "identity_overrides_silver",
        "person_history_silver",
        "model_fits_gold",
        "model_quality_gold",
        "segment_quality_gold",
    }
    assert not_compared == {name for name in results if name.endswith("_bronze")} | ledgers


def verification(output: str) -> dict[str, tuple[str, ...]]:
    """Return the numbers and the result of each table in the output of `cdp verify`."""
    rows = [line.strip("│").split("│") for line in output.splitlines() if line.startswith("│")]
    return {name.strip(): tuple(map(str.strip, values)) for name, *values in rows}


def test_verify_finds_a_missing_row_and_repairs_only_its_table(cdp: Cdp, home: Path, refreshed: Path) -> None:
    damage(home)

    found = cdp("verify", "--home", home)
    assert found.returncode == 1
    assert found.stderr == (
        "error: customers_silver: 1 row missing, 0 too many, 0 changed; customers_silver: 50 rows in,"
        " but 49 out + 0 quarantined + 0 superseded: 1 missing\n"
    )
    assert "`cdp verify --repair` rebuilds exactly the tables that are wrong." in found.stdout
    assert verification(found.stdout)["retails_silver"][-1] == "customers_silver is wrong"

    before = versions(home)
    repaired = cdp("verify", "--home", home, "--repair")
    assert (repaired.returncode, repaired.stderr) == (0, "")
    assert "Repaired: customers_silver: 1 row missing" in repaired.stdout
    changed = {name for name, version in versions(home).items() if version != before[name]}
    assert changed == {"customers_silver", "pipeline_runs_ops", "table_state_ops"}
    assert "Nothing is due" in cdp("plan", "--home", home).stdout
    for name in ("customers_silver", "retails_silver", "sales_by_country_gold"):
        rows, expected = (
            sorted(map(repr, DeltaTable(each / "warehouse" / "sales" / name).to_pyarrow_table().to_pylist()))
            for each in (home, refreshed)
        )
        assert rows == expected


def test_run_over_a_damaged_table_fails_and_skips_downstream_tables(cdp: Cdp, home: Path) -> None:
    damage(home)
    # Reconciliation counts a table only if the table changed after its last count, so remove the last count.
    shutil.rmtree(home / "warehouse" / "sales" / "reconciliation_ops")
    before = versions(home)

    run = cdp("run", "--home", home, "--param", "as_of=2025-07-01")

    assert run.returncode == 1
    assert run.stderr.startswith("error: task silver: customers_silver: 50 rows in, but 49 out ")
    assert run.stderr.count("\n") == 1
    states = {line.split()[0]: line.split()[1] for line in run.stdout.splitlines() if len(line.split()) > 1}
    affected = {name for name in platform_graph().downstream(["customers_silver"]) if name.endswith("_gold")}
    assert {name for name in states if name.endswith("_gold") and states[name] == "skipped"} == affected != set()
    assert all(versions(home)[name] == before[name] for name in affected)


def test_the_job_of_a_workspace_finds_and_repairs_a_damaged_table(cdp: Cdp, home: Path) -> None:
    damage(home)
    found = cdp("run", "cdp_verify", "--home", home)
    assert found.returncode == 1
    assert found.stderr.startswith("error: task verify: customers_silver: 1 row missing, 0 too many, 0 changed; ")
    assert "run with repair=true" in found.stderr and found.stderr.count("\n") == 1
    repaired = cdp("run", "cdp_verify", "--home", home, "--param", "repair=true")
    assert (repaired.returncode, repaired.stderr) == (0, "")
    assert "Nothing is due" in cdp("plan", "--home", home).stdout
