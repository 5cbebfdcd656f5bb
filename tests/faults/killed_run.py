"""`cdp`, against other samples, and killed at one point: `killed_run.py POINT SAMPLES LOG run --home …`.

Points are `task <key>`, before a task begins, and `write <table> <n>`, before the n-th commit to a table; `-` is none.
Each point that is passed is a line of the log.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cdp_lib.storage import DeltaStore
from cdp_local import cli, runner, workspace


def main(kill_at: str, samples: str, log: str, arguments: list[str]) -> None:
    """Run the command with every point watched."""
    passed: Counter[str] = Counter()
    lock = threading.Lock()
    commit, run_task, play = DeltaStore._commit, runner._run_task, workspace.play_samples

    def pass_point(point: str) -> None:
        with lock, Path(log).open("a", encoding="utf-8") as file:
            file.write(f"{point}\n")
            file.flush()
            if point == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def watched_commit(self: DeltaStore, contract: Any) -> Iterator[None]:
        with lock:
            passed[contract.name] += 1
            number = passed[contract.name]
        pass_point(f"write {contract.name} {number}")
        with commit(self, contract):
            yield

    def watched_task(task: Any, *others: Any) -> str | None:
        pass_point(f"task {task.key}")
        return run_task(task, *others)

    DeltaStore._commit = watched_commit  # type: ignore[method-assign]
    runner._run_task = watched_task
    workspace.play_samples = lambda _, home, given: play(Path(samples), home, given)
    sys.argv = ["cdp", *arguments]
    cli.main()


if __name__ == "__main__":
    main(*sys.argv[1:4], sys.argv[4:])
