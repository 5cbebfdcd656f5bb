"""Back-test: fit the models to the data up to a cut-off, and compare the forecasts with the later purchases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, timedelta

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.analytics.backtest import Forecast, measure_forecast
from cdp_lib.analytics.baselines import Calibration, baseline_forecasts
from cdp_lib.analytics.fits import Fit
from cdp_lib.analytics.histories import Floats, Histories
from cdp_lib.analytics.predictions import HISTORY, collect_spending, with_history
from cdp_lib.analytics.selection import MODELS, fit_model
from cdp_lib.analytics.spend import GammaGamma, fit_spend
from cdp_lib.analytics.summaries import build_customer_summaries


@dataclass(frozen=True)
class Holdout:
    """Customers who bought on or before a cut-off day, in groups, and what they bought after it.

    The customers of a group have the same history at the cut-off, and the same number of purchase days after it.

    Attributes:
        histories: Histories at the cut-off, one per group. The weight of a history is the number of customers in the
            group.
        after: Purchase days per customer in the period after the cut-off. The models forecast these purchases.
        repeat_revenue: Revenue of the group on repeat purchase days up to the cut-off, in the reporting currency.
        revenue_after: Revenue of the group on purchase days after the cut-off, in the reporting currency.
        calibration: The customers one period before the cut-off; None if nobody had bought by then.
        spend: Fit of the spend model at the cut-off.
        cut_off: Last day that the models see.
        as_of: Last day of the period after the cut-off.
    """

    histories: Histories
    after: Floats
    repeat_revenue: Floats
    revenue_after: Floats
    calibration: Calibration | None
    spend: Fit
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
    purchases = purchases_silver.where("transaction_count > 0")

    def known_at(day: date) -> DataFrame:
        return with_history(build_customer_summaries(customer_acquisitions_silver, purchases_silver, day)).where(
            "frequency IS NOT NULL"
        )

    def outcomes(known: DataFrame, since: date) -> DataFrame:
        is_after = sf.col("purchase_date").between(
            sf.lit(since + timedelta(days=1)), sf.lit(since + timedelta(days=days))
        )
        later = (
            purchases.where(is_after)
            .groupBy("person_id")
            .agg(sf.count("*").alias("days_after"), sf.sum("revenue").alias("revenue_after"))
        )
        return (
            known.join(later, "person_id", how="left")
            .groupBy(*HISTORY, sf.coalesce("days_after", sf.lit(0)).alias("after"))
            .agg(
                sf.count("*").alias("customers"),
                sf.coalesce(sf.sum("repeat_revenue").cast("double"), sf.lit(0.0)).alias("repeat_revenue"),
                sf.coalesce(sf.sum("revenue_after").cast("double"), sf.lit(0.0)).alias("revenue_after"),
            )
        )

    known = known_at(cut_off)
    x, t_x, T, after, customers, repeat_revenue, revenue_after = _sorted_columns(outcomes(known, cut_off))
    earlier = cut_off - timedelta(days=days)
    past_x, past_t_x, past_T, bought, past_customers, *_ = _sorted_columns(outcomes(known_at(earlier), earlier))
    past = Histories(past_x, past_t_x, past_T, past_customers)
    return Holdout(
        Histories(x, t_x, T, customers),
        after,
        repeat_revenue,
        revenue_after,
        Calibration(past, bought) if past.customers else None,
        fit_spend(collect_spending(known)),
        cut_off,
        as_of,
    )


def _sorted_columns(groups: DataFrame) -> list[Floats]:
    """Return the columns of a small table, with the rows in a fixed order."""
    columns = [np.asarray(column.to_numpy(), dtype=np.float64) for column in groups.toArrow().columns]
    order = np.lexsort(columns[::-1])
    return [column[order] for column in columns]


def measure_models(holdout: Holdout, chosen: str) -> list[dict[str, object]]:
    """Return rows of `model_quality_gold` for every model and baseline.

    Args:
        holdout: Histories at the cut-off, with the purchases after it.
        chosen: Name of the model that predicts purchases at `as_of`.
    """
    dates = {"as_of": holdout.as_of, "cut_off": holdout.cut_off}
    rows = (*_model_rows(holdout), *_baseline_rows(holdout))
    return [row | dates | {"is_chosen": row["model"] == chosen} for row in rows]


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
            yield _spend_row(name, holdout, purchases)
        else:
            yield _quality_row(name, fit.state, measure="state", decile=0, customers=fit.customers)


def _spend_row(model: str, holdout: Holdout, purchases: Floats) -> dict[str, object]:
    """Return the error of the total spend: forecast purchases times the expected spend per purchase day.

    The expected spend is linear in the mean spend of customers with the same frequency, so a group needs only its mean.
    """
    x, weight = holdout.histories.frequency, holdout.histories.weight
    predicted = None
    if holdout.spend.parameters:
        mean = holdout.repeat_revenue / np.maximum(x * weight, 1)
        expected = GammaGamma(**holdout.spend.parameters).expected_mean(x, mean)
        predicted = float((purchases * expected) @ weight)
    actual = float(holdout.revenue_after.sum())
    return _quality_row(
        model,
        holdout.spend.state,
        measure="spend_error",
        decile=0,
        customers=float(weight.sum()),
        predicted=predicted,
        actual=actual,
        value=predicted / actual - 1 if predicted is not None and actual > 0 else None,
    )


def _baseline_rows(holdout: Holdout) -> Iterator[dict[str, object]]:
    if holdout.calibration is None or not holdout.histories.customers:
        return
    forecasts = baseline_forecasts(holdout.histories, holdout.weeks, holdout.calibration)
    for name, (purchases, churn) in forecasts.items():
        yield from _measure_rows(name, holdout, purchases, churn)


def _measure_rows(model: str, holdout: Holdout, purchases: Floats, churn: Floats) -> Iterator[dict[str, object]]:
    for measured in measure_forecast(Forecast(purchases, churn, holdout.after, holdout.histories.weight)):
        yield _quality_row(model, "fitted", **asdict(measured))


def _quality_row(model: str, state: str, *, customers: float, **measured: object) -> dict[str, object]:
    return {"model": model, "state": state, "customer_count": round(customers)} | measured
