"""Proposes a file of sources for a database, an API or a folder, from the names and types of the columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

import sqlalchemy as sa

from cdp_lib.columns import delta_name
from cdp_lib.contracts.table import BronzeContract, Column
from cdp_lib.errors import CdpError
from cdp_lib.landing import Manifest
from cdp_lib.mapping import ATTRIBUTES
from cdp_lib.pipeline.graph import platform_graph
from cdp_lib.sources.sql_database import open_snapshot
from cdp_lib.sources_file import ENTITIES

_WORDS = {
    "transactions": "transaction sale line receipt basket order invoice purchase till pos item",
    "customers": "customer client member household hshd shopper buyer user person account card",
    "products": "product article item sku good material upc",
    "stores": "store shop branch outlet location site market",
    "contacts": "contact lead crm",
    "events": "event click visit session tracking",
    "marketing_spend": "spend cost budget campaign marketing ad",
    "exchange_rates": "rate exchange currency fx",
    "consents": "consent opt optin decision permission preference",
    "id": "id number num no nr key code",
    "name": "name title label description desc designation",
    "full_name": "name full fullname",
    "category": "category group department commodity class family segment",
    "price": "price amount cost retail",
    "quantity": "quantity qty units pieces count number_of",
    "date": "date day at on time timestamp since",
    "country": "country nation land region",
    "location": "country nation land region",
    "email": "email mail",
    "updated_at": "updated modified changed",
    "order": "order receipt basket invoice",
    "line_amount": "paid total amount value net",
    "discount_amount": "discount rebate",
    "tax_amount": "tax vat",
    "household": "household hshd",
    "brand": "brand manufacturer",
    "registration": "registration registered signup joined created enrolled",
}
"""Words that name the same thing, by the word that the contracts use."""

_SELDOM = frozenset(
    "updated_at order_id sold_at unit_price line_amount discount_amount tax_amount currency channel promotion_code"
    " department subcategory brand unit_cost household_id cdp_householdid".split()
)
"""Columns that many sources lack. They do not count when the relation of an entity is chosen."""

_DATE_FORMATS = {
    r"(0[1-9]|[12]\d|3[01])\.\d\d\.\d{4}": "dd.MM.yyyy",
    r"(0[1-9]|1[0-2])/\d\d/\d{4}": "MM/dd/yyyy",
    r"(0[1-9]|[12]\d|3[01])/\d\d/\d{4}": "dd/MM/yyyy",
    r"(0[1-9]|[12]\d|3[01])-\d\d-\d{4}": "dd-MM-yyyy",
}
"""Date format of text that matches a pattern. The first pattern that all values match is proposed."""

_SAMPLE = 200
"""Number of rows whose values are read."""

_ENOUGH = 0.55
"""Smallest similarity of a column that is proposed."""


@dataclass(frozen=True)
class Relation:
    """A table, view, API or folder that may be the source of an entity.

    Attributes:
        name: Name of the table or view, path of the file, or last part of the address.
        columns: Kind (`date`, `time`, `number` or `text`) of each column, by its name.
        key: Primary key. Empty if it is unknown.
        is_view: Whether the relation is a view.
        values: Some values of each text column, by its name. Empty if no values were read.
        location: Where the relation is, as lines for the file of sources, such as `table: sales`.
    """

    name: str
    columns: Mapping[str, str]
    location: Sequence[str]
    key: Sequence[str] = ()
    is_view: bool = False
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class ColumnProposal:
    """A column of the source that is proposed for a column of the contract.

    Attributes:
        ours: Name in the contract.
        theirs: Name in the source. Empty if no column is similar.
        reason: Why the column is proposed. If no column is similar, what the user can write instead.
        similarity: 1 for the same name, and less for similar names. 0 if no column is similar.
    """

    ours: str
    theirs: str
    reason: str
    similarity: float


def propose(relations: Sequence[Relation]) -> str:
    """Return a file of sources with comments. An entity gets the relation that fits best, or a comment if none fits.

    Args:
        relations: Relations that were found.
    """
    blocks = [_block(contract, relations) for contract in ENTITIES.values()]
    found = [block for is_found, block in blocks if is_found]
    missing = [block for is_found, block in blocks if not is_found]
    head = (
        "# Proposed by `cdp init`. Check each line that ends in a question mark, and test the file with `cdp check`.\n"
        "# docs/own-data.md explains every key. To divide your own prices into thirds for the price segments, run\n"
        "# `cdp run --var price_bands=auto`; in a workspace, set the bundle variable price_bands.\n\n"
    )
    return head + "\n".join([*found, *missing])


def _block(contract: BronzeContract, relations: Sequence[Relation]) -> tuple[bool, str]:
    scored = [(_score(contract, relation), relation) for relation in relations]
    score, relation = max(scored, key=lambda each: each[0], default=(0.0, None))
    if relation is None or score < _ENOUGH:
        return False, f"# {contract.entity}: nothing looks like it. Add its source here, or leave it out.\n"
    proposals = propose_columns(contract, relation)
    lines = [f"{contract.entity}:", *(f"  {line}" for line in relation.location)]
    if relation.key:
        lines.append(f"  primary_key: [{', '.join(relation.key)}]")
    elif relation.is_view:
        lines.append("  # primary_key: []  # the columns that identify a row, to read a large view in increments?")
    has_text_ids = len(relation.key) > 1 and len(contract.record_key) == 1
    if has_text_ids:
        lines.append("  text_ids: true  # the key has several columns")
    lines += [f"  {line}" for line in _formats(contract, relation, proposals)]
    renamed = [each for each in proposals if each.theirs.lower() != each.ours]
    if renamed:
        lines.append("  columns:")
        for each in renamed:
            if each.ours in contract.record_key and has_text_ids:
                lines.append(f"    {each.ours}: concat_ws('|', {', '.join(map(delta_name, relation.key))})")
            elif each.theirs or each.ours not in _SELDOM:
                line = f"{each.ours}: {each.theirs}" if each.theirs else f"# {each.ours}:"
                lines.append(f"    {line}  # {each.reason}")
    used = {each.theirs for each in proposals}
    unused = [name for name in relation.columns if name not in used and name not in relation.key]
    if unused and _keeps_attributes(contract):
        lines.append(f"  # attributes: [{', '.join(unused)}]  # further columns, to keep under their own names")
    return True, "\n".join(lines) + "\n"


def _keeps_attributes(contract: BronzeContract) -> bool:
    """Return whether the silver table of an entity has the column `attributes`."""
    tables = platform_graph().tables.values()
    return any(contract in table.reads and ATTRIBUTES in table.contract.column_names for table in tables)


def _formats(contract: BronzeContract, relation: Relation, proposals: Sequence[ColumnProposal]) -> list[str]:
    """Return the formats of dates and numbers that are text in the source."""
    kinds = {column.name: column.kind for column in contract.received_columns}
    values: dict[str, list[str]] = {"date": [], "time": [], "number": []}
    for each in proposals:
        values.get(kinds[each.ours], []).extend(relation.values.get(each.theirs, ()))
    lines = []
    days = values["date"] or values["time"]
    for pattern, date_format in _DATE_FORMATS.items():
        if days and all(re.fullmatch(pattern, day) for day in days):
            lines.append(f"date_format: {date_format}  # a value is '{days[0]}'?")
            break
    if decimals := [number for number in values["number"] if re.fullmatch(r"-?[\d.]*,\d{1,2}", number)]:
        lines.append(f"decimal_separator: \",\"  # a value is '{decimals[0]}'?")
    return lines


def _score(contract: BronzeContract, relation: Relation) -> float:
    """Return how well a relation fits an entity; 0 if a key column has no similar column.

    The score is the mean similarity of the columns, without `_SELDOM`. A name that fits adds a bonus.
    """
    proposals = {each.ours: each.similarity for each in propose_columns(contract, relation) if each.ours not in _SELDOM}
    if not all(proposals[name] for name in contract.record_key):
        return 0.0
    is_named = bool(_synonyms(contract.entity) & _tokens(relation.name))
    return sum(proposals.values()) / len(proposals) + (0.6 if is_named else 0.0)


def propose_columns(contract: BronzeContract, relation: Relation) -> list[ColumnProposal]:
    """Return a proposal for each column of a contract. Each column of the source is proposed at most once.

    Columns that most sources have are chosen before the columns in `_SELDOM`.

    Args:
        contract: Contract of the entity.
        relation: Possible source of the entity.
    """
    ranked = sorted(
        (
            (similarity, column.name, name, reason)
            for column in contract.received_columns
            for name, kind in relation.columns.items()
            for similarity, reason in [_similarity(contract, column, name, kind)]
            if similarity >= _ENOUGH
        ),
        key=lambda each: (each[1] in _SELDOM, -each[0], each[1], each[2]),
    )
    # If the key has several columns, an expression joins them. Each of them may also be another column's source.
    joined = contract.record_key if len(relation.key) > 1 else ()
    chosen: dict[str, ColumnProposal] = {}
    for similarity, ours, theirs, reason in ranked:
        if ours not in chosen and theirs not in {each.theirs for each in chosen.values() if each.ours not in joined}:
            chosen[ours] = ColumnProposal(ours, theirs, reason, similarity)
    nothing = {
        column.name: ColumnProposal(column.name, "", _advice(column), 0.0) for column in contract.received_columns
    }
    return [chosen.get(column.name, nothing[column.name]) for column in contract.received_columns]


def _advice(column: Column) -> str:
    needed = "may be left out" if column.optional else "write a column or an SQL expression?"
    return f"{column.comment}: {needed}"


def _similarity(contract: BronzeContract, column: Column, name: str, kind: str) -> tuple[float, str]:
    """Return the similarity of two columns from 0 to 1, and the reason in words."""
    if name.lower() == column.name:
        return 1.0, "same name"
    ours, theirs = _tokens(column.name), _tokens(name)
    if ours == theirs:
        return 0.95, "same words"
    fits = kind == column.kind or kind == "text" or column.kind == "text"
    if not fits:
        return 0.0, ""
    shared = [word for word in ours if theirs & {word, *_synonyms(word), *_synonyms(f"{word}s")}]
    if shared and len(shared) == len(ours):
        return 0.85, f"'{name}' has a word for {' and '.join(sorted(shared))}?"
    if shared and ours - {*shared} <= {"id", "name", "date", "at", "full", *_synonyms(contract.entity)}:
        return 0.65 + 0.05 * (kind == column.kind), f"'{name}' has a word for {' and '.join(sorted(shared))}?"
    ratio = SequenceMatcher(None, column.name, name.lower()).ratio()
    return (0.9 * ratio, f"'{name}' is spelled like {column.name}?") if ratio > 0.75 else (0.0, "")


def _synonyms(word: str) -> set[str]:
    """Return the synonyms of a word of the contracts, in the singular. `_WORDS` lists them."""
    return _tokens(_WORDS.get(word, ""))


def _tokens(name: str) -> set[str]:
    """Return the words of a name in lower case and in the singular: `HSHD_NUM` and `hshdNum` have the same words."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name.rsplit("/", 1)[-1])
    return {word.lower().removesuffix("s") if len(word) > 3 else word.lower() for word in words} - {"v", "vw", "tbl"}


def database_relations(database_url: str, schema: str, secret: str) -> list[Relation]:
    """Return the tables and views of a database.

    Args:
        database_url: SQLAlchemy URL of the database.
        schema: Schema of the tables, empty for the default schema.
        secret: Name of the secret that holds the URL.

    Raises:
        CdpError: The database can't be read, or the schema has no tables.
    """
    with open_snapshot(database_url) as connection:
        inspector = sa.inspect(connection)
        views = inspector.get_view_names(schema or None)
        names = [*inspector.get_table_names(schema or None), *views]
        if not names:
            where = f"schema '{schema}'" if schema else "the default schema"
            raise CdpError(
                f"The database of the secret '{secret}' has no tables in {where}: set another schema with --schema."
            )
        return [
            Relation(
                name,
                {column["name"]: _kind_of(column["type"]) for column in inspector.get_columns(name, schema or None)},
                [f"database: {secret}", *([f"schema: {schema}"] if schema else []), f"table: {name}"],
                inspector.get_pk_constraint(name, schema or None)["constrained_columns"],
                name in views,
                _text_values(connection, name, schema or None),
            )
            for name in names
        ]


def _text_values(connection: sa.Connection, name: str, schema: str | None) -> dict[str, list[str]]:
    """Return some values of each text column of a table or view."""
    table = sa.Table(name, sa.MetaData(), schema=schema, autoload_with=connection)
    rows = connection.execute(sa.select(table).limit(_SAMPLE)).mappings().all()
    values = {column.name: [row[column.name] for row in rows] for column in table.columns}
    return {name: [each for each in given if isinstance(each, str) and each] for name, given in values.items()}


def landed_relation(batch: Manifest, kind: str, address: str) -> Relation:
    """Return the relation of an API or a folder, from a landed sample. Every column counts as text."""
    return Relation(address, dict.fromkeys(batch.columns or (), "text"), [f"{kind}: {address}"])


def _kind_of(type_: sa.types.TypeEngine[Any]) -> str:
    match type_:
        case sa.types.DateTime():
            return "time"
        case sa.types.Date():
            return "date"
        case sa.types.Numeric() | sa.types.Integer():
            return "number"
    return "text"
