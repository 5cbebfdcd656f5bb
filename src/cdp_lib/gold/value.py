"""customer_value_gold: historic and predicted value of each customer."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.analytics.predictions import (
    CustomerFits,
    Terms,
    histories_of,
    history_code,
    with_history,
    with_predictions,
)
from cdp_lib.analytics.rfm import count_by_value
from cdp_lib.analytics.segments import SegmentTerms, segment_values, with_segments
from cdp_lib.analytics.summaries import build_customer_summaries
from cdp_lib.contracts.analytics import CUSTOMER_VALUE_GOLD, MODEL_FITS_GOLD
from cdp_lib.contracts.silver import CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER
from cdp_lib.gold.model_fits import find_fits
from cdp_lib.pipeline.table import BUSINESS_DATE, Table

_HISTORY = "history"


def build_customer_value_gold(
    customer_acquisitions_silver: DataFrame,
    purchases_silver: DataFrame,
    model_fits_gold: DataFrame,
    as_of: date,
    churn_horizon_days: int,
    clv_horizon_months: int,
    gross_margin: float,
    annual_discount_rate: float,
    minimum_scored_buyers: int,
) -> DataFrame:
    """One row per customer of the platform, with or without purchases.

    Args:
        customer_acquisitions_silver: One row per customer.
        purchases_silver: One row per customer and day of purchase.
        model_fits_gold: One row per fit of a model.
        as_of: Last day to include.
        churn_horizon_days: Number of days after `as_of`. A customer without a purchase in these days has churned.
        clv_horizon_months: Number of months after `as_of` that predictive CLV covers.
        gross_margin: Share of revenue that remains after the cost of goods sold, above 0 and up to 1.
        annual_discount_rate: Discount rate per year; 0.1 for 10 %.
        minimum_scored_buyers: Minimum number of buyers for RFM scores that are fifths.

    Returns:
        Columns of `customer_value_gold`.

    Raises:
        CdpError: A model has no fit up to `as_of`.
    """
    terms = Terms(churn_horizon_days, clv_horizon_months, gross_margin, annual_discount_rate)
    customers = with_history(build_customer_summaries(customer_acquisitions_silver, purchases_silver, as_of))
    recorded = find_fits(model_fits_gold, as_of)
    # One query counts the values for the segments and the histories to predict.
    counts = count_by_value(customers, segment_values() | {_HISTORY: history_code()})
    fits = CustomerFits(recorded.purchases, recorded.spend, histories_of(counts[_HISTORY]))
    segmented = with_segments(customers, counts, SegmentTerms(churn_horizon_days, minimum_scored_buyers))
    return with_value(with_predictions(segmented, fits, terms), as_of, gross_margin, *recorded.versions)


CUSTOMER_VALUE = Table(
    CUSTOMER_VALUE_GOLD,
    build_customer_value_gold,
    reads=(CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER, MODEL_FITS_GOLD),
    settings=(
        BUSINESS_DATE,
        "churn_horizon_days",
        "clv_horizon_months",
        "gross_margin",
        "annual_discount_rate",
        "minimum_scored_buyers",
    ),
    libraries=("scipy", "numpy"),
)


def with_value(
    predicted: DataFrame, as_of: date, gross_margin: float, purchase_model_version: str, spend_model_version: str
) -> DataFrame:
    """Add the historic value and the versions of the fits to customers with predictions.

    Args:
        predicted: One row per customer, with columns of `build_customer_summaries`, `with_segments` and
            `with_predictions`.
        as_of: Last day to include.
        gross_margin: Share of revenue that remains after the cost of goods sold, above 0 and up to 1.
        purchase_model_version: Version of the fit that predicted purchases.
        spend_model_version: Version of the fit that predicted spend.

    Returns:
        Columns of `customer_value_gold`.
    """
    margin = sf.lit(Decimal(str(gross_margin))).cast("decimal(9,6)")
    is_predicted = sf.col("prediction_state") != "never_bought"
    return predicted.select(
        "*",
        sf.lit(as_of).alias("as_of"),
        (sf.col("total_revenue").cast("decimal(28,4)") * margin).cast("decimal(38,4)").alias("historic_clv"),
        sf.when(is_predicted, sf.lit(purchase_model_version)).alias("purchase_model_version"),
        sf.when(is_predicted, sf.lit(spend_model_version)).alias("spend_model_version"),
    ).selectExpr(*CUSTOMER_VALUE_GOLD.select_list)
