"""Check the promises of the segments on a simulated grocer, a simulated fashion shop and the data set CDNOW.

    PYTHONPATH=src .venv/bin/python benchmarks/segments.py            # about 20 seconds: the table of docs/segments.md
    PYTHONPATH=src .venv/bin/python benchmarks/segments.py --seeds 5  # five random shops of each kind

Customers are segmented 90 days before the stated day, and compared with their purchases since.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "tests"))

from buyers import Buyers, cdnow, day, fashion, grocer  # noqa: E402
from cdp_lib.contracts.segments import ALL_BUYERS, NEVER_BOUGHT, SEGMENTS  # noqa: E402
from cdp_lib.gold.segment_quality import build_segment_quality_gold  # noqa: E402
from cdp_local.engines import open_session  # noqa: E402
from cdp_local.markdown import table  # noqa: E402

HORIZON_DAYS = 90


def shops(seeds: int) -> Iterator[tuple[str, Buyers, int]]:
    """Yield the name of each shop, its purchases, and the last day of the check."""
    for seed in range(1, seeds + 1):
        yield f"grocer {seed}", grocer(seed, 2000), 450
        yield f"fashion {seed}", fashion(seed, 3000), 1000
    bought = cdnow()
    for weeks in (39, 52, 78):
        yield f"CDNOW, {weeks} weeks", bought, min(weeks * 7 - 1, bought.last_day)


def main() -> None:
    """Print a Markdown table: a row per shop, and the share of customers who bought, by segment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="number of random shops of each kind")
    seeds = parser.parse_args().seeds
    names = [*(each.name for each in SEGMENTS if each.name != NEVER_BOUGHT), ALL_BUYERS]
    lines = []
    with tempfile.TemporaryDirectory() as folder, open_session("sail", Path(folder), "cat1", ["sales"]) as spark:
        for name, buyers, last in shops(seeds):
            tables = buyers.tables(spark)
            quality = build_segment_quality_gold(*tables, tables[0], day(last), HORIZON_DAYS, 5, 30, datetime.now(UTC))
            rows = {row.segment: row for row in quality.collect()}
            shares = [
                f"{rows[each].bought_share:.0%} of {rows[each].customer_count:,}" if rows[each].customer_count else "–"
                for each in names
            ]
            promised = [rows[each.name] for each in SEGMENTS if each.promise]
            kept = ", ".join(
                f"{row.segment}: {'small' if row.is_kept is None else 'yes' if row.is_kept else 'NO'}"
                for row in promised
            )
            lines.append((name, *shares, kept))
    print("\n".join(table(("shop", *names, "promises kept"), lines)))


if __name__ == "__main__":
    main()
