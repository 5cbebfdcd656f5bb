"""Tests of what is searched for a person, and of certificates."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime

import pytest

from cdp_lib.contracts.bronze import CRM_CONTACTS_BRONZE, EVENTS_BRONZE
from cdp_lib.contracts.ops import ERASURE_REQUESTS_OPS
from cdp_lib.erasure.certificate import certify, is_authentic, record_certificate, traces_to_search
from cdp_lib.erasure.erase import request_erasure
from cdp_lib.erasure.persons import Found, Request
from cdp_lib.erasure.scan import Hit, Searched
from cdp_lib.erasure.traces import Traces, traces_of

from ..warehouse import Warehouse, customer, product, sale, store

KEY = "a key of the tests"  # pragma: allowlist secret
AT = datetime(2026, 4, 2, tzinfo=UTC)
TRACES = traces_of([Found(names={"email": ["ana@shop.example"]})])
CLEAN = Searched(3, 1000)
HIT = Searched(3, 1000, Counter({Hit("a.json", "text", "email", "text"): 2}))
DAMAGED = Searched(3, 1000, unreadable=["b.gz"])


@pytest.mark.first_engine
@pytest.mark.parametrize(("searched", "is_clean"), [(CLEAN, True), (HIT, False), (DAMAGED, False)])
def test_a_certificate_is_clean_only_if_everything_was_read_and_nothing_found(
    searched: Searched, is_clean: bool
) -> None:
    certificate = certify(["r1"], TRACES, 1, 2, searched, AT, 0.25)
    assert certificate.is_clean == is_clean
    assert certificate.spellings == len(TRACES.spellings) > 20
    signed = certificate.signed(KEY)
    assert is_authentic(signed, KEY)
    assert not is_authentic(signed, "another key")
    for name, value in json.loads(signed).items():
        changed = json.loads(signed) | {name: f"{value}1"}
        assert not is_authentic(json.dumps(changed), KEY)


@pytest.fixture
def shop(warehouse: Warehouse) -> Warehouse:
    customers = [customer(1, full_name="Ana Mar", email="ana@shop.example"), customer(2, full_name="Bo Roth")]
    sales = [sale(1, date(2026, 2, 1)), sale(2, date(2026, 2, 2)), sale(3, date(2026, 2, 3), customer_id=2)]
    warehouse.land_sales(1, customers=customers, products=[product(1)], store=[store(1)], transactions=sales)
    contact = {"contactid": "7c9e6679-7425", "emailaddress1": "ANA@shop.example", "mobilephone": "+43 664 1234567"}
    warehouse.land(CRM_CONTACTS_BRONZE, 1, {**contact, "fullname": "Ana Mar", "address1_city": "Graz"})
    event = {"event_id": "1", "occurred_at": "2026-02-01T07:00:00Z", "event_type": "app_open", "channel": "app"}
    known = {**event, "customer_id": "1", "anonymous_id": "device-12", "_source_file": "a"}
    warehouse.land(EVENTS_BRONZE, 1, known, load="files")
    warehouse.run("+persons_silver", "+retails_silver")
    return warehouse


def kinds_of(traces: Traces) -> set[str]:
    return {each.kind for each in traces.spellings.values()}


def test_a_search_looks_for_all_values_and_the_kept_sales(shop: Warehouse) -> None:
    traces = traces_to_search(shop.runner(), [Request("email", "ana@shop.example")], KEY)
    assert kinds_of(traces) == {"email", "phone", "full_name", "contact", "device"}
    assert (traces.ids, traces.numbers) == ({"1"}, {"1"})
    assert traces.row_keys["transaction_id"] == {"1", "2"}
    assert b"graz" in traces.weak and b"ana" in traces.weak
    assert b"+436641234567" in traces.spellings
    assert "store_name" in traces.public_columns and "email" not in traces.public_columns


@pytest.mark.first_engine
def test_a_certificate_belongs_to_its_request_once_the_person_is_erased(shop: Warehouse) -> None:
    runner = shop.runner()
    requests = request_erasure(runner, [Request("customer_id", name) for name in ("1", "2")], AT)
    rows = shop.store.read(ERASURE_REQUESTS_OPS)
    erased = rows.where(f"request_id = '{requests[0]}'").toArrow().to_pylist()
    shop.store.merge(
        ERASURE_REQUESTS_OPS,
        shop.store.frame(ERASURE_REQUESTS_OPS, [erased[0] | {"state": "erased"}]).selectExpr("*", "false AS _is_gone"),
    )
    for searched, state in ((HIT, "erased"), (CLEAN, "certified")):
        record_certificate(shop.store, certify(requests, TRACES, 1, 2, searched, AT, 1), KEY)
        found = {row["request_id"]: row for row in shop.store.read(ERASURE_REQUESTS_OPS).toArrow().to_pylist()}
        assert found[requests[0]]["state"] == state
        assert is_authentic(found[requests[0]]["certificate"], KEY)
        assert (found[requests[1]]["state"], found[requests[1]]["certificate"]) == ("requested", None)
