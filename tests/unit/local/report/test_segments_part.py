"""Tests of the part of the report that says what to do with each segment."""

from __future__ import annotations

import html
from typing import Any

import pytest

from cdp_lib.contracts.segments import SEGMENTS
from cdp_local.report.segments import segments_html

pytestmark = pytest.mark.first_engine


def moved(come_from: str, to: str, customers: int) -> dict[str, Any]:
    return {"from_segment": come_from, "to_segment": to, "customers": customers}


def test_part_says_what_a_segment_is_how_it_moved_and_what_to_do() -> None:
    [at_risk] = [segment for segment in SEGMENTS if segment.name == "At risk"]
    part = segments_html(
        {
            "segments": [
                {"country": "All countries", "segment": "At risk", "customers": 1200},
                {"country": "Egypt", "segment": "Loyal", "customers": 7},
            ],
            "movements": [
                moved("Loyal", "At risk", 30),
                moved("At risk", "Lost", 4),
                moved("At risk", "At risk", 1000),
            ],
        }
    )
    assert part.count("<tr>") == 2  # the heading, and the only segment with customers of all countries
    assert "1,200" in part and "30 came, 4 left" in part
    assert at_risk.meaning in part and at_risk.action in part
    assert "cdp export segment 'At risk' --channel email --to at-risk.csv" in part


def test_part_without_customers_is_empty() -> None:
    assert segments_html({"segments": [], "movements": []}) == ""


def test_unknown_movement_is_not_zero() -> None:
    part = segments_html(
        {"segments": [{"country": "All countries", "segment": "Lost", "customers": 5}], "movements": []}
    )
    assert "not known yet" in part and "0 came" not in part


@pytest.mark.parametrize("result", ["kept", "broken", "too few customers to check", None])
def test_promise_of_a_segment_is_shown_with_the_result_of_its_check(result: str | None) -> None:
    promised = next(segment for segment in SEGMENTS if segment.promise)
    assert promised.promise
    part = segments_html(
        {
            "segments": [{"country": "All countries", "segment": promised.name, "customers": 5}],
            "promises": [{"segment": promised.name, "result": result}] if result else [],
        }
    )
    assert html.escape(f"{promised.promise.text[1:]}: {result or 'not checked yet'}") in part
