"""Generates docs/settings.md from the files of the bundle and from the docstring of `Settings`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from cdp_lib.settings import Settings
from cdp_local.bundle import PROJECT, Bundle
from cdp_local.markdown import table

_OPTIONAL_FILES = PROJECT / "resources" / "optional"

_WAYS_TO_SET = (
    (
        "bundle variable",
        "the deployment",
        "`cdp run --var NAME=VALUE`",
        "`databricks bundle deploy --var NAME=VALUE`, `BUNDLE_VAR_<name>`, or `targets.<target>.variables` in"
        " `databricks.yml`",
    ),
    (
        "job parameter",
        "the operator, for one run",
        "`cdp run --param NAME=VALUE`",
        "`databricks bundle run cdp_refresh --params NAME=VALUE`",
    ),
    (
        "secret",
        "the owner of the source",
        "`CDP_SECRET_<SCOPE>_<KEY>`, or `.cdp-secrets.yml`",
        "`databricks secrets put-secret <scope> <key>`",
    ),
)
"""Kinds of settings. Each row says who sets the kind, how to set it on a laptop, and how to set it in a workspace."""

_SECRETS = (
    ("database_url", "SQLAlchemy URL of the database with products, stores and transactions"),
    ("api_token", "bearer token of the customers API, if it needs one"),
    ("crm_client_id", "id of the application user of the CRM"),
    ("crm_client_secret", "secret of the application user of the CRM"),
    ("event_hubs_connection_string", "connection string of the event hub, of a policy that may only listen"),
    ("kafka_username", "login of the Kafka server, if it needs one; set it together with `kafka_password`"),
    ("kafka_password", "password of the Kafka login"),
    ("storage_account_key", "account key of the lake, for an `abfss://` address without an external location"),
)
"""(key, meaning) pairs of all secrets. They are listed here, because no other code declares the secrets."""


def settings_page() -> str:
    """Return the page about all bundle variables, job parameters and secrets, as Markdown."""
    bundle = _read(PROJECT / "databricks.yml")
    parameters, meanings = Bundle(PROJECT, {}).job("cdp_refresh").parameters, _meanings_of_settings()
    lines = [
        "# Settings",
        "",
        "`make docs` generates this page from `databricks.yml`, the job files and `cdp_lib/settings.py`.",
        "",
        *table(("kind", "set by", "on a laptop", "in a workspace"), _WAYS_TO_SET),
        "",
        "## Bundle variables",
        "",
        "A variable without a default is required in the targets `staging`, `prod` and `adls`.",
        "",
        *_variables(bundle["variables"]),
        "",
        "Values that a target sets:",
        "",
        *table(("variable", "target", "value"), _values_of_targets(bundle["targets"])),
        "",
        "## Variables of optional files",
        "",
        "They exist once `databricks.yml` includes the file.",
        "",
        *table(("file", "variable", "default", "meaning"), _variables_of_optional_files()),
        "",
        "## Job parameters",
        "",
        "Parameters of the job `cdp_refresh`. The deployment fixes all other values.",
        "",
        *table(
            ("parameter", "default", "meaning"),
            ((f"`{name}`", _code(default), meanings[name]) for name, default in parameters.items()),
        ),
        "",
        "## Secrets",
        "",
        "Keys in the secret scope of the variable `secret_scope`.",
        "",
        *table(("key", "meaning"), ((f"`{key}`", meaning) for key, meaning in _SECRETS)),
    ]
    return "\n".join(lines) + "\n"


def _read(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def _variables(variables: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return table(("variable", "default", "meaning"), _rows(variables))


def _variables_of_optional_files() -> Iterable[tuple[str, ...]]:
    for path in sorted(_OPTIONAL_FILES.glob("*.yml")):
        for row in _rows(_read(path)["variables"]):
            yield (f"`{path.relative_to(PROJECT)}`", *row)


def _rows(variables: Mapping[str, Mapping[str, Any]]) -> Iterable[tuple[str, ...]]:
    for name, variable in variables.items():
        yield f"`{name}`", _default(variable), _escape(variable["description"])


def _default(variable: Mapping[str, Any]) -> str:
    if "lookup" in variable:
        [(kind, name)] = variable["lookup"].items()
        return f"{kind} *{name}*"
    if "default" not in variable:
        return "required"
    default = variable["default"]
    if isinstance(default, list):
        return ", ".join(map(_pairs, default)) or _code("")
    return _pairs(default) if isinstance(default, Mapping) else _code(str(default))


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key}: {value}`" for key, value in values.items())


def _escape(text: str) -> str:
    """Escape each `<` in a string, so that Markdown does not treat `<name>` as an HTML tag."""
    return text.replace("<", "\\<")


def _code(text: str) -> str:
    return f"`{text}`" if text else "empty"


def _values_of_targets(targets: Mapping[str, Mapping[str, Any]]) -> Iterable[tuple[str, str, str]]:
    for target, settings in targets.items():
        for name, value in settings.get("variables", {}).items():
            yield f"`{name}`", f"`{target}`", _code(str(value))


def _meanings_of_settings() -> dict[str, str]:
    """Return the meaning of each field of `Settings`, by field name. The docstring of `Settings` has the meanings."""
    attributes = inspect.cleandoc(Settings.__doc__ or "").split("Attributes:\n")[1]
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", meaning) for name, meaning in entries}
