"""Runs `cdp` commands in this process, because a new process takes seconds to start."""

from __future__ import annotations

import io
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from deltalake import DeltaTable

from cdp_local import cli

MART = "monthly_sales_gold"
SELECTED = ("--select", f"+{MART}")
"""Arguments of `cdp run` that refresh one mart and its upstream tables. Such a run is several times faster."""

RUN_COLUMNS = {"_batch_id", "_source_file", "_ingested_at", "_version", "fitted_at", "inactive_since"}
"""Columns whose values differ between runs on the same data."""

Gold = dict[str, list[str]]
"""Sorted rows of each gold table, as strings, by table name."""


@dataclass(frozen=True)
class Ended:
    """Result of a command: its exit code, and the text that it wrote to stdout and to stderr."""

    code: int
    output: str
    errors: str


def cdp(*arguments: object) -> Ended:
    """Run a `cdp` command. An exception that would print a traceback is raised to the caller."""
    output, errors, code = io.StringIO(), io.StringIO(), 0
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        with patch.object(sys, "argv", ["cdp", *map(str, arguments)]), redirect_stdout(output), redirect_stderr(errors):
            cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        signal.signal(signal.SIGINT, interrupt)
    return Ended(code, output.getvalue(), errors.getvalue())


def gold_of(home: Path, *without: str) -> Gold:
    """Return the rows of all gold tables, without the tables with the given names."""
    tables = {}
    for log in (home / "warehouse" / "sales").glob("*_gold/_delta_log"):
        if log.parent.name not in without:
            rows = DeltaTable(log.parent).to_pyarrow_table()
            rows = rows.drop_columns([name for name in rows.column_names if name in RUN_COLUMNS])
            tables[log.parent.name] = sorted(map(repr, rows.to_pylist()))
    return tables


def tables_in(home: Path) -> dict[str, tuple[int, int]]:
    """Return the size and the time of the last change of each file of the tables, the landing and the checksums."""
    paths = (path for folder in ("warehouse", "landing", "checksums") for path in (home / folder).rglob("*"))
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in paths if path.is_file()}
