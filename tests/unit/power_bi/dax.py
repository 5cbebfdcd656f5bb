"""Interpreter of the DAX functions that the model uses, written from their documentation.

The interpreter does not use Power BI. It has its own parser. It supports only filters on the columns of a single table,
because the formulas have no other filters. DAX that is not supported raises an error.
"""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Any

from .semantic_model import SemanticModel

Row = dict[tuple[str, str], Any]
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"]|"")*")|(?P<table>'(?:[^']|'')*')|(?P<column>\[[^\]]*\])|(?P<number>\d+(?:\.\d+)?)
    |(?P<word>\w+)|(?P<sign>&&|\|\||<>|<=|>=|[-+*/=<>(){},]))""",
    re.VERBOSE,
)
_PRECEDENCE = [("||",), ("&&",), ("=", "<>", "<", ">", "<=", ">=", "IN"), ("+", "-"), ("*", "/")]


@dataclass(frozen=True)
class Node:
    """A node of the syntax tree of a formula."""

    kind: str
    value: Any = None
    parts: tuple[Node, ...] = ()


@cache
def parse(formula: str) -> Node:
    """Parse a formula into a syntax tree."""
    return _Parser(formula).formula()


class _Parser:
    def __init__(self, formula: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        position = 0
        while formula[position:].strip():
            match = _TOKEN.match(formula, position)
            assert match and match.lastgroup, f"not DAX: {formula[position:]!r}"
            self.tokens.append((match.lastgroup, match[match.lastgroup]))
            position = match.end()
        self.tokens.append(("end", ""))
        self.position = 0

    def formula(self) -> Node:
        node = self.block()
        assert self.tokens[self.position][0] == "end", f"unexpected: {self.tokens[self.position :]}"
        return node

    def block(self) -> Node:
        variables = []
        while self.tokens[self.position] == ("word", "VAR"):
            self.position += 1
            name = self.take("word")
            self.take("sign", "=")
            variables.append(Node("variable", name, (self.expression(),)))
        if not variables:
            return self.expression()
        self.take("word", "RETURN")
        return Node("block", None, (*variables, self.expression()))

    def expression(self, level: int = 0) -> Node:
        if level == len(_PRECEDENCE):
            return self.operand()
        left = self.expression(level + 1)
        while self.tokens[self.position][1] in _PRECEDENCE[level] and self.tokens[self.position][0] in ("sign", "word"):
            sign = self.tokens[self.position][1]
            self.position += 1
            left = Node("operator", sign, (left, self.expression(level + 1)))
        return left

    def operand(self) -> Node:
        kind, text = self.tokens[self.position]
        self.position += 1
        match kind, text:
            case "text", _:
                return Node("constant", text[1:-1].replace('""', '"'))
            case "number", _:
                return Node("constant", float(text) if "." in text else int(text))
            case "sign", "-":
                return Node("operator", "-", (Node("constant", 0), self.operand()))
            case "sign", "(":
                node = self.block()
                self.take("sign", ")")
                return node
            case "sign", "{":
                return Node("list", None, self.arguments("}"))
            case "word", "NOT":
                return Node("call", "NOT", (self.expression(2),))
            case "table", _:
                table = text[1:-1].replace("''", "'")
                if self.tokens[self.position][0] == "column":
                    return Node("column", (table, self.take("column")[1:-1]))
                return Node("table", table)
            case "column", _:
                return Node("bare", text[1:-1])
            case "word", _ if self.tokens[self.position] == ("sign", "("):
                self.position += 1
                return Node("call", text, self.arguments(")"))
            case "word", _:
                return Node("name", text)
        raise AssertionError(f"{text!r} is not expected here")

    def arguments(self, end: str) -> tuple[Node, ...]:
        found: list[Node] = []
        while self.tokens[self.position] != ("sign", end):
            if found:
                self.take("sign", ",")
            found.append(self.block())
        self.position += 1
        return tuple(found)

    def take(self, kind: str, text: str | None = None) -> str:
        token = self.tokens[self.position]
        assert token[0] == kind and text in (None, token[1]), f"{text or kind} is expected, not {token}"
        self.position += 1
        return token[1]


@dataclass(frozen=True)
class Filter:
    """A condition on columns of a table."""

    table: str
    columns: frozenset[str]
    holds: Callable[[Row], bool]


@dataclass(frozen=True)
class Context:
    """Filter context, row context and variables of an evaluation."""

    filters: tuple[Filter, ...] = ()
    variables: dict[str, Any] = field(default_factory=dict)
    row: Row | None = None
    selected_measure: str | None = None


class Engine:
    """Engine that evaluates formulas over the rows of a model."""

    def __init__(self, model: SemanticModel, rows: dict[str, list[dict[str, Any]]], user: str = "") -> None:
        self.model = model
        self.user = user
        self.rows = {
            table: [{(table, name): value for name, value in row.items()} for row in table_rows]
            for table, table_rows in rows.items()
        }

    def in_role(self, role: str) -> Engine:
        """Return an engine that has only the rows that the user sees in a role."""
        restricted = Engine(self.model, {}, self.user)
        conditions = {table: parse(condition) for table, condition in self.model.roles[role].items()}
        restricted.rows = {
            table: [
                row for row in rows if table not in conditions or self.evaluate(conditions[table], Context(row=row))
            ]
            for table, rows in self.rows.items()
        }
        return restricted

    def measure(self, name: str, *filters: Filter, calculation: str | None = None) -> Any:
        """Return the value of a measure under some filters. If `calculation` is given, apply this calculation item."""
        if calculation:
            item = self.model.tables["Time calculation"].calculation_items[calculation]
            return self.evaluate(parse(item), Context(filters, selected_measure=name))
        return self.evaluate(parse(self.model.measures[name].dax), Context(filters))

    def visible(self, table: str, context: Context) -> list[Row]:
        """Return the rows of a table that pass the filters on the table and on its dimension tables.

        A filter on the one side of a relationship also filters the many side.
        """
        filters = [each for each in context.filters if each.table == table]
        rows = [row for row in self.rows[table] if all(each.holds(row) for each in filters)]
        for many, one in self.model.relationships:
            if many.table == table and self._is_filtered(one.table, context):
                keys = {row[one.table, one.column] for row in self.visible(one.table, context)}
                rows = [row for row in rows if row[table, many.column] in keys]
        return rows

    def _is_filtered(self, table: str, context: Context) -> bool:
        return any(each.table == table for each in context.filters) or any(
            many.table == table and self._is_filtered(one.table, context) for many, one in self.model.relationships
        )

    def evaluate(self, node: Node, context: Context) -> Any:
        """Return the value of a formula: a number, string, date or boolean, None for BLANK, or rows."""
        match node.kind:
            case "constant":
                return node.value
            case "name":
                return context.variables[node.value]
            case "list":
                return [{("", "Value"): self.evaluate(part, context)} for part in node.parts]
            case "table":
                return self.visible(node.value, context)
            case "column":
                assert context.row is not None, f"{node.value} without a row"
                return context.row[node.value]
            case "bare":
                return self._bare(node.value, context)
            case "block":
                for variable in node.parts[:-1]:
                    value = self.evaluate(variable.parts[0], context)
                    context = _with(context, variables=context.variables | {variable.value: value})
                return self.evaluate(node.parts[-1], context)
            case "operator":
                return self._operator(node, context)
        return getattr(self, f"_{node.value.lower()}")(context, *node.parts)

    def _bare(self, name: str, context: Context) -> Any:
        if name in self.model.measures:
            assert context.row is None, "a measure in a row context is not supported"
            return self.evaluate(parse(self.model.measures[name].dax), Context(context.filters))
        assert context.row is not None
        ((_, value),) = [(column, value) for column, value in context.row.items() if column[1] == name]
        return value

    def _operator(self, node: Node, context: Context) -> Any:
        left = self.evaluate(node.parts[0], context)
        if node.value == "&&":
            return bool(left) and bool(self.evaluate(node.parts[1], context))
        if node.value == "||":
            return bool(left) or bool(self.evaluate(node.parts[1], context))
        right = self.evaluate(node.parts[1], context)
        if node.value == "IN":
            return left in [next(iter(row.values())) for row in right]
        if node.value in ("+", "-"):
            blank = left is None and right is None
            return None if blank else (left or 0) + (right or 0) * (1 if node.value == "+" else -1)
        if node.value == "*":
            return None if left is None or right is None else left * right
        assert node.value != "/", "use DIVIDE instead of /"
        left, right = _comparable(left, right)
        compare = {"=": "__eq__", "<>": "__ne__", "<": "__lt__", ">": "__gt__", "<=": "__le__", ">=": "__ge__"}
        return getattr(left, compare[node.value])(right)

    # Filters

    def _filtered(self, context: Context, filters: Iterable[Node]) -> Context:
        """Return the context after CALCULATE has set its filters. They replace existing filters on the same columns."""
        kept = list(context.filters)
        added = []
        for node in filters:
            if node.kind == "call" and node.value == "REMOVEFILTERS":
                tables = {part.value for part in node.parts}
                kept = [each for each in kept if tables and each.table not in tables]
                continue
            columns = set(_columns(node))
            (table,) = {table for table, _ in columns}
            names = frozenset(name for _, name in columns)
            kept = [each for each in kept if each.table != table or not each.columns <= names]
            holds = lambda row, node=node: bool(self.evaluate(node, _with(context, row=row)))  # noqa: E731
            added.append(Filter(table, names, holds))
        return _with(context, filters=(*kept, *added))

    def _calculate(self, context: Context, formula: Node, *filters: Node) -> Any:
        return self.evaluate(formula, self._filtered(context, filters))

    _calculatetable = _calculate

    def _isfiltered(self, context: Context, table: Node) -> bool:
        return any(each.table == table.value for each in context.filters)

    # Tables

    def _filter(self, context: Context, table: Node, condition: Node) -> list[Row]:
        rows = self.evaluate(table, context)
        return [row for row in rows if self.evaluate(condition, _with(context, row=row))]

    def _selectcolumns(self, context: Context, table: Node, name: Node, formula: Node) -> list[Row]:
        rows = self.evaluate(table, context)
        return [{("", name.value): self.evaluate(formula, _with(context, row=row))} for row in rows]

    def _summarize(self, context: Context, table: Node, *columns: Node) -> list[Row]:
        rows = [{column.value: row[column.value] for column in columns} for row in self.evaluate(table, context)]
        return _distinct(rows)

    def _distinct(self, context: Context, table: Node) -> list[Row]:
        return _distinct(self.evaluate(table, context))

    def _countrows(self, context: Context, table: Node) -> int | None:
        return len(self.evaluate(table, context)) or None

    def _isempty(self, context: Context, table: Node) -> bool:
        return not self.evaluate(table, context)

    def _each(self, context: Context, table: Node, formula: Node) -> list[Any]:
        values = [self.evaluate(formula, _with(context, row=row)) for row in self.evaluate(table, context)]
        return [value for value in values if value is not None]

    def _sumx(self, context: Context, table: Node, formula: Node) -> Any:
        values = self._each(context, table, formula)
        return math.fsum(values) if values else None

    def _maxx(self, context: Context, table: Node, formula: Node) -> Any:
        return max(self._each(context, table, formula), default=None)

    def _related(self, context: Context, column: Node) -> Any:
        table, name = column.value
        assert context.row is not None
        (row_table,) = {table for table, _ in context.row}
        ((many, one),) = [
            ends for ends in self.model.relationships if ends[0].table == row_table and ends[1].table == table
        ]
        key = context.row[row_table, many.column]
        return next((row[table, name] for row in self.rows[table] if row[table, one.column] == key), None)

    # Values

    def _true(self, context: Context) -> bool:
        return True

    def _false(self, context: Context) -> bool:
        return False

    def _not(self, context: Context, truth: Node) -> bool:
        return not self.evaluate(truth, context)

    def _if(self, context: Context, condition: Node, *branches: Node) -> Any:
        branch = branches[0 if self.evaluate(condition, context) else 1 :][:1]
        return self.evaluate(branch[0], context) if branch else None

    def _switch(self, context: Context, value: Node, *cases: Node) -> Any:
        wanted = self.evaluate(value, context)
        for case, formula in zip(cases[::2], cases[1::2], strict=False):
            if self.evaluate(case, context) == wanted:
                return self.evaluate(formula, context)
        return self.evaluate(cases[-1], context) if len(cases) % 2 else None

    def _divide(self, context: Context, numerator: Node, denominator: Node) -> float | None:
        above, below = self.evaluate(numerator, context), self.evaluate(denominator, context)
        return above / below if above is not None and below else None

    def _isblank(self, context: Context, value: Node) -> bool:
        return self.evaluate(value, context) is None

    def _int(self, context: Context, value: Node) -> int:
        return math.floor(self.evaluate(value, context) or 0)

    def _abs(self, context: Context, value: Node) -> Any:
        return abs(self.evaluate(value, context))

    def _power(self, context: Context, base: Node, exponent: Node) -> float:
        return float(self.evaluate(base, context) ** self.evaluate(exponent, context))

    def _log10(self, context: Context, value: Node) -> float:
        return math.log10(self.evaluate(value, context))

    def _edate(self, context: Context, day: Node, months: Node) -> date:
        start = self.evaluate(day, context) or date(1899, 12, 30)
        month = start.year * 12 + start.month - 1 + self.evaluate(months, context)
        year, index = divmod(month, 12)
        return date(year, index + 1, min(start.day, calendar.monthrange(year, index + 1)[1]))

    def _userprincipalname(self, context: Context) -> str:
        return self.user

    def _selectedmeasure(self, context: Context) -> Any:
        assert context.selected_measure
        return self.measure(context.selected_measure, *context.filters)


def selection(table: str, column: str, *values: Any) -> Filter:
    """Return the filter of a slicer that selects values of a column."""
    return Filter(table, frozenset([column]), lambda row: row[table, column] in values)


def _with(context: Context, **changes: Any) -> Context:
    return Context(**{**context.__dict__, **changes})


def _columns(node: Node) -> Iterable[tuple[str, str]]:
    if node.kind == "column":
        yield node.value
    for part in node.parts:
        yield from _columns(part)


def _distinct(rows: list[Row]) -> list[Row]:
    return [row for position, row in enumerate(rows) if row not in rows[:position]]


def _comparable(left: Any, right: Any) -> tuple[Any, Any]:
    """Replace BLANK in a pair of values, so that the values can be compared.

    BLANK gets the type of the other value: it becomes 0, an empty string or 30 December 1899. Two BLANKs become 0.
    """
    blank_values = {str: "", date: date(1899, 12, 30)}
    if left is None:
        left = None if right is None else blank_values.get(type(right), 0)
    if right is None:
        right = blank_values.get(type(left), 0)
    return (0, 0) if left is None else (left, right)
