from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as sf

from cdp_lib.analytics.selection import MODELS
from cdp_lib.contracts.analytics import CUSTOMER_VALUE_GOLD, MODEL_FITS_GOLD, MODEL_QUALITY_GOLD
from cdp_lib.contracts.silver import BUSINESS_DATE_SILVER, CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_lib.gold.model_fits import MODEL_FITS
from cdp_lib.gold.model_quality import MODEL_QUALITY
from cdp_lib.gold.value import CUSTOMER_VALUE
from cdp_lib.pipeline.graph import Graph
from cdp_lib.pipeline.state import TableState, read_states, write_states
from cdp_lib.pipeline.table import Table, Value
from cdp_lib.storage import DeltaStore

from ..warehouse import Warehouse

FITTED = [MODEL_FITS_GOLD.name, MODEL_QUALITY_GOLD.name]
TABLES = [BUSINESS_DATE_SILVER.name, *FITTED, CUSTOMER_VALUE_GOLD.name]
DAY = date(2026, 2, 4)


def build_latest_day(purchases_silver: DataFrame) -> DataFrame:
    return purchases_silver.agg(sf.max("purchase_date").alias("latest_date"))


GRAPH = Graph(
    [
        Table(PURCHASES_SILVER, build_latest_day),
        Table(CUSTOMER_ACQUISITIONS_SILVER, build_latest_day),
        Table(BUSINESS_DATE_SILVER, build_latest_day, reads=(PURCHASES_SILVER,), materialization=Value()),
        MODEL_FITS,
        MODEL_QUALITY,
        CUSTOMER_VALUE,
    ]
)


class Shop(Warehouse):
    """Purchases and acquisitions that a test writes itself, and the tables of customer models."""

    def sell(self, buyers: int, last_day: date, **settings: str) -> None:
        """Replace the silver tables. Every buyer bought in one of 40 weeks, and two of three buyers bought again.

        The settings are the ones that the purchases were built with.
        """
        purchases, acquisitions = [], []
        for number in range(buyers):
            first = last_day - timedelta(days=7 * (number % 40))
            days = {first} | ({first + timedelta(days=(number % 25) + 1)} if number % 3 else set())
            days = {day for day in days if day <= last_day}
            acquisitions.append(
                dict.fromkeys(("first_purchase_date", "acquisition_date"), first) | {"person_id": number}
            )
            purchases += [
                {
                    "person_id": number,
                    "purchase_date": day,
                    "sale_month": day.replace(day=1),
                    "transaction_count": 1,
                    "revenue": Decimal(10 + number % 7 * (1 + day.day)),
                }
                for day in days
            ]
        self._replace(PURCHASES_SILVER, purchases, settings)
        self._replace(CUSTOMER_ACQUISITIONS_SILVER, acquisitions, {})

    def _replace(self, contract: TableContract, rows: list[dict[str, object]], settings: dict[str, str]) -> None:
        self.store.replace(contract, self.store.frame(contract, rows))
        states = read_states(self.store)
        version = states.get(contract.name, TableState()).version + 1
        state = TableState(version, f"{version}", settings=settings, rewritten_at=version)
        write_states(self.store, states | {contract.name: state})

    def fitted_tables(self, **parameters: str) -> list[str]:
        """Run the job, and return the tables with fits and quality that it refreshed."""
        return [name for name in self.refreshed(*TABLES, **parameters) if name in FITTED]

    @property
    def fits(self) -> list[tuple[str, date]]:
        rows = self.store.read(MODEL_FITS_GOLD).collect()
        return sorted((row.state, row.as_of) for row in rows if row.model != "gamma_gamma")

    def quality_of(self, day: date) -> list[Row]:
        rows = self.store.read(MODEL_QUALITY_GOLD).where(sf.col("as_of") == sf.lit(day))
        return rows.orderBy(*MODEL_QUALITY_GOLD.key).collect()


@pytest.fixture
def shop(store: DeltaStore, tmp_path: Path) -> Shop:
    """Shop with 200 buyers on 4 February, and models that were fitted on this day."""
    shop = Shop(store, tmp_path / "landing", GRAPH)
    shop.sell(200, DAY)
    assert shop.fitted_tables() == FITTED
    return shop


def test_one_percent_of_new_buyers_are_predicted_with_the_last_fit(shop: Shop) -> None:
    fits, state = shop.fits, read_states(shop.store)[MODEL_FITS_GOLD.name]
    shop.sell(202, DAY + timedelta(days=1))
    assert shop.fitted_tables() == []
    assert (shop.fits, read_states(shop.store)[MODEL_FITS_GOLD.name]) == (fits, state)
    values = shop.store.read(CUSTOMER_VALUE_GOLD).collect()
    assert {(row.as_of, row.purchase_model_version is None) for row in values} == {(DAY + timedelta(days=1), False)}
    assert len(values) == 202 and all(row.expected_purchases is not None for row in values)


def test_models_are_fitted_after_ten_percent_of_new_buyers(shop: Shop) -> None:
    shop.sell(219, DAY + timedelta(days=1))
    assert shop.fitted_tables() == []
    shop.sell(220, DAY + timedelta(days=1))
    run = {run.table: run for run in shop.runner().refresh(TABLES)}[MODEL_FITS_GOLD.name]
    assert (run.state, run.reason) == ("refreshed", "220 customers have bought, 200 at the last fit")
    assert shop.fits == [("fitted", DAY), ("fitted", DAY + timedelta(days=1))]
    assert shop.fitted_tables() == []


@pytest.mark.first_engine  # three fits; the tests of the store check the write on both engines
def test_second_fit_of_a_day_leaves_no_quality_row_of_the_first(shop: Shop) -> None:
    shop.sell(250, DAY + timedelta(days=1))
    assert shop.fitted_tables() == FITTED
    first_day = shop.quality_of(DAY)
    assert {row.measure for row in shop.quality_of(DAY + timedelta(days=1))} > {"state", "auc"}
    shop.sell(60, DAY + timedelta(days=1))  # too few buyers for a model, so only the baselines have measures
    assert shop.fitted_tables(fit_models="true") == FITTED
    second = shop.quality_of(DAY + timedelta(days=1))
    assert {row.measure for row in second if row.model in MODELS} == {"state"}
    assert max(row.customer_count for row in second) <= 60
    assert shop.quality_of(DAY) == first_day


def test_models_are_fitted_after_the_months_of_the_setting(shop: Shop) -> None:
    shop.sell(200, date(2026, 3, 3))
    assert shop.fitted_tables() == []
    shop.sell(200, date(2026, 3, 4))
    assert shop.fitted_tables(refit_months="2") == []
    assert shop.fitted_tables() == FITTED


@pytest.mark.first_engine
def test_models_are_fitted_after_a_change_of_a_setting(shop: Shop) -> None:
    assert shop.fitted_tables(churn_horizon_days="60") == FITTED


@pytest.mark.first_engine
def test_models_are_fitted_after_a_setting_of_an_upstream_table_changed(shop: Shop) -> None:
    shop.sell(200, DAY, reporting_currency="JPY")
    assert shop.fitted_tables() == FITTED


@pytest.mark.first_engine
def test_true_fits_after_any_change_and_false_after_none(shop: Shop) -> None:
    assert shop.fitted_tables(fit_models="true") == []
    shop.sell(201, DAY)
    assert shop.fitted_tables(fit_models="true") == FITTED
    shop.sell(300, DAY + timedelta(days=1))
    assert shop.fitted_tables(fit_models="false") == []


@pytest.mark.first_engine
def test_models_are_fitted_for_a_day_before_the_last_fit(shop: Shop) -> None:
    assert shop.fitted_tables(as_of="2026-01-31") == FITTED


@pytest.mark.first_engine
def test_fit_of_too_few_customers_is_tried_again_after_any_change(store: DeltaStore, tmp_path: Path) -> None:
    shop = Shop(store, tmp_path / "landing", GRAPH)
    shop.sell(99, DAY)
    assert shop.fitted_tables() == FITTED
    shop.sell(100, DAY + timedelta(days=1))
    assert shop.fitted_tables() == FITTED
    assert shop.fits == [("fitted", DAY + timedelta(days=1)), ("too_few_customers", DAY)]


@pytest.mark.first_engine
def test_plan_says_that_a_fit_depends_on_the_change(shop: Shop) -> None:
    runner = shop.runner(as_of="2026-02-05")
    plan = runner.plan(TABLES)
    assert plan[MODEL_FITS_GOLD.name] == ()
    assert plan[CUSTOMER_VALUE_GOLD.name] == ("setting business_date changed: 2026-02-04 → 2026-02-05",)
