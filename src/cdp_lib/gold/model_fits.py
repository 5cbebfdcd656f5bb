"""model_fits_gold: the model fits behind predictions, kept so that every prediction can be reproduced."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as sf

from cdp_lib import __version__
from cdp_lib.analytics.fits import Fit
from cdp_lib.analytics.predictions import CustomerFits, fit_customers, with_history
from cdp_lib.analytics.summaries import build_customer_summaries
from cdp_lib.contracts.analytics import MODEL_FITS_GOLD
from cdp_lib.contracts.silver import CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER
from cdp_lib.errors import CdpError
from cdp_lib.frames import frame_from_rows
from cdp_lib.gold.refits import PURCHASES, SPEND, describe_need_of_fits, latest_fits
from cdp_lib.pipeline.table import BUSINESS_DATE, Append, Table


@dataclass(frozen=True)
class RecordedFits:
    """Fits of the purchase model and of the spend model, with their versions in `model_fits_gold`.

    Attributes:
        purchases: Fit of the purchase model that was chosen.
        spend: Fit of the spend model.
        versions: `model_version` of the purchase fit and of the spend fit, in this order.
    """

    purchases: Fit
    spend: Fit
    versions: tuple[str, str]


def build_model_fits_gold(
    customer_acquisitions_silver: DataFrame,
    purchases_silver: DataFrame,
    model_fits_gold: DataFrame,
    as_of: date,
    churn_horizon_days: int,
    recorded_at: datetime,
) -> DataFrame:
    """One row per model, with its fit to the customers at `as_of`.

    Args:
        customer_acquisitions_silver: One row per customer.
        purchases_silver: One row per customer and day of purchase.
        model_fits_gold: One row per earlier fit.
        as_of: Last day of the data.
        churn_horizon_days: Length of the period at the end of the data that chooses the purchase model, in days.
        recorded_at: Start of the run.

    Returns:
        Columns of `model_fits_gold`.
    """
    now, earlier = (
        with_history(build_customer_summaries(customer_acquisitions_silver, purchases_silver, day))
        for day in (as_of, as_of - timedelta(days=churn_horizon_days))
    )
    fits = fit_customers(now, earlier)
    return rows_of_fits(model_fits_gold, fits, as_of, recorded_at)


MODEL_FITS = Table(
    MODEL_FITS_GOLD,
    build_model_fits_gold,
    reads=(CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER),
    settings=(BUSINESS_DATE, "churn_horizon_days"),
    libraries=("scipy", "numpy"),
    materialization=Append(describe_need_of_fits),
    only_if="fit_models",
)


def version_of(fit: Fit, as_of: date, observed_weeks: int) -> str:
    """Return the name of a fit, derived from its content, so that the same fit has the same name in every run."""
    content = json.dumps(asdict(fit) | {"observed_weeks": observed_weeks, "code_version": __version__}, sort_keys=True)
    return f"{fit.model}-{as_of:%Y%m%d}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def rows_of_fits(model_fits_gold: DataFrame, fits: CustomerFits, as_of: date, fitted_at: datetime) -> DataFrame:
    """Return one row per new fit.

    `last_good_version` is the version of the new fit if the new fit has parameters. Otherwise, it is the version of the
    model's latest earlier fit with parameters.

    Args:
        model_fits_gold: One row per earlier fit.
        fits: New fits.
        as_of: Last day of the data that the new fits are based on.
        fitted_at: Start of the run that made the new fits.
    """
    new_fits = [fits.purchases, fits.spend]
    versions = {fit.model: version_of(fit, as_of, fits.observed_weeks) for fit in new_fits}
    failed = [fit.model for fit in new_fits if not fit.parameters]
    fitted = model_fits_gold.where((sf.col("state") == "fitted") & (sf.col("as_of") <= sf.lit(as_of)))
    latest = sf.max_by("model_version", sf.struct("as_of", "fitted_at", "model_version")).alias("model_version")
    last_good = {
        row.model: row.model_version
        for row in (fitted.where(sf.col("model").isin(failed)).groupBy("model").agg(latest).collect() if failed else ())
    }
    rows = [
        {
            "model_version": versions[fit.model],
            "model": fit.model,
            "as_of": as_of,
            "fitted_at": fitted_at,
            "state": fit.state,
            "message": fit.message,
            "parameters": json.dumps(fit.parameters) if fit.parameters else None,
            "log_likelihood": fit.log_likelihood,
            "customer_count": fit.customers,
            "repeat_customer_count": fit.repeat_customers,
            "history_count": fit.histories,
            "observed_weeks": fits.observed_weeks,
            "last_good_version": versions[fit.model] if fit.parameters else last_good.get(fit.model),
            "code_version": __version__,
        }
        for fit in new_fits
    ]
    return frame_from_rows(rows, MODEL_FITS_GOLD.types, model_fits_gold)


def find_fits(model_fits_gold: DataFrame, as_of: date) -> RecordedFits:
    """Return the latest fits that predict customers on the given day.

    The last fit with parameters stands in for a later fit that failed. Without any, the latest failed fit is returned.

    Args:
        model_fits_gold: One row per fit.
        as_of: Last day that the data of a fit may include.

    Raises:
        CdpError: A model has no fit up to that day.
    """
    latest = latest_fits(model_fits_gold, as_of, is_good_first=True)
    if missing := [kind for kind in (PURCHASES, SPEND) if kind not in latest]:
        raise CdpError(f"model_fits_gold has no fit of {missing[0]} up to {as_of}: run the job with fit_models=true.")
    purchases, spend = latest[PURCHASES], latest[SPEND]
    return RecordedFits(_fit(purchases), _fit(spend), (purchases.model_version, spend.model_version))


def _fit(row: Row) -> Fit:
    return Fit(
        model=row.model,
        state=row.state,
        customers=row.customer_count,
        repeat_customers=row.repeat_customer_count,
        histories=row.history_count,
        parameters=json.loads(row.parameters or "{}"),
        log_likelihood=row.log_likelihood,
        message=row.message,
    )
