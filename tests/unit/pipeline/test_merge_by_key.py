"""Whatever comes in whatever order: a silver table is what its batches say, and every row of them is accounted for."""

from __future__ import annotations

import json
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
from cdp_lib.reconciliation import WHOLE_TABLE, Account, verify
from effort import SEEDS

from ..warehouse import Warehouse, batch_id_of

RECEIVED_AS = {CUSTOMERS_SILVER: CUSTOMERS_BRONZE, EVENTS_SILVER: EVENTS_BRONZE}

EXAMPLES = 4 * SEEDS

Row = dict[str, Any]


@dataclass
class Batch:
    """A batch as the source gave it.

    Attributes:
        load: What it is: snapshot, increment, files.
        rows: Its records.
        lateness: How many of the batches after it are in bronze before it is.
        run: What run comes when it is there: `none`, a usual one (empty), `full_refresh` or `replay_from`.
        dies_at: The write that a run before that one dies at, counted from 0, None where there is no such run.
    """

    load: str
    rows: list[Row]
    lateness: int = 0
    run: str = ""
    dies_at: int | None = None


@dataclass
class Silver:
    """What a table and its quarantine should hold, worked out row by row in Python.

    Attributes:
        table: By key, the row's values and the batch it came with.
        quarantine: Record, broken rules and batch of each refused row.
    """

    table: dict[str, tuple[tuple[Any, ...], str]] = field(default_factory=dict)
    quarantine: Counter[tuple[str, tuple[str, ...], str]] = field(default_factory=Counter)

    def refreshed(self, contract: TableContract, batches: dict[int, Batch]) -> Silver:
        """After a refresh from these batches, by day."""
        versions: dict[str, list[Version]] = {}
        for day, row in in_force(batches):
            version = judged(contract, row, day)
            identity = version.key or f"without key: {day} {version.record}"
            versions.setdefault(identity, []).append(version)
        silver = Silver()
        for key, of_key in versions.items():
            best, refused = settled(of_key)
            if best:
                values, batch_id = self.table.get(key, ((), ""))
                silver.table[key] = best.values, batch_id if best.values == values else batch_id_of(best.day)
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
    """One record of one batch."""

    key: str | None
    changed_at: str
    day: int
    is_removal: bool
    record: str
    values: tuple[Any, ...]
    broken: set[str]

    @property
    def order(self) -> tuple[str, int]:
        return self.changed_at, self.day


def in_force(batches: dict[int, Batch]) -> Iterable[tuple[int, Row]]:
    """The rows that are not replaced as a whole: by a later snapshot, or by a later version of their file."""
    latest_snapshot = max((day for day, batch in batches.items() if batch.load == "snapshot"), default=0)
    newest: dict[str, int] = {}
    for day, batch in sorted(batches.items()):
        newest |= {row["_source_file"]: day for row in batch.rows if batch.load == "files"}
    for day, batch in batches.items():
        for row in batch.rows:
            if newest[row["_source_file"]] == day if batch.load == "files" else day >= latest_snapshot:
                yield day, row


def settled(versions: list[Version]) -> tuple[Version | None, list[Version]]:
    """Of the versions of one key: the one that is kept, and those that are refused."""
    removed_on = max((version.day for version in versions if version.is_removal), default=0)
    alive = list({(v.order, v.record): v for v in versions if v.day > removed_on}.values())
    for version in alive:
        if version.key and any(other.order == version.order and other is not version for other in alive):
            version.broken.add("key_is_unique")
    best = max((version for version in alive if not version.broken), key=lambda v: v.order, default=None)
    latest_refused = max((version.order for version in alive if version.broken), default=("", 0))
    if best and best.order > latest_refused:
        return best, []
    return best, [version for version in alive if version.broken and version.order == latest_refused]


def judged(contract: TableContract, row: Row, day: int) -> Version:
    """A record, typed and checked, as far as the rows of these tests make a difference."""
    received = {column.name: row.get(column.name) for column in RECEIVED_AS[contract].received_columns}
    key, values, broken = (judged_customer if contract is CUSTOMERS_SILVER else judged_event)(received)
    record = json.dumps({name: value for name, value in received.items() if value is not None}, sort_keys=True)
    return Version(key, received.get("updated_at") or "", day, bool(row.get("_is_deleted")), record, values, broken)


def judged_customer(row: Row) -> tuple[str | None, tuple[Any, ...], set[str]]:
    number, email = row["customer_id"], row["email"]
    key = str(int(number)) if number and number.isdecimal() else None
    broken = set()
    if number and not key:
        broken.add("values_fit_their_columns")
    if not key:
        broken.add("customer_id_is_present")
    if row["country"] is None:
        broken.add("country_is_present")
    if row["registration_date"] is None:
        broken.add("registration_date_is_present")
    warnings = () if email is None or "@" in email else ("email_looks_like_one",)
    return key, (key, row["full_name"], email, row["country"], row["updated_at"], warnings), broken


def judged_event(row: Row) -> tuple[str | None, tuple[Any, ...], set[str]]:
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


COLUMNS = {
    CUSTOMERS_SILVER: ("full_name", "email", "country", "CAST(updated_at AS STRING)", "_warnings"),
    EVENTS_SILVER: ("event_type", "CAST(customer_id AS STRING)", "identity", "_warnings"),
}


def held(warehouse: Warehouse, contract: TableContract) -> Silver:
    """What the table and its quarantine do hold."""
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
        "registration_date": st.sampled_from(["2025-01-31", "2025-01-31", "2025-01-31", None]),
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
        "channel": st.just("web"),  # a record of nothing at all is no record
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
    """Batches in the order of their extraction."""
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
    phases=[Phase.generate],  # to shrink a history takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.first_engine
@TORTURE
@given(history=histories("snapshot", "increment", "increment"))
def test_whatever_snapshots_and_increments_come_the_table_is_what_they_say(
    warehouse: Warehouse, history: list[Batch]
) -> None:
    replay(warehouse, CUSTOMERS_SILVER, history)


@pytest.mark.first_engine
@TORTURE
@given(history=histories("files"))
def test_whatever_files_come_the_table_is_what_their_newest_versions_say(
    warehouse: Warehouse, history: list[Batch]
) -> None:
    replay(warehouse, EVENTS_SILVER, history)


def replay(warehouse: Warehouse, contract: TableContract, history: list[Batch]) -> None:
    """Let the batches arrive, with runs between, and look after each run."""
    bronze = RECEIVED_AS[contract]
    warehouse.empty()
    by_day = dict(enumerate(history, start=1))
    there: dict[int, Batch] = {}
    for day in sorted(by_day, key=lambda day: (day + by_day[day].lateness, day)):
        batch = by_day[day]
        warehouse.land(bronze, day, *batch.rows, load=batch.load)
        there[day] = batch
        if batch.run == "none":
            continue
        parameters = {"full_refresh": {"full_refresh": "true"}, "replay_from": {"replay_from": batch_id_of(min(there))}}
        run = parameters.get(batch.run, {})
        if batch.dies_at is not None:
            warehouse.is_killed_at(batch.dies_at, contract, **run)
        warehouse.refresh(contract, **run)
        check(warehouse, contract, there)
    warehouse.refresh(contract)
    silver = check(warehouse, contract, there)
    assert warehouse.refresh(contract) == {contract.name: RowCounts()}
    assert held(warehouse, contract) == silver
    warehouse.refresh(contract, full_refresh="true")
    assert held(warehouse, contract) == Silver().refreshed(contract, there)
    check(warehouse, contract, there)


def check(warehouse: Warehouse, contract: TableContract, batches: dict[int, Batch]) -> Silver:
    """Compare the table with the model, and its accounts; what it holds.

    With which batch a row that did not change came, says the first of them that a run took in; here any of them may.
    """
    there = held(warehouse, contract)
    expected = Silver().refreshed(contract, batches)
    assert {key: values for key, (values, _) in there.table.items()} == {
        key: values for key, (values, _) in expected.table.items()
    }
    assert there.quarantine == expected.quarantine
    accounts = {
        batch_id_of(day): there.account(contract.name, day, batch) for day, batch in batches.items() if batch.rows
    }
    reconciled = warehouse.reconcile()
    of_table = {each.batch_id: each for each in reconciled if each.table_name == contract.name}
    assert {name: each for name, each in of_table.items() if name != WHOLE_TABLE} == accounts
    assert [each.complaint for each in reconciled if each.missing] == []
    findings = [str(found) for found in verify(warehouse.store) if found.missing or found.surplus]
    assert findings == []
    return there
