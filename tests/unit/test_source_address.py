"""Tests of the addresses that a landing remembers, so that no run mixes the data of two sources by accident."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from cdp_lib.errors import CdpError
from cdp_lib.landing import Extraction, Landing
from cdp_lib.source_address import SAMPLES, SourceAddress
from cdp_lib.sources.files import source_address
from cdp_lib.sources.http import address_of

STARTED_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
SHOP = SourceAddress("api", "shop.example.com", path="/customers")
OTHERS = [
    SourceAddress("api", "test.example.com", path="/customers"),
    SourceAddress("api", "shop.example.com:8443", path="/customers"),
    SourceAddress("api", "shop.example.com", path="/v2/customers"),
    SourceAddress("files", path="/data/customers"),
    SourceAddress("postgresql", "shop.example.com", "shop"),
]


@pytest.fixture(params=["folder", "memory"])
def landing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Landing]:
    if request.param == "folder":
        yield Landing(str(tmp_path / "landing"))
    else:
        root = f"memory://landing-{uuid4().hex}"
        yield Landing(root)
        fs, path = fsspec.core.url_to_fs(root)
        if fs.exists(path):
            fs.rm(path, recursive=True)


def extraction(landing: Landing, address: SourceAddress | None, number: int = 1, **options: bool) -> Extraction:
    addresses = {"customers": address} if address else {}
    return landing.extraction("api", f"20260131T00000{number}Z-{number}", STARTED_AT, addresses, **options)


def land(run: Extraction) -> None:
    with run.new_batch("customers") as batch, batch.open_data("part-00000.jsonl", "jsonl") as file:
        file.write(f'{{"run": "{run.batch_id}"}}\n'.encode())
        batch.add(1, {"run"})


def test_landing_remembers_the_address_of_a_landed_source(landing: Landing) -> None:
    assert landing.find_source("api", "customers") is None
    land(extraction(landing, SHOP))
    assert landing.find_source("api", "customers") == SHOP
    assert json.loads(landing.fs.cat_file(landing.path_of_source("api", "customers"))) == {
        "kind": "api",
        "host": "shop.example.com",
        "path": "/customers",
    }


def test_landing_does_not_remember_a_source_that_can_not_be_read(landing: Landing) -> None:
    run = extraction(landing, SHOP)
    with pytest.raises(ZeroDivisionError), run.new_batch("customers"):
        raise ZeroDivisionError
    assert landing.find_source("api", "customers") is None


def test_run_that_lands_nothing_remembers_its_source(landing: Landing) -> None:
    land(extraction(landing, None))
    extraction(landing, SHOP, 2).remember_source("customers")
    assert landing.find_source("api", "customers") == SHOP


def test_address_is_stored_before_the_batch_is_complete(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Landing, "_land_manifest", killed)
    with pytest.raises(KeyboardInterrupt):
        land(extraction(landing, SHOP))
    assert landing.find_source("api", "customers") == SHOP
    assert not landing.has_batches("api", "customers")


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_other_address_is_rejected_and_the_message_shows_both(landing: Landing, other: SourceAddress) -> None:
    land(extraction(landing, SHOP))
    with pytest.raises(CdpError) as refused:
        extraction(landing, other, 2)
    message = str(refused.value)
    assert f"/api/customers holds data of {SHOP}, but this run would read {other}: nothing was read." in message
    assert "--accept-new-sources" in message
    assert landing.find_source("api", "customers") == SHOP


def test_accepted_address_is_remembered_once_it_was_read(landing: Landing) -> None:
    land(extraction(landing, SHOP))
    run = extraction(landing, OTHERS[0], 2, accept_new_sources=True)
    assert landing.find_source("api", "customers") == SHOP
    land(run)
    assert landing.find_source("api", "customers") == OTHERS[0]
    with pytest.raises(CdpError, match="holds data of api test"):
        extraction(landing, SHOP, 3)


def test_each_entity_has_its_own_address(landing: Landing) -> None:
    orders = source_address("/data/orders")
    addresses = {"customers": SHOP, "orders": orders}
    run = landing.extraction("api", "20260131T000001Z-1", STARTED_AT, addresses)
    land(run)
    assert landing.find_source("api", "orders") is None
    run.remember_source("orders")
    assert [landing.find_source("api", entity) for entity in addresses] == [SHOP, orders]
    with pytest.raises(CdpError, match="/api/orders holds data of files /data/orders, but this run would read api"):
        landing.extraction("api", "20260131T000002Z-2", STARTED_AT, {"orders": SHOP})


def test_address_is_no_batch(landing: Landing) -> None:
    run = extraction(landing, SHOP)
    run.remember_source("customers")
    assert landing.batch_ids("api", "customers") == []
    land(run)
    assert landing.batch_ids("api", "customers") == [run.batch_id]


def test_landing_of_an_earlier_version_accepts_any_address(landing: Landing) -> None:
    land(extraction(landing, None))
    land(extraction(landing, SHOP, 2))
    assert landing.find_source("api", "customers") == SHOP


@pytest.mark.parametrize("text", ["", "[]", "{}", "not JSON"])
def test_unreadable_address_is_an_error_that_names_the_file(landing: Landing, text: str) -> None:
    land(extraction(landing, SHOP))
    landing.fs.pipe_file(landing.path_of_source("api", "customers"), text.encode())
    with pytest.raises(CdpError, match=r"/api/customers/source\.json can't be read .*: delete the file"):
        extraction(landing, SHOP, 2)


def test_samples_may_be_at_any_address_of_this_machine(landing: Landing) -> None:
    landing.remember_source("api", "customers", SourceAddress(SAMPLES))
    for number, url in enumerate(("http://127.0.0.1:4711/customers.json", "http://127.0.0.1:4712/customers.json")):
        land(extraction(landing, address_of("api", url), number + 1))
    assert landing.find_source("api", "customers") == SourceAddress(SAMPLES)


@pytest.mark.parametrize(
    "address", [SHOP, source_address("/Volumes/cat1/sales/x"), source_address("abfss://c@a.dfs.core.windows.net/x")]
)
def test_source_on_another_machine_does_not_mix_with_samples(landing: Landing, address: SourceAddress) -> None:
    landing.remember_source("api", "customers", SourceAddress(SAMPLES))
    with pytest.raises(CdpError, match="/api/customers holds data of samples, but this run would read"):
        extraction(landing, address)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://shop.example.com/customers", "api shop.example.com/customers"),
        ("http://shop.example.com:80/customers/", "api shop.example.com/customers"),
        ("https://shop.example.com:8443/customers/{page:0}", "api shop.example.com:8443/customers/{page:0}"),
        ("https://SHOP.example.com?key={secret}", "api shop.example.com"),
        ("https://user:{secret}@shop.example.com/customers?key={secret}#{secret}", "api shop.example.com/customers"),
        ("http://[::1]:8080/customers", "api [::1]:8080/customers"),
    ],
)
def test_address_of_a_web_service_has_no_secret(url: str, address: str) -> None:
    secret = uuid4().hex
    found = address_of("api", url.replace("{secret}", secret))
    assert str(found) == address
    assert secret not in found.to_json()


def test_relative_path_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert source_address("events/") == source_address(str(tmp_path / "events"))
