"""Whatever lands in whatever order, and however runs end: every table is what a computation from scratch gives."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from pyspark.sql import SparkSession

from cdp_lib.contracts.analytics import ANALYTICS_TABLES, CUSTOMER_VALUE_GOLD, MODEL_FITS_GOLD, MODEL_QUALITY_GOLD
from cdp_lib.contracts.gold import GOLD_TABLES
from cdp_lib.contracts.silver import CUSTOMER_ACQUISITIONS_SILVER, CUSTOMER_LINKS_SILVER, RETAILS_SILVER
from cdp_lib.contracts.table import TableContract

from .model import Model, difference
from .opening import FIRST_DAY, OPENING
from .platform import GROSS_MARGIN, Platform, Refresh
from .sources import Sources
from .strategies import Step, sequences

SEEDS = int(os.environ.get("CDP_FAULT_SEEDS", "2"))
IS_TORTURE = SEEDS >= 20
SEQUENCES = 25 if IS_TORTURE else 2
"""Of each seed."""
SHRINKS = bool(os.environ.get("CDP_SHRINK"))
"""Whether a sequence that fails is made as small as it gets, which takes five minutes."""

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
        CUSTOMER_LINKS_SILVER,
        *GOLD_TABLES,
        *(contract for contract in ANALYTICS_TABLES if contract not in (MODEL_FITS_GOLD, MODEL_QUALITY_GOLD)),
    )
}


@pytest.fixture(scope="module")
def opened(
    spark: SparkSession, catalog: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], AbstractContextManager[tuple[Platform, Sources]]]:
    """A platform and its sources after the shop's first day, for one sequence; it is refreshed once and copied."""
    folder = tmp_path_factory.mktemp("sequences")
    sources = Sources()
    first = Platform(spark, catalog, folder / f"cdp_test_{uuid4().hex}")
    for change in OPENING:
        sources.land(first.landing, change)
    first.refresh(Refresh(as_of=FIRST_DAY))  # so that there is a fit that knows nothing later than any day
    first.refresh(Refresh())

    @contextmanager
    def copy() -> Iterator[tuple[Platform, Sources]]:
        home = folder / f"cdp_test_{uuid4().hex}"
        shutil.copytree(first.folder, home)
        yield Platform(spark, catalog, home, first.runs), sources.copy()
        shutil.rmtree(home)

    return copy


@pytest.mark.parametrize("number", range(SEEDS))
def test_after_every_run_every_table_is_what_a_computation_from_scratch_gives(
    opened: Callable[[], AbstractContextManager[tuple[Platform, Sources]]], number: int
) -> None:
    @seed(number)
    @settings(
        max_examples=SEQUENCES,
        deadline=None,
        database=None,
        phases=[Phase.generate, *([Phase.shrink] if SHRINKS else [])],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(sequence=sequences)
    def play(sequence: list[Step]) -> None:
        with opened() as (platform, sources):
            for step in sequence:
                for change in step.changes:
                    sources.land(platform.landing, change)
                platform.refresh(step.run)
                check(platform, sources, step.run.as_of)

    play()


def check(platform: Platform, sources: Sources, as_of: str) -> None:
    """Compare every table with the model's."""
    predictions = platform.rows(CUSTOMER_VALUE_GOLD, ["customer_id", "predictive_clv"])
    model = Model(sources, as_of, GROSS_MARGIN, predictions)
    for contract, columns in COMPARED.items():
        lines = difference(contract, columns, platform.rows(contract, columns), model.rows(contract, columns))
        if lines:
            raise AssertionError("\n".join([f"{contract.name}, + surplus, - missing: {columns}", *lines[:40]]))
