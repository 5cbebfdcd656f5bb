"""Contract tests that every mart passes."""

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.gold import GOLD_TABLES
from cdp_lib.contracts.silver import CUSTOMERS_SILVER
from cdp_lib.contracts.table import TableContract

from .marts import whole_mart_of

every_table = pytest.mark.parametrize("contract", GOLD_TABLES, ids=lambda contract: contract.name)


def built(contract: TableContract, sales, *rows) -> DataFrame:
    frame = sales(*rows)
    # The mart reads columns of customers that sales do not have.
    missing = [sf.lit(None).cast(c.type).alias(c.name) for c in CUSTOMERS_SILVER.columns if c.name not in frame.columns]
    return whole_mart_of(contract, frame.select("*", *missing))


@pytest.mark.every_case
@every_table
def test_builder_result_satisfies_contract(sales, contract: TableContract) -> None:
    order = {"order_id": "1"}
    other = {"customer_id": 102, "product_id": 2, "store_id": 2}
    built_rows = built(contract, sales, order, order | {"quantity": 2}, order | other)
    assert built_rows.dtypes == [(column.name, column.type.lower()) for column in contract.columns]
    rows = built_rows.collect()
    assert len(rows) == len({tuple(row[name] for name in contract.key) for row in rows}) > 0
    assert {row[column.name] is None for row in rows for column in contract.columns if column.required} == {False}


@every_table
def test_builder_gives_no_rows_without_sales(sales, contract: TableContract) -> None:
    assert built(contract, sales).count() == 0
