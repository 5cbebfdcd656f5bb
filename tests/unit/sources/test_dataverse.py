import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cdp_lib.contracts.bronze import CRM_CONTACTS_BRONZE, LINEAGE_COLUMNS
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.errors import CdpError
from cdp_lib.landing import Extraction, Landing, Manifest
from cdp_lib.sources.dataverse import OVERLAP_TIME, land_entity, may_sign_in
from cdp_lib.sources.http import MAX_BODY_ATTEMPTS, MAX_RETRIES
from cdp_local.crm_server import CONTACTS, CrmServer, Fault

CLIENT_ID = "cdp"
TRACKING_CHECK = f"{CONTACTS}?$select=contactid"
"""Target of the request that checks whether the CRM tracks changes."""

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)

REQUESTED = [column.name for column in CRM_CONTACTS_BRONZE.received_columns if not column.on_request]
"""Columns that the CRM is asked for without a mapping."""


def at(minutes: float) -> str:
    """Return a time on the CRM's clock, as a string. `minutes` counts from noon."""
    return (NOON + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


def contact_id(number: int) -> str:
    return f"{number:08d}-0000-4000-8000-000000000000"


def contact(number: int, minutes: float = -600, **values: Any) -> dict[str, Any]:
    return {"contactid": contact_id(number), "fullname": f"Contact {number}", "modifiedon": at(minutes), **values}


@dataclass
class Crm:
    """A simulated CRM, and runs that read it. Each run starts a minute after the previous run."""

    server: CrmServer
    landing: Landing
    secret: str
    now: datetime = NOON
    runs: int = 0
    contract: BronzeContract = CRM_CONTACTS_BRONZE
    options: dict[str, Any] = field(default_factory=dict)

    def run(self, **options: Any) -> Manifest | None:
        """Run once. Return the landed batch, or None if the run lands nothing."""
        self.runs += 1
        self.now += timedelta(minutes=1)
        self.server.requests.clear()
        found = land_entity(
            Extraction(self.landing, "crm", f"20260131T0000{self.runs:02}Z-{self.runs}", self.now.isoformat()),
            self.contract,
            self.server.url,
            **{"client_id": CLIENT_ID, "client_secret": self.secret, "timeout_seconds": 2.0, **options},
        )
        assert len(found) <= 1
        return found[0] if found else None

    def refusal(self, **options: Any) -> str:
        """Return the error message of a failing run. Check that the run lands nothing."""
        before = self.batches
        with pytest.raises(CdpError) as refused:
            self.run(**options)
        message = str(refused.value)
        assert len(message.splitlines()) == 1
        assert len(message) < 500
        assert self.secret not in message
        assert self.batches == before
        return message

    def change(self, number: int, minutes: float = -600, **values: Any) -> None:
        """Create or change a contact at a given time on the CRM's clock."""
        self.server.upsert(contact(number, **values), modifiedon=at(minutes))

    @property
    def batches(self) -> list[Manifest]:
        return self.landing.batches("crm", "contacts")

    def records_of(self, batch: Manifest, *, deletions: bool = False) -> list[dict[str, Any]]:
        """Return the records of a batch. With `deletions`, return its tombstones instead."""
        lines = [
            line
            for file in batch.files
            if file.deletions == deletions
            for line in Path(self.landing.path_of(batch, file.name)).read_text(encoding="utf-8").splitlines()
        ]
        return [json.loads(line) for line in lines]

    def names_of(self, batch: Manifest) -> list[str]:
        return [record["fullname"] for record in self.records_of(batch)]

    @property
    def landed(self) -> dict[str, str]:
        """Current names of the contacts according to all batches, by id. Deleted contacts are left out."""
        state: dict[str, dict[str, Any]] = {}
        for batch in self.batches:
            if batch.load == "snapshot":
                state.clear()
            for record in self.records_of(batch):
                known = state.get(record["contactid"])
                if not known or known["modifiedon"] <= record["modifiedon"]:
                    state[record["contactid"]] = record
            for record in self.records_of(batch, deletions=True):
                state.pop(record["contactid"], None)
        return {key: record["fullname"] for key, record in state.items()}

    @property
    def truth(self) -> dict[str, str]:
        """Names of the contacts that are in the CRM, by id."""
        return {key: record["fullname"] for key, record in self.server._contacts.items()}


@pytest.fixture
def start(landing: Landing, waits: list[float]) -> Iterator[Callable[..., Crm]]:
    with ExitStack() as running:

        def start(contacts: int = 7, **options: Any) -> Crm:
            secret = uuid4().hex
            server = CrmServer(
                [contact(number) for number in range(1, contacts + 1)],
                client_id=CLIENT_ID,
                client_secret=secret,
                **{"page_size": 3, **options},
            )
            return Crm(running.enter_context(server), landing, secret)

        yield start


@pytest.fixture(params=[True, False], ids=["tracked", "not tracked"])
def crm(request: pytest.FixtureRequest, start: Callable[..., Crm]) -> Crm:
    """A CRM. Each test runs once with change tracking and once without."""
    return start(change_tracking=request.param)


def on_request(number: int, act: Callable[[], Any]) -> Callable[[str], Fault | None]:
    """Return a hook that calls `act` before request `number`, counted from 1.

    If `act` returns a fault, the server responds with this fault. Requests that check change tracking do not count.
    """
    request_numbers = iter(range(1, 1_000_000))

    def hook(target: str) -> Fault | None:
        result = act() if target != TRACKING_CHECK and next(request_numbers) == number else None
        return result if isinstance(result, Fault) else None

    return hook


# All records, then changes


def test_the_first_run_lands_all_records_page_by_page(crm: Crm) -> None:
    batch = crm.run()
    assert (batch.load, batch.rows, batch.after, batch.format) == ("snapshot", 7, None, "jsonl")
    assert sorted(crm.names_of(batch)) == [f"Contact {number}" for number in range(1, 8)]
    received = sorted(Path(crm.landing.path_of(batch, "received")).iterdir())
    assert [path.name for path in received] == [f"answer-{number:05}.json" for number in range(3)]
    pages = [json.loads(path.read_bytes())["value"] for path in received]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [record for page in pages for record in page] == crm.records_of(batch)


def test_only_the_columns_of_the_contract_are_requested(crm: Crm) -> None:
    batch = crm.run()
    assert set(batch.columns) == set(REQUESTED)


def test_no_changes_make_no_batch(crm: Crm) -> None:
    crm.run()
    assert crm.run() is None
    assert len(crm.batches) == 1


def test_the_next_run_lands_the_changes_and_starts_at_the_watermark(crm: Crm) -> None:
    first = crm.run()
    crm.change(2, 1, fullname="Renamed")
    crm.change(8, 1)
    batch = crm.run()
    assert (batch.load, batch.rows, batch.after) == ("increment", 2, first.watermark)
    assert sorted(crm.names_of(batch)) == ["Contact 8", "Renamed"]
    assert batch.watermark != first.watermark
    assert crm.landed == crm.truth
    assert crm.run() is None


def test_a_run_that_has_landed_is_not_repeated(crm: Crm) -> None:
    batch = crm.run()
    crm.change(8, 1)
    crm.runs -= 1
    assert crm.run() == batch
    assert crm.server.requests == []


def test_from_scratch_lands_all_records_again(crm: Crm) -> None:
    crm.run()
    crm.change(8, 1)
    crm.run()
    crm.server.remove(contact_id(1))
    batch = crm.run(from_scratch=True)
    assert (batch.load, batch.rows, batch.after) == ("snapshot", 7, None)
    assert crm.landed == crm.truth


def test_unchanged_records_from_scratch_make_no_batch(crm: Crm) -> None:
    crm.run()
    assert crm.run(from_scratch=True) is None
    assert len(crm.batches) == 1


def test_an_answer_with_changes_instead_of_all_records_is_an_error(start) -> None:
    crm = start()
    crm.run()
    crm.server.remove(contact_id(2))
    crm.run()
    # A cache on the network returns an earlier response.
    crm.server.before_request(lambda _: Fault(body="previous_page"))
    assert "returned a deleted record in response to a full read" in crm.refusal(from_scratch=True)
    crm.server.before_request(lambda _: None)
    assert crm.run(from_scratch=True).rows == 6


def test_changes_during_a_read_are_landed_once(start) -> None:
    crm = start()
    crm.server.before_request(on_request(2, lambda: crm.change(7, 0, fullname="Renamed")))
    assert crm.names_of(crm.run()).count("Renamed") == 1
    crm.server.before_request(lambda _: None)
    # The response of the delta link also has the record: a delta link covers all changes since the previous read began.
    assert crm.run() is None
    crm.server.before_request(on_request(1, lambda: crm.server.remove(contact_id(7))))
    crm.change(1, 1, fullname="Changed")
    crm.run()
    crm.server.before_request(lambda _: None)
    assert crm.run() is None
    assert crm.landed == crm.truth


def test_changed_columns_make_a_snapshot(crm: Crm) -> None:
    crm.run()
    columns = [column for column in CRM_CONTACTS_BRONZE.received_columns if column.name != "mobilephone"]
    crm.contract = BronzeContract(
        "crm_contacts_bronze",
        "bronze",
        "One row per contact.",
        (*columns, *LINEAGE_COLUMNS),
        source="crm",
        entity="contacts",
        record_key=("contactid",),
    )
    batch = crm.run()
    assert (batch.load, batch.rows) == ("snapshot", 7)
    assert "mobilephone" not in batch.columns


def test_an_unknown_watermark_makes_the_next_batch_a_snapshot(crm: Crm) -> None:
    run = Extraction(crm.landing, "crm", "20260131T000000Z-0", NOON.isoformat())
    with run.new_batch("contacts") as batch, batch.open_data("part-00000.jsonl", "jsonl") as file:
        file.write(b'{"contactid": "x"}\n')
        batch.watermark = {"window_end": "2026-01-31"}
    assert crm.run().load == "snapshot"


def test_a_large_field_is_landed(crm: Crm) -> None:
    crm.change(2, fullname="ﷺ" * 3_000_000 + "x" * 1_000_000)
    crm.run()
    assert crm.landed == crm.truth


# Removed records


def test_a_removed_record_is_landed_as_a_tombstone(start) -> None:
    crm = start()
    crm.run()
    crm.server.remove(contact_id(2))
    crm.server.remove(contact_id(5))
    crm.change(3, 1, fullname="Renamed")
    batch = crm.run()
    assert [(file.name, file.deletions) for file in batch.files] == [
        ("data/part-00000.jsonl", False),
        ("data/removed-00000.jsonl", True),
    ]
    assert crm.records_of(batch, deletions=True) == [{"contactid": contact_id(2)}, {"contactid": contact_id(5)}]
    assert crm.names_of(batch) == ["Renamed"]
    assert batch.rows == 3
    assert crm.landing.examine(batch) == batch
    assert crm.landed == crm.truth


def test_a_batch_of_removed_records_only_has_no_data_file(start) -> None:
    crm = start()
    crm.run()
    crm.server.remove(contact_id(2))
    batch = crm.run()
    assert [(file.name, file.deletions) for file in batch.files] == [("data/removed-00000.jsonl", True)]
    assert (batch.rows, batch.columns) == (1, ())


def test_a_record_that_is_created_again_has_no_tombstone(start) -> None:
    crm = start()
    crm.run()
    crm.server.remove(contact_id(2))
    crm.change(2, 1, fullname="Again")
    batch = crm.run()
    assert crm.records_of(batch, deletions=True) == []
    assert crm.landed == crm.truth


def test_a_removal_before_the_record_in_the_same_answer_is_ignored(serve, landing, waits) -> None:
    removed = {"@odata.context": "x/$metadata#contacts/$deletedEntity", "id": contact_id(1), "reason": "deleted"}
    other = {"@removed": {"reason": "deleted"}, "id": contact_id(2)}
    api = serve()
    names = ",".join(REQUESTED)
    first = {"value": [contact(1), contact(2)], "@odata.deltaLink": "/delta"}
    api.at(f"/api/data/v9.2/contacts?$select={names}", json.dumps(first).encode())
    api.at("/delta", json.dumps({"value": [removed, other, contact(1)], "@odata.deltaLink": "/delta2"}).encode())
    crm = Crm(CrmServer([], client_id="", client_secret=""), landing, "")
    crm.server.url = api.root
    crm.run()
    batch = crm.run()
    assert crm.records_of(batch, deletions=True) == [{"contactid": contact_id(2)}]
    assert crm.names_of(batch) == ["Contact 1"]
    assert batch.watermark["delta_link"] == f"{api.root}/delta2"


def test_without_change_tracking_a_removed_record_is_found_by_landing_all(start) -> None:
    crm = start(change_tracking=False)
    crm.run()
    crm.server.remove(contact_id(2))
    assert crm.run() is None
    assert crm.run(from_scratch=True).rows == 6
    assert crm.landed == crm.truth


# The delta link


def test_a_delta_link_that_has_expired_is_followed_by_all_records(start) -> None:
    crm = start()
    crm.run()
    crm.server.remove(contact_id(2))
    crm.server.expire_delta_tokens()
    batch = crm.run()
    assert (batch.load, batch.rows) == ("snapshot", 6)
    crm.change(8, 1)
    assert crm.run().load == "increment"
    assert crm.landed == crm.truth


def test_a_delta_link_that_is_refused_is_followed_by_all_records(start) -> None:
    crm = start()
    crm.run()
    crm.server.remove(contact_id(2))
    crm.server.before_request(on_request(1, lambda: Fault(status=400)))
    assert crm.run().load == "snapshot"
    assert crm.landed == crm.truth


def test_a_delta_answer_without_a_new_link_is_followed_by_all_records(serve, landing, waits) -> None:
    names = ",".join(REQUESTED)
    api = serve()
    path = f"/api/data/v9.2/contacts?$select={names}"
    api.at(path, json.dumps({"value": [contact(1)], "@odata.deltaLink": "/delta"}).encode())
    api.at(path, json.dumps({"value": [contact(1), contact(2)], "@odata.deltaLink": "/delta2"}).encode())
    api.at("/delta", json.dumps({"value": [contact(2)]}).encode())
    crm = Crm(CrmServer([], client_id="", client_secret=""), landing, "")
    crm.server.url = api.root
    crm.run()
    batch = crm.run()
    assert (batch.load, batch.rows, batch.watermark["delta_link"]) == ("snapshot", 2, f"{api.root}/delta2")


def test_a_delta_link_that_expires_between_its_pages_is_an_error_and_the_next_run_lands_all(start) -> None:
    crm = start()
    crm.run()
    for number in range(1, 6):
        crm.change(number, 1, fullname="Renamed")
    crm.server.before_request(on_request(2, crm.server.expire_delta_tokens))
    assert "returned 410 Gone: Version stamp associated with the client has expired" in crm.refusal()
    assert crm.run().load == "snapshot"
    assert crm.landed == crm.truth


def test_a_delta_link_is_kept_alive_while_nothing_changes(start) -> None:
    crm = start()
    first = crm.run()
    crm.now += timedelta(hours=23)
    assert crm.run() is None
    crm.change(1)
    crm.now += timedelta(minutes=1)
    crm.run()
    crm.now += timedelta(days=1)
    batch = crm.run()
    assert (batch.load, batch.rows, batch.files) == ("increment", 0, ())
    assert batch.after != first.watermark
    assert batch.watermark["delta_link"].startswith(crm.server.url)
    assert crm.landing.examine(batch).rows == 0
    crm.server.remove(contact_id(1))
    assert crm.run().rows == 1
    assert crm.landed == crm.truth


def test_the_watermark_has_the_delta_link_if_the_crm_gives_one(start) -> None:
    crm = start()
    assert set(crm.run().watermark) == {"delta_link", "address"}
    assert "$orderby" not in "".join(crm.server.requests)


# Changes by time


def test_without_change_tracking_the_watermark_is_the_newest_time(start) -> None:
    crm = start(change_tracking=False)
    crm.change(3, -1, fullname="Renamed")
    batch = crm.run()
    assert (batch.watermark["modifiedon"], batch.watermark["newest"]) == (at(-1), at(-1))
    crm.run()
    assert f"$filter=modifiedon%20ge%20{at(-1 - OVERLAP_TIME.total_seconds() / 60)}&" in crm.server.requests[1]


def test_records_with_the_time_of_the_watermark_are_landed_once_each(start) -> None:
    crm = start(change_tracking=False)
    crm.change(8, 0)
    crm.run()
    # These changes have the same time as the newest record, but are made after the read.
    crm.change(9, 0)
    crm.change(8, 0, fullname="Renamed")
    assert sorted(crm.names_of(crm.run())) == ["Contact 9", "Renamed"]
    assert crm.run() is None
    assert crm.landed == crm.truth


def test_a_record_that_is_changed_back_is_landed(start) -> None:
    crm = start(change_tracking=False)
    crm.change(8, 0)
    crm.run()
    for name in ("Renamed", "Contact 8"):
        crm.change(8, 0, fullname=name)
        assert crm.names_of(crm.run()) == [name]
    assert crm.landed == crm.truth


def test_a_change_by_a_slow_clock_is_found_within_the_overlap(start) -> None:
    crm = start(change_tracking=False)
    crm.change(8, 0)
    watermark = crm.run().watermark["modifiedon"]
    crm.change(9, -4)
    batch = crm.run()
    assert crm.names_of(batch) == ["Contact 9"]
    assert batch.watermark["modifiedon"] == watermark
    assert crm.run() is None


def test_a_future_time_hides_no_change(start) -> None:
    crm = start(change_tracking=False)
    crm.change(8, 60 * 24 * 365)
    crm.run()
    for number in range(9, 14):
        crm.now += timedelta(minutes=30)
        minutes = (crm.now - NOON).total_seconds() / 60
        crm.change(number, minutes)
        assert crm.names_of(crm.run()) == [f"Contact {number}"]
    assert crm.run() is None
    assert crm.landed == crm.truth


def test_a_slow_clock_of_the_run_lands_nothing_twice(start) -> None:
    crm = start(change_tracking=False)
    crm.change(8, 60)
    crm.run()
    crm.change(9, 61)
    assert crm.names_of(crm.run()) == ["Contact 9"]
    assert crm.run() is None


def test_batches_without_records_of_the_overlap_are_not_read(start) -> None:
    crm = start(change_tracking=False)
    old = crm.run()
    crm.change(8, 0)
    crm.run()
    Path(crm.landing.path_of(old, "data/part-00000.jsonl")).unlink()
    assert crm.run() is None


def test_a_crm_that_refuses_to_track_changes_is_read_by_time(start) -> None:
    crm = start()
    crm.server.before_request(on_request(1, lambda: Fault(status=400)))
    batch = crm.run()
    assert (batch.rows, batch.watermark["modifiedon"]) == (7, at(-600))


def test_a_snapshot_is_landed_as_soon_as_changes_are_tracked(start) -> None:
    crm = start(change_tracking=False)
    crm.run()
    crm.server.remove(contact_id(2))
    crm.change(3, 1, fullname="Renamed")
    assert crm.run().load == "increment"
    assert crm.landed != crm.truth
    crm.server.change_tracking = True
    batch = crm.run()
    assert (batch.load, batch.rows, set(batch.watermark)) == ("snapshot", 6, {"delta_link", "address"})
    assert crm.landed == crm.truth
    crm.server.remove(contact_id(4))
    assert crm.run().load == "increment"
    assert crm.landed == crm.truth
    assert TRACKING_CHECK not in crm.server.requests


def test_unchanged_records_with_a_new_delta_link_make_a_batch_of_the_link(start) -> None:
    crm = start(change_tracking=False)
    first = crm.run()
    crm.server.change_tracking = True
    batch = crm.run()
    assert (batch.load, batch.rows, batch.files, batch.after) == ("increment", 0, (), first.watermark)
    assert crm.landing.examine(batch).rows == 0
    assert crm.run() is None
    assert TRACKING_CHECK not in crm.server.requests
    crm.server.remove(contact_id(4))
    assert crm.records_of(crm.run(), deletions=True) == [{"contactid": contact_id(4)}]
    assert crm.landed == crm.truth


def test_a_crm_that_refused_to_track_changes_once_is_asked_again(start) -> None:
    crm = start()
    crm.server.before_request(on_request(1, lambda: Fault(status=400)))
    crm.run()
    crm.server.before_request(lambda target: Fault(status=400) if target == TRACKING_CHECK else None)
    crm.change(8, 1)
    assert "modifiedon" in crm.run().watermark
    crm.server.before_request(lambda _: None)
    crm.server.remove(contact_id(1))
    assert "delta_link" in crm.run().watermark
    assert crm.landed == crm.truth


def test_the_check_for_change_tracking_requests_one_record(serve, landing, waits) -> None:
    api = serve()
    names = ",".join(REQUESTED)
    path = f"{CONTACTS}?$select={names}"
    api.at(path, b"", 400)
    api.at(f"{path}&$orderby=modifiedon,contactid", json.dumps({"value": [contact(1)]}).encode())
    api.at(TRACKING_CHECK, b'{"value": []}', 200, {"Preference-Applied": "odata.maxpagesize=1"})
    since = f"&$filter=modifiedon%20ge%20{at(-600 - OVERLAP_TIME.total_seconds() / 60)}&$orderby=modifiedon,contactid"
    api.at(f"{path}{since}", b'{"value": []}')
    crm = Crm(CrmServer([], client_id="", client_secret=""), landing, "")
    crm.server.url = api.root
    assert crm.run().rows == 1
    assert crm.run() is None
    assert api.paths[-2:] == [TRACKING_CHECK, f"{path}{since}"]
    assert api.requests[-2]["Prefer"] == "odata.track-changes,odata.maxpagesize=1"


def test_an_error_in_the_check_for_change_tracking_lands_nothing(start) -> None:
    crm = start(change_tracking=False)
    crm.run()
    crm.change(8, 1)
    crm.server.before_request(lambda target: Fault(status=404) if target == TRACKING_CHECK else None)
    assert "returned 404 Not Found" in crm.refusal()


# Changes during a read


def test_changes_during_a_snapshot_are_landed_with_it_or_by_the_next_run(crm: Crm) -> None:
    def change() -> None:
        crm.change(1, 0, fullname="Changed after it was read")
        crm.change(7, 0, fullname="Changed before it was read")
        crm.change(8, 0)

    crm.server.before_request(on_request(2, change))
    assert crm.run().load == "snapshot"
    crm.server.before_request(lambda _: None)
    crm.run()
    assert crm.landed == crm.truth
    assert crm.run() is None


def test_changes_during_an_increment_are_landed_with_it_or_by_the_next_run(crm: Crm) -> None:
    crm.run()
    for number in range(1, 6):
        crm.change(number, 0, fullname="Renamed")

    def change() -> None:
        crm.change(1, 1, fullname="Changed after it was read")
        crm.change(5, 1, fullname="Changed before it was read")

    crm.server.before_request(on_request(2, change))
    assert crm.run().load == "increment"
    crm.server.before_request(lambda _: None)
    crm.run()
    assert crm.landed == crm.truth
    assert crm.run() is None


def test_a_record_removed_during_a_read_is_removed_by_the_next_run(start) -> None:
    crm = start()
    crm.server.before_request(on_request(2, lambda: crm.server.remove(contact_id(1))))
    crm.run()
    crm.server.before_request(lambda _: None)
    crm.run()
    assert crm.landed == crm.truth


def test_only_one_of_two_concurrent_runs_lands(crm: Crm) -> None:
    crm.run()
    crm.change(8, 1)
    other = Crm(crm.server, crm.landing, crm.secret, crm.now, runs=1)
    crm.runs = 2
    crm.server.before_request(on_request(1, other.run))
    with pytest.raises(CdpError, match="Another run has landed a batch of crm/contacts meanwhile"):
        crm.run()
    assert [batch.batch_id for batch in crm.batches] == ["20260131T000001Z-1", "20260131T000002Z-2"]
    crm.server.before_request(lambda _: None)
    assert crm.run() is None
    assert crm.landed == crm.truth


# Errors


@pytest.mark.parametrize("first", [True, False], ids=["all", "changes"])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(body="html"), "returned a web page"),
        (Fault(body="not_utf8"), "did not return valid UTF-8"),
        (Fault(body="previous_page"), "returned the same page twice"),
        (Fault(status=404), "returned 404 Not Found: An unexpected error occurred"),
        (Fault(status=403), "refused access (403: An unexpected error occurred): check the secrets 'crm_client_id'"),
    ],
    ids=lambda value: f"{value.status} {value.body}" if isinstance(value, Fault) else "",
)
def test_an_invalid_page_lands_nothing_and_the_next_run_lands_all(crm: Crm, fault, reason, first: bool) -> None:
    if not first:
        crm.run()
        for number in range(1, 6):
            crm.change(number, 0, fullname="Renamed")
    crm.server.before_request(on_request(2, lambda: fault))
    assert reason in crm.refusal()
    crm.server.before_request(lambda _: None)
    assert crm.run().load == ("snapshot" if first else "increment")
    assert crm.landed == crm.truth


@pytest.mark.parametrize("body", ["reset", "cut"])
def test_a_page_that_is_cut_off_is_requested_again(crm: Crm, body) -> None:
    crm.server.before_request(on_request(2, lambda: Fault(body=body)))
    assert crm.run().rows == 7
    assert crm.landed == crm.truth


@pytest.mark.parametrize("body", ["reset", "cut"])
def test_a_page_that_is_always_cut_off_lands_nothing(crm: Crm, body) -> None:
    crm.server.before_request(lambda _: Fault(body=body))
    assert "the response is incomplete" in crm.refusal()
    assert len(crm.server.requests) == MAX_BODY_ATTEMPTS


def test_a_crm_that_asks_to_wait_is_read_after_the_wait(crm: Crm, waits) -> None:
    crm.server.before_request(on_request(2, lambda: Fault(status=429, retry_after=7)))
    assert crm.run().rows == 7
    assert waits == [7]


def test_a_crm_that_always_asks_to_wait_is_an_error(crm: Crm, waits) -> None:
    crm.server.before_request(lambda _: Fault(status=429, retry_after=300))
    assert "returned 429 Too Many Requests: Number of requests exceeded the limit" in crm.refusal()
    assert waits == [60] * MAX_RETRIES


def test_a_crm_without_records_lands_nothing(start) -> None:
    for change_tracking in (True, False):
        crm = start(contacts=0, change_tracking=change_tracking)
        assert "returned no records" in crm.refusal()


def test_a_column_that_the_crm_does_not_have_is_named(crm: Crm) -> None:
    crm.server.columns.remove("cdp_loyaltytier")
    assert "Could not find a property named 'cdp_loyaltytier'" in crm.refusal()


def test_an_address_that_is_not_a_crm_is_an_error(serve, start) -> None:
    crm = start()
    crm.server.url = serve(b"<html>", 404).root
    assert "returned 404 Not Found" in crm.refusal()


def test_a_landed_batch_with_a_missing_file_is_an_error(start) -> None:
    crm = start(change_tracking=False)
    batch = crm.run()
    Path(crm.landing.path_of(batch, "data/part-00000.jsonl")).unlink()
    assert "data/part-00000.jsonl can't be read" in crm.refusal()


# Signing in


def test_a_token_that_expires_midway_is_renewed(crm: Crm) -> None:
    for number in (2, 3):
        crm.server.before_request(on_request(number, crm.server.expire_tokens))
    assert crm.run().rows == 7


def test_a_token_is_reused_for_all_pages(serve, start) -> None:
    crm = start()
    api = serve()
    names = ",".join(REQUESTED)
    path = f"/api/data/v9.2/contacts?$select={names}"
    api.at(path, b"", 401, {"WWW-Authenticate": f"Bearer authorization_uri={api.root}/t/oauth2/authorize"})
    token = uuid4().hex
    api.at("/t/oauth2/v2.0/token", json.dumps({"access_token": token}).encode())
    api.at(path, json.dumps({"value": [contact(1)], "@odata.nextLink": "/page2"}).encode())
    api.at("/page2", json.dumps({"value": [contact(2)], "@odata.deltaLink": "/delta"}).encode())
    crm.server.url = api.root
    crm.run()
    assert api.paths == [path, "/t/oauth2/v2.0/token", path, "/page2"]
    assert [headers.get("Authorization") for headers in api.requests] == [None, None, *[f"Bearer {token}"] * 2]


def test_a_crm_url_may_end_in_a_slash(start) -> None:
    crm = start()
    crm.run()
    crm.change(8, 1)
    url = crm.server.url
    found = land_entity(
        Extraction(crm.landing, "crm", "20260131T000002Z-2", crm.now.isoformat()),
        CRM_CONTACTS_BRONZE,
        f"{url}/",
        client_id=CLIENT_ID,
        client_secret=crm.secret,
        timeout_seconds=2,
    )
    assert [batch.load for batch in found] == ["increment"]


@pytest.mark.parametrize("wrong", ["client_id", "client_secret"])
def test_a_sign_in_that_is_refused_names_the_secrets_and_shows_none(start, wrong: str) -> None:
    secret = uuid4().hex
    message = start().refusal(**{wrong: secret})
    assert "refused access (40" in message
    assert ": AADSTS7000" in message
    assert "check the secrets 'crm_client_id' and 'crm_client_secret'" in message
    assert secret not in message


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        "Basic realm=x",
        "Bearer authorization_uri=http://login.microsoftonline.com/t/oauth2/authorize",
        "Bearer authorization_uri=https://login.microsoftonline.com/t/elsewhere",
        "Bearer authorization_uri=https://login.example.com/t/oauth2/authorize",
        "Bearer authorization_uri=https://login.microsoftonline.com.example.com/t/oauth2/authorize",
        "Bearer authorization_uri=https://login.microsoftonline.com@example.com/t/oauth2/authorize",
        "Bearer authorization_uri=https://example.com\\@login.microsoftonline.com/t/oauth2/authorize",
        "Bearer authorization_uri=https://example.com/login.microsoftonline.com/oauth2/authorize",
        "Bearer authorization_uri=https://[x/t/oauth2/authorize",
    ],
)
def test_the_client_secret_is_sent_only_to_entra_id(serve, start, challenge: str) -> None:
    crm = start()
    crm.server.url = serve(b"", 401, {"WWW-Authenticate": challenge}).root
    assert "does not name Entra ID (login.microsoftonline.com) as its sign-in server" in crm.refusal()


@pytest.mark.parametrize(
    ("crm_url", "address", "is_trusted"),
    [
        ("https://contoso.crm.dynamics.com", "https://login.microsoftonline.com/t", True),
        ("https://contoso.crm.dynamics.com", "https://Login.MicrosoftOnline.com:443/t", True),
        ("https://contoso.crm.microsoftdynamics.us", "https://login.microsoftonline.us/t", True),
        ("https://contoso.crm.dynamics.cn", "https://login.partner.microsoftonline.cn/t", True),
        ("https://contoso.crm.dynamics.cn", "https://login.chinacloudapi.cn/t", True),
        ("https://contoso.crm.dynamics.com", "https://login.windows.net/t", True),
        ("https://contoso.crm.dynamics.com", "http://login.windows.net/t", False),
        ("https://contoso.crm.dynamics.com", "http://127.0.0.1:8080/t", False),
        ("https://contoso.crm.dynamics.com", "https://contoso.crm.dynamics.com/t", False),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8080/t", True),
        ("http://localhost:8000", "http://[::1]:8080/t", True),
        ("http://localhost:8000", "https://login.microsoftonline.com/t", True),
        ("http://localhost:8000", "https://login.example.com/t", False),
    ],
)
def test_only_a_crm_on_this_machine_may_sign_in_on_this_machine(crm_url, address, is_trusted) -> None:
    assert may_sign_in(crm_url, address) == is_trusted


def test_a_crm_without_https_gets_no_request(start) -> None:
    crm = start()
    crm.server.url = "http://crm.example.com"
    assert "does not begin with https://" in crm.refusal()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"expires_in": 3600}'])
def test_a_sign_in_that_gives_no_token_is_an_error(serve, start, body: bytes) -> None:
    crm = start()
    api = serve()
    challenge = f'Bearer authorization_uri="{api.root}/t/oauth2/v2.0/authorize", resource_id=x'
    api.then(b"", 401, {"WWW-Authenticate": challenge}).at("/t/oauth2/v2.0/token", body)
    crm.server.url = api.root
    assert "returned no token" in crm.refusal()
