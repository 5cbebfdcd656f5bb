"""model_quality_gold: forecasts from a cut-off, compared with the actual purchases after it."""

from __future__ import annotations

from datetime import date, datetime

from pyspark.sql import DataFrame

from cdp_lib.analytics.holdout import collect_holdout, measure_models
from cdp_lib.contracts.analytics import MODEL_FITS_GOLD, MODEL_QUALITY_GOLD
from cdp_lib.contracts.silver import CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER
from cdp_lib.frames import frame_from_rows
from cdp_lib.gold.model_fits import find_fits
from cdp_lib.gold.refits import describe_need_of_quality
from cdp_lib.pipeline.table import BUSINESS_DATE, Append, Table


def build_model_quality_gold(
    customer_acquisitions_silver: DataFrame,
    purchases_silver: DataFrame,
    model_fits_gold: DataFrame,
    model_quality_gold: DataFrame,
    as_of: date,
    churn_horizon_days: int,
    recorded_at: datetime,
) -> DataFrame:
    """One row per model or baseline, measure and decile: the forecast from cut_off to as_of, and the actual figures.

    Args:
        customer_acquisitions_silver: One row per customer.
        purchases_silver: One row per customer and day of purchase.
        model_fits_gold: One row per fit of a model.
        model_quality_gold: Rows of earlier days. They stay, so that a drift shows.
        as_of: Last day to include.
        churn_horizon_days: Length of the forecast period, in days.
        recorded_at: Start of the run.

    Returns:
        Columns of `model_quality_gold`.
    """
    holdout = collect_holdout(customer_acquisitions_silver, purchases_silver, as_of, churn_horizon_days)
    chosen = find_fits(model_fits_gold, as_of).purchases.model
    return frame_from_rows(measure_models(holdout, chosen), MODEL_QUALITY_GOLD.types, purchases_silver)


MODEL_QUALITY = Table(
    MODEL_QUALITY_GOLD,
    build_model_quality_gold,
    reads=(CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER, MODEL_FITS_GOLD),
    settings=(BUSINESS_DATE, "churn_horizon_days"),
    libraries=("scipy", "numpy"),
    materialization=Append(describe_need_of_quality),
    only_if="fit_models",
)
