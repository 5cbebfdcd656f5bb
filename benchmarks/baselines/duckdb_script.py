"""Baseline: build the same tables as the platform with DuckDB, and write them with deltalake.

    .venv/bin/python benchmarks/baselines/duckdb_script.py LANDING HOME

The script joins the sources once and builds the marts from the joined table. It is a typical script without a platform:
no quarantine, no reconciliation, no incremental refresh. The last line of the output is the measurement as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import duckdb
from deltalake import DeltaTable, write_deltalake
from marts import MARTS, SALES, SOURCES, landed_files


def main() -> None:
    """Build all tables and print the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("landing", type=Path)
    parser.add_argument("home", type=Path)
    arguments = parser.parse_args()
    warehouse = arguments.home.resolve() / "warehouse" / "sales"
    warehouse.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    with duckdb.connect(config={"temp_directory": str(arguments.home / "spilled")}) as connection:
        begin = last = time.monotonic()

        def write(table: str, query: str) -> None:
            nonlocal last
            write_deltalake(warehouse / table, connection.sql(query).to_arrow_reader(), mode="overwrite")
            seconds[table], last = time.monotonic() - last, time.monotonic()

        for source, (table, _) in SOURCES.items():
            reader = "read_json" if source == "customers" else "read_parquet"
            connection.execute(f"CREATE VIEW {source} AS FROM {reader}({landed_files(arguments.landing, source)})")
            write(table, f"FROM {source}")
        write("retails_silver", SALES)
        joined = DeltaTable(warehouse / "retails_silver").file_uris()
        connection.execute(f"CREATE VIEW sales AS FROM read_parquet({joined})")
        for mart, query in MARTS.items():
            write(mart, query)
    print(json.dumps({"seconds": last - begin, "tasks": seconds}))


if __name__ == "__main__":
    main()
