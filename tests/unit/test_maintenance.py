"""Maintenance of tables on the engines that support it, and the statements sent to Databricks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.errors import AnalysisException

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.ops import RECONCILIATION_OPS, TABLE_STATE_OPS
from cdp_lib.contracts.silver import CUSTOMERS_SILVER, RETAILS_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_lib.errors import CdpError
from cdp_lib.maintenance import MaintainedTable, MaintenanceSettings, maintain_tables, raise_on_failures
from cdp_lib.pipeline.state import TableState, read_states, write_states
from cdp_lib.storage import ConflictError, DeltaStore
from cdp_lib.storage.delta import Files

from .storage.workspace import statements_of, store_of_databricks

PARAMETERS = {
    "catalog": "cat1",
    "schema": "sales",
    "retention_days": "7",
    "batch_retention_days": "30",
    "predictive_optimization": "",
}
SETTINGS = MaintenanceSettings.from_parameters(**PARAMETERS)


def counted(name: str, rows: int) -> dict[str, object]:
    account = {"rows_in": rows, "rows_out": rows, "rows_quarantined": 0, "rows_superseded": 0}
    return {"table_name": name, "batch_id": "a", **account, "is_balanced": True}


# Parameters


def test_settings_are_typed() -> None:
    given = PARAMETERS | {"retention_days": "30", "batch_retention_days": "365", "predictive_optimization": "enable"}
    assert MaintenanceSettings.from_parameters(**given) == MaintenanceSettings("cat1", "sales", 30, 365, "ENABLE")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("catalog", "", "Parameter 'catalog' is empty: fill in"),
        ("schema", "", "Parameter 'schema' is empty: fill in"),
        ("retention_days", "6", "Parameter 'retention_days' is '6': write a whole number of days, 7 to 30."),
        ("retention_days", "0", "Parameter 'retention_days' is '0': write"),
        ("retention_days", "31", "Parameter 'retention_days' is '31': write"),
        ("retention_days", "", "Parameter 'retention_days' is '': write"),
        ("retention_days", "a week", "Parameter 'retention_days' is 'a week': write"),
        ("retention_days", "²", "Parameter 'retention_days' is '²': write"),
        (
            "batch_retention_days",
            "6",
            "Parameter 'batch_retention_days' is '6': write a whole number of days, 7 or more.",
        ),
        ("batch_retention_days", "", "Parameter 'batch_retention_days' is '': write"),
        ("batch_retention_days", "-30", "Parameter 'batch_retention_days' is '-30': write"),
        (
            "predictive_optimization",
            "on",
            "Parameter 'predictive_optimization' is 'on': write one of ENABLE, DISABLE, INHERIT",
        ),
    ],
)
def test_an_invalid_parameter_is_refused_in_one_line(name: str, text: str, message: str) -> None:
    with pytest.raises(CdpError) as refused:
        MaintenanceSettings.from_parameters(**(PARAMETERS | {name: text}))
    assert str(refused.value).startswith(message)


# On the engines


@pytest.fixture
def maintaining(store: DeltaStore) -> DeltaStore:
    if not store.can_maintain:
        pytest.skip("this engine has no OPTIMIZE and no VACUUM")
    return store


def replace_by(store: DeltaStore, *rows: dict[str, object]) -> None:
    store.replace(RECONCILIATION_OPS, store.frame(RECONCILIATION_OPS, rows))


def test_only_sail_does_not_support_maintenance(store: DeltaStore, engine: str) -> None:
    assert store.can_maintain == (engine != "sail")


def test_maintenance_compacts_files_and_keeps_rows(maintaining: DeltaStore, rows_of: Any) -> None:
    for number in range(5):
        row = maintaining.frame(RECONCILIATION_OPS, [counted("t_silver", number)])
        maintaining.append(RECONCILIATION_OPS, row)
    before = rows_of(maintaining.read(RECONCILIATION_OPS))
    files = maintaining.files_of(RECONCILIATION_OPS)

    [maintained] = maintain_tables(maintaining, SETTINGS)

    assert (maintained.table_name, maintained.before, maintained.skip_reason) == (RECONCILIATION_OPS.name, files, "")
    assert maintained.after.count == 1 < files.count
    assert maintaining.files_of(RECONCILIATION_OPS) == maintained.after
    assert rows_of(maintaining.read(RECONCILIATION_OPS)) == before


def test_maintenance_is_idempotent(maintaining: DeltaStore, rows_of: Any) -> None:
    replace_by(maintaining, counted("t_silver", 1))
    maintain_tables(maintaining, SETTINGS)
    before = rows_of(maintaining.read(RECONCILIATION_OPS))
    [maintained] = maintain_tables(maintaining, SETTINGS)
    assert maintained.before == maintained.after
    assert rows_of(maintaining.read(RECONCILIATION_OPS)) == before


def test_files_of_earlier_versions_stay_for_the_retention_days(
    maintaining: DeltaStore, tmp_path: Path, schema: str
) -> None:
    for number in range(3):
        replace_by(maintaining, counted("t_silver", number))
    maintain_tables(maintaining, replace(SETTINGS, retention_days=9))
    table = DeltaTable(tmp_path / schema / RECONCILIATION_OPS.name)
    assert table.metadata().configuration["delta.deletedFileRetentionDuration"] == "interval 9 days"
    table.load_as_version(2)
    assert table.to_pyarrow_table().num_rows == 1


def test_a_maintained_table_can_be_written_and_read(maintaining: DeltaStore, tmp_path: Path, schema: str) -> None:
    replace_by(maintaining, counted("t_silver", 1))
    maintain_tables(maintaining, SETTINGS)
    rows = maintaining.frame(RECONCILIATION_OPS, [counted("t_silver", 2), counted("u_silver", 3)])
    maintaining.merge_rows(RECONCILIATION_OPS, rows)
    table = DeltaTable(tmp_path / schema / RECONCILIATION_OPS.name)
    assert sorted(table.to_pyarrow_table().column("rows_in").to_pylist()) == [2, 3]
    assert table.protocol().min_reader_version == 1


def test_maintenance_keeps_the_states_of_tables(maintaining: DeltaStore) -> None:
    states = {
        "t_gold": TableState(3, "a", inputs={"t_silver": (2, "b")}, change_sets={3: "a"}),
        "t_silver": TableState(2, "b"),
    }
    for _ in range(3):
        write_states(maintaining, states)
    [maintained] = maintain_tables(maintaining, SETTINGS)
    assert maintained.table_name == TABLE_STATE_OPS.name
    assert read_states(maintaining) == states


def test_a_table_with_a_concurrent_write_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of_databricks(CUSTOMERS_SILVER, RETAILS_SILVER)
    fail(monkeypatch, store, CUSTOMERS_SILVER, ConflictError("Another run has written it."))
    maintained = maintain_tables(store, SETTINGS)
    assert [(each.table_name, bool(each.skip_reason), each.is_failed) for each in maintained] == [
        (CUSTOMERS_SILVER.name, True, False),
        (RETAILS_SILVER.name, False, False),
    ]
    raise_on_failures(maintained)


def test_a_failed_table_does_not_stop_others_and_is_reported_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of_databricks(CUSTOMERS_SILVER, RETAILS_SILVER)
    fail(monkeypatch, store, CUSTOMERS_SILVER, AnalysisException("[NOT_OWNER] You may not.\n at line 7"))
    maintained = maintain_tables(store, SETTINGS)
    assert [each.is_failed for each in maintained] == [True, False]
    with pytest.raises(CdpError) as refused:
        raise_on_failures(maintained)
    assert str(refused.value) == (
        "customers_silver: not maintained: [NOT_OWNER] You may not. The rows of all tables are unchanged."
    )
    with pytest.raises(CdpError, match="and 1 more; the task's output lists them"):
        raise_on_failures([maintained[0], maintained[0]])


def fail(monkeypatch: pytest.MonkeyPatch, store: DeltaStore, failing: TableContract, error: Exception) -> None:
    def maintain(contract: TableContract, retention_days: int) -> None:
        if contract is failing:
            raise error

    monkeypatch.setattr(store, "maintain", maintain)


def test_a_result_is_printed_in_one_line() -> None:
    done = MaintainedTable("t_gold", Files(1200, 5_000_000), Files(1, 4_000_000))
    assert str(done) == "t_gold: 1,200 → 1 files, 5,000,000 → 4,000,000 bytes"


# Databricks: statements that are sent to a fake workspace


STATISTICS = "transaction_id,transaction_date,customer_id,product_id,store_id,order_id,_batch_id"


def test_a_table_with_another_layout_gets_that_of_its_contract() -> None:
    store = store_of_databricks(RETAILS_SILVER)
    maintain_tables(store, SETTINGS)
    assert statements_of(store) == [
        "ALTER TABLE `cat1`.`sales`.`retails_silver` SET TBLPROPERTIES ("
        "'delta.deletedFileRetentionDuration' = 'interval 7 days', 'delta.enableDeletionVectors' = 'true',"
        f" 'delta.dataSkippingStatsColumns' = '{STATISTICS}')",
        "ALTER TABLE `cat1`.`sales`.`retails_silver` CLUSTER BY (`transaction_date`, `customer_id`, `product_id`)",
        "OPTIMIZE `cat1`.`sales`.`retails_silver` FULL",
        "VACUUM `cat1`.`sales`.`retails_silver`",
        "ANALYZE TABLE `cat1`.`sales`.`retails_silver` COMPUTE STATISTICS"
        " FOR COLUMNS `transaction_id`, `transaction_date`, `customer_id`, `product_id`, `store_id`,"
        " `order_id`, `_batch_id`",
    ]


def test_a_table_with_the_right_properties_and_layout_is_not_altered() -> None:
    properties = {
        "delta.deletedFileRetentionDuration": "interval 7 days",
        "delta.enableDeletionVectors": "true",
        "delta.dataSkippingStatsColumns": STATISTICS,
    }
    store = store_of_databricks(
        RETAILS_SILVER, properties=properties, clusteringColumns=list(RETAILS_SILVER.clustered_by)
    )
    maintain_tables(store, SETTINGS)
    assert [statement.split(" `")[0] for statement in statements_of(store)] == ["OPTIMIZE", "VACUUM", "ANALYZE TABLE"]
    assert "FULL" not in statements_of(store)[0]


def test_the_retention_check_of_vacuum_stays_on() -> None:
    store = store_of_databricks(*TABLES.values())
    assert len(maintain_tables(store, SETTINGS)) == len(TABLES)
    assert not [
        statement
        for statement in statements_of(store)
        if "retentionDurationCheck" in statement or "RETAIN" in statement
    ]


@pytest.mark.parametrize("state", ["ENABLE", "DISABLE", "INHERIT"])
def test_predictive_optimization_is_set_on_the_schema(state: str) -> None:
    store = store_of_databricks()
    maintain_tables(store, replace(SETTINGS, predictive_optimization=state))
    assert statements_of(store) == [f"ALTER SCHEMA `cat1`.`sales` {state} PREDICTIVE OPTIMIZATION"]


def test_predictive_optimization_is_unchanged_without_a_parameter() -> None:
    store = store_of_databricks()
    assert maintain_tables(store, SETTINGS) == [] == statements_of(store)


def test_local_engines_ignore_predictive_optimization(store: DeltaStore) -> None:
    store.set_predictive_optimization("ENABLE")
