"""What sources still send of erased persons is not loaded: digests of their names, and the rows that have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.ops import SUPPRESSIONS_OPS
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.erasure.names import KINDS, NAMING_COLUMNS, Names, digest_column, digest_of, naming_texts
from cdp_lib.erasure.persons import Found
from cdp_lib.errors import CdpError
from cdp_lib.mapping import Mapping as ColumnMapping
from cdp_lib.storage import DeltaStore
from cdp_lib.storage.delta import IS_GONE

ERASURE_KEY = "erasure_key"
"""Secret that turns names into digests. Whoever has it can test whether a person was erased, but not list who was."""


def suppress(store: DeltaStore, key: str, found: Mapping[str, Found], at: datetime) -> None:
    """Store the digests of the names of persons. New batches are scrubbed by them.

    Args:
        store: Tables of the platform.
        key: Key of the digests.
        found: Persons by request.
        at: Time of the erasure, UTC.
    """
    rows = {
        (kind, digest): {"kind": kind, "digest": digest, "request_id": request_id, "suppressed_at": at}
        for request_id, person in found.items()
        for kind, texts in person.names.items()
        for digest in (digest_of(key, kind, text) for text in texts)
    }
    store.create(SUPPRESSIONS_OPS)
    if rows:
        frame = store.frame(SUPPRESSIONS_OPS, [*rows.values()])
        store.merge(SUPPRESSIONS_OPS, frame.withColumn(IS_GONE, sf.lit(False)))


@dataclass(frozen=True)
class Suppressions:
    """Digests of the names of all persons who were ever erased.

    Attributes:
        digests: `kind` and `digest` of each name.
        key: Key of the digests.
    """

    digests: DataFrame
    key: str

    def names_in(self, rows: DataFrame, contract: BronzeContract, mapping: ColumnMapping) -> Names:
        """Return the names of erased persons that rows have.

        Cost: one query, which joins the names in the rows with all digests. It returns only the names that are found.

        Args:
            rows: Rows of a bronze table.
            contract: Contract of the bronze table, one of `NAMING_COLUMNS`.
            mapping: Mapping of the entity.
        """
        kinds = NAMING_COLUMNS[contract].kinds
        texts = naming_texts(rows, contract, mapping)
        digests = {column: digest_column(self.key, kinds[column], text) for column, text in texts.items()}
        named = sf.array(
            *(sf.struct(sf.lit(kinds[column]).alias("kind"), each.alias("digest")) for column, each in digests.items())
        )
        present = rows.select(sf.explode(named).alias("named")).select("named.kind", "named.digest").distinct()
        found: Sequence[tuple[str, str]] = present.join(self.digests, ["kind", "digest"], how="left_semi").collect()
        return Names({kind: {digest for of_kind, digest in found if of_kind == kind} for kind in KINDS}, self.key)


def read_suppressions(store: DeltaStore, key: str | None) -> Suppressions | None:
    """Return the digests of the names of erased persons. None if nobody was erased.

    Args:
        store: Tables of the platform.
        key: Key of the digests. None if the secret does not exist.

    Raises:
        CdpError: Persons were erased, but the key is missing.
    """
    if not store.exists(SUPPRESSIONS_OPS):
        return None
    digests = store.read(SUPPRESSIONS_OPS).select("kind", "digest")
    if digests.isEmpty():
        return None
    if key is None:
        raise CdpError(
            "The secret erasure_key is missing. Without it, no run can tell which records belong to erased persons:"
            " restore it from the backup of your secrets."
        )
    return Suppressions(digests, key)
