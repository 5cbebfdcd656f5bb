"""Tests that a landed batch that somebody or something has changed is refused in one line."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cdp_lib.errors import CdpError
from cdp_lib.landing import Landing, Manifest

STARTED_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
LINES = b'{"id": 1, "name": "Nour"}\n{"id": 2}\n'

pytestmark = pytest.mark.first_engine


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(str(tmp_path))


def land(landing: Landing, file_name: str = "part-00000.jsonl") -> Manifest:
    load = "files" if "/" in file_name else "snapshot"
    with landing.extraction("api", "20260131T000001Z-1", STARTED_AT).new_batch("customers", load) as batch:
        with batch.open_data(file_name, "jsonl") as file:
            file.write(LINES)
        batch.add(2, {"id", "name"})
        batch.watermark = {"at": 2}
    return batch.manifest


def test_manifest_with_a_changed_value_is_an_error_that_names_it(landing: Landing) -> None:
    path = Path(landing.path_of(land(landing), "manifest.json"))
    content = json.loads(path.read_text(encoding="utf-8"))
    for name, value in (("extracted_at", "2026-01-31T13:00:00+00:00"), ("watermark", {"at": 1}), ("columns", ["id"])):
        path.write_text(json.dumps(content | {name: value}), encoding="utf-8")
        with pytest.raises(CdpError, match=f"^Manifest {path} can't be read .its content does not match its checksum"):
            landing.batches("api", "customers")
    path.write_text(json.dumps({name: content[name] for name in reversed(content)}), encoding="utf-8")
    assert landing.batches("api", "customers")


@pytest.mark.parametrize("name", ["part-00000 (1).jsonl", "more.jsonl", "sub/part.jsonl", "_SUCCESS", ".hidden"])
def test_unlisted_file_beside_a_source_file_is_refused_if_bronze_would_read_it(landing: Landing, name: str) -> None:
    manifest = land(landing, "file=a.jsonl/part-00000.jsonl")
    stray = Path(landing.path_of(manifest, f"data/file=a.jsonl/{name}"))
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(LINES)
    if name.startswith(("_", ".")):
        assert landing.examine(manifest).rows == 2
    else:
        with pytest.raises(
            CdpError, match=rf"the manifest does not list the file data/file=a\.jsonl/{re.escape(name)}"
        ):
            landing.examine(manifest)


def test_list_of_landed_files_of_another_entity_is_refused(landing: Landing) -> None:
    path = Path(landing.root, "api", "customers", "landed_files.json")
    land(landing, "file=a.jsonl/part-00000.jsonl")
    path.write_text(land_in(landing, "contacts").to_json(), encoding="utf-8")
    with pytest.raises(CdpError, match=f"^{path} can't be read .it belongs to api/contacts.: restore it, or delete it"):
        landing.batches_of_files("api", "customers")


def land_in(landing: Landing, entity: str) -> Manifest:
    with landing.extraction("api", "20260131T000001Z-1", STARTED_AT).new_batch(entity, "files") as batch:
        pass
    return batch.manifest
