"""docs/tables.md, written from the contracts."""

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.table import TableContract
from cdp_local.workspace import PROJECT

PAGE = PROJECT / "docs" / "tables.md"


def table_catalogue() -> str:
    """The page, as Markdown."""
    layers = {"bronze": "Bronze: as received", "silver": "Silver: typed and checked", "gold": "Gold: aggregates"}
    lines = [
        "# Tables",
        "",
        "Written from the contracts in `src/cdp_lib/contracts/` by `make docs`; a test keeps it fresh.",
        "Every table that has rules has a quarantine, `<table>_quarantine`, for the rows it refused: "
        "`record` (the row as received, JSON), `broken_rules`, `_batch_id`.",
    ]
    for layer, title in layers.items():
        lines += ["", f"## {title}"]
        for name, contract in TABLES.items():
            if contract.layer == layer and not name.endswith("_quarantine"):
                lines += _section(contract)
    return "\n".join(lines) + "\n"


def _section(contract: TableContract) -> list[str]:
    lines = ["", f"### {contract.name}", "", contract.comment, ""]
    lines += ["| column | type | | |", "|---|---|---|---|"]
    for column in contract.columns:
        notes = [note for note, holds in (("key", column.name in contract.key), ("required", column.required)) if holds]
        notes += [f"personal data: {column.pii}"] if column.pii else []
        lines.append(f"| `{column.name}` | {column.type} | {column.comment} | {', '.join(notes)} |")
    if contract.rules:
        lines += ["", "A row is kept when:", ""]
        lines += [f"- `{rule.name}`: `{rule.holds}`" for rule in contract.rules]
    return lines


if __name__ == "__main__":
    PAGE.write_text(table_catalogue(), encoding="utf-8")
