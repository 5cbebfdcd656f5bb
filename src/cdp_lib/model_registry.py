"""Registration of the fitted models in the model registry of MLflow, on Databricks in Unity Catalog.

The platform does not read the registry: `model_fits_gold` has the fits. The registry is for people and programs that
look for models there.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cdp_lib
from cdp_lib.analytics import pyfunc
from cdp_lib.analytics.spend import GammaGamma
from cdp_lib.contracts.analytics import CUSTOMER_VALUE_GOLD, MODEL_FITS_GOLD, MODEL_QUALITY_GOLD
from cdp_lib.errors import CdpError

if TYPE_CHECKING:
    from pyspark.sql import Row

    from cdp_lib.storage import DeltaStore

CHAMPION = "champion"
"""Alias of the version that predicts customers."""

PURCHASE_MODEL, SPEND_MODEL = "purchase_model", "spend_model"
"""Names of the two registered models, without their schema."""

_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""Codes of the errors for an alias, or a model, that does not exist."""


@dataclass(frozen=True)
class ModelVersion:
    """Fitted model to register.

    Attributes:
        model_version: Name of the fit in `model_fits_gold`.
        model: Name of the model, such as `pareto_nbd`.
        parameters: Fitted parameters by name.
        tags: Description of the fit: data window, code version and quality.
        quality: Measures of the last back-test, by name.
    """

    model_version: str
    model: str
    parameters: Mapping[str, float]
    tags: Mapping[str, str]
    quality: Mapping[str, float]

    @property
    def registered_name(self) -> str:
        """Return the name of the registered model: all purchase models are versions of one registered model."""
        return SPEND_MODEL if self.model == GammaGamma.name else PURCHASE_MODEL


def register_fits(store: DeltaStore, schema: str) -> list[str]:
    """Register the fits that predict the customers of `customer_value_gold`.

    An error of the registry, or of the package, does not stop the run.

    Args:
        store: Tables of the platform.
        schema: Schema of the registered models, as `<catalog>.<schema>`.

    Returns:
        One line for each model that was registered, or one line that starts with `warning:`.
    """
    try:
        done = [register(schema, fitted, in_unity_catalog=store.is_databricks) for fitted in fits_in_use(store)]
    except Exception as error:
        return [str(CdpError(f"warning: the models are not registered in {schema}: {type(error).__name__}: {error}"))]
    return [line for line in done if line]


def fits_in_use(store: DeltaStore) -> list[ModelVersion]:
    """Return the fits with parameters that predict the customers of `customer_value_gold`, at most two.

    Args:
        store: Tables of the platform.
    """
    names = ("purchase_model_version", "spend_model_version")
    predicted = store.read(CUSTOMER_VALUE_GOLD).where(f"{names[0]} IS NOT NULL").select(*names).limit(1).collect()
    if not predicted:
        return []
    versions = ", ".join(f"'{version}'" for version in predicted[0])
    fits = store.read(MODEL_FITS_GOLD).where(f"model_version IN ({versions}) AND parameters IS NOT NULL").collect()
    return [_model_version(store, fit) for fit in sorted(fits, key=lambda fit: str(fit.model_version))]


def _model_version(store: DeltaStore, fit: Row) -> ModelVersion:
    measured = (
        store.read(MODEL_QUALITY_GOLD)
        .where(f"model = '{fit.model}' AND as_of = DATE '{fit.as_of}' AND decile = 0 AND value IS NOT NULL")
        .select("measure", "value")
        .collect()
    )
    quality = {row.measure: row.value for row in sorted(measured)}
    window = ("as_of", "observed_weeks", "customer_count", "repeat_customer_count", "log_likelihood", "code_version")
    tags = {name: str(fit[name]) for name in window} | {name: f"{value:.6g}" for name, value in quality.items()}
    return ModelVersion(fit.model_version, fit.model, json.loads(fit.parameters), tags, quality)


def register(schema: str, fitted: ModelVersion, *, in_unity_catalog: bool) -> str:
    """Register a fitted model, unless it is the champion already, and make it the champion.

    If a run is killed before the alias is set, the next run registers the model again, as a further version.

    Args:
        schema: Schema of the registered model, as `<catalog>.<schema>`.
        fitted: Fitted model.
        in_unity_catalog: Whether the registry is in Unity Catalog. False: the registry that MLflow is configured with.

    Returns:
        A line that says what was registered, or an empty string if the model is the champion already.
    """
    import mlflow  # optional: only runs that register models need the package

    if in_unity_catalog:
        mlflow.set_registry_uri("databricks-uc")
    name = f"{schema}.{fitted.registered_name}"
    client = mlflow.MlflowClient()
    if _champion(mlflow, client, name) == fitted.model_version:
        return ""
    number = _log(mlflow, name, fitted)
    for key, value in {"model_version": fitted.model_version, "model": fitted.model, **fitted.tags}.items():
        client.set_model_version_tag(name, number, key, value)
    client.set_registered_model_alias(name, CHAMPION, number)
    return f"model {name} version {number}: {fitted.model_version}"


def _log(mlflow: Any, name: str, fitted: ModelVersion) -> str:
    """Write a model with its code and register it. Return the number of its version."""
    with tempfile.TemporaryDirectory() as folder, mlflow.start_run(run_name=fitted.model_version):
        mlflow.log_params(dict(fitted.parameters))
        mlflow.log_metrics(dict(fitted.quality))
        data = Path(folder) / "fit.json"
        data.write_text(json.dumps({"model": fitted.model, "parameters": dict(fitted.parameters)}), encoding="utf-8")
        logged = mlflow.pyfunc.log_model(
            name=fitted.registered_name,
            loader_module=pyfunc.__name__,
            data_path=str(data),
            code_paths=[str(_copy_of_code(Path(folder)))],
            signature=_signature(fitted),
            pip_requirements=[f"{package}=={version(package)}" for package in ("numpy", "pandas", "scipy")],
            registered_model_name=name,
        )
    return str(logged.registered_model_version)


def _copy_of_code(folder: Path) -> Path:
    """Copy the modules that a registered model consists of, and return the folder of the package."""
    source, copy = Path(cdp_lib.__file__).parent, folder / "cdp_lib"
    for module in pyfunc.MODULES:
        target = copy / f"{module}.py"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / f"{module}.py", target)
    return copy


def _signature(fitted: ModelVersion) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    def schema(*names: str) -> Any:
        whole = {"frequency": "long", "recency_weeks": "long", "age_weeks": "long"}
        return Schema([ColSpec(whole.get(name, "double"), name) for name in names])

    if fitted.registered_name == SPEND_MODEL:
        return ModelSignature(schema(*pyfunc.SPEND_INPUTS), schema(pyfunc.SPEND_OUTPUT))
    weeks = ParamSchema([ParamSpec(pyfunc.WEEKS, "double", pyfunc.DEFAULT_WEEKS)])
    return ModelSignature(schema(*pyfunc.PURCHASE_INPUTS), schema(*pyfunc.PURCHASE_OUTPUTS), weeks)


def _champion(mlflow: Any, client: Any, name: str) -> str | None:
    """Return the name of the fit that is the champion; None if no version is."""
    try:
        found = client.get_model_version_by_alias(name, CHAMPION)
    except mlflow.MlflowException as error:
        if error.error_code in _MISSING:
            return None
        raise
    # Read the version itself: an answer by alias may lack the tags.
    return str(client.get_model_version(name, found.version).tags.get("model_version"))
