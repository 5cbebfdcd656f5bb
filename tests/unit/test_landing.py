import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import uuid4

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cdp_lib import __version__
from cdp_lib.errors import CdpError
from cdp_lib.landing import DataFile, Extraction, Landing, Manifest, Origin

STARTED_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
LINES = b'{"id": 1, "name": "Nour"}\n{"id": 2}\n'


@pytest.fixture(params=["folder", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "landing")
    else:
        root = f"memory://landing-{uuid4().hex}"
        yield root
        fs, path = fsspec.core.url_to_fs(root)
        if fs.exists(path):
            fs.rm(path, recursive=True)


def land(
    landing: Landing, batch_id: str = "20260131T000001Z-1", lines: bytes = LINES, entity: str = "customers"
) -> Manifest:
    with landing.extraction("api", batch_id, STARTED_AT).new_batch(entity) as batch:
        batch.write_received("answer.json", BytesIO(b"[...]"))
        with batch.open_data("part-00000.jsonl", "jsonl") as file:
            for line in lines.splitlines(keepends=True):
                file.write(line)
                batch.add(1, set(json.loads(line)))
    return batch.manifest


def files_below(root: str) -> dict[str, bytes]:
    fs, path = fsspec.core.url_to_fs(root)
    found = fs.find(path) if fs.exists(path) else []
    return {name.removeprefix(path).lstrip("/"): fs.cat_file(name) for name in found}


def test_a_batch_consists_of_answer_data_and_manifest(root: str) -> None:
    manifest = land(Landing(root))
    assert files_below(root) == {
        "api/customers/2026-01-31/20260131T000001Z-1/received/answer.json": b"[...]",
        "api/customers/2026-01-31/20260131T000001Z-1/data/part-00000.jsonl": LINES,
        "api/customers/2026-01-31/20260131T000001Z-1/manifest.json": manifest.to_json().encode(),
    }


def test_the_manifest_describes_the_data(root: str) -> None:
    columns_json = b'["id", "name"]'
    checksum = hashlib.sha256(LINES).hexdigest()
    assert land(Landing(root)) == Manifest(
        source="api",
        entity="customers",
        batch_id="20260131T000001Z-1",
        load="snapshot",
        extracted_at="2026-01-31T12:00:00+00:00",
        format="jsonl",
        files=(DataFile("data/part-00000.jsonl", len(LINES), checksum),),
        rows=2,
        bytes=len(LINES),
        checksum=hashlib.sha256(checksum.encode()).hexdigest(),
        columns=("id", "name"),
        schema_fingerprint=hashlib.sha256(columns_json).hexdigest(),
        extractor_version=__version__,
    )


def test_the_checksum_covers_every_data_file_in_order(root: str) -> None:
    with Landing(root).extraction("api", "20260131T000001Z-1", STARTED_AT).new_batch("customers") as batch:
        for name, content in (("a.jsonl", b"{}\n"), ("b.jsonl", b"{ }\n")):
            with batch.open_data(name, "jsonl") as file:
                file.write(content)
                file.flush()
                assert file.tell() == len(content)
    checksums = [hashlib.sha256(content).hexdigest() for content in (b"{}\n", b"{ }\n")]
    assert [(file.name, file.checksum) for file in batch.manifest.files] == [
        ("data/a.jsonl", checksums[0]),
        ("data/b.jsonl", checksums[1]),
    ]
    assert batch.manifest.checksum == hashlib.sha256("".join(checksums).encode()).hexdigest()
    assert batch.manifest.bytes == 7


def test_the_fingerprint_changes_with_the_columns_and_not_with_the_rows(root: str) -> None:
    landing = Landing(root)
    first = land(landing, "20260131T000001Z-1")
    more_rows = land(landing, "20260131T000002Z-2", LINES + b'{"name": "Zaki"}\n')
    more_columns = land(landing, "20260131T000003Z-3", LINES + b'{"email": "z@example.com"}\n')
    assert first.schema_fingerprint == more_rows.schema_fingerprint != more_columns.schema_fingerprint


def test_a_manifest_reads_back_as_what_was_written(root: str) -> None:
    landing = Landing(root)
    manifest = land(landing)
    assert landing.find_batch("api", "customers", "20260131T000001Z-1") == manifest
    assert landing.batches("api", "customers") == [manifest]


def test_a_slash_at_the_end_of_the_root_makes_no_difference(root: str) -> None:
    manifest = land(Landing(root))
    assert Landing(f"{root}/").batches("api", "customers") == [manifest]
    assert (
        Landing(f"{root}/").path_of(manifest, "data/part-00000.jsonl")
        == f"{root}/api/customers/2026-01-31/20260131T000001Z-1/data/part-00000.jsonl"
    )


def test_batches_of_one_entity_come_oldest_first(root: str) -> None:
    landing = Landing(root)
    for batch_id in ("20251231T000000Z-3", "20260131T000000Z-1", "20260201T000000Z-2"):
        land(landing, batch_id, f'{{"id": "{batch_id}"}}\n'.encode())
    land(landing, "20260301T000000Z-4", entity="contacts")
    found = landing.batches("api", "customers")
    assert [batch.batch_id for batch in found] == ["20251231T000000Z-3", "20260131T000000Z-1", "20260201T000000Z-2"]
    assert landing.find_latest_batch("api", "customers") == found[-1]


def test_an_empty_landing_has_no_batches(root: str) -> None:
    assert Landing(root).batches("api", "customers") == []
    assert Landing(root).find_batch("api", "customers", "20260131T000001Z-1") is None
    assert Landing(root).find_latest_batch("api", "customers") is None


def test_a_batch_whose_writing_raises_does_not_exist(root: str) -> None:
    landing = Landing(root)
    with pytest.raises(RuntimeError, match="source went away"):
        with landing.extraction("api", "20260131T000001Z-1", STARTED_AT).new_batch("customers") as batch:
            with batch.open_data("part-00000.jsonl", "jsonl") as file:
                file.write(LINES)
                raise RuntimeError("source went away")
    assert landing.batches("api", "customers") == []
    assert landing.find_batch("api", "customers", "20260131T000001Z-1") is None
    assert files_below(root) == {}


def test_the_manifest_is_written_after_everything_else(root: str) -> None:
    landing = Landing(root)
    with landing.extraction("api", "20260131T000001Z-1", STARTED_AT).new_batch("customers") as batch:
        batch.write_received("answer.json", BytesIO(b"[]"))
        with batch.open_data("part-00000.jsonl", "jsonl") as file:
            file.write(LINES)
        assert landing.batches("api", "customers") == []
    assert landing.batches("api", "customers") == [batch.manifest]


def test_files_of_a_crashed_attempt_are_replaced(root: str) -> None:
    fs, path = fsspec.core.url_to_fs(root)
    for leftover in ("data/part-00000.jsonl", "data/part-00007.jsonl", "received/old.json", "manifest.json.part"):
        folder = f"{path}/api/customers/2026-01-31/20260131T000001Z-1/{leftover}".rpartition("/")[0]
        fs.makedirs(folder, exist_ok=True)
        fs.pipe_file(f"{path}/api/customers/2026-01-31/20260131T000001Z-1/{leftover}", b"half")
    manifest = land(Landing(root))
    assert files_below(root) == {
        "api/customers/2026-01-31/20260131T000001Z-1/received/answer.json": b"[...]",
        "api/customers/2026-01-31/20260131T000001Z-1/data/part-00000.jsonl": LINES,
        "api/customers/2026-01-31/20260131T000001Z-1/manifest.json": manifest.to_json().encode(),
    }


def test_a_complete_batch_is_never_changed(root: str) -> None:
    landing = Landing(root)
    land(landing)
    before = files_below(root)
    with pytest.raises(CdpError, match="already landed"):
        land(landing, lines=b'{"id": 3}\n')
    assert files_below(root) == before


def test_a_new_batch_leaves_earlier_batches_unchanged(root: str) -> None:
    landing = Landing(root)
    land(landing, "20260131T000001Z-1")
    before = files_below(root)
    land(landing, "20260131T000002Z-2", b'{"id": 3}\n')
    after = files_below(root)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 3


def test_data_equal_to_the_latest_batch_make_no_new_batch(root: str) -> None:
    landing = Landing(root)
    first = land(landing, "20260131T000001Z-1")
    before = files_below(root)
    assert land(landing, "20260131T000002Z-2") == first
    assert files_below(root) == before


def test_data_equal_to_an_older_batch_make_a_new_batch(root: str) -> None:
    landing = Landing(root)
    for batch_id, lines in (
        ("20260131T000001Z-1", LINES),
        ("20260131T000002Z-2", b'{"id": 3}\n'),
        ("20260131T000003Z-3", LINES),
    ):
        assert land(landing, batch_id, lines).batch_id == batch_id
    assert [batch.batch_id for batch in landing.batches("api", "customers")] == [
        "20260131T000001Z-1",
        "20260131T000002Z-2",
        "20260131T000003Z-3",
    ]


def test_data_equal_to_another_entity_make_a_new_batch(root: str) -> None:
    landing = Landing(root)
    land(landing, "20260131T000001Z-1")
    assert land(landing, "20260131T000001Z-1", entity="contacts").entity == "contacts"


def increment(landing: Landing, batch_id: str, until: int, *keys: int) -> Manifest:
    extraction = landing.extraction("api", batch_id, STARTED_AT)
    with extraction.new_batch("customers", "increment", extraction.find_latest_batch("customers")) as batch:
        with batch.open_data("part-00000.jsonl", "jsonl") as file:
            for key in keys:
                file.write(b'{"id": %d}\n' % key)
                batch.add(1, {"id"})
        batch.watermark = {"id": until}
    return batch.manifest


def test_a_watermark_moves_with_the_manifest(root: str) -> None:
    landing = Landing(root)
    extraction = landing.extraction("api", "20260131T000002Z-2", STARTED_AT)
    first = increment(landing, "20260131T000001Z-1", 3, 1, 2, 3)
    with extraction.new_batch("customers", "increment", first) as batch:
        batch.watermark = {"id": 9}
        assert extraction.find_latest_batch("customers").watermark == {"id": 3}
    latest = extraction.find_latest_batch("customers")
    assert (latest.after, latest.watermark, latest.load) == ({"id": 3}, {"id": 9}, "increment")


def test_an_increment_equal_to_the_previous_one_is_a_new_batch(root: str) -> None:
    landing = Landing(root)
    increment(landing, "20260131T000001Z-1", 3, 1)
    increment(landing, "20260131T000002Z-2", 3, 1)
    assert landing.batch_ids("api", "customers") == ["20260131T000001Z-1", "20260131T000002Z-2"]


def test_a_snapshot_equal_to_the_one_before_an_increment_is_a_new_batch(root: str) -> None:
    landing = Landing(root)
    land(landing, "20260131T000001Z-1")
    increment(landing, "20260131T000002Z-2", 3, 1)
    assert land(landing, "20260131T000003Z-3").batch_id == "20260131T000003Z-3"


def test_only_one_of_two_concurrent_runs_lands(root: str) -> None:
    landing = Landing(root)
    with pytest.raises(CdpError, match="Another run has landed a batch of api/customers meanwhile"):
        with landing.extraction("api", "20260131T000002Z-2", STARTED_AT).new_batch("customers", "increment") as batch:
            with batch.open_data("part-00000.jsonl", "jsonl") as file:
                file.write(LINES)
            increment(Landing(root), "20260131T000001Z-1", 3, 1)
    assert landing.batch_ids("api", "customers") == ["20260131T000001Z-1"]
    assert not [name for name in files_below(root) if "/2026-01-31/20260131T000002Z-2/" in name]


@pytest.mark.parametrize("load", ["increment", "files", "snapshot"])
def test_a_batch_is_refused_if_another_run_has_landed_since_the_read(root: str, load: str) -> None:
    landing = Landing(root)
    known = land(landing, "20260131T000001Z-1")
    increment(landing, "20260131T000002Z-2", 3, 1)
    with pytest.raises(CdpError, match="Another run has landed a batch of api/customers meanwhile"):
        with landing.extraction("api", "20260131T000003Z-3", STARTED_AT).new_batch("customers", load, known):
            raise AssertionError("the batch must not be begun")
    assert landing.batch_ids("api", "customers") == ["20260131T000001Z-1", "20260131T000002Z-2"]


def test_a_first_increment_is_refused_after_another_batch(root: str) -> None:
    landing = Landing(root)
    increment(landing, "20260131T000001Z-1", 3, 1)
    with pytest.raises(CdpError, match="Another run has landed a batch of api/customers meanwhile"):
        with landing.extraction("api", "20260131T000002Z-2", STARTED_AT).new_batch("customers", "increment"):
            raise AssertionError("the batch must not be begun")


def test_a_landing_folder_may_have_any_name(tmp_path: Path) -> None:
    landing = Landing(str(tmp_path / "what [1] *?"))
    manifest = land(landing)
    assert landing.batches("api", "customers") == [manifest]


def test_a_manifest_without_load_is_a_snapshot(root: str) -> None:
    fs, path = fsspec.core.url_to_fs(root)
    fs.makedirs(f"{path}/api/customers/2026-01-31/20260131T000001Z-1/data", exist_ok=True)
    fs.pipe_file(f"{path}/api/customers/2026-01-31/20260131T000001Z-1/data/a", LINES)
    first = {name: value for name, value in GOOD_MANIFEST.items() if name != "load"} | {"files": ["data/a"]}
    fs.pipe_file(f"{path}/api/customers/2026-01-31/20260131T000001Z-1/manifest.json", json.dumps(first).encode())
    [batch] = Landing(root).batches("api", "customers")
    assert (batch.load, Landing(root).examine(batch).rows) == ("snapshot", 2)


def test_two_attempts_at_one_batch_do_not_mix(root: str) -> None:
    landing = Landing(root)
    with pytest.raises(CdpError, match="run the task again|can't be written"):
        with landing.extraction("api", "20260131T000001Z-1", STARTED_AT).new_batch("customers") as batch:
            with batch.open_data("part-00000.jsonl", "jsonl") as file:
                file.write(LINES)
            complete = land(Landing(root), "20260131T000001Z-1", b'{"id": 7}\n')
    assert landing.batches("api", "customers") == [complete]
    assert landing.examine(complete).rows == 1


AHEAD, NOW = "20271001T030000Z-7", "20261201T030000Z-8"


def test_the_batch_that_lands_last_is_the_newest_even_if_its_clock_is_behind(root: str) -> None:
    landing = Landing(root)
    land(landing, AHEAD)
    land(landing, NOW, b'{"id": "7", "name": "G"}\n')
    assert landing.batch_ids("api", "customers") == [AHEAD, "20271001T030001Z-8"]
    assert landing.batches("api", "customers")[-1].batch_id == "20271001T030001Z-8"


def test_a_repeated_task_finds_the_batch_of_its_run_under_its_moved_name(root: str) -> None:
    landing = Landing(root)
    land(landing, AHEAD)
    land(landing, NOW, b'{"id": "7", "name": "G"}\n')
    [*_, latest] = landing.batches("api", "customers")
    run = Extraction(landing, "api", NOW, latest.extracted_at)
    assert run.find_batch("customers") == latest
    assert Extraction(landing, "api", NOW, "2026-12-02T00:00:00+00:00").find_batch("customers") is None


@pytest.mark.parametrize("folder", ["latest", "2026-01-31/latest"])
def test_a_batch_without_a_time_in_its_name_is_an_error_that_names_it(root: str, folder: str) -> None:
    fs, path = fsspec.core.url_to_fs(root)
    fs.makedirs(f"{path}/api/customers/{folder}", exist_ok=True)
    fs.pipe_file(f"{path}/api/customers/{folder}/manifest.json", b"{}")
    with pytest.raises(CdpError, match="Batch latest has no time in its name"):
        land(Landing(root), NOW)


@pytest.mark.parametrize("name", ["latest", "../20260131T000000Z-1", "20260131T000000Z/1", "20260131T000000Z-ü"])
def test_a_name_that_cannot_be_a_folder_is_refused(root: str, name: str) -> None:
    with pytest.raises(CdpError, match="can't be a folder name in the landing"):
        land(Landing(root), name)
    with pytest.raises(CdpError, match="can't be a folder name in the landing"):
        land(Landing(root), NOW, entity=f"../{name}")
    assert files_below(root) == {}


def test_batches_of_an_earlier_version_without_day_folders_are_read(root: str) -> None:
    landing = Landing(root)
    names = ["20260130T000000Z-1", "20260131T000000Z-2", "20260131T000001Z-3"]
    without_day = land(landing, names[0]), land(landing, names[2], b'{"id": 3}\n')
    fs, path = fsspec.core.url_to_fs(root)
    for batch in without_day:
        day = f"{batch.batch_id[:4]}-{batch.batch_id[4:6]}-{batch.batch_id[6:8]}"
        fs.mv(f"{path}/api/customers/{day}/{batch.batch_id}", f"{path}/api/customers/{batch.batch_id}", recursive=True)
    in_day = GOOD_MANIFEST | {"batch_id": names[1], "files": []}
    fs.makedirs(f"{path}/api/customers/2026-01-31/{names[1]}", exist_ok=True)
    fs.pipe_file(f"{path}/api/customers/2026-01-31/{names[1]}/manifest.json", json.dumps(in_day).encode())
    landing = Landing(root)
    assert landing.batch_ids("api", "customers") == names
    assert landing.batch_ids("api", "customers", since="20260131T000000Z") == names[1:]
    assert [landing.examine(batch) for batch in landing.batches("api", "customers")[::2]] == [*without_day]
    with pytest.raises(CdpError, match="already landed"):
        land(landing, names[2])
    assert land(landing, "20260131T000002Z-4", LINES).batch_id == "20260131T000002Z-4"
    landing.remove_batches("api", "customers", names[:1])
    assert landing.batch_ids("api", "customers") == [*names[1:], "20260131T000002Z-4"]


def test_earlier_days_and_excluded_batches_are_not_listed(tmp_path: Path) -> None:
    landing = Landing(str(tmp_path))
    names = [f"202601{day:02}T000000Z-{day}" for day in range(1, 31)]
    for name in names:
        land(landing, name, f'{{"id": "{name}"}}\n'.encode())
    requested: list[str] = []
    landing.fs = _RecordingFileSystem(landing.fs, requested)
    assert landing.batch_ids("api", "customers", since=names[27], exclude=names[:29]) == [names[29]]
    days = [f"api/customers/2026-01-{day}" for day in (30, 29, 28)]
    assert [path.removeprefix(f"{tmp_path}/") for path in requested] == [
        "api/customers", days[0], f"{days[0]}/{names[29]}/manifest.json", *days[1:],
    ]  # fmt: skip
    requested.clear()
    assert landing.find_latest_batch("api", "customers").batch_id == names[29]
    assert len(requested) == 3


class _RecordingFileSystem:
    """A file system that records the requested paths."""

    def __init__(self, fs: fsspec.AbstractFileSystem, requested: list[str]) -> None:
        self._fs, self._requested = fs, requested

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fs, name)

    def ls(self, path: str, **options: Any) -> Any:
        self._requested.append(path)
        return self._fs.ls(path, **options)

    def exists(self, path: str) -> bool:
        self._requested.append(path)
        return bool(self._fs.exists(path))


@pytest.mark.parametrize("name", ["../20260130T000000Z-1/data/a", "data/../../a", "/etc/passwd", "manifest.json"])
def test_a_manifest_cannot_name_a_file_outside_of_its_data(root: str, name: str) -> None:
    fs, path = fsspec.core.url_to_fs(root)
    folder = f"{path}/api/customers/2026-01-31/{GOOD_MANIFEST['batch_id']}"
    fs.makedirs(folder, exist_ok=True)
    fs.pipe_file(f"{folder}/manifest.json", json.dumps(GOOD_MANIFEST | {"files": [name]}).encode())
    with pytest.raises(CdpError, match="is outside the batch's data folder"):
        Landing(root).batches("api", "customers")


def test_excluded_batches_are_not_read(root: str) -> None:
    landing = Landing(root)
    land(landing, "20260131T000001Z-1")
    fs, path = fsspec.core.url_to_fs(root)
    fs.makedirs(f"{path}/api/customers/2026-01-31/20260131T000000Z-0", exist_ok=True)
    fs.pipe_file(f"{path}/api/customers/2026-01-31/20260131T000000Z-0/manifest.json", b"broken")
    assert [batch.batch_id for batch in landing.batches("api", "customers", exclude={"20260131T000000Z-0"})] == [
        "20260131T000001Z-1"
    ]


def test_a_manifest_has_the_origin_of_each_data_file(root: str) -> None:
    landing = Landing(root)
    origin = Origin("2025/04.csv", 12, "c", "2025-05-01")
    with landing.extraction("api", "20260131T000001Z-1", STARTED_AT).new_batch("customers", "files") as batch:
        with batch.open_data("2025/04.csv.jsonl", "jsonl", origin=origin) as file:
            file.write(LINES)
            batch.add(2, {"id", "name"})
        with batch.open_data("gone.jsonl", "jsonl", deletions=True) as file:
            file.write(b'{"id": 9}\n')
            batch.add(1)
    [manifest] = landing.batches("api", "customers")
    assert [(file.origin, file.deletions) for file in manifest.files] == [(origin, False), (None, True)]


def test_a_complete_manifest_is_returned_unchanged(root: str) -> None:
    landing = Landing(root)
    manifest = land(landing)
    assert landing.examine(manifest) == manifest


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_missing_values_of_a_manifest_are_computed_from_the_data(root: str, format: str) -> None:
    content = BytesIO()
    pq.write_table(pa.table({"id": [1, 2], "name": ["Nour", None]}), content)
    content = content.getvalue() if format == "parquet" else LINES
    folder = f"{root}/api/customers/2026-01-31/20260131T000001Z-1"
    fs, _ = fsspec.core.url_to_fs(root)
    fs.makedirs(f"{folder}/data", exist_ok=True)
    fs.pipe_file(f"{folder}/data/a", content)
    sparse = {
        "source": "api",
        "entity": "customers",
        "batch_id": "20260131T000001Z-1",
        "load": "snapshot",
        "format": format,
    }
    sparse |= {"extracted_at": "2026-01-31", "extractor_version": "adf", "files": [{"name": "data/a", "type": "File"}]}
    fs.pipe_file(f"{folder}/manifest.json", json.dumps(sparse).encode())
    landing = Landing(root)
    [batch] = landing.batches("api", "customers")
    assert (batch.rows, batch.columns, batch.checksum) == (None, None, None)
    found = landing.examine(batch)
    assert (found.rows, found.bytes, found.columns) == (2, len(content), ("id", "name"))


GOOD_MANIFEST = {
    "source": "api",
    "entity": "customers",
    "batch_id": "20260131T000001Z-1",
    "load": "snapshot",
    "extracted_at": "2026-01-31",
    "format": "jsonl",
    "files": [{"name": "data/a"}],
    "extractor_version": "0",
}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"source": "api", "ent',
        b"[1, 2]",
        b'"text"',
        b"\xff\xfe",
        json.dumps({name: value for name, value in GOOD_MANIFEST.items() if name != "format"}).encode(),
        json.dumps(GOOD_MANIFEST | {"files": None}).encode(),
        json.dumps(GOOD_MANIFEST | {"files": [{"bytes": 1}]}).encode(),
        json.dumps(GOOD_MANIFEST | {"batch_id": "20260131T000002Z-2"}).encode(),
        json.dumps(GOOD_MANIFEST | {"format": "csv"}).encode(),
        json.dumps(GOOD_MANIFEST | {"load": "full"}).encode(),
        json.dumps(GOOD_MANIFEST | {"extracted_at": "yesterday"}).encode(),
    ],
    ids=[
        "empty",
        "cut off",
        "list",
        "text",
        "not UTF-8",
        "no format",
        "no files",
        "nameless file",
        "of another batch",
        "format",
        "load",
        "time",
    ],
)
def test_a_broken_manifest_is_an_error_that_names_it(root: str, content: bytes) -> None:
    fs, path = fsspec.core.url_to_fs(root)
    fs.makedirs(f"{path}/api/customers/2026-01-31/20260131T000001Z-1", exist_ok=True)
    fs.pipe_file(f"{path}/api/customers/2026-01-31/20260131T000001Z-1/manifest.json", content)
    for read in (
        lambda: Landing(root).batches("api", "customers"),
        lambda: Landing(root).find_batch("api", "customers", "20260131T000001Z-1"),
    ):
        with pytest.raises(CdpError, match=r"api/customers/2026-01-31/20260131T000001Z-1/manifest\.json can't be read"):
            read()


def test_unknown_fields_of_a_manifest_are_ignored(root: str) -> None:
    fs, path = fsspec.core.url_to_fs(root)
    fs.makedirs(f"{path}/api/customers/2026-01-31/20260131T000001Z-1", exist_ok=True)
    fs.pipe_file(
        f"{path}/api/customers/2026-01-31/20260131T000001Z-1/manifest.json",
        json.dumps(GOOD_MANIFEST | {"colour": "red"}).encode(),
    )
    assert Landing(root).find_batch("api", "customers", "20260131T000001Z-1").files == (DataFile("data/a"),)


def test_a_folder_in_the_place_of_a_manifest_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "api" / "customers" / "2026-01-31" / "20260131T000001Z-1" / "manifest.json").mkdir(parents=True)
    with pytest.raises(CdpError, match=r"-1/manifest\.json can't be read"):
        Landing(str(tmp_path)).batches("api", "customers")


def test_a_location_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    root = tmp_path / "landing"
    root.write_text("a file where a folder is wanted")
    with pytest.raises(CdpError, match=f"Landing location {root} can't be read: "):
        land(Landing(str(root)))


def test_only_one_of_many_runs_that_end_at_the_same_moment_lands(tmp_path: Path) -> None:
    runs = 8
    first = land(Landing(str(tmp_path)), "20260131T000000Z-0")
    barrier = Barrier(runs)

    def attempt(number: int) -> str:
        extraction = Landing(str(tmp_path)).extraction("api", f"20260131T00000{number + 1}Z-{number}", STARTED_AT)
        try:
            with extraction.new_batch("customers", "increment", first) as batch:
                batch.watermark = {"run": number}
                barrier.wait(timeout=20)
        except CdpError as error:
            return str(error)
        return "landed"

    with ThreadPoolExecutor(runs) as pool:
        outcomes = list(pool.map(attempt, range(runs)))
    assert outcomes.count("landed") == 1
    assert len(Landing(str(tmp_path)).batch_ids("api", "customers")) == 2
