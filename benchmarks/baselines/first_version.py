"""Baseline: the platform's first version, which copies every source and builds each table from the raw files.

    .venv/bin/python benchmarks/baselines/first_version.py LANDING HOME --engine spark

This version has no quarantine, no reconciliation and no incremental refresh: each mart reads and joins the raw files
again. The engine is Sail or local Spark, with the session settings of `cdp run`. On Spark, these settings are: one
shuffle partition per core, one partition to read a Delta log, and no Spark UI. The last line of the output is the
measurement as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from marts import MARTS, SALES, SOURCES, landed_files
from pyspark.sql import DataFrame, SparkSession

from cdp_local.engines import open_session


def read_raw(spark: SparkSession, landing: Path, source: str) -> DataFrame:
    """Read the raw files of a source."""
    files = landed_files(landing, source)
    return spark.read.json(files) if source == "customers" else spark.read.parquet(*files)


def join_sales(spark: SparkSession, landing: Path) -> DataFrame:
    """Join the raw files of all sources."""
    for source in SOURCES:
        read_raw(spark, landing, source).createOrReplaceTempView(source)
    return spark.sql(SALES)


def write(rows: DataFrame, warehouse: Path, table: str) -> None:
    """Write rows to a Delta table. They replace the table's content."""
    rows.write.format("delta").mode("overwrite").save(str(warehouse / table))


def main() -> None:
    """Build all tables and print the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("landing", type=Path)
    parser.add_argument("home", type=Path)
    parser.add_argument("--engine", choices=("spark", "sail"), default="spark")
    arguments = parser.parse_args()
    landing, warehouse = arguments.landing, arguments.home.resolve() / "warehouse" / "sales"
    seconds: dict[str, float] = {}
    with open_session(arguments.engine, arguments.home, "cat1", []) as spark:
        begin = last = time.monotonic()

        def done(table: str) -> None:
            nonlocal last
            seconds[table], last = time.monotonic() - last, time.monotonic()

        for source, (table, _) in SOURCES.items():
            write(read_raw(spark, landing, source), warehouse, table)
            done(table)
        write(join_sales(spark, landing), warehouse, "retails_silver")
        done("retails_silver")
        for mart, query in MARTS.items():
            join_sales(spark, landing).createOrReplaceTempView("sales")
            write(spark.sql(query), warehouse, mart)
            done(mart)
    print(json.dumps({"seconds": last - begin, "tasks": seconds}))


if __name__ == "__main__":
    main()
