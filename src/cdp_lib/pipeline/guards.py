"""Guards: refuse batches that would damage a table, before a row of the table changes.

A refused batch stays in bronze. The next refresh judges it again, together with the batches that have arrived since. If
a later snapshot has arrived, the refused batch is ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.table import BronzeContract, TableContract
from cdp_lib.errors import CdpError
from cdp_lib.pipeline.load_batches import LoadedBatches
from cdp_lib.pipeline.state import TableState
from cdp_lib.pipeline.work import REFUSED, Work

MIN_REFUSED_ROWS = 20
"""Number of refused rows of a batch from which the share of refused rows is judged."""

MIN_MISSING_ROWS = 10
"""Number of rows missing in a snapshot from which the share of missing rows is judged."""

_MAX_VALUE_LENGTH = 40
"""Maximum length of an example value in a message."""

_SEPARATOR = "\x1f"
"""Separator between the key and the record of an example."""


class RefusedBatchError(CdpError):
    """Error for a batch that is refused. No row of the table or of its quarantine has changed.

    Attributes:
        batches: Names of the refused batches.
    """

    def __init__(self, message: str, batches: Collection[str]) -> None:
        """Create the error.

        Args:
            message: What was refused, why, and what to do.
            batches: Names of the refused batches.
        """
        super().__init__(message)
        self.batches = batches


def with_refused_batches(state: TableState, batches: Collection[str]) -> TableState:
    """Return the state of a table, with the names of refused batches added. The table stays due.

    If a later snapshot takes the place of a refused batch, the rows of the refused batch are ignored
    (`Work.batches_set_aside`).
    """
    refused = sorted({*state.details.get(REFUSED, []), *batches})
    return replace(state, details={**state.details, REFUSED: refused})


@dataclass(frozen=True)
class Limits:
    """Limits of the guards in one refresh.

    They are stored with a change set. If a run is killed, the next run judges the stored change set by the stored
    limits. Both runs therefore decide in the same way, even if the settings differ.

    Attributes:
        refused_share: Share of the rows of a batch that may break rules.
        shrink: Share of the rows of a table that may be missing in a snapshot.
        accepts_all: Whether a batch that exceeds the limits is accepted.
    """

    refused_share: float
    shrink: float
    accepts_all: bool = False

    @classmethod
    def of(cls, work: Work) -> Self:
        """Return the limits of a run. A run that extracts every source completely accepts every batch."""
        settings = work.settings
        return cls(settings.refused_share_limit, settings.shrink_limit, settings.from_scratch)


def has_too_many_refused(refused: int, rows: int, limit: float) -> bool:
    """Return whether a batch is refused because too many of its rows break rules.

    Args:
        refused: Number of rows that break rules.
        rows: Number of rows of the batch.
        limit: Share of the rows that may break rules, 0 to 1.
    """
    return refused >= MIN_REFUSED_ROWS and refused > limit * rows


def judge_refused_rows(
    work: Work, refused_rows: Mapping[str, int], refused: DataFrame, limits: Limits, accepted: list[str]
) -> list[str]:
    """Refuse a batch if too many of its rows break rejecting rules.

    Cost: if a batch has many refused rows, its rows in bronze are counted. The reasons are computed only for the error.

    Args:
        work: Table to refresh.
        refused_rows: Number of refused rows by batch.
        refused: Refused rows, with the columns of a quarantine.
        limits: Limits of the refresh.
        accepted: Batches that an earlier run has accepted although they exceed the limit.

    Returns:
        Names of the batches that are accepted although they exceed the limit.

    Raises:
        RefusedBatchError: A batch exceeds the limit.
    """
    [bronze] = work.table.reads
    loaded = LoadedBatches.of(work.inputs[bronze.name])
    # Judge only batches that are complete in bronze. The share of refused rows of a compacted batch is unknown.
    judged = {
        name: number
        for name, number in refused_rows.items()
        if number >= MIN_REFUSED_ROWS and name not in accepted and loaded.has_whole(name)
    }
    still_accepted = [name for name in accepted if name >= loaded.snapshot and loaded.has_whole(name)]
    if not judged:
        return still_accepted
    counted = work.store.read(bronze).where(sf.col("_batch_id").isin(*judged)).groupBy("_batch_id").count().collect()
    received: dict[str, int] = {name: rows for name, rows in counted}
    exceeding = sorted(
        name for name, number in judged.items() if has_too_many_refused(number, received[name], limits.refused_share)
    )
    if not exceeding or limits.accepts_all:
        return [*still_accepted, *exceeding]
    name = exceeding[0]
    more = f" (and {len(exceeding) - 1} more batches)" if exceeding[1:] else ""
    reasons = _commonest_reasons(refused.where(sf.col("_batch_id") == name), work.contract, bronze)
    raise RefusedBatchError(
        f"Batch {name} of {_entity_of(bronze)} is refused{more}: {_share(judged[name], received[name])} break rules of"
        f" {work.contract.name}, more than refused_share_limit ({limits.refused_share:.0%}): {'; '.join(reasons)}."
        f" {work.contract.name} and its downstream tables are unchanged. If the file of sources reads the values in a"
        " wrong way (columns, date_format, decimal_separator), correct the file. Otherwise, correct the source: its"
        " next snapshot, or the corrected rows, take the place of this batch. To accept the batch, run with"
        " from_scratch=true, or raise refused_share_limit.",
        exceeding,
    )


def judge_missing_rows(work: Work, missing: int, rows: Callable[[], int], limits: Limits) -> None:
    """Refuse a snapshot if too many rows of the table are missing in it.

    Args:
        work: Table to refresh.
        missing: Number of rows of the table that the snapshot no longer has.
        rows: Function that counts the rows of the table that the snapshot should have. It is called only if needed.
        limits: Limits of the refresh.

    Raises:
        RefusedBatchError: The snapshot exceeds the limit.
    """
    if missing < MIN_MISSING_ROWS or limits.accepts_all or missing <= limits.shrink * (number := rows()):
        return
    [bronze] = work.table.reads
    snapshot = LoadedBatches.of(work.inputs[bronze.name]).snapshot
    raise RefusedBatchError(
        f"Snapshot {snapshot} of {_entity_of(bronze)} is refused: {_share(missing, number)} of {work.contract.name} are"
        f" missing in it, more than shrink_limit ({limits.shrink:.0%}). {work.contract.name} and its downstream tables"
        " are unchanged. Check whether the source is complete: its next snapshot takes the place of this one. To accept"
        " the snapshot, run with from_scratch=true, or raise shrink_limit.",
        [snapshot],
    )


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} rows ({part / whole:.0%})"


def _entity_of(bronze: TableContract) -> str:
    return f"{bronze.source}/{bronze.entity}" if isinstance(bronze, BronzeContract) else bronze.name


def _commonest_reasons(refused: DataFrame, contract: TableContract, bronze: TableContract) -> list[str]:
    """Return the three most frequently broken rules, each with its number of rows and an example."""
    example = sf.concat(sf.coalesce("record_key", sf.lit("")), sf.lit(_SEPARATOR), sf.col("record"))
    by_rule = (
        refused.select(sf.explode("broken_rules").alias("rule"), example.alias("example"))
        .groupBy("rule")
        .agg(sf.count("*").alias("rows"), sf.min("example").alias("example"))
    )
    commonest = sorted(by_rule.collect(), key=lambda row: (-row["rows"], row["rule"]))[:3]
    reasons = []
    for rule, rows, text in commonest:
        key, _, record = text.partition(_SEPARATOR)
        shown = [*([f"key {key}"] if key else ["no key"]), *_refused_value(rule, record, contract, bronze)]
        reasons.append(f"{rule}: {rows:,} {'row' if rows == 1 else 'rows'}, for example {', '.join(shown)}")
    return reasons


def _refused_value(rule: str, record: str, contract: TableContract, bronze: TableContract) -> list[str]:
    """Return the column and the received value that break a rule, if the column holds no personal data.

    Args:
        rule: Name of the rule.
        record: The row as received, JSON.
        contract: Contract of the table.
        bronze: Contract of the bronze table.
    """
    received: dict[str, Any] = json.loads(record)
    misfits: dict[str, Any] = json.loads(received.get("_rescued_data") or "{}")
    holds = next((each.holds for each in contract.rules if each.name == rule), "")
    names = misfits if "_rescued_data" in holds else [name for name in received if name in holds.split()]
    public = {column.name for column in bronze.public_columns}
    for name in names:
        if name in public:
            value = misfits.get(name, received.get(name))
            # A whole number in a decimal column is shown as 0, not as 0.000.
            text = str(int(value) if isinstance(value, float) and value.is_integer() else value)
            return [f"{name} = {text[:_MAX_VALUE_LENGTH]!r}"]
    return []
