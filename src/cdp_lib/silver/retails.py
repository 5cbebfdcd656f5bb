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
from cdp_lib.frames import with_missing
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

_AMOUNTS = ("unit_price", "line_amount", "discount_amount", "tax_amount")
"""Optional amounts of a line, in the line's currency."""

_IS_OFFER_OF_THE_DAY = "product_id = _offered_id AND transaction_date >= valid_from AND transaction_date < valid_to"


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
        transactions_silver: One row per line. It may lack an optional column if no line has a value.
        customers_silver: One row per customer.
        products_silver: One row per product. It may lack an optional column if no product has a value.
        product_prices_silver: One row per product and price period. It may lack the cost if no product has one.
        stores_silver: One row per store.
        exchange_rates_silver: One row per month and currency.
        reporting_currency: ISO 4217 code of the reporting currency.
        amounts_include_tax: Whether the amounts of a line include its tax.

    Returns:
        Columns of `retails_silver`, the flags that its rules use, and the columns that `sale_as_received` uses.
    """
    customers = customers_silver.drop(*_DROPPED_COLUMNS).withColumn("_customer_is_known", sf.lit(True))
    offers = _offers(products_silver, product_prices_silver)
    stores = stores_silver.drop(*_DROPPED_COLUMNS).withColumn("_store_is_known", sf.lit(True))
    lines = transactions_silver.drop(WARNINGS.name)
    # A join copies all columns of a line. Therefore, the amounts of a line are combined before it is joined.
    if not {*_AMOUNTS, "currency"}.isdisjoint(lines.columns):
        lines = _with_revenue_of_amounts(lines, exchange_rates_silver, reporting_currency, amounts_include_tax)
    joined = (
        lines.join(customers, "customer_id", how="left")
        .join(sf.broadcast(offers), sf.expr(_IS_OFFER_OF_THE_DAY), how="left")
        .join(sf.broadcast(stores), "store_id", how="left")
    )
    columns = TRANSACTIONS_SILVER.columns + RETAILS_SILVER.columns + PRODUCT_PRICES_SILVER.columns
    absent = {each.name: sf.lit(None).cast(each.type) for each in columns if not each.name.startswith("_")}
    absent |= {"_has_amounts": sf.lit(False), "_paid": absent["revenue"], "_rate_is_known": sf.lit(True)}
    joined = with_missing(joined, absent)
    quantity = sf.col("quantity")
    return joined.withColumns(
        {
            "country": sf.when(sf.col("customer_id").isNull(), UNKNOWN).otherwise(sf.col("country")),
            "revenue": sf.when(sf.col("_has_amounts"), sf.col("_paid")).otherwise(times(quantity, sf.col("price"))),
            "cost": times(quantity, sf.col("unit_cost")),
        }
    )


def _with_revenue_of_amounts(
    lines: DataFrame, exchange_rates_silver: DataFrame, reporting_currency: str, amounts_include_tax: bool
) -> DataFrame:
    """Return lines with their `_paid` amount and `discount` in the reporting currency.

    The flag `_has_amounts` says whether the source has amounts, and `_rate_is_known` whether they can be converted.
    """
    no_amount = sf.lit(None).cast("decimal(18,4)")
    lines = with_missing(lines, {**dict.fromkeys(_AMOUNTS, no_amount), "currency": sf.lit(None).cast("string")})
    rates = exchange_rates_silver.select(sf.col("month").alias("sale_month"), "currency", "rate")
    paid = _paid(amounts_include_tax)
    return (
        lines.join(sf.broadcast(rates), ["sale_month", "currency"], how="left")
        .withColumn("_rate", _rate(reporting_currency))
        .withColumns(
            {
                "_rate_is_known": sf.col("_rate").isNotNull(),
                "_has_amounts": paid.isNotNull(),
                "_paid": _converted(paid),
                "discount": _converted(sf.col("discount_amount")),
            }
        )
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


def _converted(amount: Column) -> Column:
    """Return an amount in the reporting currency, rounded half up; null if the amount or its rate is null."""
    return (amount.cast("decimal(18,4)") * sf.col("_rate")).try_cast("decimal(18,4)")


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
    may_lack={
        TRANSACTIONS_SILVER: {
            "order_id": "order_id",
            "sold_at": "sold_at",
            "unit_price": "",
            "line_amount": "",
            "discount_amount": "discount",
            "tax_amount": "",
            "currency": "currency",
            "channel": "channel",
            "promotion_code": "promotion_code",
            "updated_at": "",
        },
        PRODUCTS_SILVER: {"department": "department", "subcategory": "subcategory", "brand": "brand"},
        PRODUCT_PRICES_SILVER: {"unit_cost": "cost"},
    },
    materialization=MergeTouched(sale_as_received, names={"month": "sale_month"}),
)


def _offers(products_silver: DataFrame, product_prices_silver: DataFrame) -> DataFrame:
    """Return one row per product and price period, without products that have no price.

    A missing start of a period becomes the earliest date, and a missing end the latest date.
    """
    products = products_silver.drop(*_DROPPED_COLUMNS, "price", "unit_cost")
    periods = product_prices_silver.drop(BATCH_ID.name).withColumns(
        {
            "valid_from": sf.expr("coalesce(valid_from, DATE'0001-01-01')"),
            "valid_to": sf.expr("coalesce(valid_to, DATE'9999-12-31')"),
        }
    )
    offers = products.join(periods, "product_id", how="inner").withColumn("_product_is_known", sf.lit(True))
    return offers.withColumnRenamed("product_id", "_offered_id")
