"""The contestants of the benchmark, and functions that run and measure a refresh in a separate process."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cdp_lib.errors import CdpError

FOLDER = Path(__file__).resolve().parent
SPARK_MEMORY = "8g"
"""Memory of the Spark driver, for the platform and the baseline. Both need more than the default of 1 GB."""

MEMORY_POOL_GIGABYTES = 3.5
MEMORY_POOL = {
    "SAIL_RUNTIME__MEMORY_POOL__TYPE": "greedy",
    "SAIL_RUNTIME__MEMORY_POOL__GREEDY__MAX_SIZE": str(int(MEMORY_POOL_GIGABYTES * 1e9)),
}
"""Environment variables that make the embedded engine spill sorts and groups to disk (docs/benchmarks.md)."""

TIMEOUT_SECONDS = 3 * 3600
"""Timeout of a refresh, in seconds."""

SAMPLE_INTERVAL_SECONDS = 0.2
_SPARK_CONF = "SPARK_CONF_DIR"


@dataclass(frozen=True)
class Contestant:
    """A script that refreshes the tables, with the options and environment that it runs with.

    Attributes:
        title: Name of the contestant in tables and messages.
        script: Path of the script, relative to this folder.
        options: Options of the script.
        environment: Environment variables of the process, in addition to the inherited ones.
        reads_receipts: Whether the sales are lines of receipts, with all optional columns. The tables then differ from
            those of other contestants.
    """

    title: str
    script: str
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    reads_receipts: bool = False

    @property
    def runs_on_spark(self) -> bool:
        """Whether the script runs on local Spark, which is slow."""
        return "spark" in self.options

    @property
    def is_product(self) -> bool:
        """Whether this is the platform itself and not a baseline."""
        return self.script == "product.py"

    @property
    def refreshes_largest_mart_last(self) -> bool:
        """Whether the largest mart is refreshed alone, after the other marts.

        The measure `full` skips a contestant for which this is true.
        """
        return "--apart" in self.options

    def command(self, home: Path, landing: Path | None) -> list[str]:
        """Return the command line that refreshes the tables.

        Args:
            home: Folder that the tables are written to.
            landing: Folder of the landed batches. None makes the platform ingest the sample data.
        """
        command = [sys.executable, str(FOLDER / self.script), *self.options]
        if self.is_product:
            return [*command, str(home), *(["--landing", str(landing)] if landing else [])]
        return [*command, str(landing), str(home)]


CONTESTANTS = {
    "product": Contestant("product, Sail", "product.py"),
    "product-in-memory-pool": Contestant(
        f"product, Sail, in a memory pool of {MEMORY_POOL_GIGABYTES:g} GB", "product.py", environment=MEMORY_POOL
    ),
    "product-receipts": Contestant("product, Sail, receipts", "product.py", reads_receipts=True),
    "product-whole-job": Contestant("product, Sail, whole job", "product.py", ("--whole",)),
    "product-whole-job-off": Contestant(
        "product, Sail, whole job without identity resolution", "product.py", ("--whole", "--identity-off")
    ),
    "product-apart": Contestant("product, Sail, the largest mart after all others", "product.py", ("--apart",)),
    "product-spark": Contestant("product, local Spark", "product.py", ("--engine", "spark")),
    "first-version-spark": Contestant(
        "(a) first version, local Spark", "baselines/first_version.py", ("--engine", "spark")
    ),
    "first-version-sail": Contestant("(b) first version, Sail", "baselines/first_version.py", ("--engine", "sail")),
    "duckdb": Contestant("(c) DuckDB script", "baselines/duckdb_script.py"),
}


@dataclass
class RefreshMeasurement:
    """Measured durations, memory and written bytes of one refresh.

    Attributes:
        seconds: Duration of the refresh in seconds, from the first read to the last commit. If the platform runs the
            whole job, the duration is from the start of the first task to the end of the last task.
        process_seconds: Duration of the whole process in seconds, including the start of the engine.
        peak_megabytes: Peak of the total resident memory of all processes; None on a system without /proc.
        tasks: Durations in seconds, by name of the task or table. A baseline has tables only.
        bytes_written: Size in bytes of the files that were added to each table; empty when not measured.
    """

    seconds: float
    process_seconds: float
    peak_megabytes: float | None
    tasks: dict[str, float]
    bytes_written: dict[str, int] = field(default_factory=dict)


def refresh(contestant: Contestant, home: Path, landing: Path | None = None) -> RefreshMeasurement:
    """Run one refresh of a contestant and measure it.

    Args:
        contestant: Contestant to run.
        home: Folder of the contestant's tables. It is created if missing. The log is written beside this folder.
        landing: Folder of the landed batches. None makes the platform ingest the sample data.

    Raises:
        CdpError: The process failed or ran longer than the timeout.
    """
    home.mkdir(parents=True, exist_ok=True)
    log = home.with_suffix(".log")
    begin = time.monotonic()
    output, peak = _run(contestant, home, landing, log)
    process_seconds = time.monotonic() - begin
    measured = json.loads(output.splitlines()[-1])
    return RefreshMeasurement(measured["seconds"], process_seconds, peak, measured["tasks"])


def _run(contestant: Contestant, home: Path, landing: Path | None, log: Path) -> tuple[str, float | None]:
    """Run a contestant; return the output and peak memory of its process. The process never outlives this call."""
    peak: float | None = None
    deadline = time.monotonic() + TIMEOUT_SECONDS
    output_file = log.with_suffix(".out")
    with log.open("wb") as errors, output_file.open("wb") as output:
        # A new process session groups the process with its children, so that all of them can be measured and ended.
        process = subprocess.Popen(
            contestant.command(home, landing),
            stdout=output,
            stderr=errors,
            env=_environment(os.environ) | contestant.environment,
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                memory = resident_megabytes(process.pid)
                peak = memory if peak is None else max(peak, memory or 0.0)
                if time.monotonic() > deadline:
                    raise CdpError(f"{contestant.title} has not ended after {TIMEOUT_SECONDS / 3600:.0f} hours.")
                with suppress(subprocess.TimeoutExpired):
                    process.wait(SAMPLE_INTERVAL_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last_line = f": {lines[-1]}" if lines else ""
        raise CdpError(f"{contestant.title} ended with exit code {process.returncode}{last_line}")
    return output_file.read_text(encoding="utf-8"), peak


def _environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of a contestant, without the Spark variables of this process.

    `SPARK_CONF_DIR` is kept, so that the platform and the baselines use the same Spark settings.
    """
    kept = {name: value for name, value in inherited.items() if not name.startswith("SPARK_") or name == _SPARK_CONF}
    return kept | {"SPARK_DRIVER_MEMORY": SPARK_MEMORY}


def resident_megabytes(session_id: int) -> float | None:
    """Return the resident memory of all processes with this session id, in MB; None on a system without /proc.

    A forked process shares the memory of its parent until it starts another program. It is not counted before that.
    Hadoop forks a process for each file that it writes.
    """
    pages = 0
    if not Path("/proc/self/stat").exists():
        return None
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # the process has just ended
            # The program name may contain any character. The fields after it are state, parent, group and session.
            _, parent, _, session = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:4]
            if int(session) != session_id:
                continue
            if (folder / "cmdline").read_bytes() != (folder.parent / parent / "cmdline").read_bytes():
                pages += int((folder / "statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6
