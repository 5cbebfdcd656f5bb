"""Back-test: fit the models to the data up to a cut-off, and compare the forecasts with the later purchases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, timedelta

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.analytics.backtest import Forecast, active_if_recent, last_period_rate, measure_forecast
from cdp_lib.analytics.histories import Floats, Histories
from cdp_lib.analytics.predictions import HISTORY, with_history
from cdp_lib.analytics.selection import MODELS, fit_model
from cdp_lib.analytics.summaries import build_customer_summaries

_COUNTS = ("purchases_after", "purchases_before", "purchases_earlier")


@dataclass(frozen=True)
class Holdout:
    """Customers who bought on or before a cut-off day, in groups.

    The customers of a group have the same history at the cut-off. They also have the same number of purchase days in
    `earlier`, in `before` and in `after`. These three periods have the same length. `before` ends with the cut-off day.

    Attributes:
        histories: Histories at the cut-off, one per group. The weight of a history is the number of customers in the
            group.
        after: Purchase days per customer in the period after the cut-off. The models forecast these purchases.
        before: Purchase days per customer in the period that ends with the cut-off.
        earlier: Purchase days per customer in the period that precedes `before`.
        cut_off: Last day that the models see.
        as_of: Last day of the period after the cut-off.
    """

    histories: Histories
    after: Floats
    before: Floats
    earlier: Floats
    cut_off: date
    as_of: date

    @property
    def weeks(self) -> float:
        """Length of a period, in weeks."""
        return (self.as_of - self.cut_off).days / 7


def collect_holdout(
    customer_acquisitions_silver: DataFrame, purchases_silver: DataFrame, as_of: date, days: int
) -> Holdout:
    """Return the customers who bought on or before the cut-off. The cut-off is `days` days before `as_of`.

    Args:
        customer_acquisitions_silver: One row per customer.
        purchases_silver: One row per customer and day of purchase.
        as_of: Last day to include.
        days: Length of the forecast period, in days.
    """
    cut_off = as_of - timedelta(days=days)
    purchases = purchases_silver.where("transaction_count > 0").where(sf.col("purchase_date") <= sf.lit(as_of))
    age = sf.datediff(sf.lit(cut_off), "purchase_date")  # negative for purchases after the cut-off
    purchases_by_period = purchases.groupBy("person_id").agg(
        sf.count(sf.when(age < 0, 1)).alias("purchases_after"),
        sf.count(sf.when((age >= 0) & (age < days), 1)).alias("purchases_before"),
        sf.count(sf.when((age >= days) & (age < 2 * days), 1)).alias("purchases_earlier"),
    )
    known = with_history(build_customer_summaries(customer_acquisitions_silver, purchases_silver, cut_off))
    groups = (
        known.where("frequency IS NOT NULL")
        .join(purchases_by_period, "person_id", how="inner")
        .groupBy(*HISTORY, *_COUNTS)
        .agg(sf.count("*").alias("customers"))
        .toArrow()
    )
    columns = [np.asarray(column.to_numpy(), dtype=np.float64) for column in groups.columns]
    order = np.lexsort(columns[::-1])
    x, t_x, T, after, before, earlier, customers = (column[order] for column in columns)
    return Holdout(Histories(x, t_x, T, customers), after, before, earlier, cut_off, as_of)


def measure_models(holdout: Holdout) -> list[dict[str, object]]:
    """Return rows of `model_quality_gold` for every model and baseline.

    Args:
        holdout: Histories at the cut-off, with the purchases before and after it.
    """
    dates = {"as_of": holdout.as_of, "cut_off": holdout.cut_off}
    return [row | dates for row in (*_model_rows(holdout), *_baseline_rows(holdout))]


def _model_rows(holdout: Holdout) -> Iterator[dict[str, object]]:
    histories = holdout.histories
    known = (histories.frequency, histories.recency, histories.age)
    distinct = Histories.of_customers(*known, histories.weight)
    for name, model in MODELS.items():
        fit = fit_model(name, distinct)
        if fit.parameters:
            fitted = model(**fit.parameters)
            purchases = fitted.expected_purchases(holdout.weeks, *known)
            yield from _measure_rows(name, holdout, purchases, fitted.probability_of_no_purchase(holdout.weeks, *known))
        else:
            yield _quality_row(name, fit.state, measure="state", decile=0, customers=fit.customers)


def _baseline_rows(holdout: Holdout) -> Iterator[dict[str, object]]:
    is_recent = (holdout.before > 0).astype(np.float64)
    yield from _measure_rows("last_period_rate", holdout, *last_period_rate(holdout.before, holdout.histories.weight))
    yield from _measure_rows("active_if_recent", holdout, *active_if_recent(is_recent, _purchases_if_active(holdout)))


def _purchases_if_active(holdout: Holdout) -> float:
    """Return the mean number of purchases in `before`, for the customers who bought in `earlier`.

    The result is 0 if no customer bought in `earlier`. The estimate uses no purchases after the cut-off.
    """
    were_active = holdout.histories.weight * (holdout.earlier > 0)
    return float(holdout.before @ were_active / were_active.sum()) if were_active.any() else 0.0


def _measure_rows(model: str, holdout: Holdout, purchases: Floats, churn: Floats) -> Iterator[dict[str, object]]:
    for measured in measure_forecast(Forecast(purchases, churn, holdout.after, holdout.histories.weight)):
        yield _quality_row(model, "fitted", **asdict(measured))


def _quality_row(model: str, state: str, *, customers: float, **measured: object) -> dict[str, object]:
    return {"model": model, "state": state, "customer_count": round(customers)} | measured
