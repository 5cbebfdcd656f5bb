"""Fits that a run registers. The tests of the registry itself need MLflow: `make test-registry`."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from cdp_lib import model_registry
from cdp_lib.contracts.analytics import CUSTOMER_VALUE_GOLD, MODEL_FITS_GOLD, MODEL_QUALITY_GOLD
from cdp_lib.model_registry import ModelVersion, register_fits
from cdp_lib.storage import DeltaStore

DAY, EARLIER = date(2026, 6, 30), date(2026, 5, 31)
PARAMETERS = {"r": 0.5, "alpha": 10.0, "s": 0.6, "beta": 11.0}


def fit(model: str, as_of: date, **values: Any) -> dict[str, Any]:
    fitted = {
        "model_version": f"{model}-{as_of:%Y%m%d}",
        "model": model,
        "as_of": as_of,
        "fitted_at": datetime(2026, 6, 30, 3, tzinfo=UTC),
        "state": "fitted",
        "parameters": json.dumps(PARAMETERS),
        "log_likelihood": -1234.5,
        "customer_count": 1000,
        "repeat_customer_count": 400,
        "history_count": 300,
        "observed_weeks": 156,
        "code_version": "0.1.0",
    }
    return fitted | values


def measured(model: str, as_of: date, measure: str, decile: int, value: float | None) -> dict[str, Any]:
    return {
        "as_of": as_of,
        "cut_off": date(2026, 4, 1),
        "model": model,
        "measure": measure,
        "decile": decile,
        "customer_count": 900,
        "value": value,
        "state": "fitted",
        "is_chosen": True,
    }


@pytest.fixture
def predicted(store: DeltaStore) -> DeltaStore:
    """Customers that an earlier purchase fit predicts, because the later fit failed, as did the spend model."""
    customer = {
        "as_of": DAY,
        "transaction_count": 1,
        "purchase_day_count": 1,
        "total_revenue": 1,
        "historic_clv": 1,
        "segment": "New",
        "prediction_state": "purchases_only",
    }
    versions = {"purchase_model_version": f"pareto_nbd-{EARLIER:%Y%m%d}", "spend_model_version": "gamma_gamma-20260630"}
    never_bought = customer | {"person_id": 1, "prediction_state": "never_bought"}
    store.create(CUSTOMER_VALUE_GOLD)
    for customers in ([never_bought], [customer | versions | {"person_id": number} for number in (2, 3)]):
        store.append(CUSTOMER_VALUE_GOLD, store.frame(CUSTOMER_VALUE_GOLD, customers))
    failed = {"state": "not_converged", "parameters": None, "log_likelihood": None}
    fits = [fit("pareto_nbd", EARLIER), fit("pareto_nbd", DAY, **failed), fit("gamma_gamma", DAY, **failed)]
    store.replace(MODEL_FITS_GOLD, store.frame(MODEL_FITS_GOLD, fits))
    quality = [
        measured("pareto_nbd", EARLIER, "auc", 0, 0.79),
        measured("pareto_nbd", EARLIER, "total_error", 0, None),
        measured("pareto_nbd", EARLIER, "churn_by_decile", 1, 0.1),
        measured("pareto_nbd", DAY, "auc", 0, 0.5),
        measured("mbg_nbd", EARLIER, "auc", 0, 0.6),
    ]
    store.replace(MODEL_QUALITY_GOLD, store.frame(MODEL_QUALITY_GOLD, quality))
    return store


def test_fit_in_use_is_registered_with_its_window_and_quality(
    predicted: DeltaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered: list[tuple[str, ModelVersion]] = []
    monkeypatch.setattr(
        model_registry, "register", lambda schema, fitted, **_: registered.append((schema, fitted)) or "done"
    )
    assert register_fits(predicted, "main.models") == ["done"]
    [(schema, fitted)] = registered
    assert (schema, fitted.registered_name) == ("main.models", "purchase_model")
    assert (fitted.model_version, fitted.parameters) == ("pareto_nbd-20260531", PARAMETERS)
    assert fitted.quality == {"auc": 0.79}
    assert fitted.tags == {
        "as_of": "2026-05-31",
        "observed_weeks": "156",
        "customer_count": "1000",
        "repeat_customer_count": "400",
        "log_likelihood": "-1234.5",
        "code_version": "0.1.0",
        "auc": "0.79",
    }


def test_error_of_the_registry_is_one_warning_without_secrets(
    predicted: DeltaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise ConnectionError("no answer from\nhttps://user:s3cret-word@registry.example")  # pragma: allowlist secret

    monkeypatch.setattr(model_registry, "register", refuse)
    [line] = register_fits(predicted, "main.models")
    assert line.startswith("warning: the models are not registered in main.models: ConnectionError: no answer")
    assert "s3cret-word" not in line and "\n" not in line


def test_customers_without_predictions_register_nothing(store: DeltaStore) -> None:
    store.create(CUSTOMER_VALUE_GOLD)
    assert register_fits(store, "main.models") == []


def test_model_that_is_registered_already_is_not_reported(
    predicted: DeltaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_registry, "register", lambda *_, **__: "")
    assert register_fits(predicted, "main.models") == []
