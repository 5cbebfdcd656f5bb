"""customer_value_gold: what each customer has brought in, and what is to be expected."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.analytics.predictions import CustomerFits, Terms, collect_histories, with_history, with_predictions
from cdp_lib.analytics.rfm import with_rfm
from cdp_lib.analytics.summaries import build_customer_summaries
from cdp_lib.contracts.analytics import CUSTOMER_VALUE_GOLD, MODEL_FITS_GOLD
from cdp_lib.contracts.silver import CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER
from cdp_lib.gold.model_fits import find_fits
from cdp_lib.pipeline.table import BUSINESS_DATE, Table


def build_customer_value_gold(
    customer_acquisitions_silver: DataFrame,
    purchases_silver: DataFrame,
    model_fits_gold: DataFrame,
    as_of: date,
    churn_horizon_days: int,
    clv_horizon_months: int,
    gross_margin: float,
    annual_discount_rate: float,
) -> DataFrame:
    """One row per customer of the platform, whether or not they ever bought.

    Args:
        customer_acquisitions_silver: One row per customer.
        purchases_silver: One row per customer and day of purchase.
        model_fits_gold: One row per fit of a model.
        as_of: Last day that counts.
        churn_horizon_days: Who buys nothing for so long has churned.
        clv_horizon_months: Months that predictive CLV counts.
        gross_margin: Share of revenue left after the cost of what was sold.
        annual_discount_rate: 0.1 for 10 % a year.

    Returns:
        Columns of `customer_value_gold`.

    Raises:
        CdpError: No fit knows nothing later than `as_of`.
    """
    terms = Terms(churn_horizon_days, clv_horizon_months, gross_margin, annual_discount_rate)
    customers = with_history(build_customer_summaries(customer_acquisitions_silver, purchases_silver, as_of))
    kept = find_fits(model_fits_gold, as_of)
    fits = CustomerFits(kept.purchases, kept.spend, collect_histories(customers))
    return with_value(with_predictions(with_rfm(customers), fits, terms), as_of, gross_margin, *kept.versions)


CUSTOMER_VALUE = Table(
    CUSTOMER_VALUE_GOLD,
    build_customer_value_gold,
    reads=(CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER, MODEL_FITS_GOLD),
    settings=(BUSINESS_DATE, "churn_horizon_days", "clv_horizon_months", "gross_margin", "annual_discount_rate"),
    libraries=("scipy", "numpy"),
)


def with_value(
    predicted: DataFrame, as_of: date, gross_margin: float, purchase_model_version: str, spend_model_version: str
) -> DataFrame:
    """Return predicted customers with what they have brought in, and the fits they are predicted by.

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
