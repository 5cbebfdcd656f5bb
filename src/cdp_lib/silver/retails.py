"""retails_silver: sales with everything known about their customer, product and store."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.silver import (
    CUSTOMERS_SILVER,
    PRODUCT_PRICES_SILVER,
    PRODUCTS_SILVER,
    RETAILS_SILVER,
    STORES_SILVER,
    TRANSACTIONS_SILVER,
)
from cdp_lib.contracts.table import BATCH_ID, WARNINGS
from cdp_lib.pipeline.merge_touched import MergeTouched
from cdp_lib.pipeline.table import Table

_OF_A_ROW = (BATCH_ID.name, WARNINGS.name, "updated_at")
"""Columns that every silver table has of its own: a sale has those of transactions_silver."""

_IS_PRICE_OF_THE_DAY = "product_id = _priced_id AND transaction_date >= _valid_from AND transaction_date < _valid_to"


def build_retails_silver(
    transactions_silver: DataFrame,
    customers_silver: DataFrame,
    products_silver: DataFrame,
    product_prices_silver: DataFrame,
    stores_silver: DataFrame,
) -> DataFrame:
    """One row per sale, with a flag for each of customer, product and store that says whether it is known.

    An inner join would lose a sale of an unknown customer without a trace; these are left joins, so that the check
    can send such a sale to quarantine, from where it comes out in the first run after the missing row has arrived.

    The price is the one that was valid on the day of the sale: a price that changes does not rewrite what was earned.

    Args:
        transactions_silver: One row per sale.
        customers_silver: One row per customer.
        products_silver: One row per product.
        product_prices_silver: One row per product and period.
        stores_silver: One row per store.

    Returns:
        Columns of `retails_silver`, the flags its rules name, and those of the sale as received (`sale_as_received`).
    """
    sales = transactions_silver.drop(WARNINGS.name)
    customers = customers_silver.drop(*_OF_A_ROW).withColumn("_customer_is_known", sf.lit(True))
    products = products_silver.drop(*_OF_A_ROW, "price").withColumn("_product_is_known", sf.lit(True))
    stores = stores_silver.drop(*_OF_A_ROW).withColumn("_store_is_known", sf.lit(True))
    return (
        sales.join(customers, "customer_id", how="left")
        .join(sf.broadcast(products), "product_id", how="left")
        .join(sf.broadcast(stores), "store_id", how="left")
        .join(sf.broadcast(_periods(product_prices_silver)), sf.expr(_IS_PRICE_OF_THE_DAY), how="left")
    )


def sale_as_received() -> Column:
    """A sale as its source gave it, JSON, of a row that `build_retails_silver` has made."""
    received = [name for name in TRANSACTIONS_SILVER.column_names if name != "sale_month" and not name.startswith("_")]
    return sf.to_json(sf.struct(*received))


RETAILS = Table(
    RETAILS_SILVER,
    build_retails_silver,
    reads=(TRANSACTIONS_SILVER, CUSTOMERS_SILVER, PRODUCTS_SILVER, PRODUCT_PRICES_SILVER, STORES_SILVER),
    materialization=MergeTouched(sale_as_received),
)


def _periods(product_prices_silver: DataFrame) -> DataFrame:
    """Periods that are open to neither side."""
    return product_prices_silver.selectExpr(
        "product_id AS _priced_id",
        "price",
        "coalesce(valid_from, DATE'0001-01-01') AS _valid_from",
        "coalesce(valid_to, DATE'9999-12-31') AS _valid_to",
    )
