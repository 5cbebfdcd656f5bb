"""Certificates: what was searched for the traces of erased persons, and what was found."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from pyspark.sql import functions as sf

from cdp_lib import __version__
from cdp_lib.contracts import TABLES
from cdp_lib.contracts.bronze import TRANSACTIONS_BRONZE
from cdp_lib.contracts.ops import ERASURE_REQUESTS_OPS
from cdp_lib.erasure.erase import ERASED, Erasure, has_text_ids
from cdp_lib.erasure.names import EMAIL, NAMING_COLUMNS, Names, find_mentions, naming_source_columns
from cdp_lib.erasure.persons import Request, find_persons, names_of
from cdp_lib.erasure.scan import Searched
from cdp_lib.erasure.traces import Traces, traces_of
from cdp_lib.mapped_rows import received_texts, source_columns
from cdp_lib.pipeline.run import Runner
from cdp_lib.storage import DeltaStore
from cdp_lib.storage.delta import IS_GONE

CERTIFIED = "certified"
_SALE = "transaction_id"


def traces_to_search(runner: Runner, requests: Sequence[Request], key: str) -> Traces:
    """Return what a search for persons looks for. Call it before an erasure, which forgets who the persons are.

    The persons of open requests are included: if an erasure was killed, the tables may no longer have them.

    Args:
        runner: Runner of the tables. Nothing is refreshed.
        requests: Who the persons are.
        key: Key of the digests in `suppressions_ops`.

    Raises:
        CdpError: A request names nobody, or several persons.
    """
    keyed = {str(number): request for number, request in enumerate(requests)}
    named = find_persons(runner.store, keyed, has_text_ids=has_text_ids(runner))
    persons = [*named.values(), *Erasure.open(runner, key).found.values()]
    return traces_of(
        persons,
        id_columns=_id_columns(runner),
        row_keys=_sales_of(runner, names_of(persons)),
        public_columns=_public_columns(runner),
    )


def _id_columns(runner: Runner) -> set[str]:
    """Return the columns of the sources that have numbers of customers, contacts and devices."""
    return {
        name
        for contract, naming in NAMING_COLUMNS.items()
        if runner.store.exists(contract)
        for column, names in naming_source_columns(
            runner.store.read(contract).columns, contract, runner.sources.mapping(contract.entity)
        ).items()
        if naming.kinds[column] != EMAIL
        for name in names
    }


def _sales_of(runner: Runner, names: Names) -> dict[str, Collection[str]]:
    """Return the numbers of the persons' sales, which are kept without the persons, by the columns that have them."""
    contract, store = TRANSACTIONS_BRONZE, runner.store
    if not store.exists(contract):
        return {}
    mapping, rows = runner.sources.mapping(contract.entity), store.read(contract)
    number = received_texts(rows, contract, mapping)[_SALE].alias(_SALE)
    found = rows.where(find_mentions(rows, contract, mapping, names).is_touched).select(number).distinct()
    sales = {row[_SALE] for row in found.collect() if row[_SALE]}
    return dict.fromkeys([_SALE, *source_columns(_SALE, rows.columns, contract, mapping)], sales)


def _public_columns(runner: Runner) -> set[str]:
    """Return the columns without personal data, of the platform's tables and of the source of sales."""
    personal = {column.name for contract in TABLES.values() for column in contract.personal_columns}
    public = {column.name for contract in TABLES.values() for column in contract.public_columns} - personal
    contract = TRANSACTIONS_BRONZE
    if runner.store.exists(contract):
        mapping, names = runner.sources.mapping(contract.entity), runner.store.read(contract).columns
        for column in contract.received_columns:
            public |= {*source_columns(column.name, names, contract, mapping)}
    return public


@dataclass(frozen=True)
class Certificate:
    """Result of a search for the traces of persons. It has no personal data.

    Attributes:
        requests: Requests to erase the persons. Empty if the search belongs to no request.
        searched_at: Start of the search, ISO 8601, UTC.
        version: Version of the platform.
        spellings: Number of spellings that were searched.
        folders: Number of folders that were searched, with all folders within them.
        versions: Number of versions in the logs of tables.
        files: Number of files that were searched.
        bytes: Size of the files.
        seconds: Duration of the search.
        hits: Number of traces that were found.
        unreadable: Number of files that could not be decoded.
    """

    requests: Sequence[str]
    searched_at: str
    version: str
    spellings: int
    folders: int
    versions: int
    files: int
    bytes: int
    seconds: float
    hits: int
    unreadable: int

    @property
    def is_clean(self) -> bool:
        """Whether every file was decoded, and no trace was found."""
        return not (self.hits or self.unreadable)

    def signed(self, key: str) -> str:
        """Return the certificate as JSON, with its signature: HMAC-SHA256 of the other fields.

        Args:
            key: Secret `erasure_key`.
        """
        return json.dumps(asdict(self) | {"signature": _signature(key, asdict(self))})


def certify(
    requests: Sequence[str],
    traces: Traces,
    folders: int,
    versions: int,
    searched: Searched,
    at: datetime,
    seconds: float,
) -> Certificate:
    """Return the certificate of a search.

    Args:
        requests: Requests to erase the persons. Empty if the search belongs to no request.
        traces: What was searched.
        folders: Number of folders that were searched.
        versions: Number of versions in the logs of tables.
        searched: Result of the search.
        at: Start of the search, UTC.
        seconds: Duration of the search.
    """
    return Certificate(
        requests,
        at.isoformat(timespec="seconds"),
        __version__,
        len(traces.spellings) + len(traces.ids | traces.numbers) + len(traces.weak),
        folders,
        versions,
        searched.files,
        searched.bytes,
        round(seconds, 1),
        sum(searched.hits.values()),
        len(searched.unreadable),
    )


def is_authentic(text: str, key: str) -> bool:
    """Return whether a signed certificate was made with the key, and not changed since.

    Args:
        text: The certificate, as JSON with its signature.
        key: Secret `erasure_key`.
    """
    content = json.loads(text)
    return hmac.compare_digest(str(content.pop("signature", "")), _signature(key, content))


def _signature(key: str, content: dict[str, object]) -> str:
    text = json.dumps(content, sort_keys=True)
    return hmac.new(key.encode(), f"certificate:{text}".encode(), hashlib.sha256).hexdigest()


def record_certificate(store: DeltaStore, certificate: Certificate, key: str) -> None:
    """Store a certificate of each request with the request. The requests are certified if the search found nothing.

    Args:
        store: Tables of the platform.
        certificate: Result of the search, after the persons were erased.
        key: Secret `erasure_key`.
    """
    is_erased = sf.col("request_id").isin(*certificate.requests) & (sf.col("state") == ERASED)
    state = CERTIFIED if certificate.is_clean else ERASED
    rows = [
        {**row.asDict(), "state": state, "certificate": replace(certificate, requests=[row["request_id"]]).signed(key)}
        for row in store.read(ERASURE_REQUESTS_OPS).where(is_erased).collect()
    ]
    if rows:
        changed = store.frame(ERASURE_REQUESTS_OPS, rows).withColumn(IS_GONE, sf.lit(False))
        store.merge(ERASURE_REQUESTS_OPS, changed)
