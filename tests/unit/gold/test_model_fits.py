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
from cdp_lib.gold.model_fits import KeptFits, find_fits, rows_of_fits, version_of
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
    """The fits so far."""

    def __init__(self, store: DeltaStore) -> None:
        self.store = store
        store.create(MODEL_FITS_GOLD)

    @property
    def rows(self) -> DataFrame:
        return self.store.read(MODEL_FITS_GOLD)

    def record(self, fits: CustomerFits, as_of: date, fitted_at: datetime) -> list[str]:
        """Add fits, as a run does; their names."""
        added = rows_of_fits(self.rows, fits, as_of, fitted_at)
        self.store.merge_rows(MODEL_FITS_GOLD, added)
        return [version_of(fit, as_of, fits.observed_weeks) for fit in (fits.purchases, fits.spend)]

    def kept(self) -> dict[str, Row]:
        """Rows by version."""
        return {row.model_version: row for row in self.rows.collect()}

    def find(self, day: date) -> KeptFits:
        return find_fits(self.rows, day)


@pytest.fixture
def ledger(store: DeltaStore) -> Ledger:
    return Ledger(store)


def test_a_fit_is_kept_once_with_what_a_prediction_needs(ledger: Ledger) -> None:
    first = ledger.record(fits(), JUNE, EARLY)
    assert ledger.record(fits(), JUNE, EARLY) == first
    assert sorted(ledger.kept()) == sorted(first)
    row = ledger.kept()[first[0]]
    assert json.loads(row.parameters) == FITTED.parameters
    assert (row.model, row.as_of, row.state, row.message) == ("pareto_nbd", JUNE, "fitted", None)
    assert (row.log_likelihood, row.customer_count, row.repeat_customer_count, row.history_count) == (
        -1234.5, 500, 300, 200,
    )  # fmt: skip
    assert (row.observed_weeks, row.last_good_version) == (39, first[0])


def test_rows_of_fits_are_in_the_columns_of_the_table(ledger: Ledger) -> None:
    rows = rows_of_fits(ledger.rows, fits(), JUNE, EARLY)
    assert dict(rows.dtypes) == {name: type_.lower() for name, type_ in MODEL_FITS_GOLD.types.items()}
    assert sorted(row.model for row in rows.collect()) == ["gamma_gamma", "pareto_nbd"]


def test_a_failed_fit_is_kept_too_and_names_the_last_good_one(ledger: Ledger) -> None:
    others = [ledger.record(fits(replace(FITTED, customers=n)), JUNE, EARLY)[0] for n in range(501, 504)]
    good, _ = ledger.record(fits(), JUNE, EARLY + timedelta(hours=1))
    failed, _ = ledger.record(fits(FAILED), JULY, EARLY + timedelta(days=31))
    row = ledger.kept()[failed]
    assert (row.state, row.message, row.parameters, row.log_likelihood) == (
        "not_converged",
        "it doesn't end",
        None,
        None,
    )
    assert row.last_good_version == good
    assert {good, *others} < set(ledger.kept())


def test_a_failed_fit_names_no_fit_that_knows_what_is_later(ledger: Ledger) -> None:
    ledger.record(fits(), JULY, EARLY)
    failed, _ = ledger.record(fits(FAILED), JUNE, EARLY + timedelta(days=31))
    assert ledger.kept()[failed].last_good_version is None


def test_other_data_are_another_version_and_the_same_ones_the_same() -> None:
    version = version_of(FITTED, JUNE, 39)
    assert version == version_of(replace(FITTED), JUNE, 39)
    assert version.startswith("pareto_nbd-20260630-")
    assert version not in {
        version_of(FITTED, JULY, 39),
        version_of(FITTED, JUNE, 40),
        version_of(replace(FITTED, customers=501), JUNE, 39),
    }


def test_customers_are_predicted_by_the_latest_fits_that_know_nothing_later_than_the_day(ledger: Ledger) -> None:
    later = replace(FITTED, parameters={"r": 2.0})
    ledger.record(fits(later), JULY, EARLY)
    versions = ledger.record(fits(), JUNE, EARLY + timedelta(days=60))  # fitted later, for an earlier day
    for day in (JUNE, date(2026, 7, 30)):
        kept = ledger.find(day)
        assert (kept.purchases, kept.spend, list(kept.versions)) == (FITTED, SPEND, versions)
    assert ledger.find(JULY).purchases == later
    again = replace(FITTED, parameters={"r": 3.0})
    ledger.record(fits(again), JULY, EARLY + timedelta(days=1))
    assert ledger.find(date(2027, 1, 1)).purchases == again


def test_the_latest_fit_is_used_even_if_it_came_to_nothing(ledger: Ledger) -> None:
    ledger.record(fits(), JUNE, EARLY)
    ledger.record(fits(FAILED), JULY, EARLY + timedelta(days=31))
    assert ledger.find(JULY).purchases == FAILED


def test_no_fit_up_to_the_day_is_said_in_one_line(ledger: Ledger) -> None:
    ledger.record(fits(), JULY, EARLY)
    with pytest.raises(CdpError, match="No fit of pareto_nbd knows nothing later than 2026-06-30: .*fit_models=true"):
        ledger.find(JUNE)
