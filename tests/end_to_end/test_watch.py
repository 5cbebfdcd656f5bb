"""Tests of `cdp watch`, which refreshes tables each time that batches land."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from cdp_local.bundle import Bundle
from cdp_local.workspace import PROJECT

_SECONDS = 600
"""Timeout in seconds. No refresh takes this long, even on a busy machine."""


@contextmanager
def watching(home: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Start `cdp watch`. Yield its process and the file that its output goes to."""
    output = home / "watch.log"
    command = [str(Path(sys.executable).parent / "cdp"), "watch", "--home", str(home)]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_CONNECT_")}
    with (
        output.open("w", encoding="utf-8") as file,
        subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, text=True, env=inherited) as watch,
    ):
        try:
            yield watch, output
        finally:
            watch.kill()


def wait_for(output: Path, pattern: str) -> str:
    """Wait until the output has a line that contains a pattern, and return this line."""
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        for line in output.read_text(encoding="utf-8").splitlines():
            if re.search(pattern, line):
                return line
        time.sleep(0.1)
    raise AssertionError(f"{pattern} is not in:\n{output.read_text(encoding='utf-8')}")


def transactions(home: Path) -> float:
    kpis = DeltaTable(home / "warehouse" / "sales" / "kpi_monthly_gold").to_pyarrow_table().to_pylist()
    return sum(row["value"] for row in kpis if (row["dimension"], row["kpi"]) == ("all", "transactions"))


def version(home: Path, table: str) -> int:
    """Return the Delta version of a table, which rises with each write."""
    return DeltaTable(home / "warehouse" / "sales" / table).version()


def land_again(home: Path, name: str, change: Callable[[str], str]) -> None:
    """Land a changed copy of the first batch of events as a new batch."""
    events = home / "landing" / "events" / "events"
    [first] = [path for path in events.glob("*/*") if path.name < "2099"]
    batch = events / f"{name[:4]}-{name[4:6]}-{name[6:8]}" / name
    shutil.copytree(first, batch)
    manifest = batch / "manifest.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    content |= {"batch_id": name, "manifest_checksum": None}
    for file in content["files"]:
        file |= {"bytes": None, "checksum": None, "origin": None}
        data = batch / file["name"]
        data.write_text(change(data.read_text(encoding="utf-8")), encoding="utf-8")
    content |= {"bytes": None, "checksum": None}
    manifest.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory, cdp: Callable[..., Any]) -> Path:
    """Return a home folder in which the sample data has landed but is not loaded."""
    home = tmp_path_factory.mktemp("home")
    tasks = Bundle(PROJECT, {}).job("cdp_refresh").tasks.values()
    ingests = [task.key for task in tasks if "entities" in task.base_parameters]
    run = cdp("run", "--home", home, *(word for task in ingests for word in ("--only", task)))
    assert run.returncode == 0, run.stderr
    return home


@pytest.fixture
def home(landed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(landed, tmp_path / "home"))


def test_watch_refreshes_landed_batches_until_ctrl_c(home: Path) -> None:
    with watching(home) as (watch, output):
        assert "682 rows loaded: tables are up to date" in wait_for(output, "rows loaded")
        assert transactions(home) == 50
        first = (home / "report.html").stat().st_mtime_ns
        tables = ("events_bronze", "kpi_monthly_gold", "customers_silver", "monthly_sales_gold")
        before = {table: version(home, table) for table in tables}
        land_again(home, "20991125T000000Z-1", lambda text: text.replace('"evt-', '"late-'))
        assert "1 batch, 403 rows loaded: tables are up to date" in wait_for(output, "1 batch")
        until = time.monotonic() + _SECONDS
        while (home / "report.html").stat().st_mtime_ns == first and time.monotonic() < until:
            time.sleep(0.1)
        assert (home / "report.html").stat().st_mtime_ns > first
        # The table of customers and the sales marts do not read events.
        written = {table for table in tables if version(home, table) > before[table]}
        assert written == {"events_bronze", "kpi_monthly_gold"}
        time.sleep(0.5)  # let `cdp watch` wait again
        watch.send_signal(signal.SIGINT)
        assert watch.wait(_SECONDS) == 0
        assert output.read_text(encoding="utf-8").splitlines()[-1] == "Stopped watching."


def test_bad_batch_and_unwritable_report_do_not_end_the_watch(home: Path) -> None:
    with watching(home) as (watch, output):
        wait_for(output, "rows loaded")
        land_again(home, "20991125T000000Z-1", lambda text: text + '{"event_id": "one more than the manifest says"}\n')
        assert "tasks failed" in wait_for(output, "1 batch")
        assert "20991125T000000Z-1" in wait_for(output, "^error: ")
        version_before = version(home, "events_bronze")
        shutil.rmtree(home / "landing" / "events" / "events" / "2099-11-25" / "20991125T000000Z-1")
        (home / "report.part").mkdir()  # a folder that has the name of the report's temporary file
        land_again(home, "20991125T000001Z-1", lambda text: text)
        assert "tables are up to date" in wait_for(output, "1 batch, 403 rows")
        assert "report.html can't be written (Is a directory)" in wait_for(
            output, "^warning: the report was not written: "
        )
        assert version(home, "events_bronze") > version_before
        [error] = [line for line in output.read_text(encoding="utf-8").splitlines() if line.startswith("error: ")]
        assert error.startswith("error: table events_bronze: ")
        assert watch.poll() is None


def test_watched_home_is_locked(home: Path, cdp: Callable[..., Any]) -> None:
    with watching(home) as (_, output):
        wait_for(output, "Watching")
        answer = cdp("run", "--home", home)
        assert answer.returncode == 1 and "is in use by another cdp" in answer.stderr
