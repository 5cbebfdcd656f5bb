"""product_prices_silver: what products cost, and when."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.contracts.silver import PRODUCT_PRICES_SILVER


def build_product_prices_silver(sightings: DataFrame) -> DataFrame:
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
    seen = sightings.select("*", since.alias("since"), sf.lag("price").over(by_batch).alias("price_before"))
    changes = seen.where("price_before IS NULL OR price_before <> price").select(
        "*",
        sf.when(sf.col("price_before").isNotNull(), sf.col("since")).alias("valid_from"),
    )
    later = by_batch.rowsBetween(1, Window.unboundedFollowing)
    known_better = changes.select("*", sf.min("since").over(later).alias("since_later"))
    # The first price has no beginning that a later batch could come before.
    periods = known_better.where("valid_from IS NULL OR since_later IS NULL OR valid_from < since_later")
    by_day = Window.partitionBy("product_id").orderBy(sf.asc_nulls_first("valid_from"))
    return periods.select("*", sf.lead("valid_from").over(by_day).alias("valid_to")).selectExpr(
        *PRODUCT_PRICES_SILVER.select_list
    )
