"""The file of sources: where the rows of each entity come from, and how its columns are mapped."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from reprlib import Repr
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from cdp_lib.contracts.bronze import BRONZE_TABLES
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.errors import CdpError
from cdp_lib.mapping import Mapping as ColumnMapping

ENTITIES = {contract.entity: contract for contract in BRONZE_TABLES}
"""Bronze contract of each entity."""

KINDS = ("api", "crm", "database", "files")
"""Kinds of sources: an HTTP API, a Dataverse organisation, a table of a database, a file or folder."""

_KEYS = {
    "api": ("token",),
    "crm": (),
    "database": ("schema", "table", "query", "primary_key", "updated_at"),
    "files": (),
}
"""Keys of an entity that only one kind of source has."""

_MAPPING_KEYS = ("columns", "attributes", "time_zone", "date_format", "decimal_separator")
_FLAGS = ("text_ids",)
_NOT_IN_DATES = re.compile(r"%.|[A-Za-z](?<![GyDMLdQqEFaHhKkmsSXxzVOZ])")
"""Pattern of the letters that a date format of Spark does not have, such as the `Y` of `DD.MM.YYYY`."""

_QUOTED = re.compile(r"'[^']*'")
"""Pattern of quoted text in a date format."""

_VARIABLE = re.compile(r"\$\{var\.(\w+)\}")


@dataclass(frozen=True)
class EntitySource:
    """Source of an entity.

    Attributes:
        contract: Bronze contract of the entity.
        kind: `api`, `crm`, `database` or `files`.
        address: For an API or a CRM, its URL. For files, their path. For a database, the name of the secret that holds
            its URL. Empty if the entity has no source.
        token: Name of the secret with the API's bearer token.
        schema: Schema of the table, empty for the default schema of the login.
        table: Name of the table or view.
        query: SQL query that returns the rows. Empty if the rows come from a table or view.
        primary_key: Columns that identify a row. If empty, the primary key that the database declares is used.
        updated_at: Column with the time of a row's last change.
        text_ids: Whether the identifiers of the entity are text, so that `id_keys_silver` numbers them.
        mapping: Mapping of the columns.
    """

    contract: BronzeContract
    kind: str
    address: str
    token: str = "api_token"
    schema: str = ""
    table: str = ""
    query: str = ""
    primary_key: tuple[str, ...] = ()
    updated_at: str = "updated_at"
    text_ids: bool = False
    mapping: ColumnMapping = field(default_factory=ColumnMapping)

    @property
    def entity(self) -> str:
        """Return the name of the entity."""
        return self.contract.entity

    @property
    def relation(self) -> str:
        """Return the name of the table or view, or the word `query` if the rows come from a query."""
        return "query" if self.query else self.table


@dataclass(frozen=True)
class Sources:
    """Sources of all entities that the file declares, by entity."""

    entities: Mapping[str, EntitySource] = field(default_factory=dict)

    def mapping(self, entity: str) -> ColumnMapping:
        """Return the mapping of an entity. It is empty if the file declares none."""
        return self.entities[entity].mapping if entity in self.entities else ColumnMapping()


def read_sources(path: str, variables: Mapping[str, object], time_zone: str = "UTC") -> Sources:
    """Read the file of sources.

    Args:
        path: Path of the file.
        variables: Values of the `${var.…}` references in the file, by name.
        time_zone: IANA name of the time zone of business days. It is the time zone of the entities for which the file
            names none.

    Raises:
        CdpError: The file is missing or is not YAML, or it contains an unknown name or an invalid value.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise CdpError(f"The file of sources {path} can't be read ({error.strerror}): check 'sources_file'.") from None
    except Exception as error:
        # Besides its own errors, the parser raises many others, for example for a date such as 2026-02-30.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CdpError(f"The file of sources {path} is not YAML: {reason}.") from None
    reader = _Reader(path, variables, time_zone)
    if not isinstance(content, dict):
        raise reader.error("", f"holds {type(content).__name__}", "write one block per entity")
    entities = {str(entity): reader.entity(str(entity), values) for entity, values in content.items()}
    with_text_ids = {entity for entity, source in entities.items() if source.text_ids}
    return Sources({entity: _with_references(source, with_text_ids) for entity, source in entities.items()})


def _with_references(source: EntitySource, with_text_ids: Collection[str]) -> EntitySource:
    """Return a source whose mapping names the columns that hold identifiers of entities with text identifiers."""
    columns = source.contract.received_columns
    text_ids = tuple((column.name, column.refers_to) for column in columns if column.refers_to in with_text_ids)
    return replace(source, mapping=replace(source.mapping, text_ids=text_ids))


@dataclass(frozen=True)
class _Reader:
    """Reader of one file of sources. It checks each value."""

    path: str
    variables: Mapping[str, object]
    time_zone: str

    def error(self, place: str, found: str, advice: str) -> CdpError:
        where = f"{self.path}{f': {place}' if place else ''}"
        return CdpError(f"{where} {found}: {advice}.")

    def entity(self, entity: str, values: Any) -> EntitySource:
        if entity not in ENTITIES:
            raise self.error("", f"declares the unknown entity '{entity}'", f"the entities are {', '.join(ENTITIES)}")
        if not isinstance(values, dict):
            raise self.error(entity, f"is {_shown(values)}", f"write a block with one of {', '.join(KINDS)}")
        kinds = [kind for kind in KINDS if kind in values]
        if len(kinds) != 1:
            found = f"has {' and '.join(kinds)}" if kinds else "has no source"
            raise self.error(entity, found, f"write exactly one of {', '.join(KINDS)}")
        [kind] = kinds
        known = (kind, *_KEYS[kind], *_MAPPING_KEYS, *_FLAGS)
        if unknown := [str(key) for key in values if key not in known]:
            raise self.error(
                entity, f"has the unknown key '{unknown[0]}'", f"with '{kind}', the keys are {', '.join(known)}"
            )
        if "query" in values and (beside := [key for key in ("schema", "table") if key in values]):
            raise self.error(entity, f"has query and {beside[0]}", "write either a query, or a table with its schema")
        texts = {
            key: self.text(f"{entity}.{key}", values[key])
            for key in (kind, *_KEYS[kind])
            if key in values and key != "primary_key"
        }
        return EntitySource(
            ENTITIES[entity],
            kind,
            texts.pop(kind).rstrip("/"),
            **{"table": entity} | texts,
            primary_key=self.texts(f"{entity}.primary_key", values.get("primary_key", [])),
            text_ids=self.flag(f"{entity}.text_ids", values.get("text_ids", False)),
            mapping=self.mapping(entity, {key: values[key] for key in _MAPPING_KEYS if key in values}),
        )

    def mapping(self, entity: str, values: Mapping[str, Any]) -> ColumnMapping:
        columns = values.get("columns", {})
        ours = [column.name for column in ENTITIES[entity].received_columns]
        if not isinstance(columns, dict):
            raise self.error(f"{entity}.columns", f"is {_shown(columns)}", "write one line per column, ours: theirs")
        if unknown := [str(name) for name in columns if name not in ours]:
            raise self.error(
                f"{entity}.columns", f"has the unknown column '{unknown[0]}'", f"the columns are {', '.join(ours)}"
            )
        texts = {key: self.text(f"{entity}.{key}", values[key]) for key in _MAPPING_KEYS[2:] if key in values}
        if self.time_zone != "UTC":
            texts = {"time_zone": self.time_zone} | texts
        try:
            ZoneInfo(texts.get("time_zone") or "UTC")
        except (KeyError, ValueError, OSError):
            raise self.error(
                f"{entity}.time_zone", f"is '{texts['time_zone']}'", "write an IANA time zone such as Europe/Vienna"
            ) from None
        if wrong := _NOT_IN_DATES.search(_QUOTED.sub("", texts.get("date_format", ""))):
            raise self.error(
                f"{entity}.date_format",
                f"is '{texts['date_format']}' with '{wrong[0]}'",
                "write a pattern such as dd.MM.yyyy or MM/dd/yyyy HH:mm:ss",
            )
        if len(texts.get("decimal_separator", "")) > 1:
            raise self.error(f"{entity}.decimal_separator", f"is '{texts['decimal_separator']}'", "write one character")
        return ColumnMapping(
            tuple((name, self.text(f"{entity}.columns.{name}", theirs)) for name, theirs in columns.items()),
            self.texts(f"{entity}.attributes", values.get("attributes", [])),
            texts.get("time_zone", ""),
            texts.get("date_format", ""),
            texts.get("decimal_separator", ""),
        )

    def flag(self, place: str, value: Any) -> bool:
        if not isinstance(value, bool):
            raise self.error(place, f"is {_shown(value)}", "write true or false")
        return value

    def texts(self, place: str, values: Any) -> tuple[str, ...]:
        items = values if isinstance(values, list) else [values]
        return tuple(self.text(place, item) for item in items)

    def text(self, place: str, value: Any) -> str:
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise self.error(place, f"is {_shown(value)}", "write a text")

        def value_of(match: re.Match[str]) -> str:
            if match[1] not in self.variables:
                known = ", ".join(sorted(self.variables))
                raise self.error(place, f"refers to the unknown variable '{match[1]}'", f"the variables are {known}")
            return str(self.variables[match[1]])

        return _VARIABLE.sub(value_of, str(value)).strip()


def _shown(value: object) -> str:
    """Return the beginning of a value for a message. A value with aliases can be many times larger than its file."""
    short = Repr()
    short.maxlevel, short.maxlist, short.maxdict, short.maxstring = 2, 4, 4, 60
    return short.repr(value)
