"""Tests with random batches in random order: silver tables equal a Python model, and every received row is counted."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, EVENTS_BRONZE
from cdp_lib.contracts.silver import CUSTOMERS_SILVER, EVENTS_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_lib.pipeline.work import RowCounts
from cdp_lib.reconciliation import WHOLE_TABLE, Account
from effort import SEEDS

from ..warehouse import Warehouse, batch_id_of, extracted_at

RECEIVED_AS = {CUSTOMERS_SILVER: CUSTOMERS_BRONZE, EVENTS_SILVER: EVENTS_BRONZE}

EXAMPLES = 4 * SEEDS

Row = dict[str, Any]


@dataclass
class Batch:
    """Batch of a source, and the run after the batch lands.

    Attributes:
        load: Kind of batch: snapshot, increment or files.
        rows: Records of the batch.
        lateness: Number of days between extraction and landing. Batches that land on the same day land in the order of
            extraction.
        run: Run after the batch lands: `none`, empty for a normal run, `full_refresh` or `replay_from`.
        dies_at: Number of commits after which the run is killed and then repeated; None for no kill.
    """

    load: str
    rows: list[Row]
    lateness: int = 0
    run: str = ""
    dies_at: int | None = None


@dataclass
class Silver:
    """Content of a table and of its quarantine: either stored or computed by the Python model.

    Attributes:
        table: Values and batch of each row, by key.
        quarantine: Number of refused rows by record, broken rules and batch.
    """

    table: dict[str, tuple[tuple[Any, ...], str]] = field(default_factory=dict)
    quarantine: Counter[tuple[str, tuple[str, ...], str]] = field(default_factory=Counter)

    def refreshed(self, contract: TableContract, batches: dict[int, Batch]) -> Silver:
        """Return the content after a refresh. `batches` has the landed batches by day."""
        versions: dict[str, list[Version]] = {}
        keeps_absent = contract is CUSTOMERS_SILVER
        for day, row in all_rows(batches) if keeps_absent else current_rows(batches):
            version = checked(contract, row, day)
            identity = version.key or f"without key: {day} {version.record}"
            versions.setdefault(identity, []).append(version)
        silver = Silver()
        snapshots = [day for day, batch in batches.items() if batch.load == "snapshot"]
        for key, of_key in versions.items():
            best, refused = resolved(of_key, snapshots if keeps_absent else [])
            if best:
                values = best.values
                if keeps_absent:
                    since = None if best.end == math.inf else f"{extracted_at(int(best.end)):%Y-%m-%d %H:%M:%S}"
                    values = (*best.values[:-1], since is None, since, best.values[-1])
                values_now, batch_id = self.table.get(key, ((), ""))
                silver.table[key] = values, batch_id if values == values_now else batch_id_of(best.day)
            for version in refused:
                silver.quarantine[version.record, tuple(sorted(version.broken)), batch_id_of(version.day)] += 1
        return silver

    def account(self, name: str, day: int, batch: Batch) -> Account:
        batch_id = batch_id_of(day)
        rows_out = sum(came_with == batch_id for _, came_with in self.table.values())
        rows_quarantined = sum(rows for (_, _, came_with), rows in self.quarantine.items() if came_with == batch_id)
        rows_in = len(batch.rows)
        return Account(name, batch_id, rows_in, rows_out, rows_quarantined, rows_in - rows_out - rows_quarantined)


@dataclass
class Version:
    """A record of a batch after its values are typed and checked.

    Attributes:
        end: Day of the first snapshot or tombstone after the version; infinite if there is none.
    """

    key: str | None
    changed_at: str
    day: int
    is_removal: bool
    record: str
    values: tuple[Any, ...]
    broken: set[str]
    end: float = math.inf

    @property
    def order(self) -> tuple[str, int]:
        return self.changed_at, self.day


def current_rows(batches: dict[int, Batch]) -> Iterable[tuple[int, Row]]:
    """Yield (day, row) for each current row.

    A later snapshot replaces the rows of earlier batches. A later version of a file replaces the rows of the file.
    """
    latest_snapshot = max((day for day, batch in batches.items() if batch.load == "snapshot"), default=0)
    newest: dict[str, int] = {}
    for day, batch in sorted(batches.items()):
        newest |= {row["_source_file"]: day for row in batch.rows if batch.load == "files"}
    for day, batch in batches.items():
        for row in batch.rows:
            if newest[row["_source_file"]] == day if batch.load == "files" else day >= latest_snapshot:
                yield day, row


def all_rows(batches: dict[int, Batch]) -> Iterable[tuple[int, Row]]:
    for day, batch in batches.items():
        for row in batch.rows:
            yield day, row


def resolved(versions: list[Version], snapshots: list[int]) -> tuple[Version | None, list[Version]]:
    """Return the version of a key that the table keeps, if any, and the versions that go to quarantine.

    Args:
        versions: All versions and tombstones of the key.
        snapshots: Days of the snapshots. A snapshot ends all earlier versions. Empty if versions do not end.
    """
    tombstones = [version.day for version in versions if version.is_removal]
    received = list({(v.order, v.record): v for v in versions if not v.is_removal}.values())
    for version in received:
        ends = [day for day in snapshots if day > version.day] + [day for day in tombstones if day >= version.day]
        version.end = min(ends, default=math.inf)
        if version.key and any(other.order == version.order and other is not version for other in received):
            version.broken.add("key_is_unique")
    best = max((version for version in received if not version.broken), key=lambda v: (v.end, v.order), default=None)
    broken = [version for version in received if version.broken and version.end == math.inf]
    latest_refused = max((version.order for version in broken), default=("", 0))
    if best and best.end == math.inf and best.order > latest_refused:
        return best, []
    return best, [version for version in broken if version.order == latest_refused]


def checked(contract: TableContract, row: Row, day: int) -> Version:
    """Type and check a record. Only the rules that the rows of these tests can break are checked."""
    received = {column.name: row.get(column.name) for column in RECEIVED_AS[contract].received_columns}
    key, values, broken = (checked_customer if contract is CUSTOMERS_SILVER else checked_event)(received)
    record = json.dumps({name: value for name, value in received.items() if value is not None}, sort_keys=True)
    return Version(key, received.get("updated_at") or "", day, bool(row.get("_is_deleted")), record, values, broken)


def checked_customer(row: Row) -> tuple[str | None, tuple[Any, ...], set[str]]:
    number, email = row["customer_id"], row["email"]
    key = str(int(number)) if number and number.isdecimal() else None
    broken = set()
    if number and not key:
        broken.add("values_fit_their_columns")
    if not key:
        broken.add("customer_id_is_present")
    is_warned = {
        "country_is_present": row["country"] is None,
        "registration_date_is_present": row["registration_date"] in (None, "soon"),
        "registration_date_is_plausible": row["registration_date"] == "soon",
        "email_looks_like_one": email == "a",
    }
    warnings = tuple(name for name, applies in is_warned.items() if applies)
    return key, (key, row["full_name"], email, row["country"] or "unknown", row["updated_at"], warnings), broken


def checked_event(row: Row) -> tuple[str | None, tuple[Any, ...], set[str]]:
    broken = set()
    if row["event_id"] is None:
        broken.add("event_id_is_present")
    if row["event_type"] is None:
        broken.add("event_type_is_present")
    if row["occurred_at"] is None:
        broken.add("occurred_at_is_present")
    number = row["customer_id"]
    warnings = () if number else ("identity_is_present",)
    return (
        row["event_id"],
        (row["event_id"], row["event_type"], number, number and f"customer:{number}", warnings),
        broken,
    )


PRESENCE = ("is_active", "CAST(inactive_since AS STRING)")
COLUMNS = {
    CUSTOMERS_SILVER: ("full_name", "email", "country", "CAST(updated_at AS STRING)", *PRESENCE, "_warnings"),
    EVENTS_SILVER: ("event_type", "CAST(customer_id AS STRING)", "identity", "_warnings"),
}


def stored(warehouse: Warehouse, contract: TableContract) -> Silver:
    """Return the stored content of a table and its quarantine."""
    [key] = contract.key
    rows = warehouse.store.read(contract).selectExpr(f"CAST({key} AS STRING)", *COLUMNS[contract], "_batch_id")
    refused = warehouse.store.read(contract.quarantine).select("record", "broken_rules", "_batch_id").collect()
    table = {}
    for *values, warnings, batch_id in rows.collect():
        assert values[0] not in table
        table[values[0]] = (*values, tuple(warnings)), batch_id
    quarantine: Counter[tuple[str, tuple[str, ...], str]] = Counter()
    for record, rules, batch_id in refused:
        received = {name: value for name, value in json.loads(record).items() if name != "_rescued_data"}
        quarantine[json.dumps(received, sort_keys=True), tuple(sorted(rules)), batch_id] += 1
    return Silver(table, quarantine)


TIMES = (None, "2026-02-01 00:00:00", "2026-02-02 00:00:00", "2026-02-03 00:00:00")
FILES = ("f1", "f2", "f3")
customers = st.fixed_dictionaries(
    {
        "customer_id": st.sampled_from(["1", "2", "3", "4", "03", "x", None]),
        "full_name": st.sampled_from(["A", "B"]),
        "email": st.sampled_from(["a@example.com", "a", None]),
        "country": st.sampled_from(["Egypt", "Egypt", "Egypt", None]),
        "registration_date": st.sampled_from(["2025-01-31", None, "soon"]),
        "updated_at": st.sampled_from(TIMES),
    }
)
removals = st.fixed_dictionaries({"customer_id": st.sampled_from(["1", "2", "3", "4"]), "_is_deleted": st.just(True)})
events = st.fixed_dictionaries(
    {
        "event_id": st.sampled_from(["e1", "e2", "e3", "e4", None]),
        "event_type": st.sampled_from(["page_view", "checkout", None]),
        "occurred_at": st.sampled_from(["2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z", None]),
        "customer_id": st.sampled_from(["1", None]),
        "channel": st.just("web"),  # a record needs at least one value
    }
)


def whole_files(of_file: dict[str, list[Row]]) -> list[Row]:
    return [row | {"_source_file": name} for name, rows in of_file.items() for row in rows]


rows_by_load = {
    "snapshot": st.lists(customers, min_size=4, max_size=12),
    "increment": st.lists(st.one_of(customers, customers, removals), min_size=2, max_size=8),
    "files": st.dictionaries(st.sampled_from(FILES), st.lists(events, min_size=1, max_size=4), min_size=1).map(
        whole_files
    ),
}


def histories(*loads: str) -> st.SearchStrategy[list[Batch]]:
    """Return a strategy that draws lists of batches. A list is in the order of extraction."""
    batches = st.sampled_from(loads).flatmap(
        lambda load: st.builds(
            Batch,
            st.just(load),
            rows_by_load[load],
            lateness=st.sampled_from([0, 0, 0, 1, 2]),
            run=st.sampled_from(["", "", "", "none", "none", "full_refresh", "replay_from"]),
            dies_at=st.sampled_from([None, None, None, *range(10)]),
        )
    )
    return st.lists(batches, min_size=3, max_size=6)


TORTURE = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # shrinking a failing history would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.first_engine
@TORTURE
@given(history=histories("snapshot", "increment", "increment"))
def test_tables_match_the_model_for_snapshots_and_increments(warehouse: Warehouse, history: list[Batch]) -> None:
    replay(warehouse, CUSTOMERS_SILVER, history)


@pytest.mark.first_engine
@TORTURE
@given(history=histories("files"))
def test_tables_match_the_model_for_files(warehouse: Warehouse, history: list[Batch]) -> None:
    replay(warehouse, EVENTS_SILVER, history)


def replay(warehouse: Warehouse, contract: TableContract, history: list[Batch]) -> None:
    """Land the batches with runs between them, and compare the table with the model after each run."""
    bronze = RECEIVED_AS[contract]
    warehouse.empty()
    by_day = dict(enumerate(history, start=1))
    landed: dict[int, Batch] = {}
    for day in sorted(by_day, key=lambda day: (day + by_day[day].lateness, day)):
        batch = by_day[day]
        warehouse.land(bronze, day, *batch.rows, load=batch.load)
        landed[day] = batch
        if batch.run == "none":
            continue
        parameters = {
            "full_refresh": {"full_refresh": "true"},
            "replay_from": {"replay_from": batch_id_of(min(landed))},
        }
        run = parameters.get(batch.run, {})
        if batch.dies_at is not None:
            warehouse.is_killed_at(batch.dies_at, contract, **run)
        warehouse.refresh(contract, **run)
        check(warehouse, contract, landed)
    warehouse.refresh(contract)
    silver = check(warehouse, contract, landed)
    assert warehouse.refresh(contract) == {contract.name: RowCounts()}
    assert stored(warehouse, contract) == silver
    assert warehouse.differences(contract.name) == []
    warehouse.refresh(contract, full_refresh="true")
    assert stored(warehouse, contract) == Silver().refreshed(contract, landed)
    check(warehouse, contract, landed)


def check(warehouse: Warehouse, contract: TableContract, batches: dict[int, Batch]) -> Silver:
    """Compare a table and its reconciliation rows with the model. Return the stored content.

    The column `_batch_id` of the table is not compared. If an unchanged row is received in several batches, its
    `_batch_id` depends on when the runs took place.
    """
    content = stored(warehouse, contract)
    expected = Silver().refreshed(contract, batches)
    assert {key: values for key, (values, _) in content.table.items()} == {
        key: values for key, (values, _) in expected.table.items()
    }
    assert content.quarantine == expected.quarantine
    accounts = {
        batch_id_of(day): content.account(contract.name, day, batch) for day, batch in batches.items() if batch.rows
    }
    reconciled = warehouse.reconcile()
    of_table = {each.batch_id: each for each in reconciled if each.table_name == contract.name}
    assert {name: each for name, each in of_table.items() if name != WHOLE_TABLE} == accounts
    assert [each.complaint for each in reconciled if each.missing] == []
    return content
