"""Tests of `cdp maintain` between two runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from deltalake import DeltaTable
from filelock import FileLock

from cdp_lib.contracts import TABLES
from cdp_local.bundle import Bundle
from cdp_local.workspace import PROJECT


def contents(home: Path) -> dict[str, list[str]]:
    """Return the rows of every table, read with delta-rs."""
    tables = {log.parent.name: DeltaTable(log.parent) for log in (home / "warehouse").glob("*/*/_delta_log")}
    return {name: sorted(map(repr, table.to_pyarrow_table().to_pylist())) for name, table in tables.items()}


def versions(home: Path) -> dict[str, int]:
    return {log.parent.name: DeltaTable(log.parent).version() for log in (home / "warehouse").glob("*/*/_delta_log")}


def sizes(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}


@pytest.mark.first_engine  # tests/unit/local tests tables that every engine has written
def test_maintain_keeps_contents_with_fewer_files_and_the_next_run_writes_nothing(
    cdp, tmp_path: Path, engine: str
) -> None:
    home = tmp_path / "home"
    assert cdp("run", "--home", home, "--engine", engine).returncode == 0
    again = ("--param", "full_refresh=true", "--param", "ingest=false")
    assert cdp("run", "--home", home, "--engine", engine, *again).returncode == 0
    before, landed, files = contents(home), sizes(home / "landing"), sizes(home / "warehouse")
    assert set(before) <= set(TABLES) and len(before) > 40

    maintained = cdp("maintain", "--home", home, "--retention-days", 0)

    assert (maintained.returncode, maintained.stderr.count("\n")) == (0, 1)
    assert maintained.stderr.startswith("warning: files of all earlier table versions are removed: restart")
    assert f"{len(before)} tables: " in maintained.stdout
    assert contents(home) == before
    assert sizes(home / "landing") == landed and landed
    assert len([path for path in sizes(home / "warehouse") if path.suffix == ".parquet"]) < len(files) / 2

    versions_before = versions(home)
    run = cdp("run", "--home", home, "--engine", engine)
    assert (run.returncode, run.stderr) == (0, "")
    assert versions(home) == versions_before
    assert contents(home) == before


def test_maintain_uses_the_retention_of_the_bundle(cdp, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert cdp("run", "--home", home, "--only", "ingest_customers", "--only", "bronze").returncode == 0
    maintained = cdp("maintain", "--home", home)
    days = Bundle(PROJECT, {}).variable("retention_days")
    assert (maintained.returncode, maintained.stderr) == (0, "")
    assert maintained.stdout.endswith(f" Files of earlier versions are kept for {days} days.\n")


def test_maintain_errors_are_one_line(cdp, tmp_path: Path) -> None:
    nothing = cdp("maintain", "--home", tmp_path / "nowhere")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert nothing.stderr == f"error: {tmp_path}/nowhere holds no tables yet: `cdp run` creates them.\n"
    (tmp_path / "busy" / "warehouse").mkdir(parents=True)
    with FileLock(tmp_path / "busy" / ".lock"):
        busy = cdp("maintain", "--home", tmp_path / "busy")
    assert busy.returncode == 1
    assert busy.stderr.startswith(f"error: {tmp_path}/busy is in use by another cdp process: wait")
    assert cdp("maintain", "--retention-days", "-1").returncode == 2
