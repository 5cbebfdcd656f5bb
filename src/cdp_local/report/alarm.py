"""The alarm at the top of the report: why the report has no sales, and what to do."""

from __future__ import annotations

import html
from collections.abc import Mapping

from cdp_lib.contracts import TABLES
from cdp_local.report.charts import Rows

SALES = "retails_silver"
"""Table of accepted sales. Without rows in it, most parts of the report are empty."""

_UPSTREAM = ("transactions_silver", "customers_silver", "products_silver", "stores_silver", SALES)
"""Tables that decide whether a sale is accepted, in the order in which a person looks at them."""

_MOST_RULES = 3
"""Largest number of rules that the alarm names for each table."""


def alarm_html(datasets: Mapping[str, Rows]) -> str:
    """Return why the report has no sales as HTML. Empty if sales were accepted, or the dashboard shows no accounts.

    Args:
        datasets: Rows of each dataset. The alarm reads `refused`, with a row per silver table, and `quarantine`, with a
            row per table and rule.
    """
    if "refused" not in datasets or "quarantine" not in datasets:
        return ""
    received = {row["table_name"]: row for row in datasets["refused"]}
    if received.get(SALES, {}).get("rows_out"):
        return ""
    reasons = [line for table in _UPSTREAM for line in _reasons(received.get(table), datasets["quarantine"])]
    advice = (
        f"<ul>{''.join(reasons)}</ul><p>Correct the source, or its mapping in the file of sources, then run"
        " <code>cdp run</code> again.</p>"
        if reasons
        else "<p>No source has delivered a sale. <code>cdp check</code> reads a sample of each source.</p>"
    )
    return (
        '<section class="alarm" role="alert" aria-labelledby="alarm-title">'
        f'<h2 id="alarm-title">No sale was accepted</h2>{advice}</section>'
    )


def _reasons(received: Mapping[str, object] | None, quarantine: Rows) -> list[str]:
    """Return a list item for a table with refused rows: how many, by which rules, and how to see them."""
    if not received or not received["rows_quarantined"]:
        return []
    table = str(received["table_name"])
    meanings = {rule.name: rule.meaning for rule in TABLES[table].rules} if table in TABLES else {}
    rules = sorted(
        (row for row in quarantine if row["table_name"] == table), key=lambda row: (-row["rows"], row["rule"])
    )
    names = "; ".join(
        f"{row['rule']} ({row['rows']:,} {'row' if row['rows'] == 1 else 'rows'})"
        + (f" – {meanings[row['rule']]}" if row["rule"] in meanings else "")
        for row in rules[:_MOST_RULES]
    )
    counts = f"{received['rows_quarantined']:,} of {received['rows_in']:,} rows of {table} were refused: "
    return [f"<li>{html.escape(counts + names)} <code>cdp quarantine {html.escape(table)}</code> shows them.</li>"]
