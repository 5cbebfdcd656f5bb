"""What names a person in received rows: customer numbers, contact numbers, e-mail addresses and devices."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from string import ascii_lowercase, ascii_uppercase

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import clean_email, clean_text
from cdp_lib.contracts.bronze import (
    CONSENTS_BRONZE,
    CRM_CONTACTS_BRONZE,
    CUSTOMERS_BRONZE,
    EVENTS_BRONZE,
    TRANSACTIONS_BRONZE,
)
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.mapped_rows import received_texts, source_columns
from cdp_lib.mapping import Mapping as ColumnMapping

CUSTOMER, CONTACT, EMAIL, DEVICE = "customer", "contact", "email", "device"
KINDS = (CUSTOMER, CONTACT, EMAIL, DEVICE)
"""Kinds of names. A name is text as in the source, in its normal form (`normal_text`)."""

_LOWER_CASE = str.maketrans(ascii_uppercase, ascii_lowercase)

_BLOCK_BYTES = 64
"""Block size of SHA-256 in bytes, as HMAC uses it (RFC 2104)."""


@dataclass(frozen=True)
class NamingColumns:
    """How the rows of a bronze table name persons.

    Attributes:
        kinds: Kind of name by column, the strongest name first.
        decisive: Kinds that make a row a record of the person. The row is deleted.
        is_first_decisive: Whether only the first name of a row is decisive. An event of a customer, for example, is not
            an event of another person who uses the same device.
    """

    kinds: Mapping[str, str]
    decisive: tuple[str, ...] = ()
    is_first_decisive: bool = False


NAMING_COLUMNS: dict[BronzeContract, NamingColumns] = {
    CUSTOMERS_BRONZE: NamingColumns({"customer_id": CUSTOMER, "email": EMAIL}, (CUSTOMER, EMAIL)),
    CRM_CONTACTS_BRONZE: NamingColumns(
        {"contactid": CONTACT, "emailaddress1": EMAIL, "cdp_customerid": CUSTOMER}, (CONTACT, EMAIL)
    ),
    EVENTS_BRONZE: NamingColumns(
        {"customer_id": CUSTOMER, "email": EMAIL, "anonymous_id": DEVICE},
        (CUSTOMER, EMAIL, DEVICE),
        is_first_decisive=True,
    ),
    CONSENTS_BRONZE: NamingColumns(
        {"customer_id": CUSTOMER, "contact_id": CONTACT, "email": EMAIL},
        (CUSTOMER, CONTACT, EMAIL),
        is_first_decisive=True,
    ),
    TRANSACTIONS_BRONZE: NamingColumns({"customer_id": CUSTOMER}),
}
"""Bronze tables whose rows name persons. If a row names a person and no decisive name is the person's, the row stays,
and the name is removed from it. A sale thus becomes a sale without a known customer."""


@dataclass(frozen=True)
class Names:
    """Names of the persons to erase.

    Attributes:
        texts: Names by kind, or their digests if there is a key.
        key: Key of the digests (`digest_of`). None if `texts` has the names themselves.
    """

    texts: Mapping[str, Collection[str]]
    key: str | None = None

    def __bool__(self) -> bool:
        """Return whether there is a name."""
        return any(self.texts.values())

    def include(self, kind: str, text: Column) -> Column:
        """Return a condition that is true if a name is in the set, and false if it is not or is null."""
        if not self.texts.get(kind):
            return sf.lit(False)
        found = text if self.key is None else digest_column(self.key, kind, text)
        return sf.coalesce(found.isin(*sorted(self.texts[kind])), sf.lit(False))


@dataclass(frozen=True)
class Mentions:
    """Expressions over the rows of a bronze table that tell what of the row has to go.

    Attributes:
        is_record: Whether the row is a record of a person to erase.
        names: For each naming column, whether it names such a person although the row is not the person's record.
    """

    is_record: Column
    names: Mapping[str, Column]

    @property
    def is_touched(self) -> Column:
        """Whether the row has to change."""
        return reduce(or_, self.names.values(), self.is_record)


def find_mentions(rows: DataFrame, contract: BronzeContract, mapping: ColumnMapping, names: Names) -> Mentions:
    """Return what of the rows of a bronze table has to go.

    Args:
        rows: Rows of the bronze table.
        contract: Contract of the bronze table, one of `NAMING_COLUMNS`.
        mapping: Mapping of the entity.
        names: Names of the persons to erase.
    """
    naming, texts = NAMING_COLUMNS[contract], naming_texts(rows, contract, mapping)
    is_named = {column: names.include(kind, texts[column]) for column, kind in naming.kinds.items()}
    decisive = [column for column, kind in naming.kinds.items() if kind in naming.decisive]
    if naming.is_first_decisive:
        first = sf.lit(False)
        for column in reversed(decisive):
            first = sf.when(texts[column].isNotNull(), is_named[column]).otherwise(first)
        is_record = first
    else:
        is_record = reduce(or_, (is_named[column] for column in decisive), sf.lit(False))
    return Mentions(is_record, {column: is_named[column] & ~is_record for column in naming.kinds})


def naming_texts(rows: DataFrame, contract: BronzeContract, mapping: ColumnMapping) -> dict[str, Column]:
    """Return the names in the rows of a bronze table, in their normal form, by naming column.

    Args:
        rows: Rows of the bronze table.
        contract: Contract of the bronze table, one of `NAMING_COLUMNS`.
        mapping: Mapping of the entity.
    """
    received, are_texts = received_texts(rows, contract, mapping), dict(mapping.text_ids)
    return {
        column: normal_column(kind, received[column], is_number=column not in are_texts)
        for column, kind in NAMING_COLUMNS[contract].kinds.items()
    }


def naming_source_columns(
    names: Collection[str], contract: BronzeContract, mapping: ColumnMapping
) -> dict[str, list[str]]:
    """Return the columns of the source that each naming column is computed from, by naming column.

    Args:
        names: Columns of the bronze table.
        contract: Contract of the bronze table, one of `NAMING_COLUMNS`.
        mapping: Mapping of the entity.
    """
    return {column: source_columns(column, names, contract, mapping) for column in NAMING_COLUMNS[contract].kinds}


def normal_text(kind: str, text: str, *, is_number: bool = True) -> str:
    """Return a name in its normal form; empty if no text is left. `normal_column` does the same in an engine.

    Args:
        kind: Kind of the name.
        text: The name.
        is_number: Whether the identifiers of customers are numbers. As text, 007 and 7 are two customers.

    >>> normal_text("customer", " 0101 "), normal_text("email", " Ann@Shop.Example")
    ('101', 'ann@shop.example')
    """
    text = " ".join(text.split())
    if kind == CUSTOMER and is_number and text.isascii() and text.isdecimal():
        return str(int(text))
    return text.translate(_LOWER_CASE) if kind in (EMAIL, CONTACT) else text


def normal_column(kind: str, text: Column, *, is_number: bool = True) -> Column:
    """Return the normal form of a name, as `normal_text` does; null if no text is left."""
    if kind in (EMAIL, CONTACT):
        return clean_email(text)  # the cleaning is the same for both
    text = clean_text(text)
    if kind != CUSTOMER or not is_number:
        return text
    return sf.when(text.rlike("^[0-9]+$"), sf.coalesce(text.try_cast("bigint").cast("string"), text)).otherwise(text)


def digest_of(key: str, kind: str, text: str) -> str:
    """Return the digest of a name: HMAC-SHA256 of the kind and the normal form, in hexadecimal."""
    return hmac.new(key.encode(), f"{kind}:{text}".encode(), hashlib.sha256).hexdigest()


def digest_column(key: str, kind: str, text: Column) -> Column:
    """Return the digest of a name, as `digest_of` does (RFC 2104, section 2); null if the name is null."""
    block = key.encode()
    block = (hashlib.sha256(block).digest() if len(block) > _BLOCK_BYTES else block).ljust(_BLOCK_BYTES, b"\0")
    inner, outer = (sf.unhex(sf.lit(bytes(byte ^ pad for byte in block).hex())) for pad in (0x36, 0x5C))
    message = sf.encode(sf.concat(sf.lit(f"{kind}:"), text), "utf-8")
    return sf.sha2(sf.concat(outer, sf.unhex(sf.sha2(sf.concat(inner, message), 256))), 256)
