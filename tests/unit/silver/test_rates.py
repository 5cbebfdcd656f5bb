import json
from datetime import date
from decimal import Decimal

import pytest

from cdp_lib.contracts.bronze import EXCHANGE_RATES_BRONZE
from cdp_lib.contracts.silver import EXCHANGE_RATES_SILVER
from cdp_lib.contracts.table import VALUES_FIT
from cdp_lib.silver.rates import build_exchange_rates_silver

RATE = {"month": " 2026-01 ", "currency": "eur ", "rate": "1.08345678"}


def test_build_exchange_rates_silver_parses_a_line(bronze_rows) -> None:
    [row] = build_exchange_rates_silver(bronze_rows(EXCHANGE_RATES_BRONZE, RATE)).collect()
    assert [row[name] for name in RATE] == [date(2026, 1, 1), "EUR", Decimal("1.08345678")]
    assert row["_rescued_data"] is None


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("month", "01/2026", "month_is_present"),
        ("rate", "1,08", "rate_is_positive"),
        ("rate", "NaN", "rate_is_positive"),
    ],
)
def test_line_that_does_not_parse_is_rejected_with_the_text_as_received(
    bronze_rows, verdicts, name: str, text: str, reason: str
) -> None:
    rows = build_exchange_rates_silver(bronze_rows(EXCHANGE_RATES_BRONZE, RATE | {name: text}))
    [row] = rows.collect()
    assert (row[name], json.loads(row["_rescued_data"])) == (None, {name: text})
    [verdict] = verdicts(rows, EXCHANGE_RATES_SILVER)
    assert verdict.broken_rules == [VALUES_FIT.name, reason]
