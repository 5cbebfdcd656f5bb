"""Tests of activities: days on which identities were active, brought up to date for changed identities only."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from cdp_lib.contracts.bronze import EVENTS_BRONZE
from cdp_lib.contracts.silver import ACTIVITIES_SILVER, EVENTS_SILVER
from cdp_lib.silver.activities import build_activities_silver

from ..warehouse import Warehouse


def test_activities_are_counted_by_identity_and_local_day(frame_of, rows_of) -> None:
    late = datetime(2026, 1, 1, 23, 30, tzinfo=UTC)
    events = [
        {"identity": "device:1", "event_type": "page_view", "occurred_at": late},
        {"identity": "device:1", "event_type": "checkout", "occurred_at": late, "session_id": "s"},
        {"identity": "device:1", "event_type": "email_sent", "occurred_at": late},
        {"identity": None, "event_type": "page_view", "occurred_at": late},
        {"identity": "email:a@example.com", "event_type": "email_click", "occurred_at": late},
    ]
    frame = frame_of(EVENTS_SILVER.columns, *events)
    assert rows_of(build_activities_silver(frame, "Europe/Vienna")) == [
        ("device:1", date(2026, 1, 2), 2, True, 6),
        ("email:a@example.com", date(2026, 1, 2), 1, False, 3),
    ]
    assert {row[1] for row in rows_of(build_activities_silver(frame, "UTC"))} == {date(2026, 1, 1)}


@pytest.mark.first_engine
def test_changed_and_deleted_events_change_activities(warehouse: Warehouse) -> None:
    def event(number: int, day: int, **values: str) -> dict[str, str]:
        known = {"event_type": "page_view", "anonymous_id": "d", "occurred_at": f"2026-01-{day:02}T10:00:00Z"}
        return {"event_id": f"{number}", **known, **values, "_source_file": f"{number}"}

    warehouse.land(EVENTS_BRONZE, 1, event(1, 1), event(2, 2), event(3, 2, anonymous_id="e"), load="files")
    warehouse.run("+activities_silver")
    warehouse.land(EVENTS_BRONZE, 2, event(4, 2), event(5, 3, anonymous_id="f"), load="files")
    warehouse.run("+activities_silver")
    assert warehouse.rows(ACTIVITIES_SILVER, "identity", "activity_date", "activity_count") == [
        ("device:d", date(2026, 1, 1), 1),
        ("device:d", date(2026, 1, 2), 2),
        ("device:e", date(2026, 1, 2), 1),
        ("device:f", date(2026, 1, 3), 1),
    ]
    assert warehouse.differences("activities_silver") == []
