"""Tests of the alarm at the top of the report."""

from __future__ import annotations

from typing import Any

import pytest

from cdp_local.report.alarm import alarm_html

pytestmark = pytest.mark.first_engine


def refused(table: str, rows_in: int, rows_quarantined: int) -> dict[str, Any]:
    return {
        "table_name": table,
        "rows_in": rows_in,
        "rows_out": rows_in - rows_quarantined,
        "rows_quarantined": rows_quarantined,
    }


def broken(table: str, rule: str, rows: int) -> dict[str, Any]:
    return {"table_name": table, "rule": rule, "rows": rows}


def test_report_with_sales_has_no_alarm() -> None:
    datasets = {
        "refused": [refused("retails_silver", 10, 9)],
        "quarantine": [broken("retails_silver", "product_is_known", 9)],
    }
    assert alarm_html(datasets) == ""


def test_alarm_names_the_table_the_rules_and_the_command() -> None:
    datasets = {
        "refused": [refused("retails_silver", 1200, 1200), refused("products_silver", 3, 3)],
        "quarantine": [
            broken("retails_silver", "store_is_known", 1),
            broken("retails_silver", "product_is_known", 1200),
            broken("products_silver", "<rule>", 3),
        ],
    }
    alarm = alarm_html(datasets)
    assert "No sale was accepted" in alarm
    assert "1,200 of 1,200 rows of retails_silver were refused: product_is_known (1,200 rows)" in alarm
    assert "<code>cdp quarantine retails_silver</code>" in alarm
    # The refused products come first, because they are the reason for the refused sales.
    assert alarm.index("products_silver") < alarm.index("rows of retails_silver")
    assert "&lt;rule&gt; (3 rows)" in alarm and "<rule>" not in alarm


def test_alarm_without_any_sale_leads_to_the_check_of_the_sources() -> None:
    alarm = alarm_html({"refused": [], "quarantine": []})
    assert "No source has delivered a sale" in alarm and "<code>cdp check</code>" in alarm


def test_other_dashboard_without_accounts_has_no_alarm() -> None:
    assert alarm_html({"sales": []}) == ""
