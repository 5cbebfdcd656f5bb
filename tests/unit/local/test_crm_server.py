"""Tests that the simulated CRM behaves as the Dataverse Web API over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from cdp_local.crm_server import CONTACTS, TENANT, CrmServer, Fault

SECRET = "not-for-real"  # pragma: allowlist secret
SELECT = {"$select": "contactid,fullname,modifiedon"}
TRACK = {"Prefer": "odata.track-changes"}

Page = dict[str, Any]
StartCrm = Callable[..., CrmServer]


def _id(number: int) -> str:
    return f"{number:08d}-0000-4000-8000-000000000000"


def _contact(number: int, **values: Any) -> dict[str, Any]:
    # A higher id has an earlier modification time. Two contacts share each time.
    modified = f"2025-03-{28 - number // 2:02d}T10:00:00Z"
    return {"contactid": _id(number), "fullname": f"Ærin {number}", "modifiedon": modified, **values}


@pytest.fixture
def start_crm() -> Iterator[StartCrm]:
    with ExitStack() as running:

        def start(**options: Any) -> CrmServer:
            contacts = [_contact(number) for number in range(1, 8)]
            return running.enter_context(
                CrmServer(contacts, client_id="cdp", client_secret=SECRET, **{"page_size": 3, **options})
            )

        yield start


@pytest.fixture
def crm(start_crm: StartCrm) -> CrmServer:
    return start_crm()


def _ask_for_token(crm: CrmServer, **form: str) -> requests.Response:
    defaults = {
        "grant_type": "client_credentials",
        "client_id": "cdp",
        "client_secret": SECRET,
        "scope": f"{crm.url}/.default",
    }
    return requests.post(f"{crm.url}/{TENANT}/oauth2/v2.0/token", data=defaults | form, timeout=5)


def _authorization(crm: CrmServer) -> dict[str, str]:
    return {"Authorization": f"Bearer {_ask_for_token(crm).json()['access_token']}"}


def _get(crm: CrmServer, url: str = "", headers: dict[str, str] | None = None, **query: str) -> requests.Response:
    url = url or f"{crm.url}{CONTACTS}"
    return requests.get(url, params=query, headers=_authorization(crm) | (headers or {}), timeout=5)


def _read(crm: CrmServer, url: str = "", headers: dict[str, str] | None = None, **query: str) -> list[Page]:
    """Read the page at an address and all pages that follow it. Return the pages."""
    pages = [_get(crm, url, headers, **query).json()]
    while "@odata.nextLink" in pages[-1]:
        pages.append(_get(crm, pages[-1]["@odata.nextLink"]).json())
    return pages


def _records(pages: list[Page]) -> list[dict[str, Any]]:
    return [record for page in pages for record in page["value"]]


def _names(pages: list[Page]) -> list[str]:
    return [record["fullname"] for record in _records(pages)]


def test_pages_return_each_contact_once(crm: CrmServer) -> None:
    pages = _read(crm, **SELECT)
    assert [len(page["value"]) for page in pages] == [3, 3, 1]
    assert [record["contactid"] for record in _records(pages)] == [_id(number) for number in range(1, 8)]
    assert not any("@odata.deltaLink" in page for page in pages)
    assert len(crm.requests) == 3 and all(target.startswith(f"{CONTACTS}?") for target in crm.requests)


def test_full_last_page_has_no_next_link(start_crm: StartCrm) -> None:
    assert len(_read(start_crm(page_size=7))) == 1


@pytest.mark.parametrize(("requested", "returned"), [(2, 2), (500, 3)])
def test_page_size_is_as_requested_up_to_the_server_limit(crm: CrmServer, requested: int, returned: int) -> None:
    answer = _get(crm, headers={"Prefer": f"odata.maxpagesize={requested}"}, **SELECT)
    assert len(answer.json()["value"]) == returned
    assert answer.headers["Preference-Applied"] == f"odata.maxpagesize={returned}"


def test_record_has_the_selected_columns_its_key_and_its_version(crm: CrmServer) -> None:
    record = _get(crm, **{"$select": "fullname,birthdate"}).json()["value"][0]
    assert record == {"@odata.etag": 'W/"1"', "fullname": "Ærin 1", "birthdate": None, "contactid": _id(1)}


def test_error_names_an_unknown_column(crm: CrmServer) -> None:
    answer = _get(crm, **{"$select": "fullname,shoesize"})
    assert answer.status_code == 400
    expected = "Could not find a property named 'shoesize' on type 'Microsoft.Dynamics.CRM.contact'."
    assert answer.json()["error"]["message"] == expected


def test_unknown_resource_is_not_found(crm: CrmServer) -> None:
    assert _get(crm, f"{crm.url}/api/data/v9.2/accounts").status_code == 404


def test_filter_returns_later_modifications_in_order(crm: CrmServer) -> None:
    query = SELECT | {"$orderby": "modifiedon asc,contactid asc"}
    after = _read(crm, **query, **{"$filter": "modifiedon gt 2025-03-25T10:00:00Z"})
    assert _names(after) == ["Ærin 4", "Ærin 5", "Ærin 2", "Ærin 3", "Ærin 1"]
    assert len(after) == 2
    # The same time, written in another time zone.
    from_on = _read(crm, **query, **{"$filter": "modifiedon ge 2025-03-25T12:00:00+02:00"})
    assert _names(from_on) == ["Ærin 6", "Ærin 7", *_names(after)]


def test_filtered_read_includes_changes_made_during_paging(crm: CrmServer) -> None:
    query = SELECT | {"$filter": "modifiedon gt 2025-03-25T10:00:00Z", "$orderby": "modifiedon,contactid"}
    first = _get(crm, **query).json()
    crm.upsert({"contactid": _id(4), "fullname": "Moved to the end"}, modifiedon="2025-04-01T00:00:00Z")
    crm.remove(_id(1))
    assert _names(_read(crm, first["@odata.nextLink"])) == ["Ærin 3", "Moved to the end"]


@pytest.mark.parametrize(
    "query",
    [{"$filter": "statecode eq 0"}, {"$orderby": "fullname asc", "$filter": "modifiedon gt 2025-01-01T00:00:00Z"}]
    + [{"$top": "3"}],
)
def test_unsupported_query_options_return_501(crm: CrmServer, query: dict[str, str]) -> None:
    assert _get(crm, **query).status_code == 501


def test_delta_link_returns_changes_and_removals(crm: CrmServer) -> None:
    pages = _read(crm, headers=TRACK, **SELECT)
    assert [("@odata.deltaLink" in page) for page in pages] == [False, False, True]
    crm.upsert({"contactid": _id(2), "fullname": "Renamed"}, modifiedon="2020-01-01T00:00:00Z")
    crm.upsert(_contact(8))
    crm.remove(_id(5))
    [delta] = _read(crm, pages[-1]["@odata.deltaLink"])
    removal = {
        "@odata.context": f"{crm.url}/api/data/v9.2/$metadata#contacts/$deletedEntity",
        "id": _id(5),
        "reason": "deleted",
    }
    changed, removed, created = delta["value"]
    assert (changed["fullname"], changed["modifiedon"]) == ("Renamed", "2020-01-01T00:00:00Z")
    assert removed == removal
    assert created["fullname"] == "Ærin 8"
    assert _read(crm, delta["@odata.deltaLink"])[0]["value"] == []


def test_delta_is_paged(crm: CrmServer) -> None:
    link = _read(crm, headers=TRACK, **SELECT)[-1]["@odata.deltaLink"]
    for number in range(1, 6):
        crm.upsert({"contactid": _id(number), "fullname": f"New {number}"})
    pages = _read(crm, link)
    assert [len(page["value"]) for page in pages] == [3, 2]
    assert _names(pages) == [f"New {number}" for number in range(1, 6)]
    assert _read(crm, pages[-1]["@odata.deltaLink"])[0]["value"] == []


def test_change_during_paging_is_in_the_next_delta(crm: CrmServer) -> None:
    changes = iter(
        [lambda: None, lambda: crm.upsert({"contactid": _id(1), "fullname": "Late"}), lambda: crm.remove(_id(2))]
    )
    crm.before_request(lambda _: next(changes, lambda: None)())
    pages = _read(crm, headers=TRACK, **SELECT)
    assert _names(pages)[:2] == ["Ærin 1", "Ærin 2"]
    changed, removed = _records(_read(crm, pages[-1]["@odata.deltaLink"]))
    assert (changed["fullname"], removed["id"]) == ("Late", _id(2))


def test_change_during_paging_of_a_delta_is_in_the_next_delta(crm: CrmServer) -> None:
    link = _read(crm, headers=TRACK, **SELECT)[-1]["@odata.deltaLink"]
    for number in range(1, 6):
        crm.upsert({"contactid": _id(number), "fullname": f"New {number}"})
    first = _get(crm, link).json()
    crm.upsert({"contactid": _id(1), "fullname": "Newer"})
    last = _read(crm, first["@odata.nextLink"])[-1]
    assert "Newer" not in _names([first, last])
    assert _names(_read(crm, last["@odata.deltaLink"])) == ["Newer"]


def test_one_header_can_hold_both_preferences(crm: CrmServer) -> None:
    answer = _get(crm, headers={"Prefer": "odata.track-changes, odata.maxpagesize=2"}, **SELECT)
    assert answer.headers["Preference-Applied"] == "odata.track-changes,odata.maxpagesize=2"
    assert len(answer.json()["value"]) == 2
    assert answer.json()["@odata.context"].endswith("#contacts(contactid,fullname,modifiedon)/$delta")


@pytest.mark.parametrize("option", [{"$filter": "modifiedon gt 2025-01-01T00:00:00Z"}, {"$orderby": "modifiedon asc"}])
def test_change_tracking_of_a_filtered_or_ordered_read_is_rejected(crm: CrmServer, option: dict[str, str]) -> None:
    assert _get(crm, headers=TRACK, **option).status_code == 400


def test_table_without_change_tracking_returns_no_delta_link(start_crm: StartCrm) -> None:
    crm = start_crm(change_tracking=False)
    assert "Preference-Applied" not in _get(crm, headers=TRACK, **SELECT).headers
    pages = _read(crm, headers=TRACK, **SELECT)
    assert len(_records(pages)) == 7 and "@odata.deltaLink" not in pages[-1]


def test_expired_delta_link_is_gone_and_a_new_one_works(crm: CrmServer) -> None:
    old = _read(crm, headers=TRACK, **SELECT)[-1]["@odata.deltaLink"]
    crm.expire_delta_tokens()
    answer = _get(crm, old)
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "0x80044352")
    new = _read(crm, headers=TRACK, **SELECT)[-1]["@odata.deltaLink"]
    assert _get(crm, new).json()["value"] == []


def test_delta_link_works_on_a_restarted_server_only_with_the_same_history(start_crm: StartCrm) -> None:
    before, same, other = start_crm(), start_crm(), start_crm()
    for crm, name in ((before, "Renamed"), (same, "Renamed"), (other, "Renamed otherwise")):
        crm.upsert({"contactid": _id(1), "fullname": name}, modifiedon="2025-04-01T00:00:00Z")
    link = _read(before, headers=TRACK, **SELECT)[-1]["@odata.deltaLink"]
    same.upsert({"contactid": _id(3), "fullname": "Changed since"})
    assert _names(_read(same, link.replace(before.url, same.url))) == ["Changed since"]
    assert _get(other, link.replace(before.url, other.url)).status_code == 410


def test_malformed_token_is_rejected(crm: CrmServer) -> None:
    for token in ("$skiptoken=%7B", "$skiptoken=7", "$deltatoken=yesterday"):
        assert _get(crm, f"{crm.url}{CONTACTS}?{token}").status_code == 400


def test_request_without_token_is_rejected_with_the_token_address(crm: CrmServer) -> None:
    for headers in ({}, {"Authorization": "Bearer made-up"}):
        answer = requests.get(f"{crm.url}{CONTACTS}", headers=headers, timeout=5)
        assert answer.status_code == 401
        expected = f"Bearer authorization_uri={crm.url}/{TENANT}/oauth2/authorize, resource_id={crm.url}/"
        assert answer.headers["WWW-Authenticate"] == expected
    assert crm.requests == []


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),  # pragma: allowlist secret
        ({"client_id": "other"}, 400, "unauthorized_client"),
        ({"scope": "https://example.com/.default"}, 400, "invalid_scope"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
def test_token_is_issued_only_to_the_client(crm: CrmServer, form: dict[str, str], status: int, error: str) -> None:
    answer = _ask_for_token(crm, **form)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert SECRET not in answer.text


def test_tokens_expire(start_crm: StartCrm) -> None:
    crm = start_crm()
    old_token = _authorization(crm)
    assert _get(crm, headers=old_token).status_code == 200
    crm.expire_tokens()
    assert _get(crm, headers=old_token).status_code == 401
    assert _get(crm).status_code == 200
    assert _get(start_crm(token_seconds=0)).status_code == 401


def test_throttled_response_has_retry_after(crm: CrmServer) -> None:
    faults = iter([Fault(429, retry_after=7), Fault(503), None])
    crm.before_request(lambda _: next(faults))
    throttled, unavailable, good = _get(crm), _get(crm), _get(crm)
    assert (throttled.status_code, throttled.headers["Retry-After"]) == (429, "7")
    assert throttled.json()["error"]["code"] == "0x80072322"
    assert unavailable.status_code == 503 and "Retry-After" not in unavailable.headers
    assert good.status_code == 200
    assert len(crm.requests) == 3


def test_faults_break_the_connection_in_the_middle_of_a_response(crm: CrmServer) -> None:
    crm.before_request(lambda _: Fault(body="reset"))
    with pytest.raises(requests.exceptions.RequestException, match="reset by peer"):
        _get(crm)
    crm.before_request(lambda _: Fault(body="cut"))
    with pytest.raises(requests.exceptions.RequestException, match="IncompleteRead"):
        _get(crm)


def test_faults_return_bodies_that_are_not_json(crm: CrmServer) -> None:
    crm.before_request(lambda _: Fault(body="html"))
    page = _get(crm)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html") and page.text.startswith("<!DOCTYPE")
    crm.before_request(lambda _: Fault(body="not_utf8"))
    with pytest.raises(UnicodeDecodeError):
        _get(crm).content.decode("utf-8")


def test_fault_returns_the_previous_page(crm: CrmServer) -> None:
    first = _get(crm, **SELECT).json()
    crm.before_request(lambda _: Fault(body="previous_page"))
    assert _get(crm, first["@odata.nextLink"]).json() == first


def test_hook_receives_each_request(crm: CrmServer) -> None:
    received: list[str] = []
    crm.before_request(lambda target: received.append(target))
    _read(crm, **SELECT)
    assert received == crm.requests and len(received) == 3


def test_server_stops_at_the_end_of_its_block() -> None:
    with CrmServer([], client_id="cdp", client_secret=SECRET) as crm:
        assert _get(crm).json()["value"] == []
    with pytest.raises(requests.exceptions.ConnectionError):
        _ask_for_token(crm)
