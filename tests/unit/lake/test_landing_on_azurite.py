import gzip
import hashlib
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adlfs.spec import AzureBlobFile

from cdp_lib.contracts.bronze import EVENTS_BRONZE, EXCHANGE_RATES_BRONZE, MARKETING_SPEND_BRONZE
from cdp_lib.errors import CdpError
from cdp_lib.landing import Landing, Manifest
from cdp_lib.sources.files import land_exchange_rates, land_files

STARTED_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
LINES = b'{"id": 1, "name": "Nour"}\n{"id": 2}\n'


@pytest.fixture
def landing(azurite, lake: str) -> Landing:
    return Landing(f"{lake}/landing", azurite.account_key)


@pytest.fixture
def fs(azurite, lake: str) -> fsspec.AbstractFileSystem:
    return fsspec.core.url_to_fs(lake, account_key=azurite.account_key, use_listings_cache=False)[0]


@pytest.fixture
def files_in_lake(fs: fsspec.AbstractFileSystem, lake: str) -> Callable[[], dict[str, bytes]]:
    """Return a function that reads all files in the landing. It does not use the client of the landing."""

    def read() -> dict[str, bytes]:
        fs.invalidate_cache()
        return {name.split("/landing/")[1]: fs.cat_file(name) for name in fs.find(f"{lake}/landing")}

    return read


def land(
    landing: Landing, batch_id: str = "20260131T000001Z-1", load: str = "increment", lines: bytes = LINES
) -> Manifest:
    extraction = landing.extraction("crm", batch_id, STARTED_AT)
    latest = extraction.find_latest_batch("contacts")
    with extraction.new_batch("contacts", load, latest if load == "increment" else None) as batch:
        batch.write_received("pages/1.json", io.BytesIO(b"[...]"))
        with batch.open_data("part-00000.jsonl", "jsonl") as file:
            file.write(lines)
        batch.add(lines.count(b"\n"), {"id", "name"})
        with batch.open_data("gone/part-00000.jsonl", "jsonl", deletions=True) as file:
            file.write(b'{"id": 3}\n')
        batch.add(1)
        batch.watermark = {"token": batch_id}
    return batch.manifest


def land_parquet(landing: Landing, batch_id: str = "20260131T000001Z-1") -> Manifest:
    with landing.extraction("crm", batch_id, STARTED_AT).new_batch("contacts") as batch:
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


def test_a_batch_has_the_same_layout_as_in_a_folder_and_reads_back(landing: Landing, files_in_lake) -> None:
    manifest = land(landing)
    assert files_in_lake() == {
        "crm/contacts/2026-01-31/20260131T000001Z-1/received/pages/1.json": b"[...]",
        "crm/contacts/2026-01-31/20260131T000001Z-1/data/part-00000.jsonl": LINES,
        "crm/contacts/2026-01-31/20260131T000001Z-1/data/gone/part-00000.jsonl": b'{"id": 3}\n',
        "crm/contacts/2026-01-31/20260131T000001Z-1/manifest.json": manifest.to_json().encode(),
    }
    reopened = Landing(landing.root)
    assert reopened.batches("crm", "contacts") == [manifest]
    assert reopened.find_batch("crm", "contacts", "20260131T000001Z-1") == manifest
    assert reopened.find_batch("crm", "contacts", "20260131T000002Z-2") is None
    assert reopened.find_latest_batch("crm", "contacts") == manifest
    assert reopened.examine(manifest) == manifest
    assert (manifest.after, manifest.watermark) == (None, {"token": "20260131T000001Z-1"})


def test_an_empty_landing_has_no_batches(landing: Landing) -> None:
    assert landing.batches("crm", "contacts") == []
    assert landing.find_latest_batch("crm", "contacts") is None


def test_batches_of_other_runs_are_seen_at_once(landing: Landing) -> None:
    land(landing, "20260131T000001Z-1")
    assert landing.batch_ids("crm", "contacts") == ["20260131T000001Z-1"]
    land(Landing(landing.root), "20260131T000002Z-2", lines=b'{"id": 4}\n')
    assert landing.batch_ids("crm", "contacts") == ["20260131T000001Z-1", "20260131T000002Z-2"]
    assert "already landed" in refusal(lambda: land(landing, "20260131T000002Z-2"))


def test_a_snapshot_equal_to_the_latest_makes_no_new_batch(landing: Landing, files_in_lake) -> None:
    first = land(landing, "20260131T000001Z-1", "snapshot")
    before = files_in_lake()
    assert land(landing, "20260131T000002Z-2", "snapshot") == first
    assert files_in_lake() == before


def test_a_batch_whose_writing_fails_does_not_exist(landing: Landing, files_in_lake) -> None:
    with pytest.raises(RuntimeError, match="source went away"):
        with landing.extraction("crm", "20260131T000001Z-1", STARTED_AT).new_batch("contacts") as batch:
            with batch.open_data("part-00000.jsonl", "jsonl") as file:
                file.write(LINES)
                raise RuntimeError("source went away")
    assert landing.batches("crm", "contacts") == []
    assert files_in_lake() == {}


def test_files_of_a_killed_attempt_are_replaced(landing: Landing, fs, files_in_lake) -> None:
    for leftover in ("data/part-00000.jsonl", "data/part-00007.jsonl", "received/old.json"):
        fs.pipe_file(f"{landing.root}/crm/contacts/2026-01-31/20260131T000001Z-1/{leftover}", b"half")
    assert landing.batches("crm", "contacts") == []
    manifest = land(landing)
    assert set(files_in_lake()) == {
        "crm/contacts/2026-01-31/20260131T000001Z-1/received/pages/1.json",
        "crm/contacts/2026-01-31/20260131T000001Z-1/manifest.json",
        *(f"crm/contacts/2026-01-31/20260131T000001Z-1/{file.name}" for file in manifest.files),
    }


def test_only_one_of_two_concurrent_runs_lands(landing: Landing, files_in_lake) -> None:
    def slower() -> None:
        with landing.extraction("crm", "20260131T000001Z-1", STARTED_AT).new_batch("contacts", "increment") as batch:
            with batch.open_data("part-00000.jsonl", "jsonl") as file:
                file.write(LINES)
            land(Landing(landing.root), "20260131T000002Z-2")

    assert "Another run has landed a batch of crm/contacts meanwhile" in refusal(slower)
    assert {name.split("/")[3] for name in files_in_lake()} == {"20260131T000002Z-2"}


def test_a_file_of_many_blocks_lands_whole(landing: Landing) -> None:
    line = b'{"id": "' + b"x" * (1 << 20) + b'"}\n'
    with landing.extraction("crm", "20260131T000001Z-1", STARTED_AT).new_batch("contacts") as batch:
        with batch.open_data("part-00000.jsonl", "jsonl") as file:
            for _ in range(60):
                file.write(line)
        batch.add(60, {"id"})
    assert landing.examine(batch.manifest) == batch.manifest
    assert batch.manifest.bytes == 60 * len(line)


def test_many_lines_are_examined_in_few_reads(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = land(landing, lines=b'{"id": 1, "name": "Nour"}\n' * 100_000)
    reads: list[int] = []
    read = AzureBlobFile.read

    def counted(file: AzureBlobFile, length: int = -1) -> bytes:
        reads.append(length)
        return read(file, length)

    monkeypatch.setattr(AzureBlobFile, "read", counted)
    assert landing.examine(manifest).rows == 100_001
    assert 0 < len(reads) < 20


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rows": 7}, "the manifest states 7 rows, but the data files have 3"),
        ({"bytes": 7}, "the manifest states 7 bytes"),
        ({"checksum": "0" * 64}, "but the manifest states 0000"),
    ],
    ids=["rows", "bytes", "checksum"],
)
def test_a_manifest_that_differs_from_its_data_is_refused(
    landing: Landing, fs, changes: dict[str, object], reason: str
) -> None:
    land(landing)
    path = f"{landing.root}/crm/contacts/2026-01-31/20260131T000001Z-1/manifest.json"
    manifest = json.loads(fs.cat_file(path))
    del manifest["manifest_checksum"]
    if "checksum" in changes:
        manifest["files"][0] |= changes
    else:
        manifest |= changes
    fs.pipe_file(path, json.dumps(manifest).encode())
    message = refusal(lambda: landing.examine(landing.batches("crm", "contacts")[0]))
    assert message.startswith("Batch 20260131T000001Z-1 of crm/contacts does not match its manifest: ")
    assert reason in message


@pytest.mark.parametrize("keep", [0, 4, 500], ids=["empty", "magic only", "cut off"])
def test_a_corrupt_parquet_file_is_refused(landing: Landing, fs, keep: int) -> None:
    manifest = land_parquet(landing)
    assert landing.examine(manifest) == manifest
    path = landing.path_of(manifest, manifest.files[0].name)
    fs.pipe_file(path, fs.cat_file(path)[:keep])
    assert "data/part-00000.parquet" in refusal(lambda: Landing(landing.root).examine(manifest))


def test_a_missing_data_file_is_refused(landing: Landing, fs) -> None:
    manifest = land_parquet(landing)
    fs.rm(landing.path_of(manifest, manifest.files[0].name))
    assert "data/part-00000.parquet can't be read" in refusal(lambda: landing.examine(manifest))


def test_a_refused_key_is_an_error_of_one_line_without_the_key(azurite, lake: str, monkeypatch) -> None:
    wrong_key = azurite.account_key.replace("Eby8", "Eby9")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string(wrong_key))
    landing = Landing(lake, wrong_key)
    for attempt in (
        lambda: landing.batches("crm", "contacts"),
        lambda: land(landing),
        lambda: land_files(
            landing.extraction("crm", "20260131T000001Z-1", STARTED_AT),
            MARKETING_SPEND_BRONZE,
            lake,
            account_key=wrong_key,
        ),
    ):
        message = refusal(attempt)
        assert lake in message
        assert "Server failed to authenticate the request" in message
        assert wrong_key not in message


def test_a_missing_container_is_an_error_of_one_line(azurite) -> None:
    nowhere = azurite.address("landing", container="nowhere")
    landing = Landing(nowhere, azurite.account_key)
    message = refusal(lambda: land(landing))
    assert message == f"Landing location {nowhere} can't be written: The specified container does not exist."
    extraction = landing.extraction("crm", "20260131T000001Z-1", STARTED_AT)
    message = refusal(lambda: land_files(extraction, MARKETING_SPEND_BRONZE, nowhere, account_key=azurite.account_key))
    assert message == f"Folder {nowhere} does not exist: check the path; nothing was landed."


def test_files_are_landed_from_the_lake_into_the_lake(azurite, landing: Landing, lake: str, fs) -> None:
    source, key = f"{lake}/events", azurite.account_key

    def run(batch_id: str) -> list[Manifest]:
        return land_files(landing.extraction("events", batch_id, STARTED_AT), EVENTS_BRONZE, source, account_key=key)

    assert "does not exist" in refusal(lambda: run("20260131T000000Z-0"))
    fs.pipe_file(f"{source}/web/1.jsonl", LINES)
    fs.pipe_file(f"{source}/copy of 1.jsonl", LINES)
    fs.pipe_file(f"{source}/2.jsonl.gz", gzip.compress(b'{"id": 3}'))
    fs.pipe_file(f"{source}/_temporary/3.jsonl", b'{"id": 4}')
    [manifest] = run("20260131T000001Z-1")
    assert [file.origin.name for file in manifest.files if file.origin] == ["2.jsonl.gz", "copy of 1.jsonl"]
    assert [file.origin.checksum for file in manifest.files if file.origin][1] == hashlib.sha256(LINES).hexdigest()
    assert (manifest.rows, manifest.columns) == (3, ("id", "name"))
    assert landing.examine(manifest) == manifest
    assert run("20260131T000002Z-2") == []

    fs.pipe_file(f"{source}/2.jsonl.gz", gzip.compress(b'{"id": 3}\n{"id": 5}\n'))
    [changed] = run("20260131T000003Z-3")
    assert [file.name for file in changed.files] == ["data/file=2.jsonl.gz/part-00000.jsonl"]
    assert changed.rows == 2


def test_a_file_is_landed_from_the_lake_into_the_lake(azurite, landing: Landing, lake: str, fs) -> None:
    path, key = f"{lake}/rates.csv", azurite.account_key

    def run(batch_id: str) -> list[Manifest]:
        extraction = landing.extraction("finance", batch_id, STARTED_AT)
        return land_exchange_rates(extraction, EXCHANGE_RATES_BRONZE, path, reporting_currency="USD", account_key=key)

    assert f"File {path} does not exist" in refusal(lambda: run("20260131T000000Z-0"))
    fs.pipe_file(path, b"month,currency,rate\n2026-01,USD,1\n")
    assert [batch.rows for batch in run("20260131T000001Z-1")] == [1]
    assert run("20260131T000002Z-2") == []
