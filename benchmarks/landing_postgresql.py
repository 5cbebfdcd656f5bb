"""How fast, and in how much memory, a large table of PostgreSQL is landed, beside a plain COPY and beside pandas.

    .venv/bin/python benchmarks/landing_postgresql.py --rows 10000000

Starts a server of its own and removes it. Each measurement is a process of its own; the ways take turns.
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
from cdp_local.postgresql_server import folder_of_binaries, postgresql_server

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
    """Land what is new; the first time, that is everything."""
    started_at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number)
    extraction = Landing(str(folder)).extraction("database", f"20260131T{number:06}Z", started_at)
    batches = land_tables(extraction, f"postgresql+psycopg://{address}/postgres", "", [TRANSACTIONS_BRONZE])
    return sum(batch.rows or 0 for batch in batches)


def copy(address: str, folder: Path, number: int) -> None:
    """`COPY … TO STDOUT` by psql, into a file."""
    folder.mkdir()
    with (folder / "transactions.txt").open("wb") as file:
        command = [f"{folder_of_binaries()}/psql", "-X", "-c", "COPY transactions TO STDOUT"]
        subprocess.run([*command, f"postgresql://{address}/postgres"], stdout=file, check=True)


def pandas(address: str, folder: Path, number: int) -> int:
    """`read_sql` and `to_parquet`."""
    import pandas as pd  # type: ignore[import-untyped]
    import sqlalchemy as sa

    folder.mkdir()
    frame = pd.read_sql("SELECT * FROM transactions", sa.create_engine(f"postgresql+psycopg://{address}/postgres"))
    frame.to_parquet(folder / "transactions.parquet")
    return len(frame)


WAYS: dict[str, Callable[[str, Path, int], int | None]] = {"land": land, "copy": copy, "pandas": pandas}


def measure(way: str, address: str, folder: Path, number: int) -> dict[str, float]:
    """Seconds, peak memory and rows of one way, in a process of its own."""
    command = [sys.executable, __file__, "measure", way, address, str(folder), str(number)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if answer.returncode:
        return {"rows": 0, "seconds": float("nan"), "peak_mb": float("nan")}
    result: dict[str, float] = json.loads(answer.stdout)
    Console(stderr=True).print(f"{way} {number}: {result}")
    return result


def measure_here(way: str, address: str, folder: str, number: str) -> None:
    """What a process of its own does: print its measurement."""
    started_at = time.perf_counter()
    rows = WAYS[way](address, Path(folder), int(number))
    seconds = time.perf_counter() - started_at
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": rows, "seconds": seconds, "peak_mb": peak_mb}))


def main(
    rows: Annotated[int, typer.Option(help="Rows of the table.")] = 10_000_000,
    rounds: Annotated[int, typer.Option(help="Measurements of each way; the median counts.")] = 3,
    with_pandas: Annotated[
        bool, typer.Option(help="Whether to measure pandas, which holds all rows in memory.")
    ] = True,
) -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory(prefix="cdp-benchmark-") as folder, postgresql_server() as server:
        with psycopg.connect(f"postgresql://{server.address}/postgres", autocommit=True) as connection:
            connection.execute(TRANSACTIONS)
            connection.execute(NEW_ROWS, [1, rows])
            connection.execute("VACUUM ANALYZE transactions")
            ways = [way for way in WAYS if way != "pandas" or with_pandas]
            measured: dict[str, list[dict[str, float]]] = {}
            for number in range(rounds):
                for way in ways:
                    target = Path(folder) / f"{way}-{number}"
                    measured.setdefault(way, []).append(measure(way, server.address, target, number))
            landing, last_key = Path(folder) / "land-0", rows
            for number in range(1, rounds + 1):
                new_rows = rows // 100
                connection.execute(NEW_ROWS, [last_key + 1, last_key + new_rows])
                last_key += new_rows
                measured.setdefault("land, 1 % new", []).append(measure("land", server.address, landing, 2 * number))
                measured.setdefault("land, nothing new", []).append(
                    measure("land", server.address, landing, 2 * number + 1)
                )
    table = Table("way", "rows", "seconds", "rows/s", "rows/s beside COPY", "peak memory, MB")
    speed = {way: rows / median(result["seconds"] for result in measured[way]) for way in ways}
    for way, results in measured.items():
        table.add_row(
            way,
            f"{rows if way in ways else results[0]['rows']:,.0f}",
            f"{median(result['seconds'] for result in results):.1f}",
            f"{speed[way]:,.0f}" if way in ways else "",
            f"{speed[way] / speed['copy']:.2f}" if way in ways else "",
            f"{max(result['peak_mb'] for result in results):,.0f}" if way != "copy" else "",
        )
    console = Console(width=100)
    console.print(table)
    if with_pandas:
        console.print(f"Landing is {speed['land'] / speed['pandas']:.1f} times as fast as pandas.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure_here(*sys.argv[2:])
    else:
        typer.run(main)
