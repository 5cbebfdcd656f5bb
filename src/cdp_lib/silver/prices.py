"""product_prices_silver: what products cost, and when."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.contracts.bronze import PRODUCTS_BRONZE
from cdp_lib.contracts.silver import PRODUCT_PRICES_SILVER, PRODUCTS_SILVER
from cdp_lib.pipeline.table import Table
from cdp_lib.pipeline.touched_keys import TouchedKeys
from cdp_lib.quality import check_versions, record_hash
from cdp_lib.silver.products import build_products_silver


def build_product_prices_silver(products_bronze: DataFrame) -> DataFrame:
    """One row per product and period in which its price did not change.

    Args:
        products_bronze: All rows of some products.

    Returns:
        Columns of `product_prices_silver`.
    """
    return price_periods(_sightings(products_bronze))


def price_periods(sightings: DataFrame) -> DataFrame:
    """One row per product and period in which its price did not change.

    A source keeps the price of today only; that it has changed shows when a batch has another one than the batch
    before. It is valid from when the source says it changed the product, else from when the batch was extracted. The
    first known price is open to the past. Later batches know better: if one says that its price holds since before
    a period that an earlier batch gave, that period is gone. Of changes on one day the last counts for the whole day.

    Args:
        sightings: One row per product and batch: `product_id, price, updated_at, extracted_at, _batch_id`.

    Returns:
        Columns of `product_prices_silver`.
    """
    by_batch = Window.partitionBy("product_id").orderBy("_batch_id")
    since = sf.to_date(sf.coalesce("updated_at", "extracted_at"))
    changes = _price_changes(sightings).select(
        "*",
        since.alias("since"),
        sf.when(sf.col("price_before").isNotNull(), since).alias("valid_from"),
    )
    later = by_batch.rowsBetween(1, Window.unboundedFollowing)
    known_better = changes.select("*", sf.min("since").over(later).alias("since_later"))
    # The first price has no beginning that a later batch could come before.
    periods = known_better.where("valid_from IS NULL OR since_later IS NULL OR valid_from < since_later")
    by_day = Window.partitionBy("product_id").orderBy(sf.asc_nulls_first("valid_from"))
    return periods.select("*", sf.lead("valid_from").over(by_day).alias("valid_to")).selectExpr(
        *PRODUCT_PRICES_SILVER.select_list
    )


def _price_changes(sightings: DataFrame) -> DataFrame:
    """Return the sightings whose price is not that of the batch before; the first of each product is one."""
    by_batch = Window.partitionBy("product_id").orderBy("_batch_id")
    seen = sightings.select("*", sf.lag("price").over(by_batch).alias("price_before"))
    return seen.where("price_before IS NULL OR price_before <> price")


def _rows_of_changes(products_bronze: DataFrame) -> DataFrame:
    """Return the rows that changed a price: without the others, the periods come out the same."""
    changes = _price_changes(_sightings(products_bronze)).select("product_id", "_batch_id")
    rows = products_bronze.join(changes, ["product_id", "_batch_id"], how="left_semi")
    return rows.withColumn("_record_hash", record_hash(PRODUCTS_BRONZE))


def _sightings(products_bronze: DataFrame) -> DataFrame:
    """Return one row per product and batch that gives it a good price."""
    versions = check_versions(build_products_silver(products_bronze), PRODUCTS_SILVER, also=("_ingested_at",))
    good = versions.where(sf.col("_keeps_rules") & ~sf.col("_is_deleted"))
    return good.select("product_id", "price", "updated_at", sf.col("_ingested_at").alias("extracted_at"), "_batch_id")


def _repriced(products_bronze: DataFrame, product_prices_silver: DataFrame) -> DataFrame:
    """Return the rows whose price is not the one that is known: most rows of a snapshot say what is known."""
    known = product_prices_silver.where("valid_to IS NULL").select(
        "product_id", sf.col("price").alias("_price"), sf.col("_batch_id").alias("_since")
    )
    is_known = (sf.col("price") == sf.col("_price")) & (sf.col("_batch_id") >= sf.col("_since"))
    compared = products_bronze.join(known, "product_id", how="left")
    return compared.where("product_id IS NOT NULL").where(~sf.coalesce(is_known, sf.lit(False)))


PRODUCT_PRICES = Table(
    PRODUCT_PRICES_SILVER,
    build_product_prices_silver,
    reads=(PRODUCTS_BRONZE,),
    materialization=TouchedKeys(by=("product_id",), touched=_repriced, counts=_rows_of_changes, is_followed=True),
)
