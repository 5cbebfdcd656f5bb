"""Tests against a local registry of MLflow: `make test-registry`. The environment has no Spark."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cdp_lib.analytics import pyfunc
from cdp_lib.analytics.purchases import ParetoNbd
from cdp_lib.analytics.spend import GammaGamma
from cdp_lib.model_registry import CHAMPION, PURCHASE_MODEL, SPEND_MODEL, ModelVersion, register

mlflow = pytest.importorskip("mlflow", reason="make test-registry")

PURCHASES = ParetoNbd(r=0.5532, alpha=10.576, s=0.6063, beta=11.672)
SPEND = GammaGamma(p=6.25, q=3.74, v=15.44)
FITTED = ModelVersion(
    model_version="pareto_nbd-20260630-0123456789ab",
    model="pareto_nbd",
    parameters=PURCHASES.parameters,
    tags={"as_of": "2026-06-30", "observed_weeks": "156", "code_version": "0.1.0", "auc": "0.79"},
    quality={"auc": 0.79, "total_error": -0.035},
)
FITTED_SPEND = replace(
    FITTED, model_version="gamma_gamma-20260630-ab", model="gamma_gamma", parameters=SPEND.parameters, quality={}
)
CUSTOMERS = pd.DataFrame({"frequency": [0, 2, 10], "recency_weeks": [0, 30, 38], "age_weeks": [39, 39, 39]})


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_registry_uri(f"sqlite:///{tmp_path}/mlflow.db")
    return mlflow.MlflowClient()


def register_in_sales(fitted: ModelVersion) -> str:
    return register("main.sales", fitted, in_unity_catalog=False)


def test_registered_purchase_model_predicts_as_the_fitted_model(client) -> None:
    assert register_in_sales(FITTED) == f"model main.sales.{PURCHASE_MODEL} version 1: {FITTED.model_version}"
    model = mlflow.pyfunc.load_model(f"models:/main.sales.{PURCHASE_MODEL}@{CHAMPION}")
    known = [CUSTOMERS[name].to_numpy(dtype=float) for name in pyfunc.PURCHASE_INPUTS]
    predicted = model.predict(CUSTOMERS, params={"weeks": 26.0})
    assert list(predicted.columns) == list(pyfunc.PURCHASE_OUTPUTS)
    assert predicted.probability_alive.to_numpy() == pytest.approx(PURCHASES.probability_alive(*known))
    assert predicted.churn_probability.to_numpy() == pytest.approx(PURCHASES.probability_of_no_purchase(26.0, *known))
    assert predicted.expected_purchases.to_numpy() == pytest.approx(PURCHASES.expected_purchases(26.0, *known))
    assert model.predict(CUSTOMERS).expected_purchases.to_numpy() == pytest.approx(
        PURCHASES.expected_purchases(pyfunc.DEFAULT_WEEKS, *known)
    )


def test_registered_spend_model_predicts_customers_without_repeat_purchase(client) -> None:
    register_in_sales(FITTED_SPEND)
    model = mlflow.pyfunc.load_model(f"models:/main.sales.{SPEND_MODEL}@{CHAMPION}")
    predicted = model.predict(pd.DataFrame({"frequency": [0, 4], "repeat_monetary_value": [np.nan, 50.0]}))
    assert predicted[pyfunc.SPEND_OUTPUT].to_numpy() == pytest.approx(
        [SPEND.expected_mean(0.0, 0.0), SPEND.expected_mean(4.0, 50.0)]
    )


def test_version_has_tags_parameters_and_quality(client) -> None:
    register_in_sales(FITTED)
    version = client.get_model_version_by_alias(f"main.sales.{PURCHASE_MODEL}", CHAMPION)
    assert version.tags == {"model_version": FITTED.model_version, "model": "pareto_nbd", **FITTED.tags}
    run = client.get_run(version.run_id)
    assert {name: float(value) for name, value in run.data.params.items()} == pytest.approx(FITTED.parameters)
    assert run.data.metrics == FITTED.quality


def test_champion_is_not_registered_again(client) -> None:
    register_in_sales(FITTED)
    assert register_in_sales(FITTED) == ""
    assert len(client.search_model_versions(f"name = 'main.sales.{PURCHASE_MODEL}'")) == 1


def test_later_fit_becomes_the_champion_even_if_its_model_differs(client) -> None:
    register_in_sales(FITTED)
    later = replace(FITTED, model_version="shrunken_rate-20260731-01", model="shrunken_rate")
    register_in_sales(replace(later, parameters={"r": 1.5, "alpha": 20.0}))
    version = client.get_model_version_by_alias(f"main.sales.{PURCHASE_MODEL}", CHAMPION)
    assert (str(version.version), version.tags["model"]) == ("2", "shrunken_rate")
    assert client.get_model_version(f"main.sales.{PURCHASE_MODEL}", "1").tags["model"] == "pareto_nbd"


def test_registered_model_needs_no_installed_library(client, tmp_path: Path) -> None:
    register_in_sales(FITTED)
    folder = mlflow.artifacts.download_artifacts(f"models:/main.sales.{PURCHASE_MODEL}@{CHAMPION}")
    code = (
        "import sys; assert not any('cdp_lib' == name.split('.')[0] for name in sys.modules);"
        f"import mlflow, pandas; model = mlflow.pyfunc.load_model({str(folder)!r});"
        "import cdp_lib; print(cdp_lib.__file__);"
        "customer = pandas.DataFrame({'frequency': [2], 'recency_weeks': [30], 'age_weeks': [39]});"
        "print(model.predict(customer).expected_purchases[0])"
    )
    # -I: without PYTHONPATH. -S: without the .pth file of an editable install.
    paths = [path for path in sys.path if path.endswith("site-packages")]
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path += {paths!r}\n{code}"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    place, expected = run.stdout.split()[-2:]
    assert Path(place).is_relative_to(folder)
    known = [np.array([value]) for value in (2.0, 30.0, 39.0)]
    assert float(expected) == pytest.approx(PURCHASES.expected_purchases(pyfunc.DEFAULT_WEEKS, *known)[0])


def test_error_of_the_registry_is_raised(client, monkeypatch: pytest.MonkeyPatch) -> None:
    error = mlflow.MlflowException("not now")
    monkeypatch.setattr(mlflow.MlflowClient, "get_model_version_by_alias", lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(mlflow.MlflowException, match="not now"):
        register_in_sales(FITTED)
    assert client.search_registered_models() == []
