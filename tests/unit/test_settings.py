from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from cdp_lib.errors import CdpError
from cdp_lib.identity.rules import OFF
from cdp_lib.limits import Limits
from cdp_lib.settings import Settings

PARAMETERS = {
    "catalog": "cat1",
    "schema": "sales",
    "serving_schema": "sales_serving",
    "customers_schema": "sales_customers",
    "landing": "/Volumes/cat1/sales/landing",
    "secret_scope": "cdp",
    "sources_file": "/Workspace/sources.yml",
    "identity_rules": "",
    "customers_api_url": "https://api.example.com/customers",
    "api_timeout_seconds": "30",
    "redirect_hosts": "files.example.com [::1]:8443",
    "source_limits": "rows=1000",
    "crm_url": "https://org.crm.example.com/",
    "database_schema": "dbo",
    "jdbc_partitions": "8",
    "events_path": "/Volumes/cat1/sales/events/",
    "marketing_spend_path": "/Volumes/cat1/sales/spend",
    "exchange_rates_path": "/Volumes/cat1/sales/rates.csv",
    "consents_path": "/Volumes/cat1/sales/consents/",
    "accept_new_sources": "false",
    "reporting_currency": "USD",
    "amounts_include_tax": "true",
    "business_time_zone": "Europe/Vienna",
    "gross_margin": "0.4",
    "annual_discount_rate": "0.1",
    "churn_horizon_days": "90",
    "clv_horizon_months": "12",
    "minimum_scored_buyers": "5",
    "minimum_segment_size": "30",
    "refit_new_buyers": "0.1",
    "refit_months": "1",
    "price_bands": "500, 1500",
    "refused_share_limit": "0.2",
    "shrink_limit": "0.5",
    "minimum_cell_size": "5",
    "unmasked_group": "Data stewards",
    "model_registry": "main.models",
    "synapse_location": "abfss://gold@lake.dfs.core.windows.net/cdp/",
    "synapse_customers": "true",
    "analytics_needs_consent": "true",
    "as_of": "",
    "ingest": "true",
    "from_scratch": "false",
    "fit_models": "true",
    "full_refresh": "false",
    "replay_from": "",
    "run_id": "42",
    "run_started_at": "2026-01-31T23:59:59Z",
}


class Widgets:
    """Fake of `dbutils.widgets` that records the created widgets."""

    def __init__(self, passed: dict[str, str]) -> None:
        self.values = dict(passed)

    def text(self, name: str, default: str) -> None:
        self.values.setdefault(name, default)

    def get(self, name: str) -> str:
        return self.values[name]


class Dbutils:
    def __init__(self, passed: dict[str, str]) -> None:
        self.widgets = Widgets(passed)


def test_from_parameters_parses_the_parameters_of_a_job() -> None:
    assert Settings.from_parameters(PARAMETERS) == Settings(
        catalog="cat1",
        schema="sales",
        serving_schema="sales_serving",
        customers_schema="sales_customers",
        landing="/Volumes/cat1/sales/landing",
        secret_scope="cdp",
        sources_file="/Workspace/sources.yml",
        identity_rules=OFF,
        customers_api_url="https://api.example.com/customers",
        api_timeout_seconds=30.0,
        redirect_hosts=("files.example.com", "[::1]:8443"),
        source_limits=Limits(rows=1000),
        crm_url="https://org.crm.example.com",
        database_schema="dbo",
        jdbc_partitions=8,
        events_path="/Volumes/cat1/sales/events",
        marketing_spend_path="/Volumes/cat1/sales/spend",
        exchange_rates_path="/Volumes/cat1/sales/rates.csv",
        consents_path="/Volumes/cat1/sales/consents",
        accept_new_sources=False,
        reporting_currency="USD",
        amounts_include_tax=True,
        business_time_zone="Europe/Vienna",
        gross_margin=0.4,
        annual_discount_rate=0.1,
        churn_horizon_days=90,
        clv_horizon_months=12,
        minimum_scored_buyers=5,
        minimum_segment_size=30,
        refit_new_buyers=0.1,
        refit_months=1,
        price_bands=(Decimal(500), Decimal(1500)),
        refused_share_limit=0.2,
        shrink_limit=0.5,
        minimum_cell_size=5,
        unmasked_group="Data stewards",
        model_registry="main.models",
        synapse_location="abfss://gold@lake.dfs.core.windows.net/cdp",
        synapse_customers=True,
        analytics_needs_consent=True,
        as_of=None,
        ingest=True,
        from_scratch=False,
        fit_models=True,
        full_refresh=False,
        replay_from="",
        run_id="42",
        run_started_at=datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC),
    )


def test_automatic_price_bands_are_none() -> None:
    assert Settings.from_parameters(PARAMETERS | {"price_bands": "auto"}).price_bands is None


@pytest.mark.parametrize("text", ["500", "1500,500", "5,5", "0,5", "a,b", "1,2,3", "-1,5", "1e3,2e3", "Auto"])
def test_price_bands_are_two_rising_prices(text: str) -> None:
    with pytest.raises(CdpError, match=r"'price_bands' is '.*': write two rising prices such as 500,1500, or auto\."):
        Settings.from_parameters(PARAMETERS | {"price_bands": text})


@pytest.mark.parametrize("name", ["minimum_scored_buyers", "minimum_segment_size"])
def test_minimum_sizes_are_whole_numbers_above_zero(name: str) -> None:
    with pytest.raises(CdpError, match=f"'{name}' is '0': write a whole number, 1 or more"):
        Settings.from_parameters(PARAMETERS | {name: "0"})


@pytest.mark.parametrize(
    "name",
    ["catalog", "schema", "landing", "secret_scope", "sources_file", "api_timeout_seconds", "reporting_currency"],
)
def test_from_parameters_rejects_an_empty_parameter_and_names_it(name: str) -> None:
    with pytest.raises(CdpError, match=f"'{name}' is empty"):
        Settings.from_parameters(PARAMETERS | {name: ""})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("api_timeout_seconds", "0"),
        ("api_timeout_seconds", "-1"),
        ("api_timeout_seconds", "nan"),
        ("api_timeout_seconds", "inf"),
        ("api_timeout_seconds", "soon"),
        ("refused_share_limit", "1.1"),
        ("shrink_limit", "-0.1"),
        ("refit_new_buyers", "0"),
        ("refit_months", "0"),
        ("fit_models", "sometimes"),
        ("minimum_cell_size", "0"),
        ("minimum_cell_size", "-5"),
        ("minimum_cell_size", "4.5"),
        ("model_registry", "main"),
        ("model_registry", "main.models.pareto"),
        ("synapse_customers", "some"),
        ("analytics_needs_consent", "some"),
        ("jdbc_partitions", "-1"),
        ("jdbc_partitions", "1.5"),
        ("jdbc_partitions", "²"),
        ("as_of", "31.01.2026"),
        ("as_of", "2026-02-30"),
        ("full_refresh", "yes"),
        ("from_scratch", "1"),
        ("ingest", "no"),
        ("run_started_at", "yesterday"),
        ("business_time_zone", "Vienna"),
        ("amounts_include_tax", "gross"),
        ("reporting_currency", "EURO"),
        ("reporting_currency", "eur"),
        ("reporting_currency", "XYZ"),
        ("accept_new_sources", "maybe"),
        ("replay_from", "yesterday"),
        ("replay_from", "2026-01-31"),
        ("replay_from", "20260131"),
        ("replay_from", " 20260131T235959Z-1"),
    ],
)
def test_from_parameters_rejects_a_value_that_does_not_parse_and_quotes_it(name: str, text: str) -> None:
    with pytest.raises(CdpError) as rejected:
        Settings.from_parameters(PARAMETERS | {name: text})
    assert f"Parameter '{name}' is '{text}': write" in str(rejected.value)


@pytest.mark.parametrize(("text", "flag"), [("true", True), ("True", True), ("false", False), ("FALSE", False)])
def test_flags_are_case_insensitive(text: str, flag: bool) -> None:
    for name in ("full_refresh", "from_scratch", "ingest", "fit_models", "accept_new_sources"):
        assert getattr(Settings.from_parameters(PARAMETERS | {name: text}), name) is flag


def test_empty_flags_default_to_an_incremental_run() -> None:
    empty_flags = {"full_refresh": "", "from_scratch": "", "ingest": "", "fit_models": ""}
    settings = Settings.from_parameters(PARAMETERS | empty_flags)
    assert (settings.full_refresh, settings.from_scratch) == (False, False)
    assert settings.ingest and settings.fit_models is None


def test_empty_jdbc_partitions_is_zero() -> None:
    assert Settings.from_parameters(PARAMETERS | {"jdbc_partitions": ""}).jdbc_partitions == 0


def test_empty_source_parameters_stay_empty() -> None:
    files = ("events_path", "marketing_spend_path", "exchange_rates_path", "consents_path")
    sources = ("customers_api_url", "crm_url", *files)
    settings = Settings.from_parameters(PARAMETERS | dict.fromkeys(sources, ""))
    assert [getattr(settings, name) for name in sources] == [""] * 6


def test_as_of_is_parsed_as_a_date() -> None:
    assert Settings.from_parameters(PARAMETERS | {"as_of": "2026-01-31"}).as_of == date(2026, 1, 31)


@pytest.mark.parametrize(
    "text", ["2026-01-31T23:59:59Z", "2026-01-31T23:59:59", "2026-02-01T03:59:59+04:00", "2026-01-31T23:59:59.000000Z"]
)
def test_run_started_at_is_converted_to_utc(text: str) -> None:
    settings = Settings.from_parameters(PARAMETERS | {"run_started_at": text})
    assert settings.run_started_at.isoformat() == "2026-01-31T23:59:59+00:00"


def test_batch_ids_sort_by_the_start_of_the_run() -> None:
    later = Settings.from_parameters(PARAMETERS | {"run_started_at": "2026-02-01T04:00:00+04:00", "run_id": "1"})
    earlier = Settings.from_parameters(PARAMETERS | {"run_id": "9"})
    assert [earlier.batch_id, later.batch_id] == ["20260131T235959Z-9", "20260201T000000Z-1"]


def test_trailing_slash_of_landing_is_removed() -> None:
    settings = Settings.from_parameters(PARAMETERS | {"landing": "abfss://retail@lake.dfs.core.windows.net/"})
    assert settings.landing == "abfss://retail@lake.dfs.core.windows.net"


def test_from_widgets_equals_from_parameters() -> None:
    assert Settings.from_widgets(Dbutils(PARAMETERS)) == Settings.from_parameters(PARAMETERS)


def test_from_widgets_creates_missing_widgets() -> None:
    dbutils = Dbutils({})
    with pytest.raises(CdpError, match="'catalog' is empty"):
        Settings.from_widgets(dbutils)
    assert set(dbutils.widgets.values) == set(Settings.parameter_names())


def test_run_without_a_job_starts_now_and_is_named_interactive() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    settings = Settings.from_parameters(PARAMETERS | {"run_id": "", "run_started_at": ""})
    assert before <= settings.run_started_at <= datetime.now(UTC)
    assert settings.batch_id.endswith("Z-interactive")


BATCHES = {"20260130T235959Z-1", "20260131T235959Z-2", "20260131T235959Z-adf", "20260201T000000Z-3"}


@pytest.mark.parametrize(
    ("parameters", "replayed"),
    [
        ({}, set()),
        ({"full_refresh": "true"}, BATCHES),
        ({"full_refresh": "true", "replay_from": "20260201T000000Z-3"}, BATCHES),
        ({"replay_from": "20260131T235959Z-2"}, BATCHES - {"20260130T235959Z-1"}),
        ({"replay_from": "20260131T235959Z"}, BATCHES - {"20260130T235959Z-1"}),
        ({"replay_from": "20260131T235959Z-3"}, {"20260131T235959Z-adf", "20260201T000000Z-3"}),
        ({"replay_from": "20260202T000000Z-1"}, set()),
    ],
)
def test_batches_are_replayed_from_replay_from_on(parameters: dict[str, str], replayed: set[str]) -> None:
    settings = Settings.from_parameters(PARAMETERS | parameters)
    assert {batch_id for batch_id in BATCHES if settings.is_replayed(batch_id)} == replayed


def test_replay_from_accepts_the_batch_id_of_a_run() -> None:
    settings = Settings.from_parameters(PARAMETERS)
    assert Settings.from_parameters(PARAMETERS | {"replay_from": settings.batch_id}).replay_from == settings.batch_id


def test_every_setting_is_a_parameter() -> None:
    assert set(Settings.parameter_names()) == set(PARAMETERS)
