"""Customer models as MLflow models: the code that MLflow calls to load a registered model and to predict with it.

MLflow stores this module and the modules that it imports beside the parameters (`MODULES`), so a registered model
needs neither this library nor Spark. Parameters are JSON: to load a model, no code is unpickled.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cdp_lib.analytics.selection import MODELS
from cdp_lib.analytics.spend import GammaGamma

MODULES = ("__init__", *(f"analytics/{name}" for name in ("__init__", "fits", "histories", "purchases", "rates")))
MODULES += tuple(f"analytics/{name}" for name in ("selection", "spend", "pyfunc"))
"""Modules of `cdp_lib` that a registered model consists of."""

WEEKS = "weeks"
DEFAULT_WEEKS = 13.0
"""Name and default of the parameter of a purchase model: length of the forecast, in weeks."""

PURCHASE_INPUTS = ("frequency", "recency_weeks", "age_weeks")
PURCHASE_OUTPUTS = ("probability_alive", "churn_probability", "expected_purchases")
SPEND_INPUTS = ("frequency", "repeat_monetary_value")
SPEND_OUTPUT = "expected_spend_per_purchase_day"


class Purchases:
    """Purchase model. One row per customer, with columns of `PURCHASE_INPUTS` and `PURCHASE_OUTPUTS`."""

    def __init__(self, name: str, parameters: dict[str, float]) -> None:
        """Keep the fitted model."""
        self._model = MODELS[name](**parameters)

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return the predictions for the next weeks: `params["weeks"]`."""
        known = [model_input[name].to_numpy(dtype=np.float64) for name in PURCHASE_INPUTS]
        weeks = float((params or {}).get(WEEKS, DEFAULT_WEEKS))
        predicted = (
            self._model.probability_alive(*known),
            self._model.probability_of_no_purchase(weeks, *known),
            self._model.expected_purchases(weeks, *known),
        )
        return pd.DataFrame(dict(zip(PURCHASE_OUTPUTS, predicted, strict=True)), index=model_input.index)


class Spend:
    """Spend model. One row per customer, with columns of `SPEND_INPUTS` and `SPEND_OUTPUT`."""

    def __init__(self, parameters: dict[str, float]) -> None:
        """Keep the fitted model."""
        self._model = GammaGamma(**parameters)

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return the expected spend on a purchase day."""
        frequency, mean = (model_input[name].to_numpy(dtype=np.float64) for name in SPEND_INPUTS)
        # Without a repeat purchase, the mean is null, and the expectation does not depend on it.
        expected = self._model.expected_mean(frequency, np.nan_to_num(mean))
        return pd.DataFrame({SPEND_OUTPUT: expected}, index=model_input.index)


def _load_pyfunc(path: str) -> Purchases | Spend:
    """Return the model of a JSON file with `model` and `parameters`. MLflow calls this function by its name."""
    fit = json.loads(Path(path).read_text(encoding="utf-8"))
    if fit["model"] == GammaGamma.name:
        return Spend(fit["parameters"])
    return Purchases(fit["model"], fit["parameters"])
