"""Tests of the copies of gold tables outside Unity Catalog: their content, and the cases in which they are written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame

from cdp_lib import published
from cdp_lib.contracts.analytics import CUSTOMER_DEMOGRAPHICS_GOLD, KPI_MONTHLY_GOLD
from cdp_lib.contracts.consent import CONSENT_CURRENT_SILVER
from cdp_lib.contracts.gold import CATEGORY_COUNTRY_PERFORMANCE_GOLD, SALES_BY_COUNTRY_GOLD
from cdp_lib.contracts.profile import PROFILE_TABLES
from cdp_lib.contracts.table import TableContract
from cdp_lib.errors import CdpError
from cdp_lib.pipeline.graph import platform_graph
from cdp_lib.pipeline.state import TableState, read_states, write_states
from cdp_lib.published import PUBLISHED_TABLES

from .warehouse import Warehouse

TEST_TABLES = (
    SALES_BY_COUNTRY_GOLD,
    CATEGORY_COUNTRY_PERFORMANCE_GOLD,
    CUSTOMER_DEMOGRAPHICS_GOLD,
    KPI_MONTHLY_GOLD,
)
"""Gold tables of the tests, one of them with personal data."""


class Gold:
    """Gold tables in the schema of a test. No other table is published."""

    def __init__(self, warehouse: Warehouse, frame_of: Callable[..., DataFrame]) -> None:
        self.warehouse = warehouse
        self.frame_of = frame_of
        self.runs = 0
        self.refresh(*TEST_TABLES, CONSENT_CURRENT_SILVER)
        self.decide(is_allowed=True)

    def refresh(self, *contracts: TableContract) -> None:
        """Rewrite tables and their states in the same way as a run."""
        self.runs += 1
        states = read_states(self.warehouse.store)
        for contract in contracts:
            row = {column.name: value_of(column.type, self.runs) for column in contract.columns}
            self.warehouse.store.replace(contract, self.frame_of(contract.columns, row))
            version = states.get(contract.name, TableState()).version + 1
            states[contract.name] = TableState(version, f"{contract.name} {self.runs}", rows=1, rewritten_at=version)
        write_states(self.warehouse.store, states)

    def decide(self, *, is_allowed: bool, purpose: str = "analytics") -> None:
        """Store the decision of person 1 on a purpose."""
        self.refresh(CONSENT_CURRENT_SILVER)
        [row] = self.warehouse.store.read(CONSENT_CURRENT_SILVER).toArrow().to_pylist()
        row |= {"person_id": 1, "purpose": purpose, "channel": "all", "is_allowed": is_allowed}
        rows = self.warehouse.store.frame(CONSENT_CURRENT_SILVER, [row])
        self.warehouse.store.replace(CONSENT_CURRENT_SILVER, rows)

    def publish(self, location: Path, minimum_cell_size: int = 1, **parameters: bool) -> int:
        return self.warehouse.publish(location, minimum_cell_size, **parameters)


@pytest.fixture
def gold(warehouse: Warehouse, frame_of: Callable[..., DataFrame], monkeypatch: pytest.MonkeyPatch) -> Gold:
    monkeypatch.setattr(published, "PUBLISHED_TABLES", TEST_TABLES)
    return Gold(warehouse, frame_of)


@pytest.fixture
def location(tmp_path: Path) -> Path:
    """Folder of the copies, which does not exist yet."""
    return tmp_path / "lake" / "gold"


def value_of(type_: str, number: int) -> object:
    values: dict[str, object] = {
        "INT": number,
        "BIGINT": number,
        "BOOLEAN": True,
        "STRING": f"v{number}",
        "DOUBLE": float(number),
        "DECIMAL(38,3)": Decimal(number),
        "DECIMAL(38,4)": Decimal(number),
        "DATE": date(2026, 1, 31),
        "TIMESTAMP": datetime(2026, 1, 31, tzinfo=UTC),
    }
    return values.get(type_)


def versions(location: Path) -> list[int]:
    return [DeltaTable(location / contract.name).version() for contract in TEST_TABLES]


def rows_in(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = DeltaTable(folder).to_pyarrow_table().to_pylist()
    return rows


def assert_holds_gold(location: Path, gold: Gold) -> None:
    """Assert that each copy has the rows and the public columns of its table."""
    for contract in TEST_TABLES:
        public = [column.name for column in contract.columns if not column.pii]
        copied = DeltaTable(location / contract.name).to_pyarrow_table()
        assert copied.column_names == public
        assert copied.num_rows == 1
        assert [tuple(row.values()) for row in copied.to_pylist()] == gold.warehouse.rows(contract, *public)


def test_every_gold_table_is_published_under_its_name(gold: Gold, location: Path) -> None:
    assert gold.publish(location) == len(TEST_TABLES)
    assert sorted(path.name for path in location.iterdir()) == sorted(contract.name for contract in TEST_TABLES)
    assert_holds_gold(location, gold)


@pytest.mark.first_engine
def test_only_changed_tables_are_copied_again(gold: Gold, location: Path) -> None:
    gold.publish(location)
    assert gold.publish(location) == 0
    assert versions(location) == [0, 0, 0, 0]
    gold.refresh(KPI_MONTHLY_GOLD)
    assert gold.publish(location) == 1
    assert versions(location) == [0, 0, 0, 1]
    gold.refresh(SALES_BY_COUNTRY_GOLD, CATEGORY_COUNTRY_PERFORMANCE_GOLD)
    assert gold.publish(location) == 2
    assert gold.publish(location) == 0
    assert versions(location) == [1, 1, 0, 1]
    assert_holds_gold(location, gold)


def test_publishing_does_not_change_the_states_of_tables(gold: Gold, location: Path) -> None:
    before = read_states(gold.warehouse.store)
    gold.publish(location)
    after = read_states(gold.warehouse.store)
    assert {name: after[name] for name in before} == before


@pytest.mark.first_engine
def test_change_of_location_copies_every_table(gold: Gold, location: Path) -> None:
    other = location.with_name("other")
    gold.publish(location)
    assert gold.publish(other) == len(TEST_TABLES)
    gold.refresh(KPI_MONTHLY_GOLD)
    assert gold.publish(location) == len(TEST_TABLES)
    assert (versions(location), versions(other)) == ([1, 1, 1, 1], [0, 0, 0, 0])
    assert_holds_gold(location, gold)


@pytest.mark.first_engine
def test_change_of_the_minimum_cell_size_copies_only_tables_that_count_people(gold: Gold, location: Path) -> None:
    gold.publish(location)
    assert gold.publish(location, 5) == 1
    assert versions(location) == [0, 0, 0, 1]
    assert rows_in(location / KPI_MONTHLY_GOLD.name) == []
    assert gold.publish(location, 5) == 0


@pytest.mark.first_engine
def test_tables_with_a_row_per_customer_are_copied_only_on_request(gold: Gold, location: Path) -> None:
    assert gold.publish(location, has_customers=False) == len(TEST_TABLES) - 1
    assert not (location / CUSTOMER_DEMOGRAPHICS_GOLD.name).exists()
    assert gold.publish(location, has_customers=True) == 1
    assert_holds_gold(location, gold)


def test_person_who_objects_to_analytics_leaves_the_copies(gold: Gold, location: Path) -> None:
    gold.publish(location)
    gold.decide(is_allowed=False)
    assert gold.publish(location) == 1
    assert versions(location) == [0, 0, 1, 0]
    assert rows_in(location / CUSTOMER_DEMOGRAPHICS_GOLD.name) == []
    gold.decide(is_allowed=False, purpose="marketing")
    gold.publish(location)
    assert len(rows_in(location / CUSTOMER_DEMOGRAPHICS_GOLD.name)) == 1


def test_person_without_a_decision_is_copied_only_if_analytics_needs_no_consent(gold: Gold, location: Path) -> None:
    gold.decide(is_allowed=True, purpose="marketing")
    copies = published.Copies(str(location), 1, True, analytics_needs_consent=True)
    published.publish_gold(gold.warehouse.store, copies)
    assert rows_in(location / CUSTOMER_DEMOGRAPHICS_GOLD.name) == []
    gold.decide(is_allowed=True)
    published.publish_gold(gold.warehouse.store, copies)
    assert len(rows_in(location / CUSTOMER_DEMOGRAPHICS_GOLD.name)) == 1


@pytest.mark.first_engine
def test_full_refresh_copies_every_table(gold: Gold, location: Path) -> None:
    gold.publish(location)
    assert gold.publish(location, full_refresh=True) == len(TEST_TABLES)
    assert versions(location) == [1, 1, 1, 1]


@pytest.mark.first_engine
def test_deleted_copy_is_written_again(gold: Gold, location: Path) -> None:
    gold.publish(location)
    shutil.rmtree(location / KPI_MONTHLY_GOLD.name)
    assert gold.publish(location) == 1
    assert_holds_gold(location, gold)


@pytest.mark.first_engine
def test_copy_of_a_repaired_table_is_written_again(gold: Gold, location: Path) -> None:
    gold.publish(location)
    published.forget_copies(gold.warehouse.store, ["sales_by_country_gold", "retails_silver"])
    copies = published.Copies(str(location), 1, True)
    due = published.due_copies(read_states(gold.warehouse.store), copies)
    assert [contract.name for contract in due] == ["sales_by_country_gold"]
    gold.publish(location)
    assert published.due_copies(read_states(gold.warehouse.store), copies) == []


def test_column_newly_marked_as_personal_leaves_the_copy_of_an_unchanged_table(
    gold: Gold, location: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gold.publish(location)
    columns = tuple(replace(column, pii=column.pii or "country") for column in SALES_BY_COUNTRY_GOLD.columns[:1])
    changed = replace(SALES_BY_COUNTRY_GOLD, columns=(*columns, *SALES_BY_COUNTRY_GOLD.columns[1:]))
    monkeypatch.setattr(published, "PUBLISHED_TABLES", (changed, *TEST_TABLES[1:]))
    assert gold.publish(location) == 1
    assert versions(location) == [1, 0, 0, 0]
    assert list(rows_in(location / changed.name)[0]) == ["total_sales"]


@pytest.mark.first_engine
def test_same_version_number_with_another_token_is_copied_again(gold: Gold, location: Path) -> None:
    """A table that was dropped and rebuilt may have the same version number."""
    gold.publish(location)
    states = read_states(gold.warehouse.store)
    rebuilt = replace(states[KPI_MONTHLY_GOLD.name], token="another")
    write_states(gold.warehouse.store, states | {KPI_MONTHLY_GOLD.name: rebuilt})
    assert gold.publish(location) == 1
    assert versions(location) == [0, 0, 0, 1]


@pytest.mark.first_engine
def test_publishing_again_after_a_kill_at_any_commit_gives_the_same_copies(gold: Gold, location: Path) -> None:
    gold.publish(location)
    commit = 0
    while True:
        gold.refresh(CUSTOMER_DEMOGRAPHICS_GOLD, KPI_MONTHLY_GOLD)
        if not gold.warehouse.dies_at(commit, lambda: gold.publish(location)):
            break
        assert gold.publish(location) == 2
        assert_holds_gold(location, gold)
        commit += 1
    # The three commits are two copies and the table of states.
    assert commit == 3
    assert_holds_gold(location, gold)
    assert gold.publish(location) == 0


def test_missing_gold_table_is_an_error_and_nothing_is_published(warehouse: Warehouse, location: Path) -> None:
    with pytest.raises(CdpError, match=r"_gold does not exist yet: refresh it first\.$"):
        warehouse.publish(location)
    assert not location.exists()
    assert read_states(warehouse.store) == {}


def test_every_table_of_gold_except_profiles_is_published() -> None:
    gold_tables = {name for name, table in platform_graph().tables.items() if table.contract.layer == "gold"}
    profiles = {contract.name for contract in PROFILE_TABLES}
    assert {contract.name for contract in PUBLISHED_TABLES} == gold_tables - profiles
