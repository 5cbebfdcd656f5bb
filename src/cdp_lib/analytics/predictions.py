"""From summaries of customers to histories, and from fitted models back to customers.

Customers of the same history are one to the models: what leaves the engine is histories, with how many customers have
each, and what comes back is a prediction for each of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.analytics.fits import Fit
from cdp_lib.analytics.histories import Floats, Histories
from cdp_lib.analytics.lifetime_value import WEEKS_A_MONTH, discounted_purchases
from cdp_lib.analytics.purchases import MODELS, ParetoNbd, PurchaseModel, fit_purchases
from cdp_lib.analytics.rfm import leading_digits
from cdp_lib.analytics.spend import GammaGamma, Spending, fit_spend
from cdp_lib.frames import frame_of

DEFAULT_MODEL = ParetoNbd

HISTORY = ("frequency", "recency_weeks", "age_weeks")
"""What two customers who are the same to the models agree in."""

PREDICTED, PURCHASES_ONLY, NEVER_BOUGHT = "predicted", "purchases_only", "never_bought"

_PREDICTIONS = ("probability_alive", "churn_probability", "expected_purchases", "discounted_purchases")


@dataclass(frozen=True)
class Terms:
    """What predictions refer to.

    Attributes:
        churn_horizon_days: Who buys nothing for so long has churned.
        clv_horizon_months: Months that predictive CLV counts.
        gross_margin: Share of revenue left after the cost of what was sold.
        annual_discount_rate: 0.1 for 10 % a year.
    """

    churn_horizon_days: int
    clv_horizon_months: int
    gross_margin: float
    annual_discount_rate: float


@dataclass(frozen=True)
class CustomerFits:
    """The two fits that customers are predicted by.

    Attributes:
        purchases: Of the default model of purchases.
        spend: Of the model of spend.
        histories: What the model of purchases was fitted on, and what it is to predict.
    """

    purchases: Fit
    spend: Fit
    histories: Histories

    @property
    def observed_weeks(self) -> int:
        """Weeks from the first purchase in the data to their last day."""
        return int(max(self.histories.age, default=0))


def with_history(summaries: DataFrame) -> DataFrame:
    """Customers with `recency_weeks` and `age_weeks`, as the models count: rounded, null for who never bought.

    Args:
        summaries: One row per customer, as `build_customer_summaries` gives it.
    """
    span = sf.datediff("last_purchase_date", "first_purchase_date")
    return summaries.select(
        "*", _weeks(span).alias("recency_weeks"), _weeks(span + sf.col("recency_days")).alias("age_weeks")
    )


def fit_customers(customers: DataFrame) -> CustomerFits:
    """Fit the models on all customers who have bought.

    Args:
        customers: One row per customer, as `with_history` gives it.
    """
    histories = collect_histories(customers)
    return CustomerFits(
        purchases=fit_purchases(DEFAULT_MODEL, histories),
        spend=fit_spend(_collect_spending(customers)),
        histories=histories,
    )


def collect_histories(customers: DataFrame) -> Histories:
    """Different histories of the customers who have bought."""
    groups = customers.where("frequency IS NOT NULL").groupBy(*HISTORY).agg(sf.count("*").alias("customers"))
    return Histories.of_customers(*(_floats(column) for column in groups.toArrow().columns))


def with_predictions(customers: DataFrame, fits: CustomerFits, terms: Terms) -> DataFrame:
    """Customers with what is to be expected of them; null where a model gives no figures.

    Args:
        customers: One row per customer, as `with_history` gives it.
        fits: Fitted models.
        terms: What predictions refer to.

    Returns:
        The customers with `probability_alive`, `churn_probability`, `purchase_probability`, `expected_purchases`,
        `expected_spend`, `predictive_clv` and `prediction_state`.
    """
    is_buyer = sf.col("frequency").isNotNull()
    if fits.purchases.parameters:
        model = MODELS[fits.purchases.model](**fits.purchases.parameters)
        by_history = _predictions(customers, fits.histories, model, terms)
        predicted = customers.join(by_history, [*HISTORY], how="left")
    else:
        predicted = customers.select("*", *(sf.lit(None).cast("double").alias(name) for name in _PREDICTIONS))
    state = PREDICTED if fits.spend.parameters else PURCHASES_ONLY
    spend = _expected_spend_of_a_day(fits.spend)
    margin = sf.lit(terms.gross_margin)
    return predicted.select(
        "*",
        (1 - sf.col("churn_probability")).alias("purchase_probability"),
        (sf.col("expected_purchases") * spend).alias("expected_spend"),
        (sf.col("discounted_purchases") * spend * margin).alias("predictive_clv"),
        sf.when(~is_buyer, NEVER_BOUGHT)
        .otherwise(state if fits.purchases.parameters else fits.purchases.state)
        .alias("prediction_state"),
    )


def _predictions(customers: DataFrame, histories: Histories, model: PurchaseModel, terms: Terms) -> DataFrame:
    """One row per history, with what is predicted of it."""
    x, t_x, T = histories.frequency, histories.recency, histories.age
    months, rate = terms.clv_horizon_months, terms.annual_discount_rate
    predictions = {
        "probability_alive": model.probability_alive(x, t_x, T),
        "churn_probability": model.probability_of_no_purchase(terms.churn_horizon_days / 7, x, t_x, T),
        "expected_purchases": model.expected_purchases(months * WEEKS_A_MONTH, x, t_x, T),
        "discounted_purchases": discounted_purchases(model, months, rate, x, t_x, T),
    }
    keys = [pa.array(x.astype(np.int64)), pa.array(t_x.astype(np.int32)), pa.array(T.astype(np.int32))]
    table = pa.Table.from_pydict(dict(zip(HISTORY, keys, strict=True)) | predictions)
    return frame_of(table, beside=customers)


def _collect_spending(customers: DataFrame) -> Spending:
    """What customers spend on a repeat purchase day; those whose means agree in three digits are taken together."""
    groups = (
        customers.where("frequency > 0 AND repeat_revenue > 0")
        .groupBy("frequency", leading_digits(sf.col("repeat_monetary_value")).alias("digits"))
        .agg(sf.sum("repeat_revenue").alias("revenue"), sf.count("*").alias("customers"))
        .select("frequency", sf.col("revenue").cast("double").alias("revenue"), "customers")
        .toArrow()
    )
    frequency, revenue, weight = (_floats(column) for column in groups.columns)
    mean = revenue / (frequency * weight)
    # In one order on every engine: the last digits of a sum depend on it, and a fit on those.
    order = np.lexsort((mean, frequency))
    return Spending(frequency[order], mean[order], weight[order])


def _expected_spend_of_a_day(spend: Fit) -> Column:
    if not spend.parameters:
        return sf.lit(None).cast("double")
    # The formula is the same for columns: money is as many values as customers, too many to leave the engine.
    mean = sf.coalesce("repeat_monetary_value", sf.lit(0.0))
    expected: Column = GammaGamma(**spend.parameters).expected_mean(sf.col("frequency"), mean)
    return expected


def _weeks(days: Column) -> Column:
    """Whole weeks that a number of days is nearest to."""
    return sf.floor((days + 3) / 7).cast("int")


def _floats(column: pa.ChunkedArray) -> Floats:
    return np.asarray(column.to_numpy(), dtype=np.float64)
