from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.business_date import build_business_date_silver, month_before
from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, EVENTS_BRONZE
from cdp_lib.contracts.silver import BUSINESS_DATE_SILVER, CUSTOMERS_SILVER, EVENTS_SILVER, RETAILS_SILVER
from cdp_lib.contracts.table import Column, TableContract
from cdp_lib.pipeline.graph import Graph
from cdp_lib.pipeline.run import TableRun
from cdp_lib.pipeline.state import TableState, read_states, write_states
from cdp_lib.pipeline.table import BUSINESS_DATE, Table, Value
from cdp_lib.storage import DeltaStore

from .warehouse import Warehouse, customer


@pytest.fixture
def latest_date(frame_of: Callable[..., DataFrame]) -> Callable[..., date | None]:
    """Function that builds business_date_silver and returns its day.

    The arguments are optional: the day of a purchase, the day of a registration and the time of an event.
    """

    def build(purchased: date | None = None, registered: date | None = None, at: datetime | None = None) -> date | None:
        rows = {
            RETAILS_SILVER: purchased and {"transaction_date": purchased},
            CUSTOMERS_SILVER: registered and {"customer_id": 1, "registration_date": registered},
            EVENTS_SILVER: at and {"event_id": "e", "event_type": "page_view", "occurred_at": at},
        }
        frames = [frame_of(contract.columns, *([row] if row else [])) for contract, row in rows.items()]
        built = build_business_date_silver(*frames, "UTC")
        assert built.columns == list(BUSINESS_DATE_SILVER.column_names)
        [(day,)] = built.collect()
        latest: date | None = day
        return latest

    return build


def test_business_date_is_the_latest_day_of_purchases_registrations_and_events(
    latest_date: Callable[..., date | None],
) -> None:
    july, event = date(2026, 7, 1), datetime(2026, 7, 2, 23, 59, tzinfo=UTC)
    assert latest_date(purchased=july) == latest_date(registered=july) == july
    assert latest_date(july, date(2026, 6, 30), datetime(2026, 6, 30, 23, tzinfo=UTC)) == july
    assert latest_date(july, july, event) == date(2026, 7, 2)
    assert latest_date() is None


DAY_OF_RUN = date(2026, 11, 25)


def day_of(store: DeltaStore, tmp_path: Path, latest: str | None, as_of: str = "") -> date:
    """Return the business date of a run.

    `latest` is the day in the state of business_date_silver. None means that this table has no state.
    """
    if latest is not None:
        write_states(store, {BUSINESS_DATE_SILVER.name: TableState(1, latest)})
    runner = Warehouse(store, tmp_path).runner(run_started_at=f"{DAY_OF_RUN}T03:00:00Z", as_of=as_of)
    return runner.business_date()


def test_business_date_is_as_of_if_it_is_set(store: DeltaStore, tmp_path: Path) -> None:
    assert day_of(store, tmp_path, "2026-07-01", as_of="2026-06-30") == date(2026, 6, 30)


def test_business_date_is_the_latest_date_without_as_of(store: DeltaStore, tmp_path: Path) -> None:
    assert day_of(store, tmp_path, "2026-07-01") == date(2026, 7, 1)


def test_business_date_is_the_day_of_the_run_without_data(store: DeltaStore, tmp_path: Path) -> None:
    assert day_of(store, tmp_path, None) == DAY_OF_RUN
    assert day_of(store, tmp_path, "None") == DAY_OF_RUN


def test_business_date_is_never_after_the_day_of_the_run(store: DeltaStore, tmp_path: Path) -> None:
    assert day_of(store, tmp_path, "2026-11-26") == DAY_OF_RUN


def test_business_date_follows_landed_batches(warehouse: Warehouse) -> None:
    def after_refresh() -> date:
        warehouse.run(f"+{BUSINESS_DATE_SILVER.name}")
        return warehouse.runner().business_date()

    day_of_run = warehouse.runner().settings.run_started_at.date()
    assert after_refresh() == day_of_run
    assert warehouse.rows(BUSINESS_DATE_SILVER) == [(None,)]
    warehouse.land(CUSTOMERS_BRONZE, 2, customer(1, registration_date="2026-02-10"))
    assert after_refresh() == date(2026, 2, 10)
    event = {"event_id": "e1", "event_type": "page_view", "occurred_at": "2026-02-11T23:59:59Z", "customer_id": "1"}
    warehouse.land(EVENTS_BRONZE, 3, event, load="files")
    assert after_refresh() == date(2026, 2, 11)
    before = read_states(warehouse.store)[BUSINESS_DATE_SILVER.name]
    warehouse.land(CUSTOMERS_BRONZE, 4, customer(1, registration_date="2026-02-09"))
    assert after_refresh() == date(2026, 2, 11)
    after = read_states(warehouse.store)[BUSINESS_DATE_SILVER.name]
    assert (after.version, after.token) == (before.version, before.token)


# Figures for one `as_of` are built only from figures for the same `as_of`

_NUMBER = Column("number", "INT", "a number", required=True)
_DAY = Column("as_of", "DATE", "day that the figures refer to", required=True)
SALES = TableContract("sales_silver", "silver", "One row per number.", (_NUMBER,), ("number",))
VALUES = TableContract("values_gold", "gold", "One row per number.", (_NUMBER, _DAY), ("number",))
SEGMENTS = TableContract("segments_gold", "gold", "One row per number.", (_NUMBER, _DAY), ("number",))
FITS = TableContract("fits_gold", "gold", "One row per number.", (_NUMBER, _DAY), ("number",))


def build_day(sales: DataFrame) -> DataFrame:
    return sales.agg(sf.date_add(sf.lit("2026-02-01").cast("date"), sf.max("number")).alias("latest_date"))


def build_figures(rows: DataFrame, as_of: date) -> DataFrame:
    return rows.select("number", sf.lit(as_of).alias("as_of"))


def build_segments(values_gold: DataFrame, fits_gold: DataFrame, as_of: date) -> DataFrame:
    return build_figures(values_gold, as_of)


GRAPH = Graph(
    [
        Table(SALES, build_figures),
        Table(BUSINESS_DATE_SILVER, build_day, reads=(SALES,), materialization=Value()),
        Table(VALUES, build_figures, reads=(SALES,), settings=(BUSINESS_DATE,)),
        Table(FITS, build_figures, reads=(SALES,), settings=(BUSINESS_DATE,), only_if="fit_models"),
        Table(SEGMENTS, build_segments, reads=(VALUES, FITS), settings=(BUSINESS_DATE,)),
    ]
)
FIGURES = [VALUES.name, FITS.name, SEGMENTS.name]


@pytest.fixture
def figures(store: DeltaStore, tmp_path: Path) -> Warehouse:
    """Warehouse with sales, and with figures whose `as_of` is the latest day."""
    warehouse = Warehouse(store, tmp_path / "landing", GRAPH)
    sell(warehouse, 5)
    warehouse.run(BUSINESS_DATE_SILVER.name, *FIGURES)
    return warehouse


def sell(warehouse: Warehouse, number: int) -> None:
    warehouse.store.replace(SALES, warehouse.store.frame(SALES, [{"number": number}]))
    states = read_states(warehouse.store)
    version = states.get(SALES.name, TableState()).version + 1
    write_states(warehouse.store, states | {SALES.name: TableState(version, f"{version}", rewritten_at=version)})


def refresh(warehouse: Warehouse, *names: str, **parameters: str) -> dict[str, TableRun]:
    return {run.table: run for run in warehouse.runner(**parameters).refresh(names)}


def test_tables_with_a_business_date_are_due_when_it_changes(figures: Warehouse) -> None:
    assert figures.rows(SEGMENTS) == [(5, date(2026, 2, 6))]
    assert figures.refreshed(BUSINESS_DATE_SILVER.name, *FIGURES) == []
    assert figures.refreshed(*FIGURES, as_of="2026-01-31", fit_models="false") == [VALUES.name, SEGMENTS.name]
    assert figures.rows(SEGMENTS) == [(5, date(2026, 1, 31))]
    sell(figures, 6)
    assert figures.refreshed(BUSINESS_DATE_SILVER.name, *FIGURES, fit_models="false") == [
        BUSINESS_DATE_SILVER.name,
        VALUES.name,
        SEGMENTS.name,
    ]
    assert figures.rows(SEGMENTS) == [(6, date(2026, 2, 7))]


def test_table_is_not_built_from_figures_of_another_day(figures: Warehouse) -> None:
    run = refresh(figures, SEGMENTS.name, as_of="2026-01-31")[SEGMENTS.name]
    assert (run.state, run.error) == (
        "failed",
        "values_gold was computed as of 2026-02-06, not 2026-01-31: refresh values_gold first, or refresh all tables.",
    )
    assert figures.rows(SEGMENTS) == [(5, date(2026, 2, 6))]
    assert read_states(figures.store)[SEGMENTS.name].settings == {BUSINESS_DATE: "2026-02-06"}

    sell(figures, 6)
    runs = refresh(figures, BUSINESS_DATE_SILVER.name, SEGMENTS.name)
    assert runs[SEGMENTS.name].error.startswith("values_gold was computed as of 2026-02-06, not 2026-02-07: refresh")
    assert {run.state for run in refresh(figures, VALUES.name, SEGMENTS.name).values()} == {"refreshed"}


def test_optional_table_may_have_figures_of_an_earlier_day(figures: Warehouse) -> None:
    sell(figures, 6)
    names = [BUSINESS_DATE_SILVER.name, *FIGURES]
    assert figures.refreshed(*names, fit_models="false") == [BUSINESS_DATE_SILVER.name, VALUES.name, SEGMENTS.name]
    assert figures.rows(FITS) == [(5, date(2026, 2, 6))]
    assert FITS.name in figures.refreshed(*names, fit_models="true")
    assert figures.rows(FITS) == [(6, date(2026, 2, 7))]


@pytest.mark.parametrize(
    ("day", "before"),
    [
        (date(2026, 3, 15), date(2026, 2, 15)),
        (date(2026, 3, 31), date(2026, 2, 28)),
        (date(2024, 3, 30), date(2024, 2, 29)),
        (date(2026, 1, 31), date(2025, 12, 31)),
    ],
)
def test_month_before_is_the_same_day_or_the_last_day_of_the_month(day: date, before: date) -> None:
    assert month_before(day) == before
