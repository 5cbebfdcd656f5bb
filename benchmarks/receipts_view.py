"""Measure `cdp run` on receipt lines that are read from a view in PostgreSQL.

    .venv/bin/python benchmarks/receipts_view.py                  # 1.5 million receipt lines

The view differs from the platform's tables in three ways. Its columns have other names, its dates are text, and its key
has two columns: the number of the receipt and the number of the line.

The script runs `cdp run` once for the first load, once with nothing new, and once after each of these changes in the
database: new lines, late lines of old receipts, corrections, deletions, and a purge of the oldest month. Each run has
its own process. After each run, the script checks the number of sales.

For each run it prints the duration and the peak memory of the process, including the engine, models and the report.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from textwrap import dedent

import psycopg
from psycopg import sql

from cdp_local.postgresql_server import postgresql_server

SCHEMA = """
    CREATE TABLE receipt (
        basket INT, line INT, household INT, article INT, branch INT, pieces INT, sold_on DATE,
        PRIMARY KEY (basket, line)
    );
    CREATE VIEW "V_RECEIPT_LINES" AS
    SELECT basket AS "BASKET_NUM", line AS "LINE_NUM", household AS "HSHD_NUM", article AS "ARTICLE",
           branch AS "BRANCH", pieces AS "PIECES", to_char(sold_on, 'DD.MM.YYYY') AS "SOLD_ON"
    FROM receipt;
    CREATE TABLE household AS
    SELECT n AS hshd_num, 'Household ' || n AS household_name, DATE '2024-01-01' AS since
    FROM generate_series(1, 5000) n;
    CREATE TABLE article AS
    SELECT n AS article, 'Article ' || n AS title, 'Group ' || n % 20 AS group_name, 1 + n % 50 AS amount
    FROM generate_series(1, 2000) n;
    CREATE TABLE branch AS SELECT n AS branch, 'Branch ' || n AS title FROM generate_series(1, 20) n;
"""

LINES = """
    INSERT INTO receipt
    SELECT n / 10, n %% 10 + 1, n / 10 %% 5000 + 1, n %% 2000 + 1, n %% 20 + 1, n %% 4 + 1,
           DATE '2024-01-01' + (n / 10) * 730 / %(baskets)s
    FROM generate_series(%(first)s, %(last)s) n
"""

SOURCES = """
    customers:
      database: database_url
      table: household
      columns: {customer_id: hshd_num, full_name: household_name, registration_date: since}
    products:
      database: database_url
      table: article
      columns: {product_id: article, product_name: title, category: group_name, price: amount}
    stores:
      database: database_url
      table: branch
      columns: {store_id: branch, store_name: title}
    transactions:
      database: database_url
      table: V_RECEIPT_LINES
      primary_key: [BASKET_NUM, LINE_NUM]
      date_format: dd.MM.yyyy
      columns:
        transaction_id: CAST(basket_num AS BIGINT) * 100 + CAST(line_num AS BIGINT)
        customer_id: HSHD_NUM
        product_id: ARTICLE
        store_id: BRANCH
        quantity: PIECES
        transaction_date: SOLD_ON
"""


def run(*arguments: str) -> tuple[float, float, str]:
    """Run a `cdp` command. Return its duration in seconds, its peak memory in GB and its output."""
    with tempfile.TemporaryFile("w+") as output:
        began = time.perf_counter()
        command = [sys.executable, "-c", "from cdp_local.cli import main; main()", *arguments]
        actions = [(os.POSIX_SPAWN_DUP2, output.fileno(), 1), (os.POSIX_SPAWN_DUP2, output.fileno(), 2)]
        process = os.posix_spawn(sys.executable, command, os.environ, file_actions=actions)
        _, status, usage = os.wait4(process, 0)
        seconds = time.perf_counter() - began
        output.seek(0)
        text = output.read()
    assert not os.waitstatus_to_exitcode(status), text
    return seconds, usage.ru_maxrss / 1e6, text


def main() -> None:
    """Measure each run and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_500_000)
    parser.add_argument("--engine", default="sail")
    arguments = parser.parse_args()
    baskets = arguments.lines // 10
    with tempfile.TemporaryDirectory() as folder, postgresql_server() as server:
        os.environ["CDP_SECRET_CDP_DATABASE_URL"] = f"postgresql+psycopg://{server.address}/postgres"
        sources, home = Path(folder) / "sources.yml", str(Path(folder) / "home")
        sources.write_text(dedent(SOURCES), encoding="utf-8")
        with psycopg.connect(f"postgresql://{server.address}/postgres", autocommit=True) as database:

            def change(statement: str, **values: int) -> None:
                database.execute(sql.SQL(statement), values)  # type: ignore[arg-type]

            def measure(step: str, expected: int) -> None:
                seconds, memory, _ = run("run", "--engine", arguments.engine, "--home", home, "--sources", str(sources))
                query = "SELECT concat('rows=', count(*)) AS sales FROM retails_silver"
                *_, text = run("sql", query, "--engine", arguments.engine, "--home", home)
                found = int(re.findall(r"rows=(\d+)", text)[0])
                print(f"{step}: {seconds:.1f} s, peak memory {memory:.1f} GB, {found:,} sales", flush=True)
                assert found == expected, (step, expected, text)

            database.execute(SCHEMA)
            lines = arguments.lines
            change(LINES, baskets=baskets, first=0, last=lines - 1)
            measure("first load", lines)
            measure("nothing new", lines)
            change(LINES, baskets=baskets, first=lines, last=lines + 299)
            measure("300 new lines", lines + 300)
            change("INSERT INTO receipt SELECT basket, 50, household, article, branch, 1, sold_on FROM receipt"
                   " WHERE line = 1 AND basket BETWEEN 1000 AND 3999")  # fmt: skip
            measure("3,000 late lines", lines + 3_300)
            change("UPDATE receipt SET pieces = 9 WHERE line = 2 AND basket BETWEEN 4000 AND 8999")
            measure("5,000 corrections", lines + 3_300)
            change("DELETE FROM receipt WHERE line = 3 AND basket BETWEEN 9000 AND 10999")
            measure("2,000 deletions", lines + 1_300)
            change("DELETE FROM receipt WHERE sold_on < DATE '2024-02-01'")
            measure("purge of the oldest month", lines + 1_300)


if __name__ == "__main__":
    main()
