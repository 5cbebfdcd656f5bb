"""Tests of the erasure of persons on real tables and real landed batches."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.bronze import (
    CONSENTS_BRONZE,
    CRM_CONTACTS_BRONZE,
    CUSTOMERS_BRONZE,
    EVENTS_BRONZE,
    TRANSACTIONS_BRONZE,
)
from cdp_lib.contracts.consent import CONSENT_EVENTS_SILVER
from cdp_lib.contracts.ops import ERASURE_REQUESTS_OPS, SUPPRESSIONS_OPS
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.erasure.erase import Erasure, request_erasure
from cdp_lib.erasure.persons import NamedBy, Request
from cdp_lib.errors import CdpError
from cdp_lib.pipeline.run import Runner
from effort import IS_TORTURE

from ..warehouse import Warehouse, customer, product, sale, store

KEY = "a key of the tests"  # pragma: allowlist secret
NOW = datetime(2026, 4, 2, tzinfo=UTC)
ADA = {"email": "ada@example.com", "full_name": "Ada Lovelace"}
GUID = "00000000-0000-0000-0000-00000000000{}"
TRACES = ("ada@example.com", "Ada Lovelace", "+43 664 1000001", GUID.format(1), '"101"', "device-a")
SELECTION = ("+persons_silver", "+consent_current_silver", "+sales_by_country_gold", "+customer_product_affinity_gold")


def contact(number: int, **values: Any) -> dict[str, Any]:
    return {"contactid": GUID.format(number), **values}


def event(number: int, **values: Any) -> dict[str, Any]:
    at = f"2026-03-01T08:00:{number:02d}Z"
    return {"event_id": f"e{number}", "event_type": "page_view", "occurred_at": at, "channel": "web", **values}


def decision(number: int, **subject: str) -> dict[str, Any]:
    """Return a line of a file of decisions on consent."""
    about = {"purpose": "marketing", "channel": "email", "state": "given", "decided_at": "2026-03-01T08:00:00Z"}
    return {"record_id": f"r{number}", **about, **subject}


@pytest.fixture
def shop(filled: Callable[..., Warehouse]) -> Warehouse:
    """Return a shop whose customer 101, Ada, is in every source, in two snapshots of the customers."""
    return filled(open_for_business)


def open_for_business(warehouse: Warehouse) -> None:
    for day in (1, 2):
        warehouse.land_sales(
            day,
            customers=[customer(101, **ADA), customer(202, email="otto@example.com", full_name=f"Otto {day}")],
            products=[product(1)],
            store=[store(1)],
            transactions=[
                sale(1, date(2026, 2, 1), customer_id=101),
                sale(2, date(2026, 2, 2), customer_id=202),
                sale(3, date(2026, 2, 3), customer_id=101, quantity=day),
            ],
        )
    ada = {"emailaddress1": "ADA@example.com", "fullname": "Ada Lovelace", "mobilephone": "+43 664 1000001"}
    warehouse.land(
        CRM_CONTACTS_BRONZE, 1, contact(1, **ada, cdp_customerid="101"), contact(2, emailaddress1="otto@example.com")
    )
    warehouse.land(
        EVENTS_BRONZE,
        1,
        event(1, customer_id="101", anonymous_id="device-a"),
        event(2, email="ada@example.com"),
        event(3, customer_id="202", anonymous_id="device-b"),
        event(4, anonymous_id="device-c"),
        event(5, customer_id="101", consent="false"),
        load="files",
    )
    warehouse.land(
        CONSENTS_BRONZE,
        1,
        *(decision(1, customer_id="101"), decision(2, contact_id=GUID.format(1)), decision(3, email="ADA@example.com")),
        decision(4, customer_id="202", email="ada@example.com"),
        load="files",
    )
    run(warehouse)


def runner(warehouse: Warehouse, **parameters: str) -> Runner:
    opened = warehouse.runner(**parameters)
    return Runner(opened.store, opened.landing, opened.settings, opened.graph, KEY)


def run(warehouse: Warehouse, **parameters: str) -> None:
    runs = runner(warehouse, **parameters).refresh(SELECTION)
    assert not [f"{each.table}: {each.error}" for each in runs if each.state == "failed"]


def erase(warehouse: Warehouse) -> None:
    """Fulfil the open requests, as the job does."""
    erasure = Erasure.open(runner(warehouse), KEY)
    erasure.scrub(lambda line: None)
    runs = erasure.runner.refresh(SELECTION)
    assert not [f"{each.table}: {each.error}" for each in runs if each.state == "failed"]
    erasure.finish(NOW)


def traces(warehouse: Warehouse) -> list[str]:
    """Return where the landing and the rows of all tables still have Ada."""
    texts = {str(path): path.read_text(errors="replace") for path in warehouse.folder.rglob("*") if path.is_file()}
    for contract in TABLES.values():
        if warehouse.store.exists(contract):
            rows = warehouse.store.read(contract).toArrow().to_pylist()
            texts[contract.name] = json.dumps(rows, default=str)
            texts[f"{contract.name}: id"] = " ".join(
                f'"{row["customer_id"]}"' for row in rows if row.get("customer_id")
            )
    return sorted(f"{place}: {trace}" for place, text in texts.items() for trace in TRACES if trace in text)


def sales(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    return warehouse.rows(RETAILS_SILVER, "transaction_id", "customer_id", "country", "quantity")


@pytest.mark.parametrize(
    ("named_by", "name"),
    [
        pytest.param("customer_id", "101", marks=pytest.mark.first_engine),
        pytest.param("email", "Ada@Example.com", marks=pytest.mark.first_engine),
        ("person_id", "101"),
    ],
)
def test_a_person_is_erased_from_batches_and_tables(shop: Warehouse, named_by: NamedBy, name: str) -> None:
    assert traces(shop)
    request_erasure(runner(shop), [Request(named_by, name)], NOW)
    erase(shop)

    assert traces(shop) == []
    assert [row[:2] for row in sales(shop)] == [(1, None), (2, 202), (3, None)]
    [request] = shop.rows(ERASURE_REQUESTS_OPS, "state", "name", "found", "records_deleted", "sales_kept")
    assert request == ("erased", None, None, 2 + 1 + 3 + 3, 4 + 1)
    assert shop.rows(CONSENT_EVENTS_SILVER, "record_key") == [("customer:202",)]
    assert shop.complaints() == []


@pytest.mark.first_engine
def test_nothing_of_other_persons_changes(shop: Warehouse) -> None:
    others = {"customers_silver": "customer_id = 202", "crm_contacts_silver": "true", "events_silver": "true"}

    def rows_of_others() -> dict[str, list[Any]]:
        rows = {name: shop.store.read(TABLES[name]).where(where).collect() for name, where in others.items()}
        return {
            name: sorted(row for row in found if "101" not in str(row) and "ada@" not in str(row))
            for name, found in rows.items()
        }

    before = rows_of_others()
    request_erasure(runner(shop), [Request("customer_id", "101")], NOW)
    erase(shop)
    assert rows_of_others() == before


@pytest.mark.parametrize("full_refresh", [pytest.param("false", marks=pytest.mark.first_engine), "true"])
def test_a_source_that_still_sends_the_person_brings_nothing_back(shop: Warehouse, full_refresh: str) -> None:
    request_erasure(runner(shop), [Request("customer_id", "101")], NOW)
    erase(shop)
    shop.land(CUSTOMERS_BRONZE, 3, customer(101, **ADA), customer(202), customer(303, email="ada@example.com"))
    shop.land(
        TRANSACTIONS_BRONZE, 3, *(sale(number, customer_id=101) for number in (1, 3, 4)), sale(2, customer_id=202)
    )
    shop.land(EVENTS_BRONZE, 3, event(6, email="Ada@example.com"), event(7, anonymous_id="device-c"), load="files")
    shop.land(
        CONSENTS_BRONZE, 3, decision(5, email="Ada@example.com"), decision(6, email="c@example.com"), load="files"
    )

    run(shop, full_refresh=full_refresh)

    assert traces(shop) == []
    assert [row[:2] for row in sales(shop)] == [(1, None), (2, 202), (3, None), (4, None)]
    assert shop.complaints() == []


@pytest.mark.first_engine
def test_without_the_key_no_batch_is_loaded(shop: Warehouse) -> None:
    request_erasure(runner(shop), [Request("customer_id", "101")], NOW)
    erase(shop)
    shop.land(CUSTOMERS_BRONZE, 3, customer(101, **ADA), customer(202))
    [failed] = [each for each in shop.runner().refresh(["customers_bronze"]) if each.state == "failed"]
    assert "The secret erasure_key is missing" in failed.error


@pytest.mark.torture
@pytest.mark.parametrize("commit", range(24) if IS_TORTURE else (2, 7, 12, 17))
def test_a_killed_erasure_is_repeated(shop: Warehouse, commit: int) -> None:
    request_erasure(runner(shop), [Request("email", "ada@example.com")], NOW)
    shop.dies_at(commit, lambda: erase(shop))
    erase(shop)
    assert traces(shop) == []
    assert [row[:2] for row in sales(shop)] == [(1, None), (2, 202), (3, None)]
    assert shop.complaints() == []


@pytest.mark.first_engine
def test_several_persons_are_erased_at_once(shop: Warehouse) -> None:
    request_erasure(runner(shop), [Request("customer_id", "101")], NOW)
    request_erasure(runner(shop), [Request("email", "otto@example.com")], NOW)
    erase(shop)
    assert traces(shop) == []
    assert [row[:2] for row in sales(shop)] == [(1, None), (2, None), (3, None)]
    assert len({request for (request,) in shop.rows(SUPPRESSIONS_OPS, "request_id")}) == 2


@pytest.mark.first_engine
def test_an_address_of_two_persons_names_nobody(shop: Warehouse) -> None:
    shop.land(CUSTOMERS_BRONZE, 3, customer(101, **ADA), customer(202, email="ada@example.com"))
    run(shop)
    with pytest.raises(CdpError, match="Several persons have this email: name one of them by person_id: 101, 202"):
        request_erasure(runner(shop), [Request("email", "ada@example.com")], NOW)


@pytest.mark.first_engine
def test_a_person_who_does_not_exist_is_an_error(shop: Warehouse) -> None:
    with pytest.raises(CdpError, match="There is no person 999"):
        request_erasure(runner(shop), [Request("person_id", "999")], NOW)


@pytest.mark.first_engine
def test_an_address_that_others_share_stays_with_them(shop: Warehouse) -> None:
    shop.land(CUSTOMERS_BRONZE, 3, customer(101, **ADA), customer(202, email="ada@example.com"))
    run(shop)
    request_erasure(runner(shop), [Request("person_id", "101")], NOW)
    erase(shop)
    [(number, email)] = shop.rows(TABLES["customers_silver"], "customer_id", "email")
    assert (number, email) == (202, "ada@example.com")


@pytest.mark.first_engine
def test_a_rewrite_that_was_killed_is_finished_or_undone(shop: Warehouse, tmp_path: Path) -> None:
    landing = shop.landing
    batch = landing.find_latest_batch(CUSTOMERS_BRONZE.source, CUSTOMERS_BRONZE.entity)
    assert batch
    before = landing.examine(batch)
    with pytest.raises(RuntimeError), landing.rewrite_batch(batch, "2026-04-02", 1) as writer:
        with writer.open_data("part-00000.jsonl", "jsonl") as file:
            file.write(b"{}\n")
        raise RuntimeError
    landing.finish_rewrite(batch)
    assert landing.examine(batch) == before
