"""Writes what the platform stores about a person as one HTML page and one JSON file."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from string import Template
from typing import Any

from cdp_lib.erasure.access import StoredRows

_PAGE = Template("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>What we store about you</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem; }
section { margin: 2rem 0; }
.rows { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; }
th, td { border: 1px solid #8886; padding: .25rem .5rem; text-align: left; vertical-align: top; }
th small { display: block; font-weight: normal; max-width: 20rem; }
</style>
<h1>What we store about you</h1>
<p>Made at $made_at. The file <code>person.json</code> has the same content for machines.</p>
<nav><ul>$contents</ul></nav>
$sections
</html>
""")


def write_access(tables: Sequence[StoredRows], folder: Path, made_at: datetime) -> None:
    """Write `person.html` and `person.json` into a folder.

    Args:
        tables: Rows about the person.
        folder: Folder to write into. It is created if it does not exist.
        made_at: Present time, UTC.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "person.json").write_text(_json(tables, made_at), encoding="utf-8")
    (folder / "person.html").write_text(_html(tables, made_at), encoding="utf-8")


def _json(tables: Sequence[StoredRows], made_at: datetime) -> str:
    content = {
        "made_at": made_at.isoformat(timespec="seconds"),
        "tables": [
            {
                "name": each.contract.name,
                "meaning": each.contract.comment,
                "columns": {column.name: column.comment for column in each.contract.columns},
                "rows": each.rows,
            }
            for each in tables
        ],
    }
    return json.dumps(content, ensure_ascii=False, indent=2, default=_json_value)


def _json_value(value: Any) -> Any:
    """Return a value of a table as a JSON value. Money stays exact, as text."""
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def _html(tables: Sequence[StoredRows], made_at: datetime) -> str:
    names = [html.escape(each.contract.name) for each in tables]
    return _PAGE.substitute(
        made_at=f"{made_at:%Y-%m-%d %H:%M} UTC",
        contents="".join(
            f'<li><a href="#{name}">{name}</a> ({len(each.rows)})</li>'
            for name, each in zip(names, tables, strict=True)
        ),
        sections="".join(map(_section, tables)),
    )


def _section(table: StoredRows) -> str:
    comments = {column.name: column.comment for column in table.contract.columns}
    # Columns without any value would only make the page wide.
    columns = [name for name in table.rows[0] if any(row[name] not in (None, [], "") for row in table.rows)]
    heads = "".join(
        f"<th>{html.escape(name)}<small>{html.escape(comments.get(name, 'from the source'))}</small></th>"
        for name in columns
    )
    rows = "".join(f"<tr>{''.join(f'<td>{_shown(row[name])}</td>' for name in columns)}</tr>" for row in table.rows)
    name = html.escape(table.contract.name)
    return (
        f'<section id="{name}"><h2>{name}</h2><p>{html.escape(table.contract.comment)}</p>'
        f'<div class="rows"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></section>'
    )


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return html.escape(value.isoformat(sep=" ") if isinstance(value, datetime) else str(value))
