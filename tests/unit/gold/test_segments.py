from __future__ import annotations

from datetime import date

import pytest

from cdp_lib.contracts.table import Column
from cdp_lib.gold.segments import build_segment_movements_gold, segments_of

JUNE, MAY = date(2026, 6, 30), date(2026, 5, 30)
SCORED = (
    Column("person_id", "INT", ""),
    Column("recency_score", "INT", ""),
    Column("frequency_score", "INT", ""),
    Column("monetary_score", "INT", ""),
    Column("purchase_interval_days", "DOUBLE", ""),
    Column("overdue", "DOUBLE", ""),
    Column("segment", "STRING", ""),
)


@pytest.fixture
def segments(frame_of):
    """Return a function that builds segment rows. Its arguments are the customers' segments now and a month before."""

    def build(now, before):
        frames = [
            frame_of(SCORED, *({"person_id": number, "segment": name} for number, name in each.items()))
            for each in (now, before)
        ]
        return segments_of(*frames, JUNE, MAY)

    return build


def test_customer_has_current_and_previous_segment(segments, rows_of) -> None:
    rows = segments({1: "Loyal", 2: "New"}, {1: "Champions"})
    assert rows_of(rows.select("person_id", "as_of", "segment", "previous_as_of", "previous_segment")) == [
        (1, JUNE, "Loyal", MAY, "Champions"),
        (2, JUNE, "New", MAY, None),
    ]


def test_every_customer_counts_in_one_movement(segments, rows_of) -> None:
    now = {1: "Loyal", 2: "Loyal", 3: "Loyal", 4: "New", 5: "Never bought"}
    rows = build_segment_movements_gold(segments(now, {1: "Champions", 2: "Champions", 3: "Loyal", 5: "Never bought"}))
    assert rows_of(rows.select("from_segment", "to_segment", "customer_count", "previous_as_of", "as_of")) == [
        ("Champions", "Loyal", 2, MAY, JUNE),
        ("Loyal", "Loyal", 1, MAY, JUNE),
        ("Never bought", "Never bought", 1, MAY, JUNE),
        ("Not a customer yet", "New", 1, MAY, JUNE),
    ]
