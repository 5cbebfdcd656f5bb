"""What maintenance promises on the engines that have it, and what it says to Databricks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.errors import AnalysisException
from sqlglot import exp, parse_one

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.ops import PIPELINE_RUNS_OPS, RECONCILIATION_OPS
from cdp_lib.contracts.silver import CUSTOMERS_SILVER, RETAILS_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_lib.errors import CdpError
from cdp_lib.maintenance import Maintained, MaintenanceSettings, maintain_tables, refuse_failures
from cdp_lib.runs import Change, RunLog
from cdp_lib.tables import ConflictError, Files, Tables

from .warehouse import Warehouse

PARAMETERS = {"catalog": "cat1", "schema": "sales", "retention_days": "7", "predictive_optimization": ""}
SETTINGS = MaintenanceSettings.from_parameters(**PARAMETERS)


def counted(name: str, rows: int) -> dict[str, object]:
    account = {"rows_in": rows, "rows_out": rows, "rows_quarantined": 0, "rows_superseded": 0}
    return {"table_name": name, "batch_id": "a", **account, "is_balanced": True}


# Parameters


def test_settings_are_typed() -> None:
    given = PARAMETERS | {"retention_days": "30", "predictive_optimization": "enable"}
    assert MaintenanceSettings.from_parameters(**given) == MaintenanceSettings("cat1", "sales", 30, "ENABLE")


@pytest.mark.parametrize(
    ("name", "text", "told"),
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
            "predictive_optimization",
            "on",
            "Parameter 'predictive_optimization' is 'on': write ENABLE, DISABLE, INHERIT",
        ),
    ],
)
def test_a_parameter_that_is_no_good_is_refused_in_a_line(name: str, text: str, told: str) -> None:
    with pytest.raises(CdpError) as refused:
        MaintenanceSettings.from_parameters(**(PARAMETERS | {name: text}))
    assert str(refused.value).startswith(told)


# On the engines


@pytest.fixture
def maintaining(tables: Tables) -> Tables:
    if not tables.can_maintain:
        pytest.skip("this engine has no OPTIMIZE and no VACUUM")
    return tables


def test_only_sail_can_not_maintain(tables: Tables, engine: str) -> None:
    assert tables.can_maintain == (engine != "sail")


def test_tables_have_fewer_files_and_the_same_rows(maintaining: Tables, rows_of: Any) -> None:
    for number in range(5):
        maintaining.append_rows(RECONCILIATION_OPS, [counted("t_silver", number)])
    before = rows_of(maintaining.read_table(RECONCILIATION_OPS))
    files = maintaining.files_of(RECONCILIATION_OPS)

    [maintained] = maintain_tables(maintaining, SETTINGS)

    assert (maintained.table_name, maintained.before, maintained.left_because) == (RECONCILIATION_OPS.name, files, "")
    assert maintained.after.count == 1 < files.count
    assert maintaining.files_of(RECONCILIATION_OPS) == maintained.after
    assert rows_of(maintaining.read_table(RECONCILIATION_OPS)) == before


def test_maintenance_twice_is_maintenance_once(maintaining: Tables, rows_of: Any) -> None:
    maintaining.append_rows(RECONCILIATION_OPS, [counted("t_silver", 1)])
    maintain_tables(maintaining, SETTINGS)
    before = rows_of(maintaining.read_table(RECONCILIATION_OPS))
    [maintained] = maintain_tables(maintaining, SETTINGS)
    assert maintained.before == maintained.after
    assert rows_of(maintaining.read_table(RECONCILIATION_OPS)) == before


def test_files_of_earlier_versions_stay_for_the_retention(maintaining: Tables, tmp_path: Path, schema: str) -> None:
    for number in range(3):
        maintaining.replace_rows(RECONCILIATION_OPS, [counted("t_silver", number)])
    maintain_tables(maintaining, MaintenanceSettings("cat1", schema, 9, ""))
    table = DeltaTable(tmp_path / schema / RECONCILIATION_OPS.name)
    assert table.metadata().configuration["delta.deletedFileRetentionDuration"] == "interval 9 days"
    table.load_as_version(2)
    assert table.to_pyarrow_table().num_rows == 1


def test_a_table_can_be_written_and_read_by_all_readers_afterwards(
    maintaining: Tables, tmp_path: Path, schema: str
) -> None:
    maintaining.replace_rows(RECONCILIATION_OPS, [counted("t_silver", 1)])
    maintain_tables(maintaining, SETTINGS)
    maintaining.upsert_rows(RECONCILIATION_OPS, [counted("t_silver", 2), counted("u_silver", 3)])
    table = DeltaTable(tmp_path / schema / RECONCILIATION_OPS.name)
    assert sorted(table.to_pyarrow_table().column("rows_in").to_pylist()) == [2, 3]
    assert table.protocol().min_reader_version == 1


def test_what_runs_read_back_is_as_it_was(maintaining: Tables, warehouse: Warehouse) -> None:
    log = warehouse.log("t_gold")
    for number in range(3):
        log.finish(CUSTOMERS_SILVER, Change(f"20260401T00000{number}Z-1.1", is_whole=True), rows=number)
    before = warehouse.log("t_gold").history(CUSTOMERS_SILVER.name)
    [maintained] = maintain_tables(maintaining, SETTINGS)
    assert maintained.table_name == PIPELINE_RUNS_OPS.name
    assert warehouse.log("t_gold").history(CUSTOMERS_SILVER.name) == before
    assert len(before.done) == 3 and isinstance(log, RunLog)


def test_a_table_that_another_run_writes_meanwhile_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = of_databricks(monkeypatch, {CUSTOMERS_SILVER, RETAILS_SILVER})
    fail(monkeypatch, tables, CUSTOMERS_SILVER, ConflictError("Another run has written it."))
    maintained = maintain_tables(tables, SETTINGS)
    assert [(each.table_name, bool(each.left_because), each.is_failed) for each in maintained] == [
        (CUSTOMERS_SILVER.name, True, False),
        (RETAILS_SILVER.name, False, False),
    ]
    refuse_failures(maintained)


def test_a_table_that_fails_holds_up_no_other_and_is_told_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = of_databricks(monkeypatch, {CUSTOMERS_SILVER, RETAILS_SILVER})
    fail(monkeypatch, tables, CUSTOMERS_SILVER, AnalysisException("[NOT_OWNER] You may not.\n at line 7"))
    maintained = maintain_tables(tables, SETTINGS)
    assert [each.is_failed for each in maintained] == [True, False]
    with pytest.raises(CdpError) as refused:
        refuse_failures(maintained)
    assert str(refused.value) == (
        "customers_silver: left as it is: [NOT_OWNER] You may not. The rows of every table are as they were."
    )
    with pytest.raises(CdpError, match="and 1 more, in the task's output"):
        refuse_failures([maintained[0], maintained[0]])


def fail(monkeypatch: pytest.MonkeyPatch, tables: Tables, failing: TableContract, error: Exception) -> None:
    def maintain(contract: TableContract, retention_days: int) -> None:
        if contract is failing:
            raise error

    monkeypatch.setattr(tables, "maintain", maintain)


def test_a_result_is_a_line() -> None:
    done = Maintained("t_gold", Files(1200, 5_000_000), Files(1, 4_000_000))
    assert str(done) == "t_gold: 1,200 → 1 files, 5,000,000 → 4,000,000 bytes"


# On Databricks: what is said to it, since none is here to ask


class Workspace:
    """A session that keeps the statements it is given, and answers as a workspace would."""

    def __init__(self, there: set[TableContract], detail: dict[str, Any]) -> None:
        self.there = {contract.name for contract in there}
        self.detail = {"numFiles": 3, "sizeInBytes": 30, "properties": {}, "clusteringColumns": []} | detail
        self.statements: list[str] = []
        self.conf = self

    def set(self, name: str, value: str) -> None:
        pass

    def sql(self, statement: str) -> Any:
        self.answer: list[Any] = []
        if statement == "SELECT version()":
            self.answer = [("4.0.0 abc",)]
        elif statement == "SHOW TABLES IN `cat1`.`sales`":
            self.answer = [{"tableName": name} for name in self.there]
        elif statement.startswith("DESCRIBE DETAIL"):
            self.answer = [self.detail]
        else:
            self.statements.append(statement)
        return self

    def collect(self) -> list[Any]:
        return self.answer


def of_databricks(monkeypatch: pytest.MonkeyPatch, there: set[TableContract] = frozenset(), **detail: Any) -> Tables:
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    return Tables(Workspace(there, detail), "cat1", "sales")


def said(tables: Tables) -> list[str]:
    return tables._spark.statements


@pytest.mark.parametrize("contract", TABLES.values(), ids=TABLES)
def test_a_new_table_is_laid_out_as_its_contract_says(monkeypatch: pytest.MonkeyPatch, contract: TableContract) -> None:
    tables = of_databricks(monkeypatch)
    tables.create_table(contract)
    [statement] = said(tables)
    assert isinstance(parse_one(statement, read="databricks"), exp.Create)
    clusters = re.findall(r" CLUSTER BY \(([^)]*)\) ", statement)
    assert clusters == ([", ".join(f"`{name}`" for name in contract.clustered_by)] if contract.clustered_by else [])
    assert ("PARTITIONED BY" in statement) == bool(contract.partitioned_by and not contract.clustered_by)
    expected = str(contract.has_deletion_vectors).lower()
    assert statement.count(f"TBLPROPERTIES ('delta.enableDeletionVectors' = '{expected}')") == 1


def test_a_new_table_of_another_engine_has_neither_clusters_nor_deletion_vectors(
    tables: Tables, tmp_path: Path, schema: str
) -> None:
    tables.create_table(RETAILS_SILVER)
    table = DeltaTable(tmp_path / schema / RETAILS_SILVER.name)
    assert table.protocol().min_reader_version == 1
    assert not {"clustering", "deletionVectors"} & {*(table.protocol().writer_features or ())}


def test_a_table_from_before_gets_the_layout_of_its_contract_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = of_databricks(monkeypatch, {RETAILS_SILVER})
    maintain_tables(tables, SETTINGS)
    assert said(tables) == [
        "ALTER TABLE `cat1`.`sales`.`retails_silver` SET TBLPROPERTIES ("
        "'delta.deletedFileRetentionDuration' = 'interval 7 days', 'delta.enableDeletionVectors' = 'true')",
        "ALTER TABLE `cat1`.`sales`.`retails_silver` CLUSTER BY (`transaction_date`, `customer_id`, `product_id`)",
        "OPTIMIZE `cat1`.`sales`.`retails_silver` FULL",
        "VACUUM `cat1`.`sales`.`retails_silver`",
        "ANALYZE TABLE `cat1`.`sales`.`retails_silver` COMPUTE STATISTICS"
        " FOR COLUMNS `transaction_id`, `transaction_date`, `customer_id`, `product_id`, `store_id`, `_batch_id`",
    ]


def test_a_table_that_is_as_it_should_be_is_not_altered(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = {"delta.deletedFileRetentionDuration": "interval 7 days", "delta.enableDeletionVectors": "true"}
    tables = of_databricks(
        monkeypatch, {RETAILS_SILVER}, properties=properties, clusteringColumns=list(RETAILS_SILVER.clustered_by)
    )
    maintain_tables(tables, SETTINGS)
    assert [statement.split(" `")[0] for statement in said(tables)] == ["OPTIMIZE", "VACUUM", "ANALYZE TABLE"]
    assert "FULL" not in said(tables)[0]


def test_no_check_of_the_retention_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = of_databricks(monkeypatch, {*TABLES.values()})
    assert len(maintain_tables(tables, SETTINGS)) == len(TABLES)
    assert not [
        statement for statement in said(tables) if "retentionDurationCheck" in statement or "RETAIN" in statement
    ]


@pytest.mark.parametrize("state", ["ENABLE", "DISABLE", "INHERIT"])
def test_predictive_optimization_is_the_schemas(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    tables = of_databricks(monkeypatch)
    maintain_tables(tables, MaintenanceSettings("cat1", "sales", 7, state))
    assert said(tables) == [f"ALTER SCHEMA `cat1`.`sales` {state} PREDICTIVE OPTIMIZATION"]


def test_predictive_optimization_is_left_as_it_is_where_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = of_databricks(monkeypatch)
    assert maintain_tables(tables, SETTINGS) == [] == said(tables)


def test_another_engine_has_no_predictive_optimization(tables: Tables) -> None:
    tables.set_predictive_optimization("ENABLE")
