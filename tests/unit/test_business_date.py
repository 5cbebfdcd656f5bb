from __future__ import annotations

from datetime import UTC, date, datetime
from types import SimpleNamespace

import pytest

from cdp_lib.business_date import DATED_BY, agreed_date, business_date, month_before
from cdp_lib.contracts.analytics import SEGMENT_MOVEMENTS_GOLD
from cdp_lib.contracts.silver import CUSTOMERS_SILVER, EVENTS_SILVER
from cdp_lib.errors import CdpError
from cdp_lib.settings import Settings

from .warehouse import PARAMETERS


@pytest.fixture
def tables(frame_of):
    """Tables to read, of which two may have a row: a day of registration, and a time of an event."""

    def build(registered=None, occurred_at=None):
        rows = {
            CUSTOMERS_SILVER: registered and {"customer_id": 1, "registration_date": registered},
            EVENTS_SILVER: occurred_at and {"event_id": "e", "event_type": "page_view", "occurred_at": occurred_at},
        }
        frames = {
            contract: frame_of(contract.columns, *([row | {"_batch_id": "b"}] if (row := rows.get(contract)) else []))
            for contract in DATED_BY
        }
        return SimpleNamespace(read_table=frames.__getitem__)

    return build


def settings(**parameters: str) -> Settings:
    run = {"run_id": "1", "run_started_at": "2026-11-25T03:00:00Z"}
    return Settings.from_parameters(PARAMETERS | run | parameters)


def test_figures_refer_to_the_day_a_run_is_told(tables) -> None:
    assert business_date(tables(date(2026, 7, 1)), settings(as_of="2026-06-30")) == date(2026, 6, 30)


def test_else_to_the_latest_day_on_which_anything_happened(tables) -> None:
    assert business_date(tables(date(2026, 7, 1)), settings()) == date(2026, 7, 1)
    both = tables(date(2026, 7, 1), datetime(2026, 7, 2, 23, 59, tzinfo=UTC))
    assert business_date(both, settings()) == date(2026, 7, 2)


def test_else_to_the_day_of_the_run(tables) -> None:
    assert business_date(tables(), settings()) == date(2026, 11, 25)


def test_a_clock_that_is_ahead_of_the_run_is_not_believed(tables) -> None:
    assert business_date(tables(date(2026, 11, 26)), settings()) == date(2026, 11, 25)


def test_a_table_that_refers_to_another_day_is_not_built_upon(tables, frame_of) -> None:
    made_from = tables(date(2026, 7, 1))
    rows = [{"previous_as_of": date(2026, 6, 1), "as_of": date(2026, 7, 1), "from_segment": "a", "to_segment": "b"}]
    of_july = frame_of(SEGMENT_MOVEMENTS_GOLD.columns, *(row | {"customer_count": 1} for row in rows))
    read = made_from.read_table
    made_from.read_table = lambda contract: of_july if contract is SEGMENT_MOVEMENTS_GOLD else read(contract)
    assert agreed_date(made_from, settings(), SEGMENT_MOVEMENTS_GOLD) == date(2026, 7, 1)
    with pytest.raises(CdpError, match="has the figures of 2026-07-01, not of 2026-06-30: run the task"):
        agreed_date(made_from, settings(as_of="2026-06-30"), SEGMENT_MOVEMENTS_GOLD)


@pytest.mark.parametrize(
    ("day", "before"),
    [
        (date(2026, 3, 15), date(2026, 2, 15)),
        (date(2026, 3, 31), date(2026, 2, 28)),
        (date(2024, 3, 30), date(2024, 2, 29)),
        (date(2026, 1, 31), date(2025, 12, 31)),
    ],
)
def test_a_month_before_is_the_same_day_or_the_months_last(day: date, before: date) -> None:
    assert month_before(day) == before
