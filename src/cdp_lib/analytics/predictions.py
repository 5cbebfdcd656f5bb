"""Purchase histories of customers, and predictions from fitted models.

A purchase model makes the same prediction for all customers with the same history. The engine therefore sends each
distinct history once, with its number of customers, and the driver computes one prediction per history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.analytics.fits import SAMPLE_SIZE, Fit
from cdp_lib.analytics.histories import Floats, Histories
from cdp_lib.analytics.lifetime_value import WEEKS_PER_MONTH, discounted_purchases
from cdp_lib.analytics.purchases import PurchaseModel
from cdp_lib.analytics.rfm import count_by_value, leading_digits
from cdp_lib.analytics.selection import MODELS, Replay, fit_best
from cdp_lib.analytics.spend import GammaGamma, Spending, fit_spend
from cdp_lib.frames import frame_from_arrow

HISTORY = ("frequency", "recency_weeks", "age_weeks")
"""Columns of a history. Customers with equal values in these columns get the same prediction of purchases."""

_MAX_WEEKS = 8192.0
"""Limit of the weeks in a history: 157 years. A history with fewer than 100 million purchases is a whole number below
2^53 as one code, which is exact as DOUBLE.
"""

PREDICTED, PURCHASES_ONLY, NEVER_BOUGHT = "predicted", "purchases_only", "never_bought"

_PREDICTIONS = ("probability_alive", "churn_probability", "expected_purchases", "discounted_purchases")


@dataclass(frozen=True)
class Terms:
    """Horizons, margin and discount rate of predictions.

    Attributes:
        churn_horizon_days: Number of days after `as_of`. A customer without a purchase in these days has churned.
        clv_horizon_months: Number of months after `as_of` that predictive CLV covers.
        gross_margin: Share of revenue that remains after the cost of goods sold, above 0 and up to 1.
        annual_discount_rate: Discount rate per year; 0.1 for 10 %.
    """

    churn_horizon_days: int
    clv_horizon_months: int
    gross_margin: float
    annual_discount_rate: float


@dataclass(frozen=True)
class CustomerFits:
    """Fits of the purchase model and of the spend model, with the histories to predict.

    Attributes:
        purchases: Fit of the purchase model that was chosen.
        spend: Fit of the spend model.
        histories: Histories that need predictions. `fit_customers` fits the purchase model to the same histories.
    """

    purchases: Fit
    spend: Fit
    histories: Histories

    @property
    def observed_weeks(self) -> int:
        """Weeks from the first purchase in the data to the end of the observation."""
        return int(max(self.histories.age, default=0))


def with_history(summaries: DataFrame) -> DataFrame:
    """Return customers with `recency_weeks` and `age_weeks`, in whole weeks.

    Both columns are null for customers who never bought.

    Args:
        summaries: One row per customer, from `build_customer_summaries`.
    """
    span = sf.datediff("last_purchase_date", "first_purchase_date")
    return summaries.select(
        "*", _weeks(span).alias("recency_weeks"), _weeks(span + sf.col("recency_days")).alias("age_weeks")
    )


def fit_customers(customers: DataFrame, earlier: DataFrame | None = None) -> CustomerFits:
    """Fit a purchase model to all buyers, and the spend model to buyers with a repeat purchase.

    Args:
        customers: One row per customer, from `with_history`.
        earlier: The same at a cut-off day. The purchases after it choose the purchase model; None keeps the order.
    """
    histories = collect_histories(customers)
    replay = None if earlier is None else _collect_replay(customers, earlier, histories.customers)
    return CustomerFits(
        purchases=fit_best(histories, replay),
        spend=fit_spend(collect_spending(customers)),
        histories=histories,
    )


def collect_histories(customers: DataFrame) -> Histories:
    """Return the distinct histories of the customers who have bought.

    Args:
        customers: One row per customer, from `with_history`.
    """
    return histories_of(count_by_value(customers, {"history": history_code()})["history"])


def history_code() -> Column:
    """Return the history of a customer as one number, so that histories can be counted with other values."""
    x, t_x, T = (sf.col(name).cast("double") for name in HISTORY)
    return (x * _MAX_WEEKS + t_x) * _MAX_WEEKS + T


def histories_of(counts: Mapping[float, int]) -> Histories:
    """Return the histories of customers.

    Args:
        counts: Number of customers by `history_code`.
    """
    codes = np.fromiter(counts, np.float64)
    earlier, T = np.divmod(codes, _MAX_WEEKS)
    return Histories.of_customers(*np.divmod(earlier, _MAX_WEEKS), T, np.fromiter(counts.values(), np.float64))


def _collect_replay(customers: DataFrame, earlier: DataFrame, buyers: int) -> Replay:
    """Return the histories of a sample of the customers at a cut-off and at the end of the data.

    Args:
        customers: One row per customer, from `with_history`.
        earlier: The same at the cut-off.
        buyers: Number of customers who have bought. The sample takes every k-th person number.
    """
    is_sampled = sf.col("person_id") % max(1, buyers // SAMPLE_SIZE) == 0
    before = [sf.col(name).alias(f"earlier_{name}") for name in HISTORY]
    pairs = (
        earlier.where("frequency IS NOT NULL")
        .where(is_sampled)
        .select("person_id", *before)
        .join(customers.where(is_sampled).select("person_id", *HISTORY), "person_id")
        .groupBy(*(f"earlier_{name}" for name in HISTORY), *HISTORY)
        .agg(sf.count("*").alias("customers"))
        .toArrow()
    )
    columns = [_floats(column) for column in pairs.columns]
    order = np.lexsort(columns[::-1])
    x, t_x, T, x_after, t_x_after, T_after, weight = (column[order] for column in columns)
    return Replay((x, t_x, T), (x_after, t_x_after, T_after), weight)


def with_predictions(customers: DataFrame, fits: CustomerFits, terms: Terms) -> DataFrame:
    """Return customers with predictions.

    A prediction is null if the customer never bought, or if the fit has no parameters. `prediction_state` says why.

    Args:
        customers: One row per customer, from `with_history`.
        fits: Fits of the models.
        terms: Horizons, margin and discount rate.

    Returns:
        The customers with `probability_alive`, `churn_probability`, `purchase_probability`, `expected_purchases`,
        `expected_spend`, `predictive_clv` and `prediction_state`.
    """
    is_buyer = sf.col("frequency").isNotNull()
    if fits.purchases.parameters:
        model = MODELS[fits.purchases.model](**fits.purchases.parameters)
        by_history = _predict_histories(customers, fits.histories, model, terms)
        predicted = customers.join(by_history, [*HISTORY], how="left")
    else:
        predicted = customers.select("*", *(sf.lit(None).cast("double").alias(name) for name in _PREDICTIONS))
    state = PREDICTED if fits.spend.parameters else PURCHASES_ONLY
    spend = _expected_spend_per_day(fits.spend)
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


def _predict_histories(customers: DataFrame, histories: Histories, model: PurchaseModel, terms: Terms) -> DataFrame:
    """Return one row per history, with its predictions."""
    x, t_x, T = histories.frequency, histories.recency, histories.age
    months, rate = terms.clv_horizon_months, terms.annual_discount_rate
    predictions = {
        "probability_alive": model.probability_alive(x, t_x, T),
        "churn_probability": model.probability_of_no_purchase(terms.churn_horizon_days / 7, x, t_x, T),
        "expected_purchases": model.expected_purchases(months * WEEKS_PER_MONTH, x, t_x, T),
        "discounted_purchases": discounted_purchases(model, months, rate, x, t_x, T),
    }
    keys = [pa.array(x.astype(np.int64)), pa.array(t_x.astype(np.int32)), pa.array(T.astype(np.int32))]
    table = pa.Table.from_pydict(dict(zip(HISTORY, keys, strict=True)) | predictions)
    return frame_from_arrow(table, session_of=customers)


def collect_spending(customers: DataFrame) -> Spending:
    """Return the mean spend per repeat purchase day for groups of repeat buyers.

    The customers of a group have the same frequency and a similar mean spend: its first three digits are equal, as in
    1,231.00 and 1,239.00 (`leading_digits`).
    """
    groups = (
        customers.where("frequency > 0 AND repeat_revenue > 0")
        .groupBy("frequency", leading_digits(sf.col("repeat_monetary_value")).alias("digits"))
        .agg(sf.sum("repeat_revenue").alias("revenue"), sf.count("*").alias("customers"))
        .select("frequency", sf.col("revenue").cast("double").alias("revenue"), "customers")
        .toArrow()
    )
    frequency, revenue, weight = (_floats(column) for column in groups.columns)
    mean = revenue / (frequency * weight)
    # Sort the groups: the last digits of a sum depend on the order of the rows, and the fit depends on the sum.
    order = np.lexsort((mean, frequency))
    return Spending(frequency[order], mean[order], weight[order])


def _expected_spend_per_day(spend: Fit) -> Column:
    if not spend.parameters:
        return sf.lit(None).cast("double")
    # Evaluate in the engine: every customer may have a different mean, and the driver cannot hold that many values.
    mean = sf.coalesce("repeat_monetary_value", sf.lit(0.0))
    expected: Column = GammaGamma(**spend.parameters).expected_mean(sf.col("frequency"), mean)
    return expected


def _weeks(days: Column) -> Column:
    """Return a number of days in weeks, rounded to the nearest whole number."""
    return sf.floor((days + 3) / 7).cast("int")


def _floats(column: pa.ChunkedArray) -> Floats:
    return np.asarray(column.to_numpy(), dtype=np.float64)
