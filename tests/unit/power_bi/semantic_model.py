"""Reader of the TMDL files of a semantic model, for tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tmdlparser import TMDL, TMLDParser

NAME = r"'(?:[^']|'')+'|\w+"


@dataclass
class ReadColumn:
    """A column with its properties. A calculated column also has its DAX."""

    properties: dict[str, str]
    description: str
    dax: str = ""


@dataclass
class ReadMeasure:
    """A measure of the model."""

    properties: dict[str, str]
    description: str
    dax: str


@dataclass
class ReadTable:
    """A table of the model."""

    properties: dict[str, str]
    description: str
    columns: dict[str, ReadColumn] = field(default_factory=dict)
    measures: dict[str, ReadMeasure] = field(default_factory=dict)
    calculation_items: dict[str, str] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True)
class End:
    """One end of a relationship."""

    table: str
    column: str


@dataclass
class SemanticModel:
    """A semantic model: tables, relationships as (many side, one side), and the table conditions of each role."""

    tables: dict[str, ReadTable]
    relationships: list[tuple[End, End]]
    relationship_properties: set[str]
    roles: dict[str, dict[str, str]]

    @property
    def measures(self) -> dict[str, ReadMeasure]:
        """All measures of the model, by name."""
        return {name: measure for table in self.tables.values() for name, measure in table.measures.items()}

    def dax(self) -> Iterator[tuple[str, str, str]]:
        """Yield (location, table, expression) for every DAX expression. `table` is the table of the row context."""
        for table, read in self.tables.items():
            yield from ((f"{table}[{name}]", table, measure.dax) for name, measure in read.measures.items())
            yield from ((f"{table}[{name}]", table, column.dax) for name, column in read.columns.items() if column.dax)
            yield from ((f"{table}: {name}", table, dax) for name, dax in read.calculation_items.items())
        for role, conditions in self.roles.items():
            yield from ((f"{role}: {table}", table, condition) for table, condition in conditions.items())


def read_model(folder: Path) -> SemanticModel:
    """Read the model from the files under `definition/`."""
    tables = {}
    for path in sorted((folder / "definition" / "tables").glob("*.tmdl")):
        name, table = _read_table(path)
        assert path.stem == name, f"{path.name} has table {name}"
        tables[name] = table
    relationships, properties = _read_relationships(folder / "definition" / "relationships.tmdl")
    roles = {path.stem: _read_role(path) for path in sorted((folder / "definition" / "roles").glob("*.tmdl"))}
    return SemanticModel(tables, relationships, properties, roles)


def unquoted(name: str) -> str:
    """Return a name without the quotation marks of TMDL."""
    return name[1:-1].replace("''", "'") if name.startswith("'") else name


def _read_table(path: Path) -> tuple[str, ReadTable]:
    (table,) = TMLDParser().parse_file(str(path))
    name = _name_of(table.element, "table")
    read = ReadTable(_properties([p.element for p in table.properties]), table.description)
    for part in table.properties:
        kind = part.element.split(" ")[0]
        if kind == "column":
            column = _name_of(part.element, "column")
            read.columns[column] = ReadColumn(_properties(part.properties), part.description, _dedented(part))
        elif kind == "measure":
            measure = _name_of(part.element, "measure")
            read.measures[measure] = ReadMeasure(_properties(part.properties), part.description, _dedented(part))
        elif kind == "partition":
            assert _name_of(part.element, "partition") == name
            read.source = part.calculation
    if "calculationGroup" in [part.element for part in table.properties]:
        read.calculation_items = dict(_calculation_items(path.read_text(encoding="utf-8")))
    return name, read


def _name_of(element: str, kind: str) -> str:
    found = re.fullmatch(rf"{kind} ({NAME})( =.*)?", element)
    assert found, f"{element!r} is not a {kind}"
    return unquoted(found[1])


def _properties(lines: list[str]) -> dict[str, str]:
    pairs = (re.fullmatch(r"(\w+)(?:: (.*))?", line.strip()) for line in lines)
    return {pair[1]: pair[2] or "" for pair in pairs if pair}


def _dedented(part: TMDL) -> str:
    return re.sub(r"\n\n", "\n", part.calculation).strip("\n")


def _calculation_items(text: str) -> Iterator[tuple[str, str]]:
    for found in re.finditer(rf"^\t\tcalculationItem ({NAME}) =\n((?:\t{{4}}.*\n)+)", text, re.MULTILINE):
        yield unquoted(found[1]), re.sub(r"^\t{4}", "", found[2], flags=re.MULTILINE).strip("\n")


def _read_relationships(path: Path) -> tuple[list[tuple[End, End]], set[str]]:
    relationships, names = [], set()
    for part in TMLDParser().parse_file(str(path)):
        properties = _properties([line.element for line in part.properties])
        names |= properties.keys()
        relationships.append((_end(properties["fromColumn"]), _end(properties["toColumn"])))
    return relationships, names


def _end(text: str) -> End:
    found = re.fullmatch(rf"({NAME})\.({NAME})", text)
    assert found, text
    return End(unquoted(found[1]), unquoted(found[2]))


def _read_role(path: Path) -> dict[str, str]:
    text = path.read_text(encoding="utf-8")
    assert re.search(rf"^role ('{path.stem}'|{path.stem})$", text, re.MULTILINE)
    return {
        unquoted(found[1]): found[2]
        for found in re.finditer(rf"^\ttablePermission ({NAME}) = (.+)$", text, re.MULTILINE)
    }
