"""Tests of the checksums of tables in a home folder."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from cdp_lib.errors import CdpError
from cdp_local.checksums import check_files, forget_files, record_files

pytestmark = pytest.mark.first_engine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a recorded table with three commits and two data files."""
    folder = tmp_path / "warehouse" / "sales" / "colours"
    for number in (1, 2):
        write_deltalake(folder, pa.table({"number": [number]}), mode="append")
    DeltaTable(folder).alter.set_table_properties({"delta.logRetentionDuration": "interval 0 seconds"})
    record_files(folder)
    return folder


def data_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def commit(folder: Path, version: int) -> Path:
    return folder / "_delta_log" / f"{version:020}.json"


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def delete(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("spoil", [flip, delete, empty])
@pytest.mark.parametrize(
    "file", [lambda folder: commit(folder, 0), lambda folder: commit(folder, 2), lambda folder: data_files(folder)[0]],
    ids=["first commit", "last commit", "data file"],
)  # fmt: skip
def test_damaged_file_is_named(folder: Path, spoil: Callable[[Path], None], file: Callable[[Path], Path]) -> None:
    check_files(folder)
    path = file(folder)
    spoil(path)
    what = "is lost" if spoil is delete else "was changed"
    with pytest.raises(
        CdpError, match=f"^File {path} of table sales.colours {what}. Restore the file from a backup, or"
    ):
        check_files(folder)


def test_restored_file_is_not_damaged(folder: Path) -> None:
    path = data_files(folder)[0]
    content = path.read_bytes()
    flip(path)
    path.write_bytes(content)
    os.utime(path, (1, 1))
    check_files(folder)


def test_silent_fault_of_the_disk_is_found_if_every_file_is_read(folder: Path) -> None:
    path = data_files(folder)[0]
    stat = path.stat()
    flip(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    check_files(folder)
    with pytest.raises(CdpError, match=f"File {path} of table sales.colours was changed"):
        check_files(folder, reads_all=True)


def test_commits_and_files_of_another_program_are_no_damage(folder: Path) -> None:
    table = DeltaTable(folder)
    table.optimize.compact()
    table.vacuum(0, dry_run=False, enforce_retention_duration=False)
    table.create_checkpoint()
    table.cleanup_metadata()
    assert not data_files(folder)[0].name.startswith("part-00001") or len(data_files(folder)) == 1
    assert not commit(folder, 0).exists()
    check_files(folder, reads_all=True)
    record_files(folder)
    check_files(folder, reads_all=True)


def test_checkpoint_does_not_hide_a_lost_later_commit(folder: Path) -> None:
    DeltaTable(folder).create_checkpoint()
    write_deltalake(folder, pa.table({"number": [3]}), mode="append")
    record_files(folder)
    commit(folder, 3).unlink()
    with pytest.raises(CdpError, match=f"{commit(folder, 3)} .* is lost"):
        check_files(folder)


def test_damaged_checkpoint_does_not_replace_commits(folder: Path) -> None:
    DeltaTable(folder).create_checkpoint()
    record_files(folder)
    [checkpoint] = (folder / "_delta_log").glob("*.checkpoint.parquet")
    flip(checkpoint)
    with pytest.raises(CdpError, match=f"{checkpoint} .* was changed"):
        check_files(folder)


def test_table_without_record_is_not_checked(folder: Path) -> None:
    forget_files(folder)
    flip(data_files(folder)[0])
    check_files(folder, reads_all=True)


def test_new_table_in_the_place_of_a_deleted_one_is_not_damaged(folder: Path) -> None:
    shutil.rmtree(folder)
    forget_files(folder)
    write_deltalake(folder, pa.table({"number": [4]}))
    record_files(folder)
    check_files(folder, reads_all=True)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": {}}', '{"checksum": 1, "files": {"x": [1, 2, 3]}}'])
def test_damaged_record_is_named(folder: Path, content: str) -> None:
    record = folder.parents[2] / "checksums" / "sales.colours.json"
    record.write_text(content, encoding="utf-8")
    with pytest.raises(CdpError, match=f"^{re.escape(str(record))} can't be read .*: delete it"):
        check_files(folder)
