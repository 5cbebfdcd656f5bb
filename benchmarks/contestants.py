"""Who is measured, each refresh in a process of its own: seconds of its tables and of the process, and its memory."""

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
"""Memory of Spark's driver, the product's and the baseline's: with the default of 1 GB neither comes far."""

MEMORY_POOL_GIGABYTES = 3.5
MEMORY_POOL = {
    "SAIL_RUNTIME__MEMORY_POOL__TYPE": "greedy",
    "SAIL_RUNTIME__MEMORY_POOL__GREEDY__MAX_SIZE": str(int(MEMORY_POOL_GIGABYTES * 1e9)),
}
"""Lets the embedded engine sort and group on disk what does not fit (docs/benchmarks.md)."""

TIMEOUT_SECONDS = 3 * 3600
"""Nothing that is measured here is worth waiting longer for."""

LOOK_EVERY_SECONDS = 0.2
_SETTINGS = "SPARK_CONF_DIR"


@dataclass(frozen=True)
class Contestant:
    """One that is measured.

    Attributes:
        title: What it is, for readers.
        script: Its script.
        options: Options of the script.
        environment: What its process has in its environment besides.
    """

    title: str
    script: str
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_slow(self) -> bool:
        """Whether it runs on Spark."""
        return "spark" in self.options

    @property
    def is_product(self) -> bool:
        """Whether it is the product."""
        return self.script == "product.py"

    @property
    def is_apart(self) -> bool:
        """Whether it makes the largest mart by itself, which tells something of batches alone."""
        return "--apart" in self.options

    def command(self, home: Path, landing: Path | None) -> list[str]:
        """The command that refreshes.

        Args:
            home: Folder that gets the tables.
            landing: What has landed; None for the product's own fixture.
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
    "product-whole-job": Contestant("product, Sail, whole job", "product.py", ("--whole",)),
    "product-apart": Contestant("product, Sail, the largest mart after all others", "product.py", ("--apart",)),
    "product-spark": Contestant("product, local Spark", "product.py", ("--engine", "spark")),
    "first-version-spark": Contestant(
        "(a) first version, local Spark", "baselines/first_version.py", ("--engine", "spark")
    ),
    "first-version-sail": Contestant("(b) first version, Sail", "baselines/first_version.py", ("--engine", "sail")),
    "duckdb": Contestant("(c) DuckDB script", "baselines/duckdb_script.py"),
}


@dataclass
class Measured:
    """One refresh.

    Attributes:
        seconds: From the start of the first task, or the first read, to the last commit.
        process_seconds: Of the whole process, with the start of its engine.
        peak_megabytes: Most memory that its processes held at once, None where the system does not say.
        tasks: Seconds of each task; of a baseline, of each table.
        bytes_written: Size of the files that each table has gained, where that was asked for.
    """

    seconds: float
    process_seconds: float
    peak_megabytes: float | None
    tasks: dict[str, float]
    bytes_written: dict[str, int] = field(default_factory=dict)


def refresh(contestant: Contestant, home: Path, landing: Path | None = None) -> Measured:
    """Let a contestant refresh once.

    Args:
        contestant: Who.
        home: Folder that gets, or has, its tables; its log is beside it.
        landing: What has landed; None for the product's own fixture.

    Raises:
        CdpError: It failed, or did not come to an end.
    """
    home.mkdir(parents=True, exist_ok=True)
    log = home.with_suffix(".log")
    begin = time.monotonic()
    output, peak = _run(contestant, home, landing, log)
    taken = time.monotonic() - begin
    measured = json.loads(output.splitlines()[-1])
    return Measured(measured["seconds"], taken, peak, measured["tasks"])


def _run(contestant: Contestant, home: Path, landing: Path | None, log: Path) -> tuple[str, float | None]:
    """What a process printed, and its peak memory; whatever happens here, it does not outlive the call."""
    peak: float | None = None
    until = time.monotonic() + TIMEOUT_SECONDS
    answer = log.with_suffix(".out")
    with log.open("wb") as errors, answer.open("wb") as output:
        # A session of its own: what it starts can be found by it, and ended with it.
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
                if time.monotonic() > until:
                    raise CdpError(f"{contestant.title} has not ended after {TIMEOUT_SECONDS / 3600:.0f} hours.")
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_EVERY_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = f": {lines[-1]}" if lines else ""
        raise CdpError(f"{contestant.title} ended with exit code {process.returncode}{said}")
    return answer.read_text(encoding="utf-8"), peak


def _environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of a contestant: nothing in it of a Spark session of this process.

    Who has a folder of Spark settings has it for the product and the baseline alike.
    """
    kept = {name: value for name, value in inherited.items() if not name.startswith("SPARK_") or name == _SETTINGS}
    return kept | {"SPARK_DRIVER_MEMORY": SPARK_MEMORY}


def resident_megabytes(session: int) -> float | None:
    """Resident memory of all processes of a session, summed up; None on a system without /proc.

    A child that has not begun a program of its own yet has its parent's command and memory, and does not count: Hadoop
    starts one for each file that it writes.
    """
    pages = 0
    if not Path("/proc/self/stat").exists():
        return None
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            # After the name, which may hold anything: state, parent, group, session.
            _, parent, _, of_session = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:4]
            if int(of_session) != session:
                continue
            if (folder / "cmdline").read_bytes() != (folder.parent / parent / "cmdline").read_bytes():
                pages += int((folder / "statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6
