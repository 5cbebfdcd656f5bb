"""Tests of predictions for CDNOW, from the silver tables to one row per customer."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from deltalake import Schema
from lifetimes.utils import summary_data_from_transaction_data
from pyspark.sql.types import StructType

from cdp_lib.analytics.fits import Fit
from cdp_lib.analytics.histories import Histories
from cdp_lib.analytics.holdout import collect_holdout, measure_models
from cdp_lib.analytics.lifetime_value import discounted_purchases
from cdp_lib.analytics.predictions import (
    CustomerFits,
    Terms,
    collect_histories,
    fit_customers,
    with_history,
    with_predictions,
)
from cdp_lib.analytics.purchases import ParetoNbd, fit_purchases
from cdp_lib.analytics.rfm import count_by_value
from cdp_lib.analytics.segments import SegmentTerms, segment_values, with_segments
from cdp_lib.analytics.selection import MODELS
from cdp_lib.analytics.spend import GammaGamma
from cdp_lib.analytics.summaries import build_customer_summaries
from cdp_lib.contracts.analytics import CUSTOMER_VALUE_GOLD, MODEL_QUALITY_GOLD
from cdp_lib.contracts.silver import CUSTOMER_ACQUISITIONS_SILVER, RETAILS_SILVER
from cdp_lib.gold.value import with_value

from ..purchases import purchases_of

AS_OF = date(1997, 9, 30)
BASELINES = ("active_if_recent", "own_rhythm", "logistic")
TERMS = Terms(churn_horizon_days=91, clv_horizon_months=12, gross_margin=0.4, annual_discount_rate=0.1)
NEVER_BOUGHT = 999_999
"""Id of a customer who registered and never bought."""


@pytest.fixture(scope="module")
def cdnow_tables(spark, cdnow_sales):
    """The tables customer_acquisitions_silver and purchases_silver, built from CDNOW."""

    def frame(contract, columns):
        schema = StructType.fromDDL(", ".join(f"`{column.name}` {column.type}" for column in contract.columns))
        fields = pa.schema(Schema.from_json(schema.json()))
        length = len(next(iter(columns.values())))
        arrays = [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(length, f.type) for f in fields]
        return spark.createDataFrame(pa.Table.from_arrays(arrays, schema=fields), schema)

    first = cdnow_sales.groupby("customer_id").day.min()
    days = [*first.dt.date, date(1997, 2, 1)]
    acquisitions = {
        "person_id": [*first.index, NEVER_BOUGHT],
        "registration_date": days,
        "first_purchase_date": [*days[:-1], None],
        "acquisition_date": days,
    }
    sales = {
        "transaction_id": range(len(cdnow_sales)),
        "customer_id": cdnow_sales.customer_id,
        "product_id": [1] * len(cdnow_sales),
        "store_id": [1] * len(cdnow_sales),
        "quantity": [1] * len(cdnow_sales),
        "transaction_date": cdnow_sales.day.dt.date,
        "price": [Decimal(str(amount)) for amount in cdnow_sales.amount],
        "_batch_id": ["b"] * len(cdnow_sales),
    }
    return frame(CUSTOMER_ACQUISITIONS_SILVER, acquisitions), purchases_of(frame(RETAILS_SILVER, sales))


@pytest.fixture(scope="module")
def customers(cdnow_tables):
    """Summaries of the customers, with their purchase histories up to the end of September 1997."""
    return with_history(build_customer_summaries(*cdnow_tables, AS_OF))


@pytest.fixture(scope="module")
def fits(customers) -> CustomerFits:
    return fit_customers(customers)


def test_summaries_equal_summaries_of_lifetimes(customers, cdnow_sales) -> None:
    oracle = summary_data_from_transaction_data(
        cdnow_sales, "customer_id", "day", monetary_value_col="amount", observation_period_end=str(AS_OF)
    )
    rows = customers.where("frequency IS NOT NULL").orderBy("person_id").toPandas().set_index("person_id")
    assert len(rows) == len(oracle) == 2357
    span = (rows.last_purchase_date - rows.first_purchase_date).map(lambda days: days.days)
    assert rows.frequency.tolist() == oracle.frequency.tolist()
    assert span.tolist() == oracle.recency.tolist()
    assert (span + rows.recency_days).tolist() == oracle["T"].tolist()
    assert rows.repeat_monetary_value.fillna(0).to_numpy(dtype=float) == pytest.approx(oracle.monetary_value.to_numpy())


def test_histories_are_rounded_to_nearest_whole_week(customers) -> None:
    rows = customers.where("frequency IS NOT NULL").selectExpr(
        "recency_weeks", "age_weeks", "datediff(last_purchase_date, first_purchase_date) AS span", "recency_days"
    )
    for row in rows.limit(500).collect():
        assert abs(row.recency_weeks - row.span / 7) <= 0.5
        assert abs(row.age_weeks - (row.span + row.recency_days) / 7) <= 0.5
        assert row.recency_weeks <= row.age_weeks


def test_collected_histories_cover_all_buyers_in_few_groups(customers) -> None:
    histories = collect_histories(customers)
    assert (histories.customers, histories.repeat_customers) == (2357, 946)
    assert len(histories) < 700


def test_fit_from_engine_equals_fit_from_pandas_to_last_digit(fits: CustomerFits, cdnow_split) -> None:
    split = cdnow_split(39, 39, rounded=True)
    assert fits.purchases == fit_purchases(ParetoNbd, Histories.of_customers(split.x, split.t_x, split.T))


def test_models_are_fitted_on_collected_histories_and_spend(fits: CustomerFits) -> None:
    assert (fits.purchases.model, fits.purchases.state, fits.spend.state) == ("pareto_nbd", "fitted", "fitted")
    assert fits.purchases.parameters["r"] == pytest.approx(0.553, rel=0.02)
    # Spend means with the same first three digits form one group, so the parameters are approximate.
    assert fits.spend.parameters == {
        "p": pytest.approx(6.25, rel=0.005),
        "q": pytest.approx(3.74, rel=0.005),
        "v": pytest.approx(15.44, rel=0.005),
    }
    assert (fits.spend.customers, fits.spend.histories < 700) == (946, True)
    assert fits.observed_weeks == 39


def test_prediction_of_customer_equals_model_prediction_of_history(customers, fits: CustomerFits) -> None:
    rows = with_predictions(customers, fits, TERMS).where("frequency > 0").orderBy("person_id").limit(50).collect()
    model, spend = ParetoNbd(**fits.purchases.parameters), GammaGamma(**fits.spend.parameters)
    x, t_x, age = (np.array([float(row[name]) for row in rows]) for name in ("frequency", "recency_weeks", "age_weeks"))
    mean = spend.expected_mean(x, np.array([row.repeat_monetary_value for row in rows]))
    expected = {
        "probability_alive": model.probability_alive(x, t_x, age),
        "churn_probability": model.probability_of_no_purchase(13.0, x, t_x, age),
        "expected_purchases": model.expected_purchases(365.25 / 7, x, t_x, age),
        "expected_spend": model.expected_purchases(365.25 / 7, x, t_x, age) * mean,
        "predictive_clv": discounted_purchases(model, 12, 0.1, x, t_x, age) * mean * 0.4,
    }
    for name, values in expected.items():
        assert [row[name] for row in rows] == pytest.approx(values.tolist(), rel=1e-9), name
    assert {row.prediction_state for row in rows} == {"predicted"}


def test_every_customer_has_one_row_with_plausible_values(customers, fits: CustomerFits) -> None:
    predicted = with_predictions(
        with_segments(customers, count_by_value(customers, segment_values()), SegmentTerms(91, 5)), fits, TERMS
    )
    value = with_value(predicted, AS_OF, TERMS.gross_margin, "pareto_nbd-1", "gamma_gamma-1")
    assert tuple(value.columns) == CUSTOMER_VALUE_GOLD.column_names
    rows = {row.person_id: row for row in value.collect()}
    assert len(rows) == 2358
    customer = rows.pop(NEVER_BOUGHT)
    assert (customer.segment, customer.prediction_state) == ("Never bought", "never_bought")
    assert (customer.frequency, customer.predictive_clv, customer.purchase_model_version) == (
        None,
        None,
        None,
    )
    assert (customer.historic_clv, customer.tenure_days) == (0, 241)
    for row in rows.values():
        assert row.purchase_probability == pytest.approx(1 - row.churn_probability)
        assert 0 <= row.probability_alive <= 1
        assert row.predictive_clv <= row.expected_spend * 0.4 + 1e-9, "discounted"
        assert row.historic_clv == pytest.approx(row.total_revenue * Decimal("0.4"), abs=Decimal("0.01"))
        assert row.purchase_model_version == "pareto_nbd-1"
    assert sum(row.expected_purchases for row in rows.values()) > 1000


@pytest.mark.parametrize("state", ["too_few_customers", "not_converged"])
def test_failed_purchase_fit_leaves_predictions_null_and_gives_reason(customers, fits: CustomerFits, state) -> None:
    unfitted = Fit("pareto_nbd", state, 27, 23, 9, message="why")
    rows = with_predictions(customers, replace(fits, purchases=unfitted), TERMS)
    assert {tuple(row) for row in rows.select("prediction_state").distinct().collect()} == {(state,), ("never_bought",)}
    names = ("probability_alive", "churn_probability", "purchase_probability", "expected_purchases", "predictive_clv")
    assert rows.where(" OR ".join(f"{name} IS NOT NULL" for name in names)).count() == 0


def test_failed_spend_fit_leaves_only_money_null(customers, fits: CustomerFits) -> None:
    unfitted = Fit("gamma_gamma", "not_converged", 943, 943, 700, message="why")
    rows = with_predictions(customers, replace(fits, spend=unfitted), TERMS).where("frequency IS NOT NULL")
    assert rows.where("churn_probability IS NULL OR predictive_clv IS NOT NULL").count() == 0
    assert rows.where("prediction_state = 'purchases_only'").count() == 2357


@pytest.fixture(scope="module")
def quality(cdnow_tables):
    """Rows of model_quality_gold. The predictions are made at the end of September 1997 for the next 39 weeks."""
    return measure_models(collect_holdout(*cdnow_tables, date(1998, 6, 30), 273), "pareto_nbd")


def test_models_beat_baselines_on_actual_purchases(quality) -> None:
    overall = {(row["model"], row["measure"]): row for row in quality if row["decile"] == 0}
    total = overall["pareto_nbd", "total_error"]
    assert (total["cut_off"], total["as_of"], total["customer_count"]) == (date(1997, 9, 30), date(1998, 6, 30), 2357)
    assert total["actual"] == 1882
    assert abs(total["value"]) <= 0.12
    assert overall["pareto_nbd", "mae"]["value"] <= 0.77
    spend = overall["pareto_nbd", "spend_error"]
    assert spend["value"] == pytest.approx(spend["predicted"] / spend["actual"] - 1)
    assert abs(spend["value"]) <= 0.16
    assert {row["model"] for row in quality} == {*MODELS}, "nobody had bought 39 weeks before the cut-off"
    assert {row["model"] for row in quality if row["is_chosen"]} == {"pareto_nbd"}


def test_models_beat_baselines_after_a_churn_horizon(cdnow_tables) -> None:
    rows = measure_models(collect_holdout(*cdnow_tables, date(1997, 12, 31), 91), "pareto_nbd")
    overall = {(row["model"], row["measure"]): row["value"] for row in rows if row["decile"] == 0}
    for baseline in BASELINES:
        assert overall["pareto_nbd", "brier_score"] < overall[baseline, "brier_score"]
    for baseline in ("active_if_recent", "own_rhythm"):
        assert overall["pareto_nbd", "auc"] > overall[baseline, "auc"]
    assert overall["pareto_nbd", "auc"] > overall["logistic", "auc"] - 0.005, "about as good"


def test_quality_has_unique_keys_and_columns_of_contract(quality) -> None:
    keys = [tuple(row[name] for name in MODEL_QUALITY_GOLD.key) for row in quality]
    assert len(set(keys)) == len(keys)
    assert all(set(row) == set(MODEL_QUALITY_GOLD.column_names) for row in quality)


def test_models_without_fit_give_state_and_baselines_give_measures(cdnow_tables) -> None:
    rows = measure_models(collect_holdout(*cdnow_tables, date(1997, 1, 4), 1), "pareto_nbd")
    states = {row["model"]: row["state"] for row in rows if row["measure"] == "state"}
    assert states == dict.fromkeys(MODELS, "too_few_customers")
    assert {row["model"] for row in rows} == {*states, *BASELINES}
