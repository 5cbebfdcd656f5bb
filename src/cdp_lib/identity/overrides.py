"""Decisions of people about records: rows of `identity_overrides_silver`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.identity import IDENTITY_OVERRIDES_SILVER
from cdp_lib.errors import CdpError
from cdp_lib.storage import DeltaStore

AUTOMATIC = "automatic"
"""Decision that withdraws the earlier decisions about a pair."""


def append_decisions(
    store: DeltaStore, decisions: Sequence[Mapping[str, str]], author: str, reason: str, at: datetime
) -> None:
    """Append decisions to `identity_overrides_silver`. The next refresh follows them.

    Args:
        store: Tables of the platform.
        decisions: `record_a`, `record_b` and `decision` of each pair.
        author: Who decides.
        reason: Why, in words.
        at: Time of the decisions, UTC.

    Raises:
        CdpError: The author or the reason is empty, or there is no decision.
    """
    if not author.strip() or not reason.strip():
        raise CdpError("A decision needs an author and a reason.")
    if not decisions:
        raise CdpError("There is nothing to decide: the person has no other records.")
    made = {"author": author.strip(), "reason": reason.strip(), "decided_at": at}
    store.append(
        IDENTITY_OVERRIDES_SILVER,
        store.frame(IDENTITY_OVERRIDES_SILVER, [{**decision, **made} for decision in decisions]),
    )


def other_records(links: DataFrame, keys: Collection[str]) -> list[str]:
    """Return the keys of the records that share a person with the given records, without the given records.

    Args:
        links: Rows of `person_links_silver`.
        keys: Keys of records.

    Raises:
        CdpError: There is no record with one of the keys.
    """
    mine = links.where(sf.col("record_key").isin(list(keys))).select("record_key", "person_id")
    known = {row["record_key"] for row in mine.collect()}
    if missing := [key for key in keys if key not in known]:
        raise CdpError(f"There is no record {missing[0]}: `cdp profile` shows the records of a person.")
    together = links.join(mine.select("person_id").distinct(), "person_id", how="left_semi")
    return sorted(
        row["record_key"] for row in together.select("record_key").collect() if row["record_key"] not in known
    )


def split_decisions(separated: Sequence[str], others: Sequence[str]) -> list[Mapping[str, str]]:
    """Return the pairs that must never be one person, so that some records leave the other records of their person.

    Args:
        separated: Keys of the records that leave together.
        others: Keys of the records that stay. Empty to separate each of `separated` from each other.

    Returns:
        `record_a`, `record_b` and `decision` of each pair.
    """
    pairs = (
        [(one, other) for one in separated for other in others]
        if others
        else [(one, other) for place, one in enumerate(separated) for other in separated[place + 1 :]]
    )
    return [decision_about(one, other, "never") for one, other in pairs]


def withdrawals(decisions: pa.Table, record: str, other: str = "") -> list[Mapping[str, str]]:
    """Return the decisions that withdraw earlier decisions, so that the evidence of each pair counts again.

    Args:
        decisions: Latest decision about each pair: `record_a`, `record_b` and `decision`.
        record: Key of a record. Its decisions are withdrawn.
        other: Key of another record, to withdraw only the decision about this pair. Empty for all pairs of `record`.

    Raises:
        CdpError: There is no decision to withdraw.
    """
    pairs = [{row["record_a"], row["record_b"]} for row in decisions.to_pylist() if row["decision"] != AUTOMATIC]
    found = [pair for pair in pairs if {record, other or record} <= pair]
    if not found:
        about = f"{record} and {other}" if other else record
        raise CdpError(f"There is no decision about {about}: `cdp identity explain` shows the decisions about a pair.")
    return [decision_about(min(pair), max(pair), AUTOMATIC) for pair in found]


def decision_about(one: str, other: str, decision: str) -> Mapping[str, str]:
    """Return a decision about a pair of records, its records in order.

    >>> decision_about("customer:7", "contact:a", "always")
    {'record_a': 'contact:a', 'record_b': 'customer:7', 'decision': 'always'}
    """
    return {"record_a": min(one, other), "record_b": max(one, other), "decision": decision}
