"""Refit policy: whether the customer models are worth a new fit, if the setting `fit_models` is auto."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as sf
from pyspark.sql.window import Window

from cdp_lib.analytics.spend import GammaGamma
from cdp_lib.contracts.analytics import MODEL_FITS_GOLD
from cdp_lib.contracts.silver import CUSTOMER_ACQUISITIONS_SILVER
from cdp_lib.pipeline.table import BUSINESS_DATE
from cdp_lib.pipeline.work import Work

PURCHASES, SPEND = "purchases", "spend"
"""Kinds of models. A purchase model and the spend model are fitted together."""


def latest_fits(model_fits_gold: DataFrame, as_of: date, *, is_good_first: bool) -> dict[str, Row]:
    """Return the latest row of each kind of model. The engine reads the ledger and returns at most two rows.

    Args:
        model_fits_gold: One row per fit.
        as_of: Last day that the data of a fit may include.
        is_good_first: Whether the latest fit with parameters comes before a later fit that failed.
    """
    latest_first = [sf.desc(name) for name in ("as_of", "fitted_at", "model_version")]
    if is_good_first:
        latest_first.insert(0, sf.desc(sf.col("state") == "fitted"))
    kind = sf.when(sf.col("model") == GammaGamma.name, SPEND).otherwise(PURCHASES).alias("kind")
    fits = model_fits_gold.where(sf.col("as_of") <= sf.lit(as_of)).select("*", kind)
    place = sf.row_number().over(Window.partitionBy("kind").orderBy(*latest_first))
    return {row.kind: row for row in fits.select("*", place.alias("place")).where("place = 1").collect()}


def describe_need_of_fits(work: Work) -> str:
    """Return why the models need a new fit, or an empty string if predictions can use the last fits.

    The cost is one small query of the fits and, if the last fits are recent, a count of the buyers.

    Args:
        work: The table `model_fits_gold`, with the settings of the run.
    """
    as_of, settings = work.values[BUSINESS_DATE], work.settings
    fits = latest_fits(work.store.read(MODEL_FITS_GOLD), as_of, is_good_first=False)
    if len(fits) < 2:
        return f"no fit uses data up to {as_of}"
    if any(fit.state == "too_few_customers" for fit in fits.values()):
        # Without enough customers, a fit ends at once. Predictions should appear as soon as the customers suffice.
        return "the last fit had too few customers"
    last = fits[PURCHASES]
    if (months := _full_months(last.as_of, as_of)) >= settings.refit_months:
        return f"the last fit is {months} month{'s' * (months > 1)} old"
    buyers = work.store.read(CUSTOMER_ACQUISITIONS_SILVER).where(sf.col("first_purchase_date") <= sf.lit(as_of)).count()
    if abs(buyers / last.customer_count - 1) >= settings.refit_new_buyers:
        return f"{buyers} customers have bought, {last.customer_count} at the last fit"
    return ""


def describe_need_of_quality(work: Work) -> str:
    """Return "the models were fitted again" if they were since the quality was measured, else an empty string."""
    return "the models were fitted again" if work.has_changed(MODEL_FITS_GOLD) else ""


def _full_months(start: date, end: date) -> int:
    """Return the number of full months from one day to another. The last day of a month ends a month.

    >>> [_full_months(date(2026, 1, 31), end) for end in (date(2026, 2, 27), date(2026, 2, 28), date(2027, 1, 31))]
    [0, 1, 12]
    """
    is_last_day = (end + timedelta(days=1)).day == 1
    return (end.year - start.year) * 12 + end.month - start.month - (end.day < start.day and not is_last_day)
