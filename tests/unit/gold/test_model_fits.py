from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from pyspark.sql import DataFrame, Row

from cdp_lib.analytics.fits import Fit
from cdp_lib.analytics.histories import Histories
from cdp_lib.analytics.predictions import CustomerFits
from cdp_lib.contracts.analytics import MODEL_FITS_GOLD
from cdp_lib.errors import CdpError
from cdp_lib.gold.model_fits import RecordedFits, find_fits, rows_of_fits, version_of
from cdp_lib.storage import DeltaStore

JUNE, JULY = date(2026, 6, 30), date(2026, 7, 31)
HISTORIES = Histories(np.zeros(1), np.zeros(1), np.array([39.0]), np.ones(1))
EARLY = datetime(2026, 7, 1, 3, tzinfo=UTC)
FITTED = Fit("pareto_nbd", "fitted", 500, 300, 200, {"r": 0.1 + 0.2, "alpha": 1e-3}, -1234.5)
SPEND = Fit("gamma_gamma", "fitted", 300, 300, 290, {"p": 6.25}, -99.5)
FAILED = Fit("pareto_nbd", "not_converged", 500, 300, 200, message="it doesn't end")


def fits(purchases: Fit = FITTED) -> CustomerFits:
    return CustomerFits(purchases, SPEND, HISTORIES)


class Ledger:
    """The table model_fits_gold in the schema of a test."""

    def __init__(self, store: DeltaStore) -> None:
        self.store = store
        store.create(MODEL_FITS_GOLD)

    @property
    def rows(self) -> DataFrame:
        return self.store.read(MODEL_FITS_GOLD)

    def record(self, fits: CustomerFits, as_of: date, fitted_at: datetime) -> list[str]:
        """Add fits to the table in the same way as a run, and return the versions of the fits."""
        added = rows_of_fits(self.rows, fits, as_of, fitted_at)
        self.store.merge_rows(MODEL_FITS_GOLD, added)
        return [version_of(fit, as_of, fits.observed_weeks) for fit in (fits.purchases, fits.spend)]

    def rows_by_version(self) -> dict[str, Row]:
        """Return all rows of the table, by version of the fit."""
        return {row.model_version: row for row in self.rows.collect()}

    def find(self, day: date) -> RecordedFits:
        return find_fits(self.rows, day)


@pytest.fixture
def ledger(store: DeltaStore) -> Ledger:
    return Ledger(store)


def test_fit_is_stored_once_with_all_that_predictions_need(ledger: Ledger) -> None:
    first = ledger.record(fits(), JUNE, EARLY)
    assert ledger.record(fits(), JUNE, EARLY) == first
    assert sorted(ledger.rows_by_version()) == sorted(first)
    row = ledger.rows_by_version()[first[0]]
    assert json.loads(row.parameters) == FITTED.parameters
    assert (row.model, row.as_of, row.state, row.message) == ("pareto_nbd", JUNE, "fitted", None)
    assert (row.log_likelihood, row.customer_count, row.repeat_customer_count, row.history_count) == (
        -1234.5, 500, 300, 200,
    )  # fmt: skip
    assert (row.observed_weeks, row.last_good_version) == (39, first[0])


def test_rows_of_fits_have_columns_of_table(ledger: Ledger) -> None:
    rows = rows_of_fits(ledger.rows, fits(), JUNE, EARLY)
    assert dict(rows.dtypes) == {name: type_.lower() for name, type_ in MODEL_FITS_GOLD.types.items()}
    assert sorted(row.model for row in rows.collect()) == ["gamma_gamma", "pareto_nbd"]


def test_failed_fit_is_stored_with_version_of_last_good_fit(ledger: Ledger) -> None:
    earlier_fits = [ledger.record(fits(replace(FITTED, customers=n)), JUNE, EARLY)[0] for n in range(501, 504)]
    good, _ = ledger.record(fits(), JUNE, EARLY + timedelta(hours=1))
    failed, _ = ledger.record(fits(FAILED), JULY, EARLY + timedelta(days=31))
    row = ledger.rows_by_version()[failed]
    assert (row.state, row.message, row.parameters, row.log_likelihood) == (
        "not_converged",
        "it doesn't end",
        None,
        None,
    )
    assert row.last_good_version == good
    assert {good, *earlier_fits} < set(ledger.rows_by_version())


def test_failed_fit_does_not_name_a_later_fit(ledger: Ledger) -> None:
    ledger.record(fits(), JULY, EARLY)
    failed, _ = ledger.record(fits(FAILED), JUNE, EARLY + timedelta(days=31))
    assert ledger.rows_by_version()[failed].last_good_version is None


def test_version_changes_only_with_the_data() -> None:
    version = version_of(FITTED, JUNE, 39)
    assert version == version_of(replace(FITTED), JUNE, 39)
    assert version.startswith("pareto_nbd-20260630-")
    assert version not in {
        version_of(FITTED, JULY, 39),
        version_of(FITTED, JUNE, 40),
        version_of(replace(FITTED, customers=501), JUNE, 39),
    }


def test_find_fits_returns_latest_fits_up_to_day(ledger: Ledger) -> None:
    later = replace(FITTED, parameters={"r": 2.0})
    ledger.record(fits(later), JULY, EARLY)
    versions = ledger.record(fits(), JUNE, EARLY + timedelta(days=60))  # fitted later, with data up to an earlier day
    for day in (JUNE, date(2026, 7, 30)):
        found = ledger.find(day)
        assert (found.purchases, found.spend, list(found.versions)) == (FITTED, SPEND, versions)
    assert ledger.find(JULY).purchases == later
    again = replace(FITTED, parameters={"r": 3.0})
    ledger.record(fits(again), JULY, EARLY + timedelta(days=1))
    assert ledger.find(date(2027, 1, 1)).purchases == again


def test_last_good_fit_stands_in_for_failed_fit(ledger: Ledger) -> None:
    good = ledger.record(fits(), JUNE, EARLY)
    ledger.record(fits(FAILED), JULY, EARLY + timedelta(days=31))
    found = ledger.find(JULY)
    assert (found.purchases, list(found.versions)) == (FITTED, [good[0], found.versions[1]])


def test_latest_fit_of_another_purchase_model_replaces_earlier_model(ledger: Ledger) -> None:
    ledger.record(fits(), JUNE, EARLY)
    other = replace(FITTED, model="common_drop_out_nbd", parameters={"r": 1.0, "alpha": 2.0, "mu": 0.1})
    ledger.record(fits(other), JULY, EARLY + timedelta(days=31))
    assert ledger.find(JULY).purchases == other


def test_failed_fit_is_returned_if_no_fit_is_good(ledger: Ledger) -> None:
    ledger.record(fits(FAILED), JUNE, EARLY)
    assert ledger.find(JULY).purchases == FAILED


def test_find_fits_without_fit_up_to_day_tells_which_job_to_run(ledger: Ledger) -> None:
    ledger.record(fits(), JULY, EARLY)
    with pytest.raises(CdpError, match="no fit of purchases up to 2026-06-30: .*fit_models=true"):
        ledger.find(JUNE)
