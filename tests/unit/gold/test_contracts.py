"""What every gold builder promises."""

from collections.abc import Callable
from functools import partial

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.gold import CUSTOMER_REGISTRATION_TRENDS_GOLD, GOLD_TABLES
from cdp_lib.contracts.silver import CUSTOMERS_SILVER, RETAILS_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_lib.gold.customers import build_customer_registration_trends_gold
from cdp_lib.gold.marts import build_mart

from ..warehouse import MARTS

BUILDERS: dict[str, Callable[[DataFrame], DataFrame]] = {
    **{mart.contract.name: partial(build_mart, mart) for mart in MARTS},
    CUSTOMER_REGISTRATION_TRENDS_GOLD.name: build_customer_registration_trends_gold,
}

every_table = pytest.mark.parametrize("contract", GOLD_TABLES, ids=lambda contract: contract.name)


def test_every_gold_table_has_one_builder() -> None:
    assert sorted(BUILDERS) == sorted(contract.name for contract in GOLD_TABLES)


def built(contract: TableContract, sales, *rows) -> DataFrame:
    builder = BUILDERS[contract.name]
    is_mart = isinstance(builder, partial)
    columns = (RETAILS_SILVER if is_mart else CUSTOMERS_SILVER).columns
    given = sales(*rows)
    # Customers have columns that sales have not.
    absent = [sf.lit(None).cast(c.type).alias(c.name) for c in columns if c.name not in given.columns]
    return builder(given.select("*", *absent).select(*(column.name for column in columns)))


@pytest.mark.every_case
@every_table
def test_a_builder_keeps_the_contract_of_its_table(sales, contract: TableContract) -> None:
    built_rows = built(contract, sales, {}, {"quantity": 2}, {"customer_id": 102, "product_id": 2, "store_id": 2})
    assert built_rows.dtypes == [(column.name, column.type.lower()) for column in contract.columns]
    rows = built_rows.collect()
    assert len(rows) == len({tuple(row[name] for name in contract.key) for row in rows}) > 0
    assert {row[column.name] is None for row in rows for column in contract.columns if column.required} == {False}


@every_table
def test_a_builder_makes_no_rows_of_no_sales(sales, contract: TableContract) -> None:
    assert built(contract, sales).count() == 0
