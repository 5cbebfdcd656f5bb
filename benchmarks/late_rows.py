"""Measure the merge of a snapshot that has all sales of the table and a few late sales.

    .venv/bin/python benchmarks/late_rows.py                      # 3,000 late rows on 1.5 million sales, Sail
    .venv/bin/python benchmarks/late_rows.py --engine spark

If late rows are added to a large database table, the platform lands the whole table again as a snapshot.

The script loads the sales once. Then it adds late sales, lands all sales again as a snapshot, and refreshes
`transactions_silver`. For comparison, the script also rewrites the whole table. The reported memory is the peak memory
of the process, including the engine.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from retail_data import Shop

from cdp_lib.contracts.bronze import TRANSACTIONS_BRONZE
from cdp_lib.pipeline.run import Runner
from cdp_local.runner import open_runner
from cdp_local.workspace import LocalWorkspace, open_workspace

TABLE = "transactions_silver"


def with_late_rows(shop: Shop, late: int) -> Iterator[pa.Table]:
    """Yield the sales of a shop in chunks. The second chunk has the late sales.

    A late sale is a copy of a sale of the first chunk, with a new id.
    """
    for number, chunk in enumerate(shop._sales()):
        yield chunk
        if not number:
            ids = pa.array(np.arange(shop.sales + 1, shop.sales + 1 + late), chunk.schema.field("transaction_id").type)
            column_index = chunk.schema.get_field_index("transaction_id")
            yield chunk.slice(0, late).set_column(column_index, chunk.schema.field("transaction_id"), ids)


def refresh_tables(workspace: LocalWorkspace, parameters: dict[str, str], *selection: str) -> tuple[float, int]:
    """Refresh tables. For the last table, return the duration in seconds and the number of written rows."""
    runner: Runner = open_runner(workspace, "cdp_refresh", parameters)
    runs = runner.refresh(selection)
    assert not [run.error for run in runs if run.error], runs
    return runs[-1].seconds, runs[-1].counts.rows


def main() -> None:
    """Measure each step and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sales", type=int, default=1_500_000)
    parser.add_argument("--late", type=int, default=3_000)
    parser.add_argument("--engine", default="sail")
    arguments = parser.parse_args()
    shop = Shop(sales=arguments.sales, events=0)
    with tempfile.TemporaryDirectory() as folder, open_workspace(arguments.engine, Path(folder), {}) as workspace:
        shop._land_parquet(workspace.landing, TRANSACTIONS_BRONZE, "snapshot", shop._sales())
        print(f"first load: {refresh_tables(workspace, {}, 'transactions_bronze', TABLE)[0]:.1f} s")
        began = time.perf_counter()
        rows = with_late_rows(shop, arguments.late)
        shop._land_parquet(workspace.landing, TRANSACTIONS_BRONZE, "snapshot", rows, number=1)
        print(f"landing: {time.perf_counter() - began:.1f} s")
        seconds, written = refresh_tables(workspace, {}, "transactions_bronze", TABLE)
        assert written == arguments.late, written
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{arguments.late:,} late rows on {arguments.sales:,}: {seconds:.1f} s, peak memory {peak:.1f} GB")
        rewrite_seconds, _ = refresh_tables(workspace, {"full_refresh": "true"}, TABLE)
        print(f"rewrite of the whole table: {rewrite_seconds:.1f} s")


if __name__ == "__main__":
    main()
