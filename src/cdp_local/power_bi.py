"""Generates TMDL files of the semantic model in powerbi/ from the contracts.

`make docs` writes the files of these objects:

- all tables that Power BI reads from the warehouse, with their columns and measures
- the tables that list segments and KPIs
- the relationships
- the role that shows a user only the rows of the user's countries

All other files of the model are written by hand.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from cdp_lib.consent import rule_of
from cdp_lib.contracts.analytics import KPI_MONTHLY_GOLD
from cdp_lib.contracts.consent import CONSENT_CURRENT_SILVER
from cdp_lib.contracts.kpis import DIMENSIONS, KPIS, Dimension
from cdp_lib.contracts.segments import SEGMENTS
from cdp_local.semantic_model import (
    ANALYTICS_NEEDS_CONSENT,
    DIMENSION_TABLES,
    MINIMUM_CELL_SIZE,
    MODEL_TABLES,
    OPEN_TABLES,
    CalculatedColumn,
    Measure,
    ModelTable,
    as_identifier,
    data_type,
    text_literal,
)

ROLE = "By country"
_ACCESS = "Country access"


def model_files(folder: Path) -> dict[Path, Callable[[], str]]:
    """Return the generated files of the model, each with the function that returns the content of the file.

    Args:
        folder: Folder of the model, which contains `definition/`.
    """
    definition = folder / "definition"
    texts: dict[str, Callable[[], str]] = {
        f"tables/{model_table.name}.tmdl": partial(_warehouse_table, model_table) for model_table in MODEL_TABLES
    }
    for dimension, table in DIMENSION_TABLES.items():
        if dimension != "segment":
            texts[f"tables/{table}.tmdl"] = partial(_dimension, dimension)
    texts |= {
        "tables/Segment.tmdl": _segments,
        "tables/KPI.tmdl": _kpis,
        "relationships.tmdl": _relationships,
        f"roles/{ROLE}.tmdl": _role,
    }
    return {definition / name: write for name, write in texts.items()}


def _warehouse_table(model_table: ModelTable) -> str:
    # Hide a column if a joined table has a column of the same name: users select the column of the joined table. In the
    # table of KPI values, hide all columns: users select measures.
    keys = {column for column, (_, key) in model_table.joins.items() if column == key}
    # Hide the customer's number: reports show groups of customers.
    hidden = {*keys, "person_id", *(model_table.contract.column_names if model_table.has_dimensions else ())}
    steps = [("Rows", f'Warehouse{{[Name = "{model_table.contract.name}", Kind = "Table"]}}[Data]')]
    if people := model_table.contract.counts_people:
        is_shown = f"[{people}] = null or [{people}] = 0 or [{people}] >= {MINIMUM_CELL_SIZE}"
        steps.append(("Shown", f"Table.SelectRows(Rows, each {is_shown})"))
    if model_table.contract.is_per_customer:
        steps += _permitted(model_table.contract.purpose, steps[-1][0])
    names = _list_literal(column.name for column in model_table.columns)
    steps.append(("Columns", f"Table.SelectColumns({steps[-1][0]}, {names})"))
    blocks = []
    for column in model_table.columns:
        blocks.append(
            _column(model_table.name, column.name, str(data_type(column)), column.comment, column.name in hidden)
        )
    if model_table.has_dimensions:
        for dimension, dimension_table in DIMENSION_TABLES.items():
            value = f'each if [dimension] = "{dimension}" then [dimension_value] else null'
            steps.append(
                (f"By{as_identifier(dimension_table)}", f'Table.AddColumn({steps[-1][0]}, "{dimension}", {value})')
            )
            blocks.append(
                _column(model_table.name, dimension, "string", f"dimension_value of a row by {dimension}", True)
            )
    for name, text in model_table.null_labels.items():
        replaced = (
            f'Table.ReplaceValue({steps[-1][0]}, null, {text_literal(text)}, Replacer.ReplaceValue, {{"{name}"}})'
        )
        steps.append(("WithoutNulls", replaced))
    blocks += [_calculated_column(model_table.name, column) for column in model_table.calculated]
    measures = [_measure_block(model_table.name, measure) for measure in model_table.measures]
    return _table(model_table.name, model_table.contract.comment, [*measures, *blocks], _let_expression(steps))


def _permitted(purpose: str, rows: str) -> list[tuple[str, str]]:
    """Return the steps that leave out the persons whom the rule of a purpose excludes, as `consent.permitted_rows`."""
    rule = rule_of(purpose, analytics_needs_consent=ANALYTICS_NEEDS_CONSENT)
    kind = {"left_anti": "JoinKind.LeftAnti", "left_semi": "JoinKind.LeftSemi"}[rule.join]
    is_allowed = "[is_allowed]" if rule.join == "left_semi" else "not [is_allowed]"
    decided = f'each [purpose] = "{rule.purpose}" and [channel] = "{rule.channel}" and {is_allowed}'
    consents = f'Warehouse{{[Name = "{CONSENT_CURRENT_SILVER.name}", Kind = "Table"]}}[Data]'
    joined = f'Table.NestedJoin({rows}, {{"person_id"}}, Decided, {{"person_id"}}, "Consent", {kind})'
    return [("Decided", f"Table.SelectRows({consents}, {decided})"), ("Permitted", joined)]


def _dimension(dimension: Dimension) -> str:
    table = DIMENSION_TABLES[dimension]
    steps = [
        ("Rows", f'Warehouse{{[Name = "{KPI_MONTHLY_GOLD.name}", Kind = "Table"]}}[Data]'),
        ("OfDimension", f'Table.SelectRows(Rows, each [dimension] = "{dimension}")'),
        ("Values", 'Table.Distinct(Table.SelectColumns(OfDimension, {"dimension_value"}))'),
        ("Named", f'Table.RenameColumns(Values, {{{{"dimension_value", "{dimension}"}}}})'),
        # Power BI ignores the difference between upper and lower case. Keep one of the values that it treats as equal.
        ("Keys", f'Table.Distinct(Named, {{"{dimension}", Comparer.OrdinalIgnoreCase}})'),
    ]
    column = _column(table, dimension, "string", DIMENSIONS[dimension], is_key=True)
    return _table(table, f"One row per {table.lower()} with KPIs.", [column], _let_expression(steps))


def _segments() -> str:
    columns = [
        _column("Segment", "segment", "string", "segment of customers", sort_by="order", is_key=True),
        _column(
            "Segment", "order", "int64", "position in the order in which segment rules are checked", is_hidden=True
        ),
        _column("Segment", "meaning", "string", "customers in the segment"),
        _column("Segment", "action", "string", "what to do with the segment"),
        _column("Segment", "promise", "string", "what the segment promises about purchases; empty if nothing"),
    ]
    rows = [
        (each.name, order, each.meaning, each.action, each.promise.text if each.promise else "")
        for order, each in enumerate(SEGMENTS, start=1)
    ]
    types = {"segment": "text", "order": "Int64.Type", "meaning": "text", "action": "text", "promise": "text"}
    return _table("Segment", "One row per segment.", columns, _table_literal(types, rows))


def _kpis() -> str:
    columns = {
        "kpi": "name of the KPI",
        "title": "name of its measure",
        "definition": "definition of the KPI",
        "unit": "money (reporting currency), count, share (0 to 1), months, ratio or points",
        "owner": "department that is responsible for the definition",
    }
    blocks = [_column("KPI", name, "string", comment, is_key=name == "kpi") for name, comment in columns.items()]
    rows = [(kpi.name, kpi.title, kpi.definition, kpi.unit, kpi.owner) for kpi in KPIS]
    return _table("KPI", "One row per KPI.", blocks, _table_literal(dict.fromkeys(columns, "text"), rows))


def _relationships() -> str:
    blocks = [
        f"relationship {_lineage_tag(model_table.name, column, table, key)}\n"
        f"\tfromColumn: {_quoted(model_table.name)}.{_quoted(column)}\n"
        f"\ttoColumn: {_quoted(table)}.{_quoted(key)}\n"
        for model_table in MODEL_TABLES
        for column, (table, key) in model_table.joins.items()
    ]
    return "\n".join(blocks)


def _role() -> str:
    # Ignore rows of the table `Country access` whose country is empty. A user with such a row would see the
    # totals of all countries, because these totals have no country either.
    own_access = f"'{_ACCESS}'[user_principal_name] = USERPRINCIPALNAME() && '{_ACCESS}'[country] <> \"\""
    allowed = f"SELECTCOLUMNS(FILTER('{_ACCESS}', {own_access}), \"country\", '{_ACCESS}'[country])"
    conditions = {"Country": f"[country] IN {allowed}", _ACCESS: "[user_principal_name] = USERPRINCIPALNAME()"}
    for model_table in MODEL_TABLES:
        if model_table.name not in OPEN_TABLES:
            conditions[model_table.name] = f"{model_table.country} IN {allowed}" if model_table.country else "FALSE()"
    lines = [
        "/// Sees only the countries that Country access lists for the user, and no totals of all countries.",
        f"role {_quoted(ROLE)}",
        "\tmodelPermission: read",
    ]
    for table, condition in conditions.items():
        lines += ["", f"\ttablePermission {_quoted(table)} = {condition}"]
    return "\n".join(lines) + "\n"


def _table(name: str, description: str, blocks: list[str], source: str) -> str:
    partition = f"\tpartition {_quoted(name)} = m\n\t\tmode: import\n\t\tsource =\n{_indented(source, 4)}\n"
    head = f"/// {description}\ntable {_quoted(name)}\n\tlineageTag: {_lineage_tag(name)}\n"
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
    lines += [f"\tlineageTag: {_lineage_tag(table, name)}", "\tsummarizeBy: none", f"\tsourceColumn: {name}"]
    lines += [f"\tsortByColumn: {_quoted(sort_by)}"] if sort_by else []
    return _indented("\n".join(lines), 1) + "\n"


def _calculated_column(table: str, column: CalculatedColumn) -> str:
    lines = [f"/// {column.description}", f"column {column.name} =", _indented(column.dax, 2)]
    lines += [
        f"\tdataType: {column.data_type}",
        f"\tlineageTag: {_lineage_tag(table, column.name)}",
        "\tsummarizeBy: none",
    ]
    return _indented("\n".join(lines), 1) + "\n"


def _measure_block(table: str, measure: Measure) -> str:
    lines = [f"/// {measure.description}", f"measure {_quoted(measure.name)} =", _indented(measure.dax, 2)]
    lines += [f"\tformatString: {measure.format}"] if measure.format else []
    lines += ["\tisHidden"] if measure.is_hidden else []
    lines += [f"\tdisplayFolder: {measure.folder}"] if measure.folder else []
    lines += [f"\tlineageTag: {_lineage_tag(table, measure.name)}"]
    return _indented("\n".join(lines), 1) + "\n"


def _table_literal(columns: Mapping[str, str], rows: Iterable[tuple[str | int, ...]]) -> str:
    """Return a table literal in the language M."""
    types = ", ".join(f"{name} = {kind}" for name, kind in columns.items())
    cells = ((str(value) if isinstance(value, int) else text_literal(value) for value in row) for row in rows)
    lines = [f"    {{{', '.join(row)}}}" for row in cells]
    return f"#table(type table [{types}], {{\n" + ",\n".join(lines) + "\n})"


def _let_expression(steps: list[tuple[str, str]]) -> str:
    lines = ",\n".join(f"    {name} = {value}" for name, value in steps)
    return f"let\n{lines}\nin\n    {steps[-1][0]}"


def _list_literal(names: Iterable[str]) -> str:
    return "{" + ", ".join(text_literal(name) for name in names) + "}"


def _quoted(name: str) -> str:
    """Return a name in TMDL syntax: in quotes if the name is not an identifier."""
    return name if re.fullmatch(r"\w+", name) else "'" + name.replace("'", "''") + "'"


def _indented(text: str, tabs: int) -> str:
    """Indent a text by tabs. Replace every four leading spaces with a tab, because TMDL requires tabs."""
    lines = []
    for line in text.split("\n"):
        blanks = len(line) - len(line.lstrip(" "))
        lines.append("\t" * (tabs + blanks // 4) + line.lstrip(" "))
    return "\n".join(lines)


def _lineage_tag(*names: str) -> str:
    """Return a stable lineage tag for an object. Power BI recognizes a renamed object by its lineage tag."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(["retail-cdp", *names])))
