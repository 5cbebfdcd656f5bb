"""retails_silver: sales joined with their customer, product and store."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import times
from cdp_lib.contracts.silver import (
    CUSTOMERS_SILVER,
    EXCHANGE_RATES_SILVER,
    PRODUCT_PRICES_SILVER,
    PRODUCTS_SILVER,
    RETAILS_SILVER,
    STORES_SILVER,
    TRANSACTIONS_SILVER,
)
from cdp_lib.contracts.table import BATCH_ID, INACTIVE_SINCE, IS_ACTIVE, UNKNOWN, WARNINGS
from cdp_lib.pipeline.merge_touched import MergeTouched
from cdp_lib.pipeline.table import Table

_DROPPED_COLUMNS = (
    BATCH_ID.name,
    WARNINGS.name,
    "updated_at",
    "attributes",
    "household_id",
    IS_ACTIVE.name,
    INACTIVE_SINCE.name,
)
"""Columns of the joined tables that a sale does not have, or takes from transactions_silver."""

_IS_PRICE_OF_THE_DAY = "product_id = _priced_id AND transaction_date >= _valid_from AND transaction_date < _valid_to"


def build_retails_silver(
    transactions_silver: DataFrame,
    customers_silver: DataFrame,
    products_silver: DataFrame,
    product_prices_silver: DataFrame,
    stores_silver: DataFrame,
    exchange_rates_silver: DataFrame,
    reporting_currency: str,
    amounts_include_tax: bool,
) -> DataFrame:
    """Return one row per line, with flags that say whether its customer, product and store are known.

    An inner join would silently drop the sale of an unknown customer. Left joins keep the sale, so that the check of
    rules can send it to quarantine. The sale is accepted in the first run after the customer has arrived.

    The price is the price that was valid on the day of the sale, so that a price change does not change past revenue.

    Args:
        transactions_silver: One row per sale.
        customers_silver: One row per customer.
        products_silver: One row per product.
        product_prices_silver: One row per product and price period.
        stores_silver: One row per store.
        exchange_rates_silver: One row per month and currency.
        reporting_currency: ISO 4217 code of the reporting currency.
        amounts_include_tax: Whether the amounts of a line include its tax.

    Returns:
        Columns of `retails_silver`, the flags that its rules use, and the columns that `sale_as_received` uses.
    """
    sales = transactions_silver.drop(WARNINGS.name)
    customers = customers_silver.drop(*_DROPPED_COLUMNS).withColumn("_customer_is_known", sf.lit(True))
    products = products_silver.drop(*_DROPPED_COLUMNS, "price", "unit_cost").withColumn(
        "_product_is_known", sf.lit(True)
    )
    stores = stores_silver.drop(*_DROPPED_COLUMNS).withColumn("_store_is_known", sf.lit(True))
    rates = exchange_rates_silver.select(sf.col("month").alias("sale_month"), "currency", "rate")
    joined = (
        sales.join(customers, "customer_id", how="left")
        .join(sf.broadcast(products), "product_id", how="left")
        .join(sf.broadcast(stores), "store_id", how="left")
        .join(sf.broadcast(_closed_periods(product_prices_silver)), sf.expr(_IS_PRICE_OF_THE_DAY), how="left")
        .join(sf.broadcast(rates), ["sale_month", "currency"], how="left")
    )
    country = sf.when(sf.col("customer_id").isNull(), UNKNOWN).otherwise(sf.col("country"))
    priced = joined.withColumn("_rate", _rate(reporting_currency)).withColumn("_paid", _paid(amounts_include_tax))
    quantity = sf.col("quantity")
    revenue = sf.when(sf.col("_paid").isNull(), times(quantity, sf.col("price"))).otherwise(_converted("_paid"))
    return priced.withColumns(
        {
            "country": country,
            "revenue": revenue,
            "discount": _converted("discount_amount"),
            "cost": times(quantity, sf.col("unit_cost")),
        }
    )


def _paid(amounts_include_tax: bool) -> Column:
    """Return the amount paid for a line without tax, in the line's currency; null if the source has no amounts."""
    asked = times(sf.col("quantity"), sf.col("unit_price")) - sf.coalesce("discount_amount", sf.lit(0))
    paid = sf.coalesce(sf.col("line_amount"), asked)
    return paid - sf.coalesce("tax_amount", sf.lit(0)) if amounts_include_tax else paid


def _rate(reporting_currency: str) -> Column:
    """Return the exchange rate of a line's amounts; 1 for amounts in the reporting currency."""
    is_foreign = sf.col("currency") != reporting_currency
    return sf.when(is_foreign, sf.col("rate")).otherwise(sf.lit(1)).cast("decimal(18,8)")


def _converted(amount: str) -> Column:
    """Return an amount in the reporting currency, rounded half up; null if the amount or its rate is null."""
    return (sf.col(amount).cast("decimal(18,4)") * sf.col("_rate")).try_cast("decimal(18,4)")


def sale_as_received() -> Column:
    """Return the sale as received, as JSON, from a row of `build_retails_silver`."""
    received = [name for name in TRANSACTIONS_SILVER.column_names if name != "sale_month" and not name.startswith("_")]
    return sf.to_json(sf.struct(*received))


RETAILS = Table(
    RETAILS_SILVER,
    build_retails_silver,
    reads=(
        TRANSACTIONS_SILVER,
        CUSTOMERS_SILVER,
        PRODUCTS_SILVER,
        PRODUCT_PRICES_SILVER,
        STORES_SILVER,
        EXCHANGE_RATES_SILVER,
    ),
    settings=("reporting_currency", "amounts_include_tax"),
    materialization=MergeTouched(sale_as_received, names={"month": "sale_month"}),
)


def _closed_periods(product_prices_silver: DataFrame) -> DataFrame:
    """Return the price periods. A missing start becomes the earliest date, and a missing end the latest date."""
    return product_prices_silver.selectExpr(
        "product_id AS _priced_id",
        "price",
        "unit_cost",
        "coalesce(valid_from, DATE'0001-01-01') AS _valid_from",
        "coalesce(valid_to, DATE'9999-12-31') AS _valid_to",
    )
