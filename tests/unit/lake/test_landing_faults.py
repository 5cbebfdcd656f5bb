import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cdp_lib.errors import CdpError
from cdp_lib.landing import Landing, Manifest

STARTED_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
LINES = b'{"id": 1, "name": "Nour"}\n{"id": 2}\n'
FULL = Path("/dev/full")

needs_a_full_disk = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full, a disk that is always full")


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(str(tmp_path / "landing"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of the first batch."""
    return tmp_path / "landing" / "crm" / "contacts" / "2026-01-31" / "20260131T000001Z-1"


def land(landing: Landing, batch_id: str = "20260131T000001Z-1") -> Manifest:
    extraction = landing.extraction("crm", batch_id, STARTED_AT)
    with extraction.new_batch("contacts", "increment", extraction.find_latest_batch("contacts")) as batch:
        with batch.open_data("part-00000.jsonl", "jsonl") as file:
            file.write(LINES)
        batch.add(2, {"id", "name"})
        with batch.open_data("gone.jsonl", "jsonl", deletions=True) as file:
            file.write(b'{"id": 3}\n')
        batch.add(1)
        batch.watermark = {"at": 2}
    return batch.manifest


def land_parquet(landing: Landing) -> Manifest:
    with landing.extraction("crm", "20260131T000001Z-1", STARTED_AT).new_batch("contacts") as batch:
        with batch.open_data("part-00000.parquet", "parquet") as file:
            pq.write_table(pa.table({"id": range(1000), "name": ["x"] * 1000}), file)
        batch.add(1000, {"id", "name"})
    return batch.manifest


def refusal(attempt: Callable[[], object]) -> str:
    with pytest.raises(CdpError) as refused:
        attempt()
    message = str(refused.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 500
    return message


def change_manifest(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Change the manifest file of the first batch. Like one of Data Factory, it then has no checksum of itself."""
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["manifest_checksum"]
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def examined(landing: Landing) -> Manifest:
    [manifest] = landing.batches("crm", "contacts")
    return landing.examine(manifest)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda it: it.update(rows=7), "the manifest states 7 rows, but the data files have 3"),
        (lambda it: it.update(bytes=7), "the manifest states 7 bytes, but the data files have 46"),
        (
            lambda it: it["files"][0].update(bytes=7),
            "the size in bytes of data/part-00000.jsonl is 36, but the manifest states 7",
        ),
        (lambda it: it["files"][1].update(checksum="0" * 64), "but the manifest states 0000"),
        (lambda it: it["files"].append({"name": "data/more.jsonl"}), "data/more.jsonl can't be read"),
    ],
    ids=["rows", "bytes", "bytes of a file", "checksum of a file", "additional file"],
)
def test_a_manifest_that_differs_from_its_data_is_refused(landing: Landing, folder: Path, change, reason: str) -> None:
    assert land(landing) == examined(landing)
    change_manifest(folder, change)
    message = refusal(lambda: examined(landing))
    assert message.startswith("Batch 20260131T000001Z-1 of crm/contacts does not match its manifest: ")
    assert reason in message


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes().replace(b"Nour", b"Noor")),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["cut off", "changed", "deleted", "a folder"],
)
def test_changed_data_files_are_refused(landing: Landing, folder: Path, spoil) -> None:
    land(landing)
    spoil(folder / "data" / "part-00000.jsonl")
    message = refusal(lambda: examined(landing))
    assert "Batch 20260131T000001Z-1 of crm/contacts does not match its manifest: " in message
    assert "part-00000.jsonl" in message


@pytest.mark.parametrize("keep", [0, 4, 500], ids=["empty", "magic only", "cut off"])
@pytest.mark.parametrize("knows_the_size", [True, False])
def test_a_corrupt_parquet_file_is_refused(landing: Landing, folder: Path, keep: int, knows_the_size: bool) -> None:
    manifest = land_parquet(landing)
    assert examined(landing) == manifest
    if not knows_the_size:  # as Data Factory writes it
        change_manifest(
            folder, lambda it: it.update(files=[{"name": "data/part-00000.parquet"}], rows=None, bytes=None)
        )
    path = folder / "data" / "part-00000.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    message = refusal(lambda: examined(landing))
    assert message.startswith("Batch 20260131T000001Z-1 of crm/contacts does not match its manifest: ")
    assert "data/part-00000.parquet" in message


def test_values_that_data_factory_leaves_out_are_computed(landing: Landing, folder: Path) -> None:
    complete = land(landing)
    unknown = ("rows", "bytes", "checksum", "columns", "schema_fingerprint")

    def as_data_factory(manifest: dict[str, object]) -> None:
        manifest["pipeline"] = "a field that this version does not know"
        manifest["rows"] = manifest["bytes"] = manifest["checksum"] = None
        del manifest["columns"], manifest["schema_fingerprint"]
        manifest["files"] = [
            {"name": "data/part-00000.jsonl", "checksum": None},
            {"name": "data/gone.jsonl", "bytes": None, "deletions": True},
        ]

    change_manifest(folder, as_data_factory)
    [manifest] = landing.batches("crm", "contacts")
    assert {getattr(manifest, name) for name in unknown} == {None}
    found = landing.examine(manifest)
    assert found == replace(complete, files=manifest.files, checksum=None)
    assert found.columns == ("id", "name")


def test_a_batch_of_tombstones_only_has_no_columns(landing: Landing, folder: Path) -> None:
    land(landing)
    change_manifest(
        folder, lambda it: it.update(files=it["files"][1:], rows=None, bytes=None, columns=None, checksum=None)
    )
    assert (examined(landing).rows, examined(landing).columns) == (1, ())


@needs_a_full_disk
@pytest.mark.parametrize("name", ["data/part-00000.jsonl", "received/answer.json", "manifest.json.part"])
def test_a_full_disk_lands_nothing_and_the_next_run_lands_all(landing: Landing, folder: Path, name: str) -> None:
    def attempt(*, disk_is_full: bool) -> Manifest:
        with landing.extraction("crm", "20260131T000001Z-1", STARTED_AT).new_batch("contacts", "increment") as batch:
            if disk_is_full:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).symlink_to(FULL)
            with (folder.parent / "answer.json").open("w+b") as answer:
                answer.write(LINES * 10_000)
                answer.seek(0)
                batch.write_received("answer.json", answer)
            with batch.open_data("part-00000.jsonl", "jsonl") as file:
                for _ in range(10_000):
                    file.write(LINES)
            batch.add(20_000, {"id"})
        return batch.manifest

    message = refusal(lambda: attempt(disk_is_full=True))
    assert message == f"Landing location {landing.root} can't be written: [Errno 28] No space left on device."
    assert landing.batches("crm", "contacts") == []
    assert not folder.exists()
    assert attempt(disk_is_full=False).rows == 20_000
    assert examined(landing).rows == 20_000


def test_only_one_of_two_concurrent_runs_lands(landing: Landing, folder: Path) -> None:
    has_read, has_landed = Event(), Event()
    messages: list[str] = []

    def slower() -> None:
        try:
            with (
                Landing(landing.root)
                .extraction("crm", "20260131T000001Z-1", STARTED_AT)
                .new_batch("contacts", "increment") as batch
            ):
                with batch.open_data("part-00000.jsonl", "jsonl") as file:
                    file.write(LINES)
                has_read.set()
                has_landed.wait(timeout=20)
        except CdpError as error:
            messages.append(str(error))

    thread = Thread(target=slower)
    thread.start()
    assert has_read.wait(timeout=20)
    faster = land(landing, "20260131T000002Z-2")
    has_landed.set()
    thread.join(timeout=20)
    assert ["Another run has landed a batch of crm/contacts meanwhile" in message for message in messages] == [True]
    assert landing.batches("crm", "contacts") == [faster]
    assert not folder.exists()


def test_a_run_that_started_earlier_lands_after_a_later_one(landing: Landing) -> None:
    later = land(landing, "20260102T000000Z-2")
    repaired = land(landing, "20260101T000000Z-1")
    assert repaired.batch_id == "20260102T000001Z-1"
    assert landing.batches("crm", "contacts") == [later, repaired]


def test_two_attempts_at_one_batch_land_it_once(landing: Landing, folder: Path) -> None:
    """A run that seemed to be dead continues while a retry of this run lands the same batch."""

    def slower() -> None:
        with landing.extraction("crm", "20260131T000001Z-1", STARTED_AT).new_batch("contacts", "increment") as batch:
            with batch.open_data("part-00000.jsonl", "jsonl") as file:
                file.write(b'{"id": 9}\n')
                land(Landing(landing.root), "20260131T000001Z-1")

    refusal(slower)
    assert examined(landing).rows == 3
