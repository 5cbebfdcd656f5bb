"""The files of powerbi/ that follow from the contracts, as TMDL.

`make docs` writes them: every table that is read from the warehouse, with its columns and measures, the tables that
list segments and KPIs, the relationships, and the role that opens single countries. The others are kept by hand.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from cdp_lib.contracts.analytics import KPI_MONTHLY_GOLD
from cdp_lib.contracts.kpis import DIMENSIONS, KPIS, Dimension
from cdp_lib.contracts.segments import SEGMENTS
from cdp_local.semantic_model import (
    MARTS,
    OPEN_TABLES,
    PLACES,
    CalculatedColumn,
    Mart,
    Measure,
    as_identifier,
    data_type,
    text_literal,
)

ROLE = "By country"
_ACCESS = "Country access"


def model_files(folder: Path) -> dict[Path, Callable[[], str]]:
    """What writes each file of the model that follows from the contracts.

    Args:
        folder: The model's folder, which has `definition/`.
    """
    definition = folder / "definition"
    texts: dict[str, Callable[[], str]] = {f"tables/{mart.name}.tmdl": partial(_mart, mart) for mart in MARTS}
    for dimension, table in PLACES.items():
        if dimension != "segment":
            texts[f"tables/{table}.tmdl"] = partial(_dimension, dimension)
    texts |= {
        "tables/Segment.tmdl": _segments,
        "tables/KPI.tmdl": _kpis,
        "relationships.tmdl": _relationships,
        f"roles/{ROLE}.tmdl": _role,
    }
    return {definition / name: write for name, write in texts.items()}


def _mart(mart: Mart) -> str:
    # What a table of its own says, people take from there.
    keys = {column for column, (_, key) in mart.joins.items() if column == key}
    hidden = {*keys, *(mart.contract.column_names if mart.has_dimensions else ())}
    steps = [
        ("Rows", f'Warehouse{{[Name = "{mart.contract.name}", Kind = "Table"]}}[Data]'),
        ("Columns", f"Table.SelectColumns(Rows, {_list(column.name for column in mart.columns)})"),
    ]
    blocks = []
    for column in mart.columns:
        blocks.append(_column(mart.name, column.name, str(data_type(column)), column.comment, column.name in hidden))
    if mart.has_dimensions:
        for dimension, table in PLACES.items():
            value = f'each if [dimension] = "{dimension}" then [dimension_value] else null'
            steps.append((f"By{as_identifier(table)}", f'Table.AddColumn({steps[-1][0]}, "{dimension}", {value})'))
            blocks.append(_column(mart.name, dimension, "string", f"dimension_value of a row by {dimension}", True))
    for name, text in mart.instead_of_null.items():
        replaced = (
            f'Table.ReplaceValue({steps[-1][0]}, null, {text_literal(text)}, Replacer.ReplaceValue, {{"{name}"}})'
        )
        steps.append(("WithoutNulls", replaced))
    blocks += [_calculated(mart.name, column) for column in mart.calculated]
    measures = [_measure_block(mart.name, measure) for measure in mart.measures]
    return _table(mart.name, mart.contract.comment, [*measures, *blocks], _let(steps))


def _dimension(dimension: Dimension) -> str:
    table = PLACES[dimension]
    steps = [
        ("Rows", f'Warehouse{{[Name = "{KPI_MONTHLY_GOLD.name}", Kind = "Table"]}}[Data]'),
        ("OfDimension", f'Table.SelectRows(Rows, each [dimension] = "{dimension}")'),
        ("Values", 'Table.Distinct(Table.SelectColumns(OfDimension, {"dimension_value"}))'),
        ("Named", f'Table.RenameColumns(Values, {{{{"dimension_value", "{dimension}"}}}})'),
        # To Power BI, values that differ in upper and lower case alone are one.
        ("Keys", f'Table.Distinct(Named, {{"{dimension}", Comparer.OrdinalIgnoreCase}})'),
    ]
    column = _column(table, dimension, "string", DIMENSIONS[dimension], is_key=True)
    return _table(table, f"One row per {table.lower()} that KPIs are given by.", [column], _let(steps))


def _segments() -> str:
    columns = [
        _column("Segment", "segment", "string", "RFM segment", sort_by="order", is_key=True),
        _column("Segment", "order", "int64", "place among the segments, as they are asked in", is_hidden=True),
        _column("Segment", "meaning", "string", "who is in it"),
    ]
    rows = [(each.name, order, each.meaning) for order, each in enumerate(SEGMENTS, start=1)]
    source = _listed({"segment": "text", "order": "Int64.Type", "meaning": "text"}, rows)
    return _table("Segment", "One row per RFM segment.", columns, source)


def _kpis() -> str:
    columns = {
        "kpi": "name of the KPI",
        "title": "name of its measure",
        "definition": "what it says",
        "unit": "money (reporting currency), count, share (0 to 1), months, ratio or points",
        "owner": "who answers for the definition",
    }
    blocks = [_column("KPI", name, "string", comment, is_key=name == "kpi") for name, comment in columns.items()]
    rows = [(kpi.name, kpi.title, kpi.definition, kpi.unit, kpi.owner) for kpi in KPIS]
    return _table("KPI", "One row per KPI.", blocks, _listed(dict.fromkeys(columns, "text"), rows))


def _relationships() -> str:
    blocks = [
        f"relationship {_tag(mart.name, column, table, key)}\n"
        f"\tfromColumn: {_quoted(mart.name)}.{_quoted(column)}\n"
        f"\ttoColumn: {_quoted(table)}.{_quoted(key)}\n"
        for mart in MARTS
        for column, (table, key) in mart.joins.items()
    ]
    return "\n".join(blocks)


def _role() -> str:
    # Without an empty country: one would open every row that is of none, such as the figures of all countries.
    own = f"'{_ACCESS}'[user_principal_name] = USERPRINCIPALNAME() && '{_ACCESS}'[country] <> \"\""
    allowed = f"SELECTCOLUMNS(FILTER('{_ACCESS}', {own}), \"country\", '{_ACCESS}'[country])"
    conditions = {"Country": f"[country] IN {allowed}", _ACCESS: "[user_principal_name] = USERPRINCIPALNAME()"}
    for mart in MARTS:
        if mart.name not in OPEN_TABLES:
            conditions[mart.name] = f"{mart.country} IN {allowed}" if mart.country else "FALSE()"
    lines = [
        "/// Sees the countries that Country access names for the user, and no figure of all countries together.",
        f"role {_quoted(ROLE)}",
        "\tmodelPermission: read",
    ]
    for table, condition in conditions.items():
        lines += ["", f"\ttablePermission {_quoted(table)} = {condition}"]
    return "\n".join(lines) + "\n"


def _table(name: str, description: str, blocks: list[str], source: str) -> str:
    partition = f"\tpartition {_quoted(name)} = m\n\t\tmode: import\n\t\tsource =\n{_indented(source, 4)}\n"
    head = f"/// {description}\ntable {_quoted(name)}\n\tlineageTag: {_tag(name)}\n"
    return "\n".join([head, *blocks, partition])


def _column(
    table: str,
    name: str,
    data_type: str,
    description: str,
    is_hidden: bool = False,
    *,
    sort_by: str = "",
    is_key: bool = False,
) -> str:
    lines = [f"/// {description}", f"column {_quoted(name)}", f"\tdataType: {data_type}"]
    lines += ["\tisHidden"] if is_hidden else []
    lines += ["\tisKey"] if is_key else []
    lines += ["\tformatString: yyyy-MM-dd"] if data_type == "dateTime" and not name.endswith("_at") else []
    lines += [f"\tlineageTag: {_tag(table, name)}", "\tsummarizeBy: none", f"\tsourceColumn: {name}"]
    lines += [f"\tsortByColumn: {_quoted(sort_by)}"] if sort_by else []
    return _indented("\n".join(lines), 1) + "\n"


def _calculated(table: str, column: CalculatedColumn) -> str:
    lines = [f"/// {column.description}", f"column {column.name} =", _indented(column.dax, 2)]
    lines += [f"\tdataType: {column.data_type}", f"\tlineageTag: {_tag(table, column.name)}", "\tsummarizeBy: none"]
    return _indented("\n".join(lines), 1) + "\n"


def _measure_block(table: str, measure: Measure) -> str:
    lines = [f"/// {measure.description}", f"measure {_quoted(measure.name)} =", _indented(measure.dax, 2)]
    lines += [f"\tformatString: {measure.format}"] if measure.format else []
    lines += ["\tisHidden"] if measure.is_hidden else []
    lines += [f"\tdisplayFolder: {measure.folder}"] if measure.folder else []
    lines += [f"\tlineageTag: {_tag(table, measure.name)}"]
    return _indented("\n".join(lines), 1) + "\n"


def _listed(columns: Mapping[str, str], rows: Iterable[tuple[str | int, ...]]) -> str:
    """A table that is written out, as M."""
    types = ", ".join(f"{name} = {kind}" for name, kind in columns.items())
    cells = ((str(value) if isinstance(value, int) else text_literal(value) for value in row) for row in rows)
    listed = [f"    {{{', '.join(row)}}}" for row in cells]
    return f"#table(type table [{types}], {{\n" + ",\n".join(listed) + "\n})"


def _let(steps: list[tuple[str, str]]) -> str:
    lines = ",\n".join(f"    {name} = {value}" for name, value in steps)
    return f"let\n{lines}\nin\n    {steps[-1][0]}"


def _list(names: Iterable[str]) -> str:
    return "{" + ", ".join(text_literal(name) for name in names) + "}"


def _quoted(name: str) -> str:
    """A name as TMDL writes it."""
    return name if re.fullmatch(r"\w+", name) else "'" + name.replace("'", "''") + "'"


def _indented(text: str, tabs: int) -> str:
    """A text further to the right; what is indented by blanks keeps them as tabs, as TMDL has it."""
    lines = []
    for line in text.split("\n"):
        blanks = len(line) - len(line.lstrip(" "))
        lines.append("\t" * (tabs + blanks // 4) + line.lstrip(" "))
    return "\n".join(lines)


def _tag(*names: str) -> str:
    """An identifier that stays: Power BI follows renamed objects by it."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(["retail-cdp", *names])))
