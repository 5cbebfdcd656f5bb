"""Tests of tags and masks of columns with personal data. Statements are sent to a fake workspace."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from pyspark.sql.types import StructType
from tests.unit.storage.workspace import statements_of, store_of_databricks

from cdp_lib import protection
from cdp_lib.contracts import TABLES
from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE
from cdp_lib.contracts.silver import CRM_CONTACTS_SILVER, CUSTOMERS_SILVER, PRODUCTS_SILVER
from cdp_lib.errors import CdpError
from cdp_lib.pipeline.state import States, TableState
from cdp_lib.protection import PROTECTION, protect, require_unmasked
from cdp_lib.storage import DeltaStore

pytestmark = pytest.mark.first_engine

GROUP = "Data stewards"
TABLE = "`cat1`.`sales`.`customers_silver`"
PERSONAL = {column.name: str(column.pii) for column in CUSTOMERS_SILVER.personal_columns}
TAGS = [
    f"ALTER TABLE {TABLE} SET TAGS ('personal_data' = '{', '.join(sorted({*PERSONAL.values()}))}')",
    *(
        f"ALTER TABLE {TABLE} ALTER COLUMN `{name}` SET TAGS ('personal_data' = '{pii}')"
        for name, pii in PERSONAL.items()
    ),
]


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> States:
    """Return the states after a run of an earlier version. Written states are not stored."""
    monkeypatch.setattr(protection, "write_states", lambda store, states: None)
    return {CUSTOMERS_SILVER.name: TableState(1, "x")}


def masks_of(statements: list[str]) -> list[str]:
    return [statement for statement in statements if "MASK" in statement]


def test_new_table_is_tagged_once() -> None:
    store = store_of_databricks()
    store.create(CUSTOMERS_SILVER)
    store.create(CUSTOMERS_SILVER)
    assert statements_of(store)[1:] == TAGS


def test_new_table_without_personal_data_is_neither_tagged_nor_masked() -> None:
    store = store_of_databricks(unmasked_group=GROUP)
    store.create(replace(PRODUCTS_SILVER, columns=PRODUCTS_SILVER.columns[:4], version=None))
    [created] = statements_of(store)
    assert "MASK" not in created


def test_new_table_has_its_masks_from_the_first_moment() -> None:
    store = store_of_databricks(unmasked_group=GROUP)
    store.create(CRM_CONTACTS_SILVER)
    *functions, created = [each for each in statements_of(store) if each.startswith("CREATE")]
    assert {each.partition("(")[0].rpartition("`.`")[2] for each in functions} == {
        "mask_string`",
        "mask_date`",
        "mask_map_string_string`",
    }
    assert (
        "CREATE OR REPLACE FUNCTION `cat1`.`sales`.`mask_string`(value STRING) RETURNS STRING"
        " COMMENT 'The value for members of the group in the variable unmasked_group; a mask for anybody else.'"
        " RETURN CASE WHEN is_account_group_member('Data stewards') THEN value ELSE '****' END"
    ) in functions
    rest = r"(?: NOT NULL)? COMMENT '(?:[^'\\]|\\.)*'( MASK `cat1`\.`sales`\.`mask_)?"
    for column in CRM_CONTACTS_SILVER.columns:
        found = re.search(f"`{column.name}` {re.escape(column.type)}{rest}", created)
        assert found and bool(found[1]) == bool(column.pii), column.name


def test_functions_of_masks_are_created_once_per_type() -> None:
    store = store_of_databricks(unmasked_group=GROUP)
    for contract in TABLES.values():
        store.create(contract)
    functions = [each.partition("(")[0] for each in statements_of(store) if each.startswith("CREATE OR REPLACE FUNC")]
    assert len(functions) == len(set(functions)) >= 3


def test_column_that_a_source_adds_is_unclassified_and_masked() -> None:
    store = store_of_databricks(CUSTOMERS_BRONZE, unmasked_group=GROUP)
    rows: Any = SimpleNamespace(dtypes=[("email", "string"), ("shoe_size", "int"), ("country", "string")])
    store._protect_columns(CUSTOMERS_BRONZE, rows, ["shoe_size", "country"])
    statements = [each for each in statements_of(store) if each.startswith("ALTER TABLE")]
    assert [each.partition("ALTER COLUMN ")[2] for each in statements] == [
        "`shoe_size` SET MASK `cat1`.`sales`.`mask_int`",
        "",
        "`shoe_size` SET TAGS ('personal_data' = 'unclassified')",
    ]


def test_added_column_is_masked_before_a_run_writes_to_it() -> None:
    store = store_of_databricks(CUSTOMERS_BRONZE, unmasked_group=GROUP)
    session: Any = store.session
    session.createDataFrame = MagicMock()
    rows: Any = MagicMock(columns=["email", "shoe_size"], dtypes=[("email", "string"), ("shoe_size", "int")])
    rows.schema = StructType().add("email", "string").add("shoe_size", "integer")
    assert store.add_columns(CUSTOMERS_BRONZE, rows) == ["shoe_size"]
    assert [each.split("`")[7] for each in masks_of(statements_of(store)) if each.startswith("ALTER")] == ["shoe_size"]


def test_rewritten_table_is_masked_and_tagged_again() -> None:
    store = store_of_databricks(CUSTOMERS_SILVER, unmasked_group=GROUP)
    rows: Any = MagicMock(dtypes=[(name, type_.lower()) for name, type_ in CUSTOMERS_SILVER.types.items()])
    store._rewrite(CUSTOMERS_SILVER, rows, ())
    masked = [each.split("`")[7] for each in masks_of(statements_of(store)) if each.startswith("ALTER")]
    assert masked == [*PERSONAL]
    assert statements_of(store)[-len(TAGS) :] == TAGS


def test_existing_tables_are_tagged_once(states: States) -> None:
    store = store_of_databricks(CUSTOMERS_SILVER)
    protect(store, states)
    assert statements_of(store) == TAGS
    protect(store, states)
    assert statements_of(store) == TAGS


def test_existing_tables_are_masked_when_a_group_is_set_and_unmasked_when_it_is_removed(states: States) -> None:
    masked = store_of_databricks(CUSTOMERS_SILVER, unmasked_group=GROUP)
    protect(masked, states)
    assert [each.rpartition(" ")[0] for each in masks_of(statements_of(masked)) if each.startswith("ALTER")] == [
        f"ALTER TABLE {TABLE} ALTER COLUMN `{name}` SET MASK" for name in PERSONAL
    ]
    assert states[PROTECTION].details == {"unmasked_group": GROUP}
    unmasked = store_of_databricks(CUSTOMERS_SILVER)
    unmasked.session.groups = {GROUP}  # type: ignore[attr-defined]
    protect(unmasked, states)
    assert masks_of(statements_of(unmasked)) == [
        f"ALTER TABLE {TABLE} ALTER COLUMN `{name}` DROP MASK" for name in PERSONAL
    ]
    assert states[PROTECTION].details == {"unmasked_group": ""}


def test_only_columns_that_an_older_table_has_are_masked(states: States) -> None:
    older = replace(CUSTOMERS_SILVER, columns=CUSTOMERS_SILVER.columns[:3], version=None)
    store = store_of_databricks(older, unmasked_group=GROUP)
    protect(store, states)
    assert [each.split("`")[7] for each in masks_of(statements_of(store)) if each.startswith("ALTER")] == [
        "full_name",
        "email",
    ]


def test_table_whose_rewrite_was_interrupted_is_masked_again(states: States) -> None:
    store = store_of_databricks(CUSTOMERS_SILVER, CRM_CONTACTS_SILVER, unmasked_group=GROUP)
    protect(store, states)
    before = len(statements_of(store))
    states[CUSTOMERS_SILVER.name] = TableState(2, "y", is_rewriting=True)
    protect(store, states)
    again = statements_of(store)[before:]
    assert len(masks_of(again)) == len(PERSONAL) and all(TABLE in each for each in again)


def test_before_the_first_run_nothing_is_recorded() -> None:
    states: States = {}
    store = store_of_databricks(unmasked_group=GROUP)
    protect(store, states)
    assert (states, statements_of(store)) == ({}, [])


def test_local_engines_have_neither_tags_nor_masks(store: DeltaStore, states: States) -> None:
    store.unmasked_group = GROUP
    store.create(CUSTOMERS_SILVER)
    protect(store, states)
    assert PROTECTION not in states


def test_identity_must_be_in_the_old_and_the_new_group(states: States) -> None:
    protect(store_of_databricks(CUSTOMERS_SILVER, unmasked_group="Old"), states)
    store = store_of_databricks(CUSTOMERS_SILVER, unmasked_group=GROUP)
    with pytest.raises(CdpError, match=r"is not in the account group 'Old' \(unmasked_group\).*Add the identity"):
        protect(store, states)
    assert statements_of(store) == []


def test_maintenance_is_refused_if_it_would_read_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = {PROTECTION: TableState(details={"unmasked_group": GROUP})}
    monkeypatch.setattr(protection, "read_states", lambda store: recorded)
    with pytest.raises(CdpError, match="would read masks and store them instead of the data"):
        require_unmasked(store_of_databricks())
    require_unmasked(store_of_databricks(unmasked_group=GROUP))
