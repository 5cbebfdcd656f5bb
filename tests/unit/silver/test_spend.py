import json
from datetime import date
from decimal import Decimal

import pytest

from cdp_lib.contracts.bronze import MARKETING_SPEND_BRONZE
from cdp_lib.contracts.silver import MARKETING_SPEND_SILVER
from cdp_lib.contracts.table import VALUES_FIT
from cdp_lib.silver.spend import build_marketing_spend_silver

SPEND = {"month": "2026-01", "channel": " email", "campaign": "New  Year", "amount": " 530.5 ", "currency": "usd"}


def test_build_marketing_spend_silver_parses_a_line(bronze_rows) -> None:
    [row] = build_marketing_spend_silver(bronze_rows(MARKETING_SPEND_BRONZE, SPEND)).collect()
    assert [row[name] for name in SPEND] == [date(2026, 1, 1), "email", "New Year", Decimal("530.50"), "USD"]
    assert row["_rescued_data"] is None


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("month", "January", "month_is_present"),
        ("month", "2026-13", "month_is_present"),
        ("month", "2026-01-15", "month_is_present"),
        ("amount", "12,5", "amount_is_not_negative"),
        ("amount", "EUR 5", "amount_is_not_negative"),
    ],
)
def test_line_that_does_not_parse_is_rejected_with_the_text_as_received(
    bronze_rows, verdicts, name: str, text: str, reason: str
) -> None:
    rows = build_marketing_spend_silver(bronze_rows(MARKETING_SPEND_BRONZE, SPEND | {name: text}))
    [row] = rows.collect()
    assert (row[name], json.loads(row["_rescued_data"])) == (None, {name: text})
    [verdict] = verdicts(rows, MARKETING_SPEND_SILVER)
    assert verdict.broken_rules == [VALUES_FIT.name, reason]


def test_campaigns_that_differ_only_in_case_are_different_keys(bronze_rows) -> None:
    rows = build_marketing_spend_silver(bronze_rows(MARKETING_SPEND_BRONZE, SPEND, SPEND | {"campaign": "new year"}))
    assert rows.select(*MARKETING_SPEND_SILVER.key).distinct().count() == 2


def test_channel_with_the_name_of_a_total_is_marked_as_a_value(bronze_rows) -> None:
    rows = build_marketing_spend_silver(bronze_rows(MARKETING_SPEND_BRONZE, SPEND | {"channel": "ALL channels "}))
    assert [row["channel"] for row in rows.collect()] == ["ALL channels (value)"]
