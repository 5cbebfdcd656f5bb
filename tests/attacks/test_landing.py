"""Attacks on the landing: links out of it, and two writers of the same batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cdp_lib.contracts.bronze import EVENTS_BRONZE
from cdp_lib.errors import CdpError
from cdp_lib.landing import BatchWriter, Extraction, Landing
from cdp_lib.settings import Settings
from cdp_lib.sources.files import land_files
from unit.warehouse import PARAMETERS

pytestmark = pytest.mark.first_engine

BATCH = "20260301T050000Z-1"
AT = "2026-03-01T05:00:00+00:00"


def land(landing: Landing, content: bytes = b'{"store_id": 1}\n', batch_id: str = BATCH) -> Path:
    """Land a snapshot, and return its folder."""
    with landing.new_batch("database", "stores", batch_id, AT) as batch:
        write(batch, content)
    return Path(landing.path_of(batch.manifest, ""))


def write(batch: BatchWriter, content: bytes) -> None:
    with batch.open_data("part-00000.jsonl", "jsonl") as data:
        data.write(content)
    batch.add(1, {"store_id"})


def link_file(folder: Path, outside: Path) -> None:
    target = outside / "part-00000.jsonl"
    (folder / "data" / "part-00000.jsonl").rename(target)
    (folder / "data" / "part-00000.jsonl").symlink_to(target)


def link_data_folder(folder: Path, outside: Path) -> None:
    (folder / "data").rename(outside / "data")
    (folder / "data").symlink_to(outside / "data")


def link_manifest(folder: Path, outside: Path) -> None:
    (folder / "manifest.json").rename(outside / "manifest.json")
    (folder / "manifest.json").symlink_to(outside / "manifest.json")


def link_batch(folder: Path, outside: Path) -> None:
    folder.rename(outside / folder.name)
    folder.symlink_to(outside / folder.name)


@pytest.mark.parametrize("link", [link_file, link_data_folder, link_manifest, link_batch])
def test_a_link_out_of_the_landing_is_not_followed(tmp_path: Path, link: Callable[[Path, Path], None]) -> None:
    landing, outside = Landing(str(tmp_path / "landing")), tmp_path / "outside"
    outside.mkdir()
    link(land(landing), outside)
    with pytest.raises(CdpError, match=r"can't be read \(a symbolic link"):
        landing.examine(landing.read_batch("database", "stores", BATCH))


def test_a_landing_may_itself_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "landing").symlink_to(tmp_path / "disk")
    landing = Landing(str(tmp_path / "landing"))
    land(landing)
    assert landing.examine(landing.read_batch("database", "stores", BATCH)).rows == 1


@pytest.mark.parametrize("is_folder", [False, True], ids=["file", "folder"])
def test_a_link_in_a_folder_of_files_is_not_followed(tmp_path: Path, is_folder: bool) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "secret").mkdir()
    secret = tmp_path / "secret" / "events.jsonl"
    secret.write_text('{"event_id": "secret"}\n', encoding="utf-8")
    link = tmp_path / "events" / ("more" if is_folder else "events.jsonl")
    link.symlink_to(secret.parent if is_folder else secret)
    landing = Landing(str(tmp_path / "landing"))
    extraction = Extraction(landing, "events", BATCH, AT)
    # A listing of the folder may follow a link to a folder, or leave it out.
    with pytest.raises(CdpError, match=r"is a symbolic link|has no events files"):
        land_files(extraction, EVENTS_BRONZE, str(tmp_path / "events"), account_key=None)
    assert not landing.has_batches("events", "events")


@pytest.mark.parametrize(
    "other", [b'{"store_id": 2}\n', b'{"store_id": 22}\n', b""], ids=["same size", "longer", "empty"]
)
def test_two_writers_of_a_batch_never_land_the_files_of_the_other(tmp_path: Path, other: bytes) -> None:
    landing = Landing(str(tmp_path))
    with (
        pytest.raises(CdpError, match="was changed by another process"),
        landing.new_batch("database", "stores", BATCH, AT) as batch,
    ):
        write(batch, b'{"store_id": 1}\n')
        Path(f"{batch.data_folder}/part-00000.jsonl").write_bytes(other)
    assert not landing.has_batches("database", "stores")


def test_a_batch_never_replaces_a_landed_one(tmp_path: Path) -> None:
    landing = Landing(str(tmp_path))
    folder = land(landing)
    with pytest.raises(CdpError, match="is already landed"):
        land(landing, b'{"store_id": 2}\n')
    assert json.loads((folder / "data" / "part-00000.jsonl").read_text(encoding="utf-8")) == {"store_id": 1}


@pytest.mark.parametrize(
    ("source", "entity", "batch_id"),
    [
        *(("..", "stores", BATCH), ("database", "../x", BATCH), ("/etc", "stores", BATCH), ("database", "a/b", BATCH)),
        *(("database", "", BATCH), ("database", "a\0", BATCH), ("database", "stores", f"{BATCH}/../../x")),
        *(("database", "stores", "a"), ("database", "stores", f"{BATCH}\n"), ("database", "*", BATCH)),
    ],
)
def test_a_name_cannot_lead_out_of_the_landing(tmp_path: Path, source: str, entity: str, batch_id: str) -> None:
    landing = Landing(str(tmp_path / "landing"))
    with pytest.raises(CdpError, match="can't be a folder name"), landing.new_batch(source, entity, batch_id, AT):
        pass
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("run_id", ["a/../../..", "..", "a b", "a\n", "é", "$(id)", "a;b", "*", "a\0"])
def test_an_id_of_a_run_cannot_be_a_path(run_id: str) -> None:
    with pytest.raises(CdpError, match="Parameter 'run_id' is"):
        Settings.from_parameters(PARAMETERS | {"run_id": run_id})


@pytest.mark.parametrize("replay_from", ["..", "x", "20260301T050000Z/../..", "20260301", "20260301T050000Z\n*"])
def test_a_batch_to_replay_from_cannot_be_a_path(replay_from: str) -> None:
    with pytest.raises(CdpError, match="Parameter 'replay_from' is"):
        Settings.from_parameters(PARAMETERS | {"replay_from": replay_from})
