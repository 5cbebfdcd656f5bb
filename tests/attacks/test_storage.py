"""Tests that damaged tables and a full disk end a run with one line, and never with a wrong figure."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cdp_lib.contracts.ops import PIPELINE_LEASE_OPS, TABLE_STATE_OPS
from cdp_lib.errors import CdpError
from cdp_lib.pipeline.state import TableState, read_states, write_states
from cdp_lib.storage import DeltaStore, take_lease
from cdp_local.workspace import PROJECT

from .commands import MART, SELECTED, cdp, gold_of

Spoil = Callable[[Path], None]
FULL_REFRESH = (*SELECTED, "--param", "full_refresh=true")


def commits(folder: Path) -> list[Path]:
    return sorted((folder / "_delta_log").glob("*.json"))


def cut_off_last_commit(folder: Path) -> None:
    content = commits(folder)[-1].read_bytes()
    commits(folder)[-1].write_bytes(content[: len(content) // 2])


def keep_only_the_first_line_of_the_last_commit(folder: Path) -> None:
    """Remove the actions of the last commit. The log stays valid, and the table has its earlier rows."""
    first, *_ = commits(folder)[-1].read_text(encoding="utf-8").splitlines(keepends=True)
    commits(folder)[-1].write_text(first, encoding="utf-8")


def remove_last_commit(folder: Path) -> None:
    commits(folder)[-1].unlink()


def replace_last_commit(folder: Path) -> None:
    commits(folder)[-1].write_bytes(commits(folder)[0].read_bytes())


def remove_log(folder: Path) -> None:
    for path in commits(folder)[1:]:
        path.unlink()


def rename_a_column_in_the_log(folder: Path) -> None:
    for path in commits(folder):
        text = path.read_text(encoding="utf-8")
        if "month" in text:
            path.write_text(text.replace("month", "munth"), encoding="utf-8")


def change_numbers_in_the_log(folder: Path) -> None:
    """Change the statistics of the files, from which engines answer counts and skip files."""
    path = commits(folder)[-1]
    path.write_text(path.read_text(encoding="utf-8").replace('numRecords\\":', 'numRecords\\":9'), encoding="utf-8")


@pytest.mark.first_engine
@pytest.mark.parametrize(
    "spoil",
    [
        cut_off_last_commit,
        keep_only_the_first_line_of_the_last_commit,
        remove_last_commit,
        replace_last_commit,
        remove_log,
        rename_a_column_in_the_log,
        change_numbers_in_the_log,
    ],
    ids=lambda spoil: spoil.__name__.replace("_", " "),
)
def test_damaged_log_ends_commands_and_names_the_file(home: Path, spoil: Spoil) -> None:
    folder, expected = home / "warehouse" / "sales" / MART, gold_of(home)
    spoil(folder)

    for arguments in (("sql", f"SELECT * FROM {MART}"), ("run", *FULL_REFRESH)):
        ended = cdp(*arguments, "--home", home)
        assert (ended.code, ended.errors.count("\n")) == (1, 1), ended
        assert ended.errors.startswith("error: ")
        assert f"File {folder}/_delta_log/" in ended.errors
        assert "Restore the file from a backup, or delete the folder" in ended.errors

    shutil.rmtree(folder)
    assert cdp("run", "--home", home, *SELECTED).code == 0
    assert gold_of(home) == expected


@pytest.mark.first_engine
@pytest.mark.parametrize("damage", ["a value", "a page header"])
@pytest.mark.parametrize("command", ["verify", "maintain"])
def test_damaged_table_is_neither_verified_nor_compacted(home: Path, command: str, damage: str) -> None:
    folder = home / "warehouse" / "sales" / MART
    path = min(folder.glob("*.parquet"))
    stat, content = path.stat(), bytearray(path.read_bytes())
    if damage == "a value":  # the engine may or may not be able to decode it
        content[len(content) // 3] ^= 0x55
    else:  # the first page header follows the magic number of four bytes: no engine can decode the page
        content[4:20] = b"\xff" * 16
    path.write_bytes(content)
    if command == "verify":
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as a fault of the disk leaves it

    ended = cdp(command, "--home", home)

    assert (ended.code, ended.errors.count("\n")) == (1, 1), ended
    assert f"error: File {path} of table sales.{MART} was changed" in ended.errors


@pytest.mark.first_engine
@pytest.mark.parametrize("table", ["customers_bronze", "retails_silver", MART, TABLE_STATE_OPS.name])
def test_damaged_data_file_ends_a_run_before_its_downstream_tables(home: Path, table: str) -> None:
    folder, before = home / "warehouse" / "sales" / table, gold_of(home)
    for path in folder.rglob("*.parquet"):
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 0x55
        path.write_bytes(content)

    ended = cdp("run", "--home", home, *FULL_REFRESH)

    assert (ended.code, ended.errors.count("\n")) == (1, 1), ended
    assert f"File {folder}/" in ended.errors and "was changed" in ended.errors
    assert gold_of(home, table) == {name: rows for name, rows in before.items() if name != table}


@pytest.mark.first_engine
@pytest.mark.parametrize("limit", [2_000, 6_000], ids=["full at once", "full at a large file"])
def test_full_disk_ends_a_run_with_one_line_and_the_next_run_is_complete(home: Path, limit: int) -> None:
    """A limit of the size of files has the effect of a full disk: the write of a file fails in the middle."""
    expected = gold_of(home)
    command = [Path(sys.executable).parent / "cdp", "run", "--home", home, *FULL_REFRESH]

    full = subprocess.run(
        list(map(str, command)),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        cwd=PROJECT,
        check=False,
    )

    assert full.returncode == 1, full
    assert "Traceback" not in full.stdout + full.stderr
    assert {line.partition(":")[0] for line in full.stderr.splitlines()} == {"error"}
    whole = cdp("run", "--home", home, *SELECTED)
    assert (whole.code, whole.errors) == (0, "")
    assert gold_of(home) == expected


# The tables of states and of the lease


def store_state(store: DeltaStore, *states: str) -> None:
    rows = [{"table_name": "t_silver", "version": 1, "state": state} for state in states]
    store.create(TABLE_STATE_OPS)
    store.overwrite(TABLE_STATE_OPS, store.frame(TABLE_STATE_OPS, rows))


@pytest.mark.first_engine
@pytest.mark.parametrize(
    "states",
    [
        ["no JSON"],
        [""],
        ["[]"],
        ["null"],
        ["1"],
        [json.dumps({"inputs": 3})],
        [json.dumps({"inputs": {"a": [1]}})],
        [json.dumps({"change_sets": {"x": "y"}})],
        ["{}", "{}"],
    ],
)
def test_damaged_state_is_one_line_that_names_the_table(store: DeltaStore, states: list[str]) -> None:
    store_state(store, *states)
    with pytest.raises(
        CdpError, match=r"^The row of t_silver in .*`table_state_ops` can't be read .*: drop this table"
    ):
        read_states(store)


@pytest.mark.first_engine
def test_state_of_a_later_version_is_read(store: DeltaStore) -> None:
    write_states(store, {"t_silver": TableState(version=3, token="x")})
    store_state(store, json.dumps({"version": 3, "token": "x", "colour": "red"}))
    assert read_states(store) == {"t_silver": TableState(version=3, token="x")}


@pytest.mark.first_engine
@pytest.mark.parametrize("number", [0, 2, 3])
def test_damaged_lease_is_never_taken_for_a_free_one(store: DeltaStore, number: int) -> None:
    store.needs_lease = True
    take_lease(store, "refresh", "1")
    rows = [{"resource": "tables", "job": "stream", "run_id": "2"}] * number + [{"resource": "tablet", "job": "x"}]
    store.overwrite(PIPELINE_LEASE_OPS, store.frame(PIPELINE_LEASE_OPS, rows))
    if number == 0:
        take_lease(store, "refresh", "3")
    else:
        with pytest.raises(
            CdpError, match=rf"has {number} rows for the resource 'tables' instead of one: pause all jobs"
        ):
            take_lease(store, "refresh", "3")
