import gzip
import json
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE
from cdp_lib.errors import CdpError
from cdp_lib.landing import Extraction, Landing, Manifest
from cdp_lib.sources.rest_api import MAX_READS, land_records

ANSWER = b'[{"customer_id": 101, "country": "Egypt"}, {"customer_id": 102, "email": "b@example.com"}]'
RECORDS = json.loads(ANSWER)

Land = Callable[..., list[Manifest]]


def page(*numbers: int, **members: object) -> bytes:
    """Return the body of a page with the customers that have the given numbers."""
    return json.dumps({"value": [{"customer_id": number} for number in numbers], **members}).encode()


@pytest.fixture
def land(landing: Landing, extraction: Extraction, waits: list[float]) -> Land:
    def land(
        url: str, token: str | None = None, timeout_seconds: float = 2.0, batch_id: str = "20260131T000001Z-1"
    ) -> list[Manifest]:
        run = Extraction(landing, "source", batch_id, extraction.extracted_at)
        return land_records(run, CUSTOMERS_BRONZE, url, token=token, timeout_seconds=timeout_seconds)

    return land


@pytest.fixture
def refusal(land: Land, landed: Path) -> Callable[..., str]:
    """Return a function that makes a failing attempt, checks that it lands nothing, and returns the error message."""

    def refusal(url: str, **options: object) -> str:
        with pytest.raises(CdpError) as refused:
            land(url, **options)
        message = str(refused.value)
        assert url.split("?")[0] in message
        assert len(message.splitlines()) == 1
        assert len(message) < 400
        assert not [word for word in ("Traceback", "object at 0x", "HTTPConnectionPool") if word in message]
        assert not list(landed.glob("*/*"))
        return message

    return refusal


def lines_of(landed: Path, batch_id: str = "20260131T000001Z-1") -> list[str]:
    text = (landed / f"customers/2026-01-31/{batch_id}/data/part-00000.jsonl").read_bytes().decode()
    assert text.endswith("\n")
    return text.removesuffix("\n").split("\n")


def numbers_of(landed: Path, batch_id: str = "20260131T000001Z-1") -> list[int]:
    return [json.loads(line)["customer_id"] for line in lines_of(landed, batch_id)]


def received_in(landed: Path, batch_id: str = "20260131T000001Z-1") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (landed / f"customers/2026-01-31/{batch_id}/received").iterdir()}


# An array


def test_an_array_is_landed_as_received_and_as_one_record_a_line(serve, land, landed) -> None:
    [manifest] = land(serve(ANSWER).url)
    assert received_in(landed) == {"answer-00000.json": ANSWER}
    assert lines_of(landed) == [
        '{"customer_id": 101, "country": "Egypt"}',
        '{"customer_id": 102, "email": "b@example.com"}',
    ]
    assert (manifest.rows, manifest.format, manifest.load) == (2, "jsonl", "snapshot")
    assert manifest.columns == ("country", "customer_id", "email")


def test_pretty_printed_records_become_one_line_each(serve, land, landed) -> None:
    text = json.dumps(RECORDS, indent=2).replace("\n", "\r\n")
    [manifest] = land(serve(text.encode()).url)
    assert [json.loads(line) for line in lines_of(landed)] == RECORDS
    assert manifest.rows == 2
    assert received_in(landed) == {"answer-00000.json": text.encode()}


def test_records_that_are_not_objects_are_landed(serve, land, landed) -> None:
    [manifest] = land(serve(b'[{"a": null}, [1, [2]], "text", 3, true, null, {} ]').url)
    assert lines_of(landed) == ['{"a": null}', "[1, [2]]", '"text"', "3", "true", "null", "{}"]
    assert (manifest.rows, manifest.columns) == (7, ("a",))


def test_numbers_keep_their_original_digits(serve, land, landed) -> None:
    land(serve(b'[{"price": 1.10, "id": 12345678901234567890.50, "x": 1E5}]').url)
    assert lines_of(landed) == ['{"price": 1.10, "id": 12345678901234567890.50, "x": 1E5}']


def test_a_byte_order_mark_is_kept_in_the_answer_and_not_in_the_records(serve, land, landed) -> None:
    land(serve(b"\xef\xbb\xbf" + ANSWER).url)
    assert received_in(landed) == {"answer-00000.json": b"\xef\xbb\xbf" + ANSWER}
    assert [json.loads(line) for line in lines_of(landed)] == RECORDS


def test_a_compressed_answer_is_landed_uncompressed(serve, land, landed) -> None:
    land(serve(gzip.compress(ANSWER), headers={"Content-Encoding": "gzip"}).url)
    assert received_in(landed) == {"answer-00000.json": ANSWER}


def test_a_field_of_ten_megabytes_is_landed(serve, land, landed) -> None:
    large = json.dumps({"customer_id": 101, "note": "ﷺ" * 3_000_000 + "x" * 1_000_000}, ensure_ascii=False)
    [manifest] = land(serve(f"[{large},{large}]".encode()).url)
    assert lines_of(landed) == [large, large]
    assert manifest.rows == 2


def test_the_token_is_sent_as_a_bearer_token(serve, land) -> None:
    token = uuid4().hex
    api = serve(ANSWER)
    land(api.url, token=token)
    assert api.requests[0]["Authorization"] == f"Bearer {token}"


def test_without_a_token_no_authorization_is_sent(serve, land) -> None:
    api = serve(ANSWER)
    land(api.url)
    assert "Authorization" not in api.requests[0]


# Errors


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html><body>Sign in</body></html>", "a web page"),
        (ANSWER[:-7], "did not return valid JSON"),
        (b"", "returned nothing"),
        (ANSWER + b"]", "did not return valid JSON"),
        (ANSWER + b"\xff", "did not return valid UTF-8"),
        (b'{"error": "quota"}', "an object without an array"),
        (b"null", "instead of JSON with an array of records"),
        (b"[]", "an empty array"),
        (b" [ \n ] ", "an empty array"),
        (b'{"value": []}', "an empty array"),
    ],
    ids=lambda value: value[:20].decode(errors="replace") if isinstance(value, bytes) else None,
)
def test_an_answer_without_records_lands_nothing(serve, refusal, body: bytes, reason: str) -> None:
    assert reason in refusal(serve(body).url)


@pytest.mark.parametrize("fault", [{"missing_bytes": 10}, {"is_reset": True}], ids=["cut off", "reset"])
def test_an_answer_that_is_cut_off_lands_nothing_and_the_next_run_lands_all(
    serve, refusal, land, landed, fault
) -> None:
    api = serve(ANSWER, **fault)
    assert "the response is incomplete" in refusal(api.url)
    api.then(ANSWER).take("", {})
    [manifest] = land(api.url)
    assert manifest.rows == 2
    assert [json.loads(line) for line in lines_of(landed)] == RECORDS


def test_a_gzip_answer_that_ends_early_lands_nothing(serve, refusal) -> None:
    compressed = gzip.compress(json.dumps([{"customer_id": number} for number in range(10_000)]).encode())
    assert "JSON" in refusal(serve(compressed[:-5_000], headers={"Content-Encoding": "gzip"}).url)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_is_an_error_that_names_the_secret_and_does_not_show_it(serve, refusal, status: int) -> None:
    token = uuid4().hex
    message = refusal(serve(f"wrong token {token}".encode(), status).url, token=token)
    assert f"refused access ({status}): check the secret 'api_token'" in message
    assert token not in message


def test_an_unknown_address_lands_nothing(serve, refusal) -> None:
    assert "returned 404 Not Found" in refusal(serve(b"nothing here", 404).url)


def test_an_api_that_stays_down_lands_nothing(serve, refusal) -> None:
    assert "returned 503 Service Unavailable" in refusal(serve(b"", 503).url)


def test_an_api_that_is_too_slow_lands_nothing(serve, refusal) -> None:
    assert "no response within 0.2 seconds" in refusal(serve(ANSWER, after_seconds=5).url, timeout_seconds=0.2)


@pytest.mark.parametrize("url", ["customers.json", "ftp://example.com/customers.json", "http://a b/"])
def test_an_invalid_web_address_lands_nothing(refusal, url: str) -> None:
    assert "this is not a web address" in refusal(url)


def test_a_landing_location_that_cannot_be_written_is_an_error(serve, land, tmp_path) -> None:
    (tmp_path / "landing").write_text("a file where a folder is wanted")
    with pytest.raises(CdpError, match="Landing location .* can't be read"):
        land(serve(ANSWER).url)


@pytest.mark.parametrize("url", ["http://api.example.com/customers.json?key=secret", "ftp://api.example.com/c"])
def test_the_token_is_not_sent_unencrypted(refusal, url: str) -> None:
    token = uuid4().hex
    message = refusal(url, token=token)
    assert "does not begin with https://: the token was not sent" in message
    assert not [secret for secret in (token, "key=") if secret in message]


# Pages


@pytest.mark.parametrize(
    "members",
    [
        {"next": "{root}/customers.json?page=2"},
        {"next": "customers.json?page=2"},
        {"next": "/customers.json?page=2"},
        {"next": "?page=2"},
        {"nextLink": "?page=2"},
        {"@odata.nextLink": "?page=2"},
        {"links": {"self": "?page=1", "next": "?page=2"}},
        {"next": None, "nextLink": "?page=2"},
        {"next_url": "?page=2", "cursor": "where this page begins"},
        {"meta": {"total": 3, "next": "/customers.json?page=2"}},
        {"_links": {"self": {"href": "?page=1"}, "next": {"href": "?page=2"}}},
        {"next": {"href": "?page=2"}},
        {"paging": {"next_link": "?page=2"}, "total": "3"},
    ],
    ids=str,
)
def test_pages_are_read_by_the_link_to_the_next(serve, land, landed, members: dict[str, object]) -> None:
    api = serve()
    body = page(1, 2, **members).replace(b"{root}", api.root.encode())
    api.at("/customers.json", body)
    api.at("/customers.json?page=2", page(3, next=None, links={"next": None}))
    token = uuid4().hex
    [manifest] = land(api.url, token=token)
    assert numbers_of(landed) == [1, 2, 3]
    assert manifest.rows == 3
    assert sorted(received_in(landed)) == ["answer-00000.json", "answer-00001.json"]
    assert [headers["Authorization"] for headers in api.requests] == [f"Bearer {token}"] * 2


def test_pages_are_read_by_the_link_header(serve, land, landed) -> None:
    api = serve()
    link = '</customers.json>; rel="first", </customers.json?after=2>; rel="next"'
    api.at("/customers.json", b'[{"customer_id": 1}]', headers={"Link": link})
    api.at("/customers.json?after=2", b'[{"customer_id": 2}]', headers={"Link": '</customers.json>; rel="first"'})
    land(api.url)
    assert numbers_of(landed) == [1, 2]


@pytest.mark.parametrize("member", ["next_cursor", "nextCursor", "cursor"])
@pytest.mark.parametrize("query", ["", "?size=2"])
def test_pages_are_read_by_a_cursor(serve, land, landed, member: str, query: str) -> None:
    api = serve()
    joint = "&" if query else "?"
    api.at(f"/customers.json{query}", page(1, **{member: "a/b=="}))
    api.at(f"/customers.json{query}{joint}cursor=a%2Fb%3D%3D", page(2, **{member: 7}))
    api.at(f"/customers.json{query}{joint}cursor=7", page(3, **{member: None}))
    land(api.url + query)
    assert numbers_of(landed) == [1, 2, 3]


def test_a_cursor_may_stand_one_level_down(serve, land, landed) -> None:
    api = serve()
    api.at("/customers.json", page(1, pagination={"next_cursor": "a", "has_more": True}))
    api.at("/customers.json?cursor=a", page(2, pagination={"next_cursor": None, "has_more": False}))
    land(api.url)
    assert numbers_of(landed) == [1, 2]


def test_the_cursor_of_the_current_page_is_not_used_for_the_next(serve, land, landed) -> None:
    api = serve()
    api.at("/customers.json", page(1, cursor="first", next_cursor="a"))
    api.at("/customers.json?cursor=a", page(2, cursor="a", next_cursor="b"))
    api.at("/customers.json?cursor=b", page(3, cursor="b", next_cursor=None))
    land(api.url)
    assert numbers_of(landed) == [1, 2, 3]


def test_the_cursor_just_sent_is_not_sent_again(serve, land, landed) -> None:
    api = serve()
    api.at("/customers.json", page(1, cursor=5))
    api.at("/customers.json?cursor=5", page(2, cursor=5))
    land(api.url)
    assert numbers_of(landed) == [1, 2]


@pytest.mark.parametrize("last", [b"[]", page()])
def test_pages_are_read_by_their_number_until_one_is_empty(serve, land, landed, last: bytes) -> None:
    api = serve()
    api.at("/customers.json?page=1&size=2", page(1, 2))
    api.at("/customers.json?page=2&size=2", page(3))
    api.at("/customers.json?page=3&size=2", last)
    [manifest] = land(f"{api.url}?page={{page}}&size=2")
    assert numbers_of(landed) == [1, 2, 3]
    assert manifest.rows == 3


def test_pages_may_be_numbered_from_another_number(serve, land, landed) -> None:
    api = serve()
    for number, records in ((0, page(1)), (1, page(2)), (2, page())):
        api.at(f"/customers.json?page={number}", records)
    land(f"{api.url}?page={{page:0}}")
    assert numbers_of(landed) == [1, 2]


def test_a_page_without_records_is_not_the_last_if_it_links_to_another(serve, land, landed) -> None:
    api = serve()
    api.at("/customers.json", page(next="?page=2"))
    api.at("/customers.json?page=2", page(next="?page=3"))
    api.at("/customers.json?page=3", page(1))
    land(api.url)
    assert numbers_of(landed) == [1]


def test_a_record_on_two_pages_is_landed_twice(serve, land, landed) -> None:
    api = serve()
    api.at("/customers.json", page(1, 2, next="?page=2"))
    api.at("/customers.json?page=2", page(2, 3))
    land(api.url)
    assert numbers_of(landed) == [1, 2, 2, 3]


def test_a_page_that_comes_twice_lands_nothing(serve, refusal) -> None:
    api = serve()
    api.at("/customers.json", page(1, 2, next="?page=2"))
    api.at("/customers.json?page=2", page(1, 2, next="?page=3"))
    assert "returned the same page twice" in refusal(api.url)


def test_an_api_that_ignores_the_page_number_lands_nothing(serve, refusal) -> None:
    api = serve()
    for number in (1, 2):
        api.at(f"/customers.json?page={number}", page(1, 2, page=number))
    assert "returned the same page twice" in refusal(f"{api.url}?page={{page}}")


def test_a_link_that_leads_back_lands_nothing(serve, refusal) -> None:
    api = serve()
    api.at("/customers.json", page(1, next="?page=2"))
    api.at("/customers.json?page=2", page(2, next="/customers.json"))
    assert "returned a link to an earlier page" in refusal(api.url)
    assert len(api.requests) == 2


def test_a_link_to_another_host_is_an_error(serve, land, landed) -> None:
    other = serve(ANSWER)
    api = serve(page(1, next=other.url))
    with pytest.raises(CdpError, match=f"API {other.url} is on another server than the configured address"):
        land(api.url, token=uuid4().hex)
    assert other.requests == []
    assert not list(landed.glob("*/*"))


@pytest.mark.parametrize("link", [2, True, {"page": 2}, {"href": 2}], ids=str)
def test_a_link_that_cannot_be_followed_lands_nothing(serve, refusal, link: object) -> None:
    assert "a link to the next page that is not a string" in refusal(serve(page(1, next=link)).url)


@pytest.mark.parametrize(
    "members",
    [
        {"total": 5},
        {"count": 3},
        {"@odata.count": 3},
        {"has_more": True},
        {"hasMore": True},
        {"total": "5"},
        {"meta": {"totalCount": 5}},
        {"page": 1, "total_pages": 3},
        {"totalPages": "3"},
        {"paging": {"page_count": 2}},
        {"pages": 2},
        {"pageInfo": {"hasNextPage": True}},
        {"nextPageToken": "a"},
        {"meta": {"next_page": 2}},
        {"next_cursor": None, "cursor": "a", "has_more": "true"},
    ],
    ids=str,
)
def test_incomplete_records_without_a_known_next_page_land_nothing(serve, refusal, members) -> None:
    message = refusal(serve(page(1, 2, **members)).url)
    assert "a link (next), a cursor (next_cursor), or {page} as the page number in the address" in message


def test_an_array_with_fewer_records_than_its_header_says_lands_nothing(serve, refusal) -> None:
    assert "reports 5 records but returned 2" in refusal(serve(ANSWER, headers={"X-Total-Count": "5"}).url)


def test_links_that_end_before_the_last_page_land_nothing(serve, refusal) -> None:
    api = serve()
    api.at("/customers.json", page(1, next="?page=2", total_pages=3))
    api.at("/customers.json?page=2", page(2, next=None, total_pages=3))
    assert "reports 3 pages but returned 2" in refusal(api.url)


@pytest.mark.parametrize(
    "members",
    [
        {"total": 2},
        {"count": 1},
        {"has_more": False},
        {"total": "many"},
        {"total": "2", "pages": 1, "hasMore": "false"},
        {"total": "9" * 5000},
        {"meta": {"total": 2, "total_pages": 1, "next": None, "next_page": None}},
        {"_links": {"self": {"href": "/customers.json"}, "next": {"href": None}}},
        {"next_cursor": None, "cursor": "where this page begins"},
        {"count": {"of": 5}, "links": "none", "next": {}},
    ],
    ids=lambda members: str(members)[:50],
)
def test_an_api_with_matching_totals_is_landed(serve, land, landed, members) -> None:
    land(serve(page(1, 2, **members)).url)
    assert numbers_of(landed) == [1, 2]


def test_an_error_on_a_later_page_lands_nothing_and_the_next_run_lands_all(serve, refusal, land, landed) -> None:
    api = serve()
    api.at("/customers.json", page(1, next="?page=2"))
    api.at("/customers.json?page=2", b"<html>", 404).at("/customers.json?page=2", page(2))
    assert "returned 404" in refusal(api.url)
    land(api.url)
    assert numbers_of(landed) == [1, 2]


def test_numbered_pages_that_shift_while_they_are_read_are_read_until_two_reads_agree(serve, land, landed) -> None:
    api = serve()
    # Record 1 is deleted after page 1 is read. Record 3 moves to page 1, so the first read misses record 3.
    api.at("/customers.json?page=1", page(1, 2)).at("/customers.json?page=1", page(2, 3))
    api.at("/customers.json?page=2", page(4))
    api.at("/customers.json?page=3", page())
    land(f"{api.url}?page={{page}}")
    assert numbers_of(landed) == [2, 3, 4]
    assert len(api.requests) == 3 * MAX_READS


def test_numbered_pages_that_never_agree_land_nothing(serve, refusal) -> None:
    api = serve()
    for number in range(MAX_READS + 1):
        api.at("/customers.json?page=1", page(number))
    api.at("/customers.json?page=2", page())
    assert "changed during the read" in refusal(f"{api.url}?page={{page}}")
    assert len(api.requests) == 2 * MAX_READS


def test_numbered_pages_with_matching_totals_are_landed(serve, land, landed) -> None:
    api = serve()
    api.at("/customers.json?page=1", page(1, total="2", total_pages=2, next_page=2))
    api.at("/customers.json?page=2", page(2, total="2", total_pages=2))
    api.at("/customers.json?page=3", page(total="2", total_pages=2))
    land(f"{api.url}?page={{page}}")
    assert numbers_of(landed) == [1, 2]


def test_numbered_pages_agree_if_only_other_members_differ(serve, land, landed) -> None:
    api = serve()
    for minute in range(4):
        api.at("/customers.json?page=1", page(1, at=f"10:0{minute}"))
    api.at("/customers.json?page=2", page())
    land(f"{api.url}?page={{page}}")
    assert numbers_of(landed) == [1]
    assert len(api.requests) == 4


# The next run


def test_a_run_that_has_landed_does_not_ask_again(serve, land) -> None:
    api = serve(ANSWER).then(b"[]")
    assert land(api.url) == land(api.url)
    assert len(api.requests) == 1


def test_an_answer_with_the_same_records_makes_no_new_batch(serve, land, landing: Landing) -> None:
    url = serve(ANSWER).url
    [first] = land(url)
    assert land(url, batch_id="20260131T000002Z-2") == []
    assert landing.batches("source", "customers") == [first]


def test_an_answer_that_has_not_changed_is_not_sent_again(serve, land, landing: Landing) -> None:
    api = serve(ANSWER, headers={"ETag": '"7"'}).then(b"", 304, {"ETag": '"7"'}).then(b'[{"customer_id": 1}]')
    [first] = land(api.url)
    assert "If-None-Match" not in api.requests[0]
    assert land(api.url, batch_id="20260131T000002Z-2") == []
    assert api.requests[1]["If-None-Match"] == '"7"'
    assert landing.batches("source", "customers") == [first]
    [changed] = land(api.url, batch_id="20260131T000003Z-3")
    assert (changed.batch_id, changed.rows, changed.watermark) == ("20260131T000003Z-3", 1, None)


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"7"'}], ids=str)
def test_without_a_strong_etag_the_records_are_read_again(serve, land, headers) -> None:
    api = serve(ANSWER, headers=headers)
    [manifest] = land(api.url)
    assert manifest.watermark is None
    assert land(api.url, batch_id="20260131T000002Z-2") == []
    assert "If-None-Match" not in api.requests[1]


def test_the_etag_of_another_address_is_not_sent(serve, land) -> None:
    api = serve(ANSWER, headers={"ETag": '"7"'})
    land(api.url)
    land(f"{api.url}?country=Egypt", batch_id="20260131T000002Z-2")
    assert "If-None-Match" not in api.requests[1]


def test_the_etag_of_one_of_several_pages_is_not_stored(serve, land) -> None:
    api = serve()
    api.at("/customers.json", page(1, next="?page=2"), headers={"ETag": '"7"'})
    api.at("/customers.json?page=2", page(2), headers={"ETag": '"8"'})
    [manifest] = land(api.url)
    assert manifest.watermark is None


def test_the_etag_is_sent_only_with_the_first_page(serve, land, landed) -> None:
    api = serve()
    api.at("/customers.json", page(1), headers={"ETag": '"7"'}).at("/customers.json", page(1, next="?page=2"))
    api.at("/customers.json?page=2", page(2))
    land(api.url)
    land(api.url, batch_id="20260131T000002Z-2")
    assert [headers.get("If-None-Match") for headers in api.requests] == [None, '"7"', None]
    assert numbers_of(landed, "20260131T000002Z-2") == [1, 2]


def test_the_manifest_does_not_reveal_the_address(serve, land, landed) -> None:
    secret = uuid4().hex
    land(f"{serve(ANSWER, headers={'ETag': '1'}).url}?key={secret}")
    assert secret not in (landed / "customers/2026-01-31/20260131T000001Z-1/manifest.json").read_text()


def test_only_one_of_two_concurrent_runs_lands(serve, land, landing: Landing) -> None:
    api = serve()
    api.at("/customers.json", page(1, 2), meanwhile=lambda: land(f"{api.url}?other", batch_id="20260131T000000Z-0"))
    api.at("/customers.json?other", page(1, 2))
    with pytest.raises(CdpError, match="Another run has landed a batch of source/customers meanwhile"):
        land(api.url)
    assert [batch.batch_id for batch in landing.batches("source", "customers")] == ["20260131T000000Z-0"]
    assert land(f"{api.url}?other", batch_id="20260131T000002Z-2") == []
