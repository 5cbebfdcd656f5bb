"""Run `cdp` with given sample data and start time, and kill the run at one point.

Usage: `killed_run.py POINT SAMPLES LOG STARTED_AT run --home …`. STARTED_AT is the start of the run (ISO 8601, UTC).

- `task <key>` is the point just before a task starts.
- `write <table> <n>` is the point just before the n-th commit to a table.
- `-` means that the run is not killed.

The log gets one line for each point that the run passes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from cdp_lib.storage import DeltaStore
from cdp_local import cli, runner, workspace


def main(kill_at: str, samples: str, log: str, started_at: str, arguments: list[str]) -> None:
    """Run the command, log every point, and kill the process at `kill_at`."""
    commits: Counter[str] = Counter()
    lock = threading.Lock()
    commit, run_task, play = DeltaStore._commit, runner._run_task, workspace.serve_samples

    def pass_point(point: str) -> None:
        with lock, Path(log).open("a", encoding="utf-8") as file:
            file.write(f"{point}\n")
            file.flush()
            if point == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def watched_commit(self: DeltaStore, contract: Any) -> Iterator[None]:
        with lock:
            commits[contract.name] += 1
            number = commits[contract.name]
        pass_point(f"write {contract.name} {number}")
        with commit(self, contract):
            yield

    def watched_task(task: Any, *arguments: Any) -> str | None:
        pass_point(f"task {task.key}")
        return run_task(task, *arguments)

    DeltaStore._commit = watched_commit  # type: ignore[method-assign]
    runner._run_task = watched_task
    cli.new_run_start = lambda: datetime.fromisoformat(started_at)
    workspace.serve_samples = lambda _, home: play(Path(samples), home)
    sys.argv = ["cdp", *arguments]
    cli.main()


if __name__ == "__main__":
    main(*sys.argv[1:5], sys.argv[5:])
