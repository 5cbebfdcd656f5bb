"""Measure the time and memory that the landing of a large PostgreSQL table takes, compared with COPY and pandas.

    .venv/bin/python benchmarks/landing_postgresql.py --rows 10000000

The methods are `land_tables`, a plain `COPY` and pandas. The script starts a temporary PostgreSQL server. Each
measurement runs in its own process. Each round runs every method once.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Annotated

import psycopg
import typer
from rich.console import Console
from rich.table import Table

from cdp_lib.contracts.bronze import TRANSACTIONS_BRONZE
from cdp_lib.landing import Landing
from cdp_lib.sources.sql_database import land_tables
from cdp_lib.sources_file import EntitySource
from cdp_local.postgresql_server import binaries_folder, postgresql_server

TRANSACTIONS = """
    CREATE TABLE transactions (
        transaction_id INT PRIMARY KEY, customer_id INT, product_id INT, store_id INT, quantity INT,
        transaction_date DATE
    )
"""
NEW_ROWS = """
    INSERT INTO transactions
    SELECT n, n::bigint * 7919 %% 500000, n %% 1000, n %% 200, n %% 9 + 1, DATE '2020-01-01' + n / 5000
    FROM generate_series(%s::int, %s::int) n
"""


def land(address: str, folder: Path, number: int) -> int:
    """Land the new rows of the table and return their number. The first call for a folder lands all rows."""
    started_at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number)
    extraction = Landing(str(folder)).extraction("database", f"20260131T{number:06}Z", started_at)
    sales = EntitySource(TRANSACTIONS_BRONZE, "database", "database_url", table="transactions")
    batches = land_tables(extraction, f"postgresql+psycopg://{address}/postgres", [sales])
    return sum(batch.rows or 0 for batch in batches)


def copy(address: str, folder: Path, number: int) -> None:
    """Run `COPY … TO STDOUT` in psql and write its output to a file."""
    folder.mkdir()
    with (folder / "transactions.txt").open("wb") as file:
        command = [f"{binaries_folder()}/psql", "-X", "-c", "COPY transactions TO STDOUT"]
        subprocess.run([*command, f"postgresql://{address}/postgres"], stdout=file, check=True)


def pandas(address: str, folder: Path, number: int) -> int:
    """Copy the table to a Parquet file with `read_sql` and `to_parquet`, and return the number of rows."""
    import pandas as pd  # type: ignore[import-untyped]
    import sqlalchemy as sa

    folder.mkdir()
    frame = pd.read_sql("SELECT * FROM transactions", sa.create_engine(f"postgresql+psycopg://{address}/postgres"))
    frame.to_parquet(folder / "transactions.parquet")
    return len(frame)


METHODS: dict[str, Callable[[str, Path, int], int | None]] = {"land": land, "copy": copy, "pandas": pandas}


def measure(method: str, address: str, folder: Path, number: int) -> dict[str, float]:
    """Run one method in a new process. Return duration, peak memory and number of rows."""
    command = [sys.executable, __file__, "measure", method, address, str(folder), str(number)]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if process.returncode:
        return {"rows": 0, "seconds": float("nan"), "peak_mb": float("nan")}
    result: dict[str, float] = json.loads(process.stdout)
    Console(stderr=True).print(f"{method} {number}: {result}")
    return result


def measure_in_this_process(method: str, address: str, folder: str, number: str) -> None:
    """Run one method in this process and print its measurement as JSON."""
    started_at = time.perf_counter()
    rows = METHODS[method](address, Path(folder), int(number))
    seconds = time.perf_counter() - started_at
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": rows, "seconds": seconds, "peak_mb": peak_mb}))


def main(
    rows: Annotated[int, typer.Option(help="Rows of the table.")] = 10_000_000,
    rounds: Annotated[int, typer.Option(help="Measurements of each method; the table shows medians.")] = 3,
    with_pandas: Annotated[bool, typer.Option(help="Measure pandas, which holds all rows in memory.")] = True,
) -> None:
    """Measure all methods and print a table."""
    with tempfile.TemporaryDirectory(prefix="cdp-benchmark-") as folder, postgresql_server() as server:
        with psycopg.connect(f"postgresql://{server.address}/postgres", autocommit=True) as connection:
            connection.execute(TRANSACTIONS)
            connection.execute(NEW_ROWS, [1, rows])
            connection.execute("VACUUM ANALYZE transactions")
            methods = [method for method in METHODS if method != "pandas" or with_pandas]
            measured: dict[str, list[dict[str, float]]] = {}
            for number in range(rounds):
                for method in methods:
                    target = Path(folder) / f"{method}-{number}"
                    measured.setdefault(method, []).append(measure(method, server.address, target, number))
            landing, last_key = Path(folder) / "land-0", rows
            for number in range(1, rounds + 1):
                new_rows = rows // 100
                connection.execute(NEW_ROWS, [last_key + 1, last_key + new_rows])
                last_key += new_rows
                measured.setdefault("land, 1 % new", []).append(measure("land", server.address, landing, 2 * number))
                measured.setdefault("land, nothing new", []).append(
                    measure("land", server.address, landing, 2 * number + 1)
                )
    table = Table("method", "rows", "seconds", "rows/s", "rows/s relative to COPY", "peak memory, MB")
    speed = {method: rows / median(result["seconds"] for result in measured[method]) for method in methods}
    for method, results in measured.items():
        table.add_row(
            method,
            f"{rows if method in methods else results[0]['rows']:,.0f}",
            f"{median(result['seconds'] for result in results):.1f}",
            f"{speed[method]:,.0f}" if method in methods else "",
            f"{speed[method] / speed['copy']:.2f}" if method in methods else "",
            f"{max(result['peak_mb'] for result in results):,.0f}" if method != "copy" else "",
        )
    console = Console(width=100)
    console.print(table)
    if with_pandas:
        console.print(f"Landing is {speed['land'] / speed['pandas']:.1f} times as fast as pandas.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure_in_this_process(*sys.argv[2:])
    else:
        typer.run(main)
