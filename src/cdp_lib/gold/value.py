"""customer_value_gold: what each customer has brought in, and what is to be expected."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.analytics import CUSTOMER_VALUE_GOLD


def build_customer_value_gold(
    predicted: DataFrame, as_of: date, gross_margin: float, purchase_model_version: str, spend_model_version: str
) -> DataFrame:
    """One row per customer of the platform, whether or not they ever bought.

    Args:
        predicted: One row per customer, with what `build_customer_summaries`, `with_rfm` and `with_predictions` add.
        as_of: Last day that counts.
        gross_margin: Share of revenue left after the cost of what was sold.
        purchase_model_version: Name of the fit that purchases are predicted by.
        spend_model_version: Name of the fit that spend is predicted by.

    Returns:
        Columns of `customer_value_gold`.
    """
    margin = sf.lit(Decimal(str(gross_margin))).cast("decimal(9,6)")
    is_predicted = sf.col("prediction_state") != "never_bought"
    return predicted.select(
        "*",
        sf.lit(as_of).alias("as_of"),
        (sf.col("total_revenue").cast("decimal(28,2)") * margin).cast("decimal(38,2)").alias("historic_clv"),
        sf.when(is_predicted, sf.lit(purchase_model_version)).alias("purchase_model_version"),
        sf.when(is_predicted, sf.lit(spend_model_version)).alias("spend_model_version"),
    ).selectExpr(*CUSTOMER_VALUE_GOLD.select_list)
