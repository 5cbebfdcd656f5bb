"""A REST API that answers with JSON records: an array, or pages of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from itertools import count
from typing import Any
from urllib.parse import parse_qs, quote, urljoin, urlsplit

from requests.utils import parse_header_links

from cdp_lib.contracts.table import BronzeContract
from cdp_lib.errors import CdpError
from cdp_lib.landing import Extraction, Manifest
from cdp_lib.sources.http import Answer, HttpClient, is_confidential
from cdp_lib.sources.pages import Page, read_pages

PAGE = re.compile(r"\{page(?::(\d{1,9}))?\}")
"""Where the number of a page stands in an address, and the first page's, where that is not 1."""

READS_UNTIL_AGREED = 3
"""How often numbered pages are read before the source is said to change too fast."""

# Names as `_said` writes them.
_NEXT_LINKS = ("next", "nextlink", "nexturl", "@odata.nextlink")
_NEXT_CURSOR = "nextcursor"
_CURSOR = "cursor"
_MORE = ("hasmore", "hasnext", "hasnextpage", "nextpage", "nextpagetoken", "nexttoken", "nextoffset")
_PAGES = ("totalpages", "pagecount", "pages", "xtotalpages")
_RECORDS = ("total", "totalcount", "totalelements", "totalitems", "count", "@odata.count", "xtotalcount")
_WAYS = "a link (next), a cursor (next_cursor), or {page} in the address where it takes the number of a page"


class _NotModified(Exception):
    """The source is as it was."""


class _PagesDiffer(Exception):
    """Two reads of the same pages had different records."""

    def __init__(self, checksums: list[bytes]) -> None:
        super().__init__()
        self.checksums = checksums


def land_records(
    extraction: Extraction,
    contract: BronzeContract,
    url: str,
    *,
    token: str | None,
    timeout_seconds: float,
    from_scratch: bool = False,
) -> list[Manifest]:
    """Land all records an API has: its answers as received, and one record a line.

    An answer is an array, or an object with one array in it. The next page is found by a link (`next`, `next_link`,
    `next_url`, `@odata.nextLink`, header `Link`), by a cursor (`next_cursor`, or `cursor` where it is not the page's
    own; sent as `cursor`), or by its number, where the address has `{page}` (from 1; from 0 with `{page:0}`), until a
    page has no records. Links, cursors and totals may stand one level down (`links`, `meta`, `paging`), in any case,
    with or without underscores.

    With numbered pages, a record that comes or goes meanwhile moves others from page to page: they are read until two
    reads agree. Links and cursors keep their place; a record they give twice is landed twice.

    An answer with a strong ETag is asked for again only if it has changed.

    Args:
        extraction: Where to land them.
        contract: Bronze table of the records.
        url: Address of the records.
        token: Bearer token, None where the API asks for none.
        timeout_seconds: Seconds to wait for a connection and between two bytes of an answer.
        from_scratch: Whether to ask for an answer that has not changed, too.

    Returns:
        The landed batch; none where nothing has changed.

    Raises:
        CdpError: The API can't be reached, would get the token where others can read it, answers with an error or too
            slowly, with anything but records or with a part of them, or changes while it is read.
    """
    entity = contract.entity
    if earlier := extraction.find_batch(entity):
        return [earlier]
    with HttpClient(
        "API",
        url,
        secrets="the secret 'api_token'",
        timeout_seconds=timeout_seconds,
        authorization=f"Bearer {token}" if token else None,
    ) as client:
        if token and not is_confidential(url):
            raise CdpError(f"{client.name_of(url)} does not begin with https://: the token is not sent there.")
        if PAGE.search(url):
            return _land_numbered_pages(extraction, entity, client, url)
        etag = None if from_scratch else _known_etag(extraction.find_latest_batch(entity), url)
        pages = read_pages(
            client,
            url,
            lambda answer, page: _next_address(answer, page, url, client.name_of(url)),
            first_headers={"If-None-Match": etag} if etag else {},
            first_raising={304: _NotModified} if etag else {},
        )
        try:
            return _land(extraction, entity, client, url, pages)
        except _NotModified:
            return []


def _land_numbered_pages(extraction: Extraction, entity: str, client: HttpClient, url: str) -> list[Manifest]:
    checksums: list[bytes] = []
    for _, page in _numbered_pages(client, url):
        for _ in page.records:
            pass
        checksums.append(page.checksum)
    for _ in range(READS_UNTIL_AGREED - 1):
        try:
            return _land(extraction, entity, client, url, _numbered_pages(client, url), checksums)
        except _PagesDiffer as difference:
            checksums = difference.checksums
    raise CdpError(
        f"{client.name_of(url)} changes while it is read: {READS_UNTIL_AGREED} reads of its pages differ; nothing was"
        " landed, run it again."
    )


def _numbered_pages(client: HttpClient, url: str) -> Iterator[tuple[Answer, Page]]:
    found = PAGE.search(url)
    numbers = count(int(found[1]) if found and found[1] else 1)

    def address() -> str:
        return PAGE.sub(str(next(numbers)), url)

    return read_pages(client, address(), lambda _, page: address() if page.rows else None)


def _land(
    extraction: Extraction,
    entity: str,
    client: HttpClient,
    url: str,
    pages: Iterator[tuple[Answer, Page]],
    agreed: list[bytes] | None = None,
) -> list[Manifest]:
    """Land pages, if their records are those agreed upon."""
    checksums: list[bytes] = []
    with extraction.new_batch(entity) as batch:
        with batch.open_data("part-00000.jsonl", "jsonl") as file:
            for answer, page in pages:
                batch.write_received(f"answer-{len(checksums):05}.json", answer.body)
                answer.body.seek(0)
                for line, _ in page.records:
                    file.write(line)
                batch.add(page.rows, page.columns)
                checksums.append(page.checksum)
        if agreed not in (None, checksums):
            raise _PagesDiffer(checksums)
        if not batch.rows:
            # Taken at its word, it would empty the tables built from it.
            raise CdpError(f"{client.name_of(url)} answered with an empty array: check the source; nothing was landed.")
        _check_complete(_said(answer, page), batch.rows, len(checksums), client.name_of(url))
        etag = answer.headers.get("ETag", "W/")
        # That of one of several pages says nothing of the others.
        if len(checksums) == 1 and not etag.startswith("W/"):
            batch.watermark = {"etag": etag, "address": _digest(url)}
    return [batch.manifest] if extraction.has_landed(batch.manifest) else []


def _said(answer: Answer, page: Page) -> list[tuple[str, Any]]:
    """What an answer says besides its records: its members, theirs, and its headers; `totalPages` is `totalpages`."""
    inner = [item for value in page.members.values() if isinstance(value, dict) for item in value.items()]
    said = [*page.members.items(), *inner, *answer.headers.items()]
    return [(re.sub("[_-]", "", name).lower(), value) for name, value in said]


def _next_address(answer: Answer, page: Page, url: str, name: str) -> str | None:
    said = _said(answer, page)
    links = [value for member, value in said if member in _NEXT_LINKS]
    for link in parse_header_links(answer.headers.get("Link", "")):
        links.append(link.get("url") if "next" in link.get("rel", "").split() else None)
    for link in links:
        address = link.get("href", link) if isinstance(link, dict) else link
        if not address:
            continue
        if not isinstance(address, str):
            raise CdpError(f"{name} answered with a link to the next page that is no text: {str(link)[:50]}.")
        return urljoin(answer.url, address)
    cursors = [value for member, value in said if member == _NEXT_CURSOR]
    if not cursors:
        # An API may repeat the cursor it was sent.
        sent = parse_qs(urlsplit(answer.url).query).get(_CURSOR, [])
        cursors = [value for member, value in said if member == _CURSOR and str(value) not in sent]
    if cursor := next(filter(None, cursors), None):
        return f"{url}{'&' if '?' in url else '?'}{_CURSOR}={quote(str(cursor), safe='')}"
    return None


def _check_complete(said: list[tuple[str, Any]], rows: int, pages: int, name: str) -> None:
    """Refuse a part of the records where the last page says that there are more: they would be missed in silence."""
    for what, members, read in (("records", _RECORDS, rows), ("pages", _PAGES, pages)):
        total = max((_number(value) for member, value in said if member in members), default=0)
        if total > read:
            raise _incomplete(name, f"{total} {what} and gave {read}")
    if any(value and str(value).lower() != "false" for member, value in said if member in _MORE):
        raise _incomplete(name, "more records than it gave")


def _incomplete(name: str, found: str) -> CdpError:
    return CdpError(f"{name} says that it has {found}, but no way to the others is known: {_WAYS}; nothing was landed.")


def _number(value: Any) -> int:
    """A count, also one written as text; 0 for anything else."""
    return int(value) if re.fullmatch("[0-9]{1,18}", str(value)) else 0


def _known_etag(latest: Manifest | None, url: str) -> str | None:
    """The ETag of what is landed already, if it was landed from the same address."""
    watermark = (latest and latest.watermark) or {}
    etag = watermark.get("etag")
    return etag if isinstance(etag, str) and watermark.get("address") == _digest(url) else None


def _digest(url: str) -> str:
    """Tells addresses apart without giving them away: they may hold a key."""
    return hashlib.sha256(url.encode()).hexdigest()
