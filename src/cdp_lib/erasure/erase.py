"""Erasure of the persons of all open requests, from landed batches and from all tables.

An erasure may be killed anywhere and repeated. The identifiers of the persons are stored in the request until all their
records are gone. Landed batches are rewritten one by one, bronze tables after them, and silver tables are built again
from bronze, because only bronze says what a table has to hold.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import functions as sf

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE
from cdp_lib.contracts.identity import IDENTITY_OVERRIDES_SILVER
from cdp_lib.contracts.ops import ERASURE_REQUESTS_OPS
from cdp_lib.contracts.silver import ID_KEYS_SILVER
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.erasure.names import CUSTOMER, NAMING_COLUMNS, Names
from cdp_lib.erasure.persons import Found, Request, find_persons, names_of
from cdp_lib.erasure.scrub import FileEdits, Scrubbed, find_edits, scrub_batch, scrub_rows
from cdp_lib.erasure.suppressions import suppress
from cdp_lib.pipeline.run import Runner
from cdp_lib.storage.delta import IS_GONE

REQUESTED, FOUND, ERASED = "requested", "found", "erased"


def request_erasure(runner: Runner, requests: Sequence[Request], at: datetime) -> list[str]:
    """Store requests to erase persons, and return their identifiers. The job `cdp_erasure` fulfils them.

    Args:
        runner: Runner of the tables. Nothing is refreshed.
        requests: Who the persons are.
        at: Time of the requests, UTC.

    Raises:
        CdpError: A request names nobody, or several persons. No request is stored.
    """
    store, keyed = runner.store, {secrets.token_hex(8): request for request in requests}
    find_persons(store, keyed, has_text_ids=has_text_ids(runner))
    rows = [
        {"request_id": key, "requested_at": at, "state": REQUESTED, "named_by": each.named_by, "name": each.name}
        for key, each in keyed.items()
    ]
    store.create(ERASURE_REQUESTS_OPS)
    store.append(ERASURE_REQUESTS_OPS, store.frame(ERASURE_REQUESTS_OPS, rows))
    return [*keyed]


def has_text_ids(runner: Runner) -> bool:
    """Return whether the identifiers of customers are text."""
    return "customer_id" in dict(runner.sources.mapping(CUSTOMERS_BRONZE.entity).text_ids)


@dataclass
class Erasure:
    """Erasure of the persons of all open requests.

    Attributes:
        runner: Runner of the tables.
        key: Key of the digests in `suppressions_ops`.
        rows: Open requests: rows of `erasure_requests_ops` by column, by request.
    """

    runner: Runner
    key: str
    rows: dict[str, dict[str, object]]

    @classmethod
    def open(cls, runner: Runner, key: str) -> Erasure:
        """Read the open requests."""
        store, rows = runner.store, dict[str, dict[str, object]]()
        if store.exists(ERASURE_REQUESTS_OPS):
            is_open = sf.col("state").isin(REQUESTED, FOUND)
            found = store.read(ERASURE_REQUESTS_OPS).where(is_open).collect()
            rows = {row["request_id"]: row.asDict() for row in found}
        return cls(runner, key, rows)

    @property
    def found(self) -> dict[str, Found]:
        """Identifiers of the persons, by request."""
        return {key: Found.from_json(str(row["found"])) for key, row in self.rows.items() if row["found"]}

    @property
    def names(self) -> Names:
        """Names of all persons to erase."""
        return names_of(self.found.values())

    def scrub(self, show: Callable[[str], object]) -> None:
        """Remove the persons from landed batches and bronze tables, and suppress what their sources still send.

        The silver tables that read these bronze tables are marked: the next refresh builds them and all tables
        downstream again.

        Args:
            show: Function that is called with one line per bronze table.

        Raises:
            CdpError: A request names nobody or several persons, or a landed batch can't be rewritten.
        """
        if not self.rows:
            return
        self._find()
        suppress(self.runner.store, self.key, self.found, self.runner.settings.run_started_at)
        edits: dict[BronzeContract, FileEdits] = {}
        for contract in NAMING_COLUMNS:
            if self.runner.store.exists(contract):
                rows = self.runner.store.read(contract)
                edits[contract] = find_edits(rows, contract, self.runner.sources.mapping(contract.entity), self.names)
        self._forget_decisions()
        self.runner.require_rewrite(
            name for contract, found in edits.items() if found for name in self.runner.graph.readers(contract.name)
        )
        counts = Scrubbed()
        for contract, found in edits.items():
            counted = self._scrub_table(contract, found)
            counts += counted
            show(f"{contract.name}: {counted.deleted:,} rows deleted, {counted.kept:,} kept without the person")
        self._forget_identifiers()
        for row in self.rows.values():
            if row["records_deleted"] is None:
                row |= {"records_deleted": counts.deleted, "sales_kept": counts.kept}
        self._store_rows()

    def finish(self, at: datetime) -> None:
        """Record that the persons are erased, and forget who they were. Call it when all tables are built again.

        Args:
            at: Present time, UTC.
        """
        if self.rows:
            self.runner.drop_change_sets()
        for row in self.rows.values():
            row |= {"state": ERASED, "name": None, "found": None, "erased_at": at}
        self._store_rows()

    def _find(self) -> None:
        """Find the persons of new requests, and store their identifiers: later, the tables no longer have them."""
        new = {
            key: Request(row["named_by"], str(row["name"]))  # type: ignore[arg-type]
            for key, row in self.rows.items()
            if row["state"] == REQUESTED
        }
        for key, found in (
            find_persons(self.runner.store, new, has_text_ids=has_text_ids(self.runner)).items() if new else ()
        ):
            self.rows[key] |= {"state": FOUND, "found": found.to_json()}
        self._store_rows()

    def _store_rows(self) -> None:
        if self.rows:
            store = self.runner.store
            frame = store.frame(ERASURE_REQUESTS_OPS, [*self.rows.values()])
            store.merge(ERASURE_REQUESTS_OPS, frame.withColumn(IS_GONE, sf.lit(False)))

    def _scrub_table(self, contract: BronzeContract, edits: FileEdits) -> Scrubbed:
        """Remove the persons from the landed batches of a bronze table, then from the table."""
        runner, mapping = self.runner, self.runner.sources.mapping(contract.entity)
        if not edits:
            return Scrubbed()
        at = runner.settings.run_started_at.isoformat()
        for batch_id, of_files in sorted(edits.items()):
            if batch := runner.landing.find_batch(contract.source, contract.entity, batch_id):
                scrub_batch(runner.landing, batch, of_files, at)
        rows = runner.store.read(contract)
        is_touched = sf.col("_batch_id").isin(*sorted(edits))
        kept = scrub_rows(rows.where(is_touched), contract, mapping, self.names)
        with runner.changed_rows(contract.name):
            runner.store.overwrite(contract, kept, is_touched)
        return sum((each.counts for files in edits.values() for each in files.values()), Scrubbed())

    def _forget_decisions(self) -> None:
        """Delete the decisions of people about records of the persons."""
        store, keys = self.runner.store, sorted({key for each in self.found.values() for key in each.record_keys})
        if not keys or not store.exists(IDENTITY_OVERRIDES_SILVER):
            return
        rows = store.read(IDENTITY_OVERRIDES_SILVER)
        is_about = sf.col("record_a").isin(*keys) | sf.col("record_b").isin(*keys)
        gone = rows.where(is_about)
        if not gone.isEmpty():
            store.merge(IDENTITY_OVERRIDES_SILVER, gone.withColumn(IS_GONE, sf.lit(True)))

    def _forget_identifiers(self) -> None:
        """Delete the numbers of the persons' text identifiers."""
        store = self.runner.store
        texts = sorted(self.names.texts[CUSTOMER])
        if not texts or not store.exists(ID_KEYS_SILVER):
            return
        is_person = (sf.col("entity") == "customers") & sf.col("source_id").isin(*texts)
        with self.runner.changed_rows(ID_KEYS_SILVER.name):
            store.merge(ID_KEYS_SILVER, store.read(ID_KEYS_SILVER).where(is_person).withColumn(IS_GONE, sf.lit(True)))
