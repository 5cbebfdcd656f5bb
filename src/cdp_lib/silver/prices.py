"""product_prices_silver: the price of each product over time."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.columns import local_time, to_money
from cdp_lib.contracts.bronze import PRODUCTS_BRONZE
from cdp_lib.contracts.silver import ID_KEYS_SILVER, PRODUCT_PRICES_SILVER, PRODUCTS_SILVER
from cdp_lib.pipeline.table import Table
from cdp_lib.pipeline.touched_keys import TouchedKeys
from cdp_lib.quality import check_versions, record_hash
from cdp_lib.silver.products import build_products_silver


def build_product_prices_silver(
    products_bronze: DataFrame, products_silver: DataFrame, business_time_zone: str
) -> DataFrame:
    """Return one row per product and period in which neither its price nor its cost changed.

    Args:
        products_bronze: All bronze rows of the products whose prices are computed.
        products_silver: Not used. Because it is an input, prices are refreshed after `products_silver`. If a guard
            refuses a batch of products in that refresh, the batch changes no price.
        business_time_zone: IANA name of the time zone of business days.

    Returns:
        Columns of `product_prices_silver`.
    """
    return price_periods(_observed_prices(products_bronze), business_time_zone)


def price_periods(observed_prices: DataFrame, business_time_zone: str = "UTC") -> DataFrame:
    """Return one row per product and period in which neither its price nor its cost changed.

    The source keeps only the current price, so a change is detected as a difference between two consecutive batches.

    - The first known price has no start day.
    - A new price is valid from the day on which the source changed the product. If this day is unknown, the price is
      valid from the day of extraction.
    - If a price changes several times on one day, the last change applies to the whole day.
    - A period is dropped if a price from a later batch starts on the same day or on an earlier day.

    Args:
        observed_prices: One row per product and batch, with the columns `product_id`, `price`, `updated_at`,
            `unit_cost`, `extracted_at` and `_batch_id`.
        business_time_zone: IANA name of the time zone of business days.

    Returns:
        Columns of `product_prices_silver`.
    """
    by_batch = Window.partitionBy("product_id").orderBy("_batch_id")
    since = sf.to_date(local_time(sf.coalesce("updated_at", "extracted_at"), business_time_zone))
    changes = _price_changes(observed_prices).select(
        "*",
        since.alias("since"),
        sf.when(sf.col("price_before").isNotNull(), since).alias("valid_from"),
    )
    later = by_batch.rowsBetween(1, Window.unboundedFollowing)
    changes = changes.select("*", sf.min("since").over(later).alias("next_since"))
    # The first price has no start day. Its period is always kept.
    periods = changes.where("valid_from IS NULL OR next_since IS NULL OR valid_from < next_since")
    by_day = Window.partitionBy("product_id").orderBy(sf.asc_nulls_first("valid_from"))
    return periods.select("*", sf.lead("valid_from").over(by_day).alias("valid_to")).selectExpr(
        *PRODUCT_PRICES_SILVER.select_list
    )


def _price_changes(observed_prices: DataFrame) -> DataFrame:
    """Return the first row of each product, and the rows whose price differs from the product's previous price."""
    by_batch = Window.partitionBy("product_id").orderBy("_batch_id")
    compared = observed_prices.select(
        "*",
        sf.lag("price").over(by_batch).alias("price_before"),
        sf.lag("unit_cost").over(by_batch).alias("cost_before"),
    )
    return compared.where("price_before IS NULL OR price_before <> price OR NOT (cost_before <=> unit_cost)")


def _rows_that_change_price(products_bronze: DataFrame) -> DataFrame:
    """Return the bronze rows that change a price. The price periods depend only on these rows."""
    changes = _price_changes(_observed_prices(products_bronze)).select("product_id", "_batch_id")
    rows = products_bronze.join(changes, ["product_id", "_batch_id"], how="left_semi")
    return rows.withColumn("_record_hash", record_hash(PRODUCTS_BRONZE))


def _observed_prices(products_bronze: DataFrame) -> DataFrame:
    """Return one row per product and batch, without rejected rows and tombstones."""
    versions = check_versions(build_products_silver(products_bronze), PRODUCTS_SILVER, extra_columns=("_ingested_at",))
    accepted = versions.where(sf.col("_keeps_rules") & ~sf.col("_is_deleted"))
    return accepted.select(
        "product_id", "price", "unit_cost", "updated_at", sf.col("_ingested_at").alias("extracted_at"), "_batch_id"
    )


def _rows_with_new_price(products_bronze: DataFrame, product_prices_silver: DataFrame) -> DataFrame:
    """Return the rows that may change the price periods of their product.

    A row changes no period if two conditions are true: its price is the latest known price of the product, and its
    batch is not older than the batch of this price. These rows are left out. They are most rows of a snapshot.
    """
    known = product_prices_silver.where("valid_to IS NULL").select(
        "product_id",
        sf.col("price").alias("_price"),
        sf.col("unit_cost").alias("_cost"),
        sf.col("_batch_id").alias("_since"),
    )
    has_cost = to_money(sf.col("unit_cost")).eqNullSafe(sf.col("_cost"))
    is_known = (sf.col("price") == sf.col("_price")) & has_cost & (sf.col("_batch_id") >= sf.col("_since"))
    compared = products_bronze.join(known, "product_id", how="left")
    return compared.where("product_id IS NOT NULL").where(~sf.coalesce(is_known, sf.lit(False)))


PRODUCT_PRICES = Table(
    PRODUCT_PRICES_SILVER,
    build_product_prices_silver,
    reads=(PRODUCTS_BRONZE, PRODUCTS_SILVER),
    follows=(ID_KEYS_SILVER,),
    settings=("business_time_zone",),
    materialization=TouchedKeys(
        by=("product_id",), keys_to_build=_rows_with_new_price, keep_rows=_rows_that_change_price, is_followed=True
    ),
)
