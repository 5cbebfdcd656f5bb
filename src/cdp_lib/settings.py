"""Settings of a run, parsed once from the parameters of its notebook and passed on as an argument."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Self
from zoneinfo import ZoneInfo

from cdp_lib.errors import CdpError
from cdp_lib.identity.rules import IdentityRules
from cdp_lib.identity.rules_file import read_identity_rules
from cdp_lib.limits import Limits
from cdp_lib.reference.currencies import read_currency_codes

_BATCH_ID = re.compile(r"\d{8}T\d{6}Z[A-Za-z0-9_-]*")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_PRICE = re.compile(r"[0-9]{1,14}(\.[0-9]{1,4})?")
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")


@dataclass(frozen=True)
class Settings:
    """Typed parameters of a run. Field names are the names of the job parameters.

    Attributes:
        catalog: Unity Catalog catalog.
        schema: Schema of the platform's tables.
        serving_schema: Schema of the views for readers outside the team, empty for none.
        customers_schema: Schema of the views with a row per customer, empty for none. It differs from `serving_schema`.
        landing: Root of the landed batches: a volume path, an `abfss://` address or a local folder.
        secret_scope: Secret scope that holds the keys of the sources.
        sources_file: Path of the file of sources (`sources.yml`).
        identity_rules: Rules that join records into persons. The parameter is the path of the file of rules
            (`identity.yml`), empty if each customer is a person.
        customers_api_url: URL of the customers API, empty for none.
        api_timeout_seconds: Timeout of an API request in seconds. The timeout limits the time to connect, and the time
            without any data.
        redirect_hosts: Hosts to which the customers API and the CRM may redirect requests, besides their own. A host
            with another port than 443 (https) or 80 (http) has the form `host:port`.
        source_limits: Maximum amounts of one extraction from an API, the CRM or a folder.
        crm_url: URL of the Dataverse organisation, empty for none.
        database_schema: Schema of the source database, empty for a database without schemas (SQLite).
        jdbc_partitions: Number of parallel connections through which a cluster reads the first snapshot of a large
            table. With 0, the driver reads the snapshot through its single connection.
        events_path: Folder of the event files, empty for none.
        marketing_spend_path: Folder of the marketing spend files, empty for none.
        exchange_rates_path: File of the exchange rates, empty for none.
        consents_path: Folder of the files with decisions on consent, empty for none.
        accept_new_sources: Whether the address of a source may differ from the address that the landing remembers.
        reporting_currency: ISO 4217 code of the currency of prices. Exchange rates convert amounts to this currency.
        amounts_include_tax: Whether the amounts of a line include its tax. If true, revenue is the amount less the tax.
        business_time_zone: IANA name of the time zone of business days.
        gross_margin: Share of revenue that remains after the cost of goods sold, above 0 and up to 1.
        annual_discount_rate: Discount rate per year; 0.1 for 10 %.
        churn_horizon_days: Number of days after `as_of`. A customer without a purchase in these days has churned.
        clv_horizon_months: Number of months after `as_of` that predictive CLV covers.
        minimum_scored_buyers: Minimum number of buyers for RFM scores that are fifths. With fewer buyers, all score 3.
        minimum_segment_size: Minimum number of customers in a segment whose promise is checked.
        refit_new_buyers: Share of new buyers since the last fit from which models are fitted again, above 0.
        refit_months: Number of months since the last fit after which models are fitted again, 1 or more.
        model_registry: Schema in which fitted models are registered with MLflow, as `<catalog>.<schema>`; empty for
            none.
        price_bands: The two prices that divide prices into Budget, Mid-Range and Premium; None for the terciles of the
            prices of the sales.
        refused_share_limit: Share of a batch's rows that may break rules, 0 to 1. If more rows break rules, the batch
            is refused.
        shrink_limit: Share of a table's rows that may be missing in a snapshot, 0 to 1. If more rows are missing, the
            snapshot is refused.
        minimum_cell_size: Smallest number of people whose figures leave the team, 1 or more.
        unmasked_group: Account group that reads personal data on Databricks, empty for no masks.
        synapse_location: Folder of the copies of gold tables for readers outside Unity Catalog, empty for none.
        synapse_customers: Whether the copies include the tables with a row per customer.
        analytics_needs_consent: Whether rows of single persons leave the team for analytics only with their consent.
        as_of: Day that the figures refer to; empty for the latest business date in the data.
        ingest: Whether the ingest tasks land batches; false if another system lands them.
        fit_models: Whether to fit the customer models again: true, false (predictions use the latest fits), or auto
            (only if enough has changed since the latest fits).
        from_scratch: Whether to extract every source completely, regardless of its watermark.
        full_refresh: Whether to load every landed batch again and to rebuild every table.
        replay_from: First batch to load again, together with all later batches; empty for none.
        run_id: Identifier of the run.
        run_started_at: Start of the run, UTC. The library uses it as the current time.
    """

    catalog: str
    schema: str
    serving_schema: str
    customers_schema: str
    landing: str
    secret_scope: str
    sources_file: str
    identity_rules: IdentityRules
    customers_api_url: str
    api_timeout_seconds: float
    redirect_hosts: tuple[str, ...]
    source_limits: Limits
    crm_url: str
    database_schema: str
    jdbc_partitions: int
    events_path: str
    marketing_spend_path: str
    exchange_rates_path: str
    consents_path: str
    accept_new_sources: bool
    reporting_currency: str
    amounts_include_tax: bool
    business_time_zone: str
    gross_margin: float
    annual_discount_rate: float
    churn_horizon_days: int
    clv_horizon_months: int
    minimum_scored_buyers: int
    minimum_segment_size: int
    refit_new_buyers: float
    refit_months: int
    model_registry: str
    price_bands: tuple[Decimal, Decimal] | None
    refused_share_limit: float
    shrink_limit: float
    minimum_cell_size: int
    unmasked_group: str
    synapse_location: str
    synapse_customers: bool
    analytics_needs_consent: bool
    as_of: date | None
    ingest: bool
    fit_models: bool | None  # None: auto
    from_scratch: bool
    full_refresh: bool
    replay_from: str
    run_id: str
    run_started_at: datetime

    @classmethod
    def parameter_names(cls) -> tuple[str, ...]:
        """Return the names of the parameters that a notebook reads."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def from_widgets(cls, dbutils: Any) -> Self:
        """Read the settings from the widgets of a notebook.

        Every widget is created with an empty default. The values that the job sets replace the defaults.

        Args:
            dbutils: The notebook's `dbutils`.

        Raises:
            CdpError: A parameter is empty or does not parse.
        """
        for name in cls.parameter_names():
            dbutils.widgets.text(name, "")
        return cls.from_parameters({name: dbutils.widgets.get(name) for name in cls.parameter_names()})

    @classmethod
    def from_parameters(cls, parameters: dict[str, str]) -> Self:
        """Parse the parameters of a run.

        Args:
            parameters: Text by parameter name.

        Raises:
            CdpError: A parameter is empty or does not parse.
        """
        # A job sets `run_started_at`. A notebook that runs without a job uses the current time instead.
        started_at = parameters["run_started_at"] or datetime.now(UTC).isoformat(timespec="seconds")
        return cls(
            catalog=_require(parameters, "catalog"),
            schema=_require(parameters, "schema"),
            serving_schema=parameters["serving_schema"],
            customers_schema=_to_customers_schema(parameters),
            landing=_require(parameters, "landing").rstrip("/"),
            secret_scope=_require(parameters, "secret_scope"),
            sources_file=_require(parameters, "sources_file"),
            identity_rules=read_identity_rules(parameters["identity_rules"]),
            customers_api_url=parameters["customers_api_url"],
            api_timeout_seconds=_to_number(
                parameters, "api_timeout_seconds", "of seconds above 0", lambda seconds: seconds > 0
            ),
            redirect_hosts=_to_hosts(parameters, "redirect_hosts"),
            source_limits=Limits.parse(parameters["source_limits"]),
            crm_url=parameters["crm_url"].rstrip("/"),
            database_schema=parameters["database_schema"],
            jdbc_partitions=_to_count(parameters, "jdbc_partitions"),
            events_path=parameters["events_path"].rstrip("/"),
            marketing_spend_path=parameters["marketing_spend_path"].rstrip("/"),
            exchange_rates_path=parameters["exchange_rates_path"],
            consents_path=parameters["consents_path"].rstrip("/"),
            accept_new_sources=_to_flag(parameters, "accept_new_sources", default=False),
            reporting_currency=_to_currency(parameters, "reporting_currency"),
            amounts_include_tax=_to_flag(parameters, "amounts_include_tax", default=False),
            business_time_zone=_to_time_zone(parameters, "business_time_zone"),
            gross_margin=_to_number(parameters, "gross_margin", "above 0 and up to 1", lambda share: 0 < share <= 1),
            annual_discount_rate=_to_number(parameters, "annual_discount_rate", "0 or more", lambda rate: rate >= 0),
            churn_horizon_days=_to_positive_count(parameters, "churn_horizon_days"),
            clv_horizon_months=_to_positive_count(parameters, "clv_horizon_months"),
            minimum_scored_buyers=_to_positive_count(parameters, "minimum_scored_buyers"),
            minimum_segment_size=_to_positive_count(parameters, "minimum_segment_size"),
            refit_new_buyers=_to_number(parameters, "refit_new_buyers", "above 0", lambda share: share > 0),
            refit_months=_to_positive_count(parameters, "refit_months"),
            model_registry=_to_model_registry(parameters),
            price_bands=_to_price_bands(parameters, "price_bands"),
            refused_share_limit=_to_share(parameters, "refused_share_limit"),
            shrink_limit=_to_share(parameters, "shrink_limit"),
            minimum_cell_size=_to_positive_count(parameters, "minimum_cell_size"),
            unmasked_group=parameters["unmasked_group"],
            synapse_location=parameters["synapse_location"].rstrip("/"),
            synapse_customers=_to_flag(parameters, "synapse_customers", default=False),
            analytics_needs_consent=_to_flag(parameters, "analytics_needs_consent", default=False),
            as_of=_to_date(parameters, "as_of"),
            ingest=_to_flag(parameters, "ingest", default=True),
            fit_models=_to_flag_or_auto(parameters, "fit_models"),
            from_scratch=_to_flag(parameters, "from_scratch", default=False),
            full_refresh=_to_flag(parameters, "full_refresh", default=False),
            replay_from=_to_batch_id(parameters, "replay_from"),
            run_id=_to_name(parameters, "run_id") or "interactive",
            run_started_at=parse_time("run_started_at", started_at),
        )

    def is_replayed(self, batch_id: str) -> bool:
        """Return whether the run loads a batch even if the batch is already loaded."""
        return self.full_refresh or bool(self.replay_from and batch_id >= self.replay_from)

    @property
    def batch_id(self) -> str:
        """Return the name of the batches that the run lands: `20260131T235959Z-<run id>`. Names sort by time."""
        return f"{self.run_started_at:%Y%m%dT%H%M%SZ}-{self.run_id}"


def _require(parameters: dict[str, str], name: str) -> str:
    if not parameters[name]:
        raise CdpError(f"Parameter '{name}' is empty: fill in the notebook's widget or the job parameter '{name}'.")
    return parameters[name]


def _to_customers_schema(parameters: dict[str, str]) -> str:
    name = parameters["customers_schema"]
    if name and name.lower() in (parameters["serving_schema"].lower(), parameters["schema"].lower()):
        raise CdpError(
            f"Parameter 'customers_schema' is '{name}', which is also another schema of the platform: choose a schema"
            " of its own, because its views have a row per customer."
        )
    return name


def _to_model_registry(parameters: dict[str, str]) -> str:
    schema = parameters["model_registry"]
    if schema and not re.fullmatch(r"[^\s./'`]+\.[^\s./'`]+", schema):
        raise CdpError(f"Parameter 'model_registry' is '{schema}': write <catalog>.<schema>, or leave it empty.")
    return schema


def _to_number(parameters: dict[str, str], name: str, bounds: str, is_within: Callable[[float], bool]) -> float:
    text = _require(parameters, name)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and is_within(number)):
        raise CdpError(f"Parameter '{name}' is '{text}': write a number {bounds}.")
    return number


def _to_share(parameters: dict[str, str], name: str) -> float:
    return _to_number(parameters, name, "from 0 to 1", lambda share: 0 <= share <= 1)


def _to_count(parameters: dict[str, str], name: str) -> int:
    text = parameters[name] or "0"
    if not (text.isascii() and text.isdecimal()):
        raise CdpError(f"Parameter '{name}' is '{text}': write a whole number, 0 or more.")
    return int(text)


def _to_positive_count(parameters: dict[str, str], name: str) -> int:
    text = _require(parameters, name)
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise CdpError(f"Parameter '{name}' is '{text}': write a whole number, 1 or more.")
    return int(text)


def _to_price_bands(parameters: dict[str, str], name: str) -> tuple[Decimal, Decimal] | None:
    text = _require(parameters, name)
    if text == "auto":
        return None
    prices = text.split(",")
    if len(prices) == 2 and all(_PRICE.fullmatch(price.strip()) for price in prices):
        low, high = (Decimal(price.strip()) for price in prices)
        if 0 < low < high:
            return low, high
    raise CdpError(f"Parameter '{name}' is '{text}': write two rising prices such as 500,1500, or auto.")


def _to_currency(parameters: dict[str, str], name: str) -> str:
    text = _require(parameters, name)
    if text not in read_currency_codes():
        raise CdpError(f"Parameter '{name}' is '{text}': write the ISO 4217 code of a currency, such as USD or EUR.")
    return text


def _to_time_zone(parameters: dict[str, str], name: str) -> str:
    text = parameters[name] or "UTC"
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise CdpError(f"Parameter '{name}' is '{text}': write an IANA time zone such as Europe/Vienna.") from None
    return text


def _to_hosts(parameters: dict[str, str], name: str) -> tuple[str, ...]:
    hosts = tuple(parameters[name].split())
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise CdpError(
                f"Parameter '{name}' contains '{host}': write hosts such as files.example.com or"
                " files.example.com:8443, separated by blanks."
            )
    return hosts


def _to_batch_id(parameters: dict[str, str], name: str) -> str:
    text = parameters[name]
    if text and not _BATCH_ID.fullmatch(text):
        raise CdpError(f"Parameter '{name}' is '{text}': write a batch such as 20260131T235959Z-1, or leave it empty.")
    return text


def _to_name(parameters: dict[str, str], name: str) -> str:
    text = parameters[name]
    if text and not _NAME.fullmatch(text):
        raise CdpError(
            f"Parameter '{name}' is '{text}': batch names contain this value; use only letters, digits, '-' and '_'."
        )
    return text


def _to_date(parameters: dict[str, str], name: str) -> date | None:
    text = parameters[name]
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise CdpError(f"Parameter '{name}' is '{text}': write a date such as 2026-01-31, or leave it empty.") from None


def _to_flag(parameters: dict[str, str], name: str, *, default: bool) -> bool:
    return parse_flag(name, parameters[name], default=default)


def _to_flag_or_auto(parameters: dict[str, str], name: str) -> bool | None:
    text = parameters[name].lower()
    if text not in ("", "auto", "true", "false"):
        raise CdpError(f"Parameter '{name}' is '{parameters[name]}': write true, false or auto.")
    return None if text in ("", "auto") else text == "true"


def parse_flag(name: str, text: str, *, default: bool) -> bool:
    """Return the value of a parameter that is true or false.

    Args:
        name: Name of the parameter.
        text: Value of the parameter.
        default: Value of an empty parameter.

    Raises:
        CdpError: The value is neither true nor false, nor empty.
    """
    if text.lower() not in ("", "true", "false"):
        raise CdpError(f"Parameter '{name}' is '{text}': write true or false.")
    return text.lower() == "true" if text else default


def parse_time(name: str, text: str) -> datetime:
    """Return the time in a parameter, in UTC. A time without a zone is UTC.

    Args:
        name: Name of the parameter.
        text: Value of the parameter, ISO 8601.

    Raises:
        CdpError: The value is not a time.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise CdpError(f"Parameter '{name}' is '{text}': write a time such as 2026-01-31T23:59:59Z.") from None
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
