"""A table of Dataverse, through its Web API (OData v4): all records once, then what changed."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urljoin

from cdp_lib.contracts.table import BronzeContract
from cdp_lib.errors import CdpError
from cdp_lib.landing import AccountedFile, BatchWriter, Extraction, Manifest, Watermark, storage_errors
from cdp_lib.sources.http import HttpClient, host_of, is_confidential, is_loopback
from cdp_lib.sources.pages import Page, columns_of, read_pages

RECORDS_PER_PAGE = 5000
"""The most that Dataverse gives."""

OVERLAP = timedelta(minutes=5)
"""How far before the newest change the next read begins, where changes are found by their time: a change may show late,
have the time of one that is landed already, or come from a server whose clock is behind."""

LONGEST_LIFE_OF_A_LINK = timedelta(days=1)
"""Age at which a delta link is replaced though nothing has changed; Dataverse forgets it after 7 days, if not told
otherwise."""

ENTRA_ID = (
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.partner.microsoftonline.cn",
    "login.chinacloudapi.cn",
    "login.windows.net",
)
"""The hosts that the client secret is sent to, wherever a CRM says to sign in."""

_SECRETS = "the secrets 'crm_client_id' and 'crm_client_secret'"
_ODATA = {"OData-MaxVersion": "4.0", "OData-Version": "4.0"}
_PAGED = {**_ODATA, "Prefer": f"odata.maxpagesize={RECORDS_PER_PAGE}"}
_TRACKED = {**_ODATA, "Prefer": f"odata.track-changes,odata.maxpagesize={RECORDS_PER_PAGE}"}
_TRACKED_ONE = {**_ODATA, "Prefer": "odata.track-changes,odata.maxpagesize=1"}

_REMOVED = b"removed"
"""Stands for the digest of a record that is gone."""


class _NothingNew(Exception):
    """The source is as it was."""


class _NotTracked(Exception):
    """The source does not track the changes of the table."""


class _LinkRefused(Exception):
    """The source no longer knows the delta link."""


def land_entity(
    extraction: Extraction,
    contract: BronzeContract,
    crm_url: str,
    *,
    client_id: str,
    client_secret: str,
    timeout_seconds: float,
    from_scratch: bool = False,
) -> list[Manifest]:
    """Land what is new in a table: all records the first time, then those that were changed or removed.

    Changes come by the delta link of the read before. Where it is refused, or leads elsewhere by now, all records are
    landed anew. A batch of changes has a record or its removal, or the record and then its removal.

    Where the source does not track changes, they are found by `modifiedon`; records removed are then only found by
    landing all records (`from_scratch`), and so is a change whose time lies before the overlap. As soon as it tracks
    them – each run asks – all records are landed anew, and a delta link with them.

    A record that changes while all are read may stand in the batch twice, as it was and as it is, with another
    `modifiedon`.

    Args:
        extraction: Where to land them.
        contract: Bronze table of the records: its entity is the entity set, its record key the table's.
        crm_url: Address of the organisation.
        client_id: Application that may read the table.
        client_secret: Its secret.
        timeout_seconds: Seconds to wait for a connection and between two bytes of an answer.
        from_scratch: Whether to land all records, however far the table has been read.

    Returns:
        The landed batch; none where nothing has changed.

    Raises:
        CdpError: The CRM can't be reached, refuses, answers with an error or too slowly, or with anything but records.
    """
    if earlier := extraction.find_batch(contract.entity):
        return [earlier]
    if not is_confidential(crm_url):
        raise CdpError(f"CRM address '{crm_url}' does not begin with https://: the client secret is not sent there.")
    with HttpClient(
        "CRM",
        crm_url,
        secrets=_SECRETS,
        timeout_seconds=timeout_seconds,
        renew=_sign_in(crm_url, client_id, client_secret, timeout_seconds),
    ) as client:
        columns = ",".join(column.name for column in contract.received_columns)
        address = f"{crm_url.rstrip('/')}/api/data/v9.2/{contract.entity}?$select={columns}"
        table = _Table(extraction, client, contract.entity, contract.record_key[0], address)
        try:
            return [table.land_changes(from_scratch=from_scratch) or table.land_all()]
        except _NothingNew:
            return []


@dataclass(frozen=True)
class _Table:
    """A table of the CRM, and where it is landed.

    Attributes:
        extraction: Where to land it.
        client: Who reads it.
        entity: What it is called.
        key: Column that identifies a record.
        address: Where its records are, with the wanted columns.
    """

    extraction: Extraction
    client: HttpClient
    entity: str
    key: str
    address: str

    def land_changes(self, *, from_scratch: bool) -> Manifest | None:
        """Land what changed since the latest batch; None where that can't be told."""
        latest = None if from_scratch else self.extraction.find_latest_batch(self.entity)
        watermark = (latest and latest.watermark) or {}
        if latest and watermark.get("address") == self._address_digest:
            if link := watermark.get("delta_link"):
                try:
                    return self._land_delta(latest, link)
                except (_LinkRefused, _NotTracked):
                    return None
            since = _instant(watermark.get("modifiedon"))
            if since and not self._is_tracked():
                return self._land_modified(latest, since)
        return None

    def land_all(self) -> Manifest:
        """Land all records there are."""
        try:
            return self._land_snapshot(is_tracked=True)
        except _NotTracked:
            return self._land_snapshot(is_tracked=False)

    def _is_tracked(self) -> bool:
        """Whether the source tracks the changes of the table."""
        address = f"{self.address.split('?')[0]}?$select={self.key}"
        try:
            with self.client.get(address, _TRACKED_ONE, {400: _NotTracked}) as answer:
                return "track-changes" in answer.headers.get("Preference-Applied", "").lower()
        except _NotTracked:
            return False

    def _land_snapshot(self, *, is_tracked: bool) -> Manifest:
        newest: datetime | None = None
        with self.extraction.new_batch(self.entity) as batch:
            if is_tracked:
                pages = self._pages(batch, self.address, _TRACKED, {400: _NotTracked})
            else:
                pages = self._pages(batch, self._in_order(self.address), _PAGED)
            with batch.open_data("part-00000.jsonl", "jsonl") as file:
                for page in pages:
                    for line, record in page.records:
                        if _removed_key(record):
                            # An answer to another question: of changes, kept by something on the way.
                            raise CdpError(
                                f"{self.client.name_of(self.address)} answered with a removal where all records were"
                                " asked for: nothing was landed; run it again."
                            )
                        file.write(line)
                        newest = _later(newest, _modified(record))
                    batch.add(page.rows, page.columns)
            if not batch.rows:
                # Taken at its word, it would empty the tables built from it.
                raise CdpError(
                    f"{self.client.name_of(self.address)} has no records: nothing was landed; check the CRM."
                )
            batch.watermark = self._delta_watermark(page) if is_tracked else self._time_watermark(newest)
        if self.extraction.has_landed(batch.manifest):
            return batch.manifest
        if not is_tracked or "delta_link" in (batch.manifest.watermark or {}):
            raise _NothingNew
        # The records of the latest batch, and a link to go on from that it has not.
        with self.extraction.new_batch(self.entity, "increment", batch.manifest) as link:
            link.watermark = batch.watermark
        return link.manifest

    def _land_delta(self, latest: Manifest, link: str) -> Manifest:
        removed: dict[str, None] = {}
        # A link begins where the read before it began: what changed during that read may be landed already.
        began_at = _instant(latest.extracted_at)
        landed = self._landed([latest], began_at - OVERLAP) if began_at else {}
        with self.extraction.new_batch(self.entity, "increment", latest) as batch:
            with ExitStack() as files:
                changed: AccountedFile | None = None
                for page in self._pages(batch, link, _TRACKED, {400: _LinkRefused, 410: _LinkRefused}):
                    for line, record in page.records:
                        # What comes later is later: a record made again is not removed.
                        if key := _removed_key(record):
                            if landed.get(key) != _REMOVED:
                                removed[key] = None
                            continue
                        removed.pop(self._key_of(record), None)
                        if landed.get(self._key_of(record)) == _digest(line):
                            continue
                        changed = changed or files.enter_context(batch.open_data("part-00000.jsonl", "jsonl"))
                        changed.write(line)
                        batch.add(1, columns_of(record))
            if removed:
                with batch.open_data("removed-00000.jsonl", "jsonl", deletions=True) as file:
                    for key in removed:
                        file.write(json.dumps({self.key: key}).encode() + b"\n")
                batch.add(len(removed))
            if not batch.rows and not self._is_long_after(latest):
                raise _NothingNew
            batch.watermark = self._delta_watermark(page)
        return batch.manifest

    def _land_modified(self, latest: Manifest, since: datetime) -> Manifest:
        start = since - OVERLAP
        landed = self._landed(self._batches_since(start), start)
        newest: datetime | None = None
        with self.extraction.new_batch(self.entity, "increment", latest) as batch:
            address = self._in_order(f"{self.address}&$filter=modifiedon ge {_odata_time(start)}")
            with batch.open_data("part-00000.jsonl", "jsonl") as file:
                for page in self._pages(batch, address, _PAGED):
                    for line, record in page.records:
                        if landed.get(self._key_of(record)) == _digest(line):
                            continue
                        file.write(line)
                        batch.add(1, columns_of(record))
                        newest = _later(newest, _modified(record))
            if not batch.rows:
                raise _NothingNew
            batch.watermark = self._time_watermark(newest or since, latest)
        return batch.manifest

    def _batches_since(self, start: datetime) -> list[Manifest]:
        """The batches that may have records modified since then, oldest first."""
        landing, source, batches = self.extraction.landing, self.extraction.source, list[Manifest]()
        for name in landing.newest_first(source, self.entity):
            batch = landing.find_batch(source, self.entity, name)
            newest = _instant((batch and batch.watermark or {}).get("newest"))
            if batch is None or (newest and newest < start):
                break
            batches.insert(0, batch)
            if batch.load == "snapshot":
                break
        return batches

    def _pages(
        self,
        batch: BatchWriter,
        address: str,
        headers: Mapping[str, str],
        first_raising: Mapping[int, type[Exception]] | None = None,
    ) -> Iterator[Page]:
        """Read pages, and keep them as received."""
        pages = read_pages(
            self.client,
            address,
            lambda answer, page: _link(answer.url, page, "@odata.nextLink"),
            headers=headers,
            first_raising=first_raising,
        )
        for number, (answer, page) in enumerate(pages):
            batch.write_received(f"answer-{number:05}.json", answer.body)
            answer.body.seek(0)
            yield page

    def _landed(self, batches: Sequence[Manifest], since: datetime) -> dict[str, bytes]:
        """Digest of the latest landed version, by key, of the records modified since, and of those removed."""
        landed: dict[str, bytes] = {}
        for batch in batches:
            if batch.format != "jsonl":
                continue
            for file in batch.files:
                for line in self._lines_of(self.extraction.landing.path_of(batch, file.name)):
                    record = _parsed(line)
                    modified = _modified(record)
                    if file.deletions or (modified and modified >= since):
                        landed[self._key_of(record)] = _REMOVED if file.deletions else _digest(line)
        return landed

    def _lines_of(self, path: str) -> Iterator[bytes]:
        with (
            storage_errors(f"{path} can't be read"),
            self.extraction.landing.fs.open(path, "rb") as file,
            io.BufferedReader(file) as lines,  # an object store's own is slow by the line
        ):
            yield from lines

    def _delta_watermark(self, last: Page) -> Watermark:
        link = _link(self.address, last, "@odata.deltaLink")
        if not link:
            raise _NotTracked
        return {"delta_link": link, "address": self._address_digest}

    def _time_watermark(self, newest: datetime | None, latest: Manifest | None = None) -> Watermark | None:
        """Where the next read by time starts, and the newest time of all landed; None where no record has a time."""
        started_at = _instant(self.extraction.extracted_at)
        if not newest or not started_at:
            return None
        before = (latest and latest.watermark) or {}
        # A record may have a time to come: others must not be passed over until then.
        reached = min(newest, started_at)
        return {
            "modifiedon": _odata_time(max(reached, _instant(before.get("modifiedon")) or reached)),
            "newest": _odata_time(max(newest, _instant(before.get("newest")) or newest)),
            "address": self._address_digest,
        }

    def _in_order(self, address: str) -> str:
        """A record that changes while it is read in this order moves to the end: none before the newest is missed."""
        return f"{address}&$orderby=modifiedon,{self.key}"

    def _is_long_after(self, batch: Manifest) -> bool:
        now, then = _instant(self.extraction.extracted_at), _instant(batch.extracted_at)
        return not now or not then or now - then > LONGEST_LIFE_OF_A_LINK

    def _key_of(self, record: Any) -> str:
        return str(record.get(self.key)) if isinstance(record, dict) else ""

    @property
    def _address_digest(self) -> str:
        """Tells whether the same columns of the same organisation are asked for."""
        return _digest(self.address.encode()).hex()


def may_sign_in(crm_url: str, address: str) -> bool:
    """Whether a CRM may send its clients to an address with their secret: Entra ID's, or one beside it on this machine.

    Args:
        crm_url: Address of the CRM.
        address: Where it says to sign in.
    """
    if is_loopback(address):
        return is_loopback(crm_url)
    return is_confidential(address) and host_of(address) in ENTRA_ID


def _sign_in(crm_url: str, client_id: str, client_secret: str, timeout_seconds: float) -> Callable[[str], str]:
    """Gets a token for the application, from where the CRM's challenge says."""

    def authorization(challenge: str) -> str:
        found = re.search(r'authorization_uri="?([^",\s]+)/oauth2(?:/v2\.0)?/authorize', challenge)
        if not found or not may_sign_in(crm_url, found[1]):
            raise CdpError(
                f"CRM {crm_url} asks for a sign-in, and not at Entra ID ({ENTRA_ID[0]}): the client secret is not sent"
                " there; check 'crm_url'."
            )
        address = f"{found[1]}/oauth2/v2.0/token"
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": client_secret,
            "scope": f"{crm_url.rstrip('/')}/.default",
        }
        with (
            HttpClient("Sign-in", address, secrets=_SECRETS, timeout_seconds=timeout_seconds) as client,
            client.post(address, form) as answer,
        ):
            content = _parsed(answer.body.read())
        token = content.get("access_token") if isinstance(content, dict) else None
        if not token:
            raise CdpError(f"{client.name_of(address)} gave no token: check {_SECRETS}.")
        return f"Bearer {token}"

    return authorization


def _link(base: str, page: Page, name: str) -> str | None:
    link = page.members.get(name)
    return urljoin(base, str(link)) if link else None


def _removed_key(record: Any) -> str | None:
    """The key of a record that is gone, None of any other."""
    if not isinstance(record, dict) or not isinstance(record.get("id"), str):
        return None
    is_removed = "@removed" in record or str(record.get("@odata.context")).endswith("/$deletedEntity")
    return str(record["id"]) if is_removed else None


def _modified(record: Any) -> datetime | None:
    return _instant(record.get("modifiedon")) if isinstance(record, dict) else None


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(one, other) if one and other else one or other


def _instant(text: Any) -> datetime | None:
    """A point in time; None of what is none."""
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _odata_time(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
