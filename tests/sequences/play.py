"""Run random sequences on a new engine: `cd tests; python -m sequences.play sail SEED [--shrink]`."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, Phase, given, seed, settings
from pyspark.sql import SparkSession

from cdp_lib.contracts.analytics import (
    ANALYTICS_TABLES,
    CUSTOMER_VALUE_GOLD,
    MODEL_FITS_GOLD,
    MODEL_QUALITY_GOLD,
    SEGMENT_QUALITY_GOLD,
)
from cdp_lib.contracts.gold import GOLD_TABLES
from cdp_lib.contracts.identity import PERSON_LINKS_SILVER
from cdp_lib.contracts.silver import (
    CUSTOMER_ACQUISITIONS_SILVER,
    CUSTOMERS_SILVER,
    PRODUCTS_SILVER,
    PURCHASES_SILVER,
    RETAILS_SILVER,
    STORES_SILVER,
    TRANSACTIONS_SILVER,
)
from cdp_lib.contracts.table import TableContract
from cdp_local.engines import open_session

from .model import Model, difference
from .opening import FIRST_DAY, OPENING
from .platform import GROSS_MARGIN, Platform, Refresh
from .sources import Change, Sources
from .strategies import Step, sequences

CATALOG = "cat1"
MAX_LINES = 40
"""Maximum number of printed rows of a table that differs."""

QUARANTINE = RETAILS_SILVER.quarantine


PARTLY_COMPARED = {
    CUSTOMERS_SILVER: ["customer_id", "is_active", "inactive_since"],
    PRODUCTS_SILVER: ["product_id", "product_name", "category", "is_active", "inactive_since"],
    STORES_SILVER: ["store_id", "store_name", "location", "is_active", "inactive_since"],
    TRANSACTIONS_SILVER: ["transaction_id", "quantity", "transaction_date"],
    PERSON_LINKS_SILVER: ["record_key", "source", "customer_id", "person_id"],
}
"""Columns to compare of tables of which the model computes only some columns."""


def _columns(contract: TableContract) -> list[str]:
    """Return the columns of a table that depend only on the data, and not on batch names or fitted models."""
    if contract in PARTLY_COMPARED:
        return PARTLY_COMPARED[contract]
    if contract is QUARANTINE:
        return ["record_key", "broken_rules"]
    names = [name for name in contract.column_names if name not in ("_batch_id", "attributes", "people")]
    return names[: names.index("probability_alive")] if "probability_alive" in names else names


COMPARED = {
    contract: _columns(contract)
    for contract in (
        # In the order of the job, because a wrong table may make later tables wrong.
        *PARTLY_COMPARED,
        RETAILS_SILVER,
        QUARANTINE,
        CUSTOMER_ACQUISITIONS_SILVER,
        PURCHASES_SILVER,
        *GOLD_TABLES,
        *(
            contract
            for contract in ANALYTICS_TABLES
            if contract not in (MODEL_FITS_GOLD, MODEL_QUALITY_GOLD, SEGMENT_QUALITY_GOLD)
        ),
    )
}


class Shop:
    """The platform and sources of a shop, as they are after its first day. Each sequence starts from a copy."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self._spark = spark
        self._sources = Sources()
        self._original = Platform(spark, CATALOG, folder / "opened")
        self._sequences = 0
        for change in OPENING:
            self._sources.land(self._original.landing, change)
        # This run stores fits of models that use no data after FIRST_DAY, so fits exist for every later `as_of`.
        self._original.refresh(Refresh(as_of=FIRST_DAY))
        self._original.refresh(Refresh())

    @contextmanager
    def copy(self) -> Iterator[tuple[Platform, Sources]]:
        """Yield a copy of the shop. The copy is removed afterwards."""
        self._sequences += 1
        folder = self._original.folder.with_name(f"sequence_{self._sequences}")
        shutil.copytree(self._original.folder, folder)
        yield Platform(self._spark, CATALOG, folder, self._original.runs), self._sources.copy()
        shutil.rmtree(folder)


def play(shop: Shop, sequence: list[Step]) -> None:
    """Run the steps of a sequence and check every table after each run.

    Raises:
        AssertionError: A table differs from the table that the model computes.
    """
    with shop.copy() as (platform, sources):
        for step in sequence:
            for change in step.changes:
                sources.land(platform.landing, change)
                if isinstance(change, Change) and change.is_shrunken:
                    # A guard refuses the snapshot if it lacks many rows. The next snapshot takes its place.
                    if "is refused" in platform.try_refresh():
                        sources.forget(change.of)
                    sources.land(platform.landing, Change(change.of, (), is_all_sent=True))
            platform.refresh(step.run)
            check(platform, sources, step.run.as_of)


def check(platform: Platform, sources: Sources, as_of: str) -> None:
    """Compare every table with the table that the model computes.

    Raises:
        AssertionError: A table differs.
    """
    predictions = platform.rows(CUSTOMER_VALUE_GOLD, ["person_id", "predictive_clv"])
    model = Model.of_batches(sources, as_of, GROSS_MARGIN, predictions)
    for contract, columns in COMPARED.items():
        lines = difference(contract, columns, platform.rows(contract, columns), model.rows(contract, columns))
        if lines:
            raise AssertionError("\n".join([f"{contract.name}, + surplus, - missing: {columns}", *lines[:MAX_LINES]]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine")
    parser.add_argument("seed", type=int)
    parser.add_argument("--sequences", type=int, default=10)
    parser.add_argument("--shrink", action="store_true", help="shrink a failing sequence (about five minutes)")
    arguments = parser.parse_args()

    with TemporaryDirectory() as home, open_session(arguments.engine, Path(home), CATALOG, []) as spark:
        shop, numbers = Shop(spark, Path(home)), count(1)

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
        def play_sequence(sequence: list[Step]) -> None:
            play(shop, sequence)
            print(f"Sequence {next(numbers)}: no difference", flush=True)

        play_sequence()


if __name__ == "__main__":
    main()
