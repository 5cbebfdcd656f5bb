from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from cdp_lib.analytics.fits import Fit
from cdp_lib.analytics.histories import Histories
from cdp_lib.analytics.predictions import CustomerFits
from cdp_lib.contracts.analytics import MODEL_FITS_GOLD
from cdp_lib.errors import CdpError
from cdp_lib.model_fits import find_fits, record_fits, version_of

JUNE, JULY = date(2026, 6, 30), date(2026, 7, 31)
HISTORIES = Histories(np.zeros(1), np.zeros(1), np.array([39.0]), np.ones(1))
EARLY = datetime(2026, 7, 1, 3, tzinfo=UTC)
FITTED = Fit("pareto_nbd", "fitted", 500, 300, 200, {"r": 0.1 + 0.2, "alpha": 1e-3}, -1234.5)
SPEND = Fit("gamma_gamma", "fitted", 300, 300, 290, {"p": 6.25}, -99.5)
FAILED = Fit("pareto_nbd", "not_converged", 500, 300, 200, message="it doesn't end")


def fits(purchases: Fit = FITTED) -> CustomerFits:
    return CustomerFits(purchases, SPEND, HISTORIES)


@pytest.fixture
def kept(tables):
    """Rows of the table by version."""
    return lambda: {row.model_version: row for row in tables.read_table(MODEL_FITS_GOLD).collect()}


def test_a_fit_is_kept_once_with_what_a_prediction_needs(tables, kept) -> None:
    first = record_fits(tables, fits(), JUNE, EARLY)
    assert record_fits(tables, fits(), JUNE, EARLY) == first
    assert sorted(kept()) == sorted(first)
    row = kept()[first[0]]
    assert json.loads(row.parameters) == FITTED.parameters
    assert (row.model, row.as_of, row.state, row.message) == ("pareto_nbd", JUNE, "fitted", None)
    assert (row.log_likelihood, row.customer_count, row.repeat_customer_count, row.history_count) == (
        -1234.5, 500, 300, 200,
    )  # fmt: skip
    assert (row.observed_weeks, row.last_good_version) == (39, first[0])


def test_a_failed_fit_is_kept_too_and_names_the_last_good_one(tables, kept) -> None:
    others = [record_fits(tables, fits(replace(FITTED, customers=n)), JUNE, EARLY)[0] for n in range(501, 504)]
    good, _ = record_fits(tables, fits(), JUNE, EARLY + timedelta(hours=1))
    failed, _ = record_fits(tables, fits(FAILED), JULY, EARLY + timedelta(days=31))
    row = kept()[failed]
    assert (row.state, row.message, row.parameters, row.log_likelihood) == (
        "not_converged",
        "it doesn't end",
        None,
        None,
    )
    assert row.last_good_version == good
    assert {good, *others} < set(kept())


def test_other_data_are_another_version_and_the_same_ones_the_same() -> None:
    version = version_of(FITTED, JUNE, 39)
    assert version == version_of(replace(FITTED), JUNE, 39)
    assert version.startswith("pareto_nbd-20260630-")
    assert version not in {
        version_of(FITTED, JULY, 39),
        version_of(FITTED, JUNE, 40),
        version_of(replace(FITTED, customers=501), JUNE, 39),
    }


def test_customers_are_predicted_by_the_latest_fits_that_know_nothing_later_than_the_day(tables) -> None:
    later = replace(FITTED, parameters={"r": 2.0})
    record_fits(tables, fits(later), JULY, EARLY)
    versions = record_fits(tables, fits(), JUNE, EARLY + timedelta(days=60))  # fitted later, for an earlier day
    for day in (JUNE, date(2026, 7, 30)):
        kept = find_fits(tables, day)
        assert (kept.purchases, kept.spend, list(kept.versions)) == (FITTED, SPEND, versions)
    assert find_fits(tables, JULY).purchases == later
    again = replace(FITTED, parameters={"r": 3.0})
    record_fits(tables, fits(again), JULY, EARLY + timedelta(days=1))
    assert find_fits(tables, date(2027, 1, 1)).purchases == again


def test_the_latest_fit_is_used_even_if_it_came_to_nothing(tables) -> None:
    record_fits(tables, fits(), JUNE, EARLY)
    record_fits(tables, fits(FAILED), JULY, EARLY + timedelta(days=31))
    assert find_fits(tables, JULY).purchases == FAILED


def test_no_fit_up_to_the_day_is_said_in_one_line(tables) -> None:
    record_fits(tables, fits(), JULY, EARLY)
    with pytest.raises(CdpError, match="No fit of pareto_nbd knows nothing later than 2026-06-30: .*fit_models=true"):
        find_fits(tables, JUNE)
