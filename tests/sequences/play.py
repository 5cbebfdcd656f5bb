"""Plays random sequences on an engine of its own: from `tests`, `python -m sequences.play sail SEED [--shrink]`."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, Phase, given, seed, settings
from pyspark.sql import SparkSession

from cdp_lib.contracts.analytics import ANALYTICS_TABLES, CUSTOMER_VALUE_GOLD, MODEL_FITS_GOLD, MODEL_QUALITY_GOLD
from cdp_lib.contracts.gold import GOLD_TABLES
from cdp_lib.contracts.silver import (
    CUSTOMER_ACQUISITIONS_SILVER,
    CUSTOMER_LINKS_SILVER,
    PURCHASES_SILVER,
    RETAILS_SILVER,
)
from cdp_lib.contracts.table import TableContract
from cdp_local.engines import open_session

from .model import Model, difference
from .opening import FIRST_DAY, OPENING
from .platform import GROSS_MARGIN, Platform, Refresh
from .sources import Sources
from .strategies import Step, sequences

CATALOG = "cat1"
MOST_LINES = 40
"""Of a table that is wrong."""

QUARANTINE = RETAILS_SILVER.quarantine


def _columns(contract: TableContract) -> list[str]:
    """The columns that data alone decide: neither batch nor fitted model."""
    if contract is QUARANTINE:
        return ["record_key", "broken_rules"]
    names = [name for name in contract.column_names if name != "_batch_id"]
    return names[: names.index("probability_alive")] if "probability_alive" in names else names


COMPARED = {
    contract: _columns(contract)
    for contract in (
        # In the order of the job: where one is wrong, those after it may be wrong by it.
        RETAILS_SILVER,
        QUARANTINE,
        CUSTOMER_ACQUISITIONS_SILVER,
        PURCHASES_SILVER,
        CUSTOMER_LINKS_SILVER,
        *GOLD_TABLES,
        *(contract for contract in ANALYTICS_TABLES if contract not in (MODEL_FITS_GOLD, MODEL_QUALITY_GOLD)),
    )
}


class Shop:
    """A platform and its sources after the shop's first day: refreshed once, and copied for each sequence."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self._spark = spark
        self._sources = Sources()
        self._opened = Platform(spark, CATALOG, folder / "opened")
        self._sequences = 0
        for change in OPENING:
            self._sources.land(self._opened.landing, change)
        # So that there is a fit that knows nothing later than any day that figures are asked for.
        self._opened.refresh(Refresh(as_of=FIRST_DAY))
        self._opened.refresh(Refresh())

    @contextmanager
    def copy(self) -> Iterator[tuple[Platform, Sources]]:
        """A copy, which is gone afterwards."""
        self._sequences += 1
        folder = self._opened.folder.with_name(f"sequence_{self._sequences}")
        shutil.copytree(self._opened.folder, folder)
        yield Platform(self._spark, CATALOG, folder, self._opened.runs), self._sources.copy()
        shutil.rmtree(folder)


def play(shop: Shop, sequence: list[Step]) -> None:
    """Let batches land and runs refresh, and look at every table after every run.

    Raises:
        AssertionError: A table is not what a computation from scratch gives.
    """
    with shop.copy() as (platform, sources):
        for step in sequence:
            for change in step.changes:
                sources.land(platform.landing, change)
            platform.refresh(step.run)
            check(platform, sources, step.run.as_of)


def check(platform: Platform, sources: Sources, as_of: str) -> None:
    """Compare every table with the model's.

    Raises:
        AssertionError: One is another.
    """
    predictions = platform.rows(CUSTOMER_VALUE_GOLD, ["customer_id", "predictive_clv"])
    model = Model(sources, as_of, GROSS_MARGIN, predictions)
    for contract, columns in COMPARED.items():
        lines = difference(contract, columns, platform.rows(contract, columns), model.rows(contract, columns))
        if lines:
            raise AssertionError("\n".join([f"{contract.name}, + surplus, - missing: {columns}", *lines[:MOST_LINES]]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine")
    parser.add_argument("seed", type=int)
    parser.add_argument("--sequences", type=int, default=10)
    parser.add_argument("--shrink", action="store_true", help="make a sequence that fails small: some five minutes")
    arguments = parser.parse_args()

    with TemporaryDirectory() as home, open_session(arguments.engine, Path(home), CATALOG, []) as spark:
        shop = Shop(spark, Path(home))

        @seed(arguments.seed)
        @settings(
            max_examples=arguments.sequences,
            deadline=None,
            database=None,
            phases=[Phase.generate, *([Phase.shrink] if arguments.shrink else [])],
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )
        @given(sequence=sequences)
        def of_seed(sequence: list[Step]) -> None:
            play(shop, sequence)

        of_seed()


if __name__ == "__main__":
    main()
