"""Tests of an upgrade: tables with narrower types are rewritten without loss, even if their batches are gone."""

from __future__ import annotations

import shutil
from dataclasses import replace

from tests.unit.warehouse import OF_SALES, Warehouse

from cdp_lib.contracts.bronze import BRONZE_TABLES
from cdp_lib.contracts.table import TableContract
from cdp_lib.pipeline.state import read_states, write_states

OLD_TYPES = {"BIGINT": "INT", "DECIMAL(18,3)": "INT", "DECIMAL(18,4)": "DECIMAL(18,2)"}


def narrowed(contract: TableContract) -> TableContract:
    """Return a contract with the types of the version before."""
    kept = ("_version",)
    return replace(
        contract,
        columns=tuple(
            column if column.name in kept else replace(column, type=OLD_TYPES.get(column.type, column.type))
            for column in contract.columns
        ),
    )


def test_int_columns_become_bigint_without_loss(shop: Warehouse) -> None:
    tables = [*(each for each in BRONZE_TABLES if shop.store.exists(each)), *OF_SALES]
    before = {contract.name: shop.rows(contract) for contract in tables}
    for contract in tables:
        old = narrowed(contract)
        shop.store.rewrite(old, shop.store.read(contract).selectExpr(*old.select_list))
    states = read_states(shop.store)
    write_states(shop.store, {name: replace(state, fingerprint="old") for name, state in states.items()})
    shutil.rmtree(shop.folder)
    shop.reopen()
    shop.refresh()

    types = {contract.name: dict(shop.store.read(contract).dtypes) for contract in tables}
    for contract in tables:
        assert {n: types[contract.name][n] for n in contract.column_names} == {
            name: type_.lower() for name, type_ in contract.types.items()
        }, contract.name
    assert {contract.name: shop.rows(contract) for contract in OF_SALES} == {
        contract.name: before[contract.name] for contract in OF_SALES
    }
