"""Tests of the file of sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp_lib.errors import CdpError
from cdp_lib.mapping import Mapping
from cdp_lib.sources_file import ENTITIES, Sources, read_sources
from cdp_local.workspace import PROJECT

VARIABLES = {
    "customers_api_url": "https://example.com/customers/",
    "crm_url": "",
    "database_schema": "shop",
    "events_path": "/data/events",
    "marketing_spend_path": "",
    "exchange_rates_path": "",
    "consents_path": "",
}


@pytest.fixture
def sources_of(tmp_path: Path):
    def read(text: str) -> Sources:
        path = tmp_path / "sources.yml"
        path.write_text(text, encoding="utf-8")
        return read_sources(str(path), VARIABLES)

    return read


def test_shipped_file_declares_each_entity_and_reads_the_variables() -> None:
    sources = read_sources(str(PROJECT / "sources.yml"), VARIABLES).entities
    assert sources.keys() == ENTITIES.keys()
    assert not [source for source in sources.values() if source.mapping]
    assert sources["customers"].address == "https://example.com/customers"
    assert sources["events"].address == "/data/events"
    assert sources["contacts"].address == ""
    assert (sources["stores"].schema, sources["stores"].table) == ("shop", "stores")


def test_example_in_the_shipped_file_is_valid(sources_of) -> None:
    text = (PROJECT / "sources.yml").read_text(encoding="utf-8")
    example = "".join(line[2:] for line in text.split("for example:\n#\n")[1].splitlines(keepends=True))
    source = sources_of(example).entities["transactions"]
    assert source.primary_key == ("BASKET_ID", "LINE_NO")
    assert source.mapping.attributes == ("TILL",)
    assert dict(source.mapping.columns)["transaction_date"] == "SOLD_AT"


def test_mapping_and_its_text_are_inverse(sources_of) -> None:
    mapping = sources_of("customers: {api: u, columns: {email: MAIL}, attributes: A, time_zone: Asia/Riyadh}").mapping(
        "customers"
    )
    assert Mapping.from_text(str(mapping)) == mapping
    assert (str(Mapping()), Mapping.from_text("")) == ("", Mapping())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "holds list: write one block per entity"),
        ("sales: {api: u}", "declares the unknown entity 'sales': the entities are customers, products"),
        ("customers: https://x", "customers is 'https://x': write a block with one of api, crm"),
        ("customers: {token: t}", "customers has no source: write exactly one of api, crm, database, files"),
        ("customers: {database: d, query: SELECT 1, table: t}", "customers has query and table: write either a query"),
        ("customers: {api: u, date_format: DD.MM.YYYY}", "customers.date_format is 'DD.MM.YYYY' with 'Y': write a"),
        ("customers: {api: u, date_format: '%d.%m.%Y'}", "customers.date_format is '%d.%m.%Y' with '%d': write a"),
        ("customers: {api: u, files: f}", "customers has api and files: write exactly one of"),
        ("customers: {api: u, table: t}", "customers has the unknown key 'table': with 'api', the keys are api, token"),
        ("customers: {api: u, columns: {mail: x}}", "customers.columns has the unknown column 'mail': the columns are"),
        ("customers: {api: u, columns: [mail]}", "customers.columns is ['mail']: write one line per column"),
        (
            "customers: {api: u, time_zone: Mars/Crater}",
            "customers.time_zone is 'Mars/Crater': write an IANA",
        ),
        ("customers: {api: u, decimal_separator: ',.'}", "customers.decimal_separator is ',.': write one character"),
        ("customers: {api: '${var.url}'}", "customers.api refers to the unknown variable 'url'"),
        ("customers: {api: [u]}", "customers.api is ['u']: write a text"),
        ("customers: {api: u", "is not YAML"),
    ],
)
def test_mistake_is_named_with_its_place(sources_of, text: str, message: str) -> None:
    with pytest.raises(CdpError) as error:
        sources_of(text)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CdpError, match=r"nowhere\.yml can't be read \(No such file or directory\)"):
        read_sources(str(tmp_path / "nowhere.yml"), {})
