"""Check of the promises of segments, and the result in sentences for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from cdp_lib.contracts.segments import ALL_BUYERS, SEGMENTS, Promise


@dataclass(frozen=True)
class Outcome:
    """Purchases of the customers of a segment in the churn horizon after a cut-off.

    Attributes:
        customers: Number of customers in the segment at the cut-off.
        bought: Number of these customers who bought in the horizon.
    """

    customers: int
    bought: int

    @property
    def share(self) -> float | None:
        """Share of the customers who bought in the horizon, 0 to 1; None without customers."""
        return self.bought / self.customers if self.customers else None


def is_kept(promise: Promise, outcomes: Mapping[str, Outcome], minimum_size: int) -> bool | None:
    """Return whether a promise was kept; None if a compared segment is too small for an answer.

    Args:
        promise: The promise.
        outcomes: Outcome of every segment and of `ALL_BUYERS`.
        minimum_size: Minimum number of customers in each compared segment.
    """
    compared = {name: outcomes[name] for name in promise.segments}
    if any(each.customers < max(minimum_size, 1) for each in compared.values()):
        return None
    return promise.holds({name: each.bought / each.customers for name, each in compared.items()})


def promise_sentences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what a reader must know about the promises of the segments. No sentence means that all were kept.

    Args:
        rows: Rows of `segment_quality_gold`. Only the rows of the latest `as_of` count.
    """
    latest = max((row["as_of"] for row in rows), default=None)
    by_segment = {row["segment"]: row for row in rows if row["as_of"] == latest}
    promised = [(each, by_segment[each.name]) for each in SEGMENTS if each.promise and each.name in by_segment]
    if not promised:
        return []
    if day := promised[0][1]["checkable_from"]:
        return [f"Segments: the first churn horizon is not over. Their promises can be checked from {day:%Y-%m-%d} on."]
    broken = [each for each, row in promised if row["is_kept"] is False]
    unknown = [each.name for each, row in promised if row["is_kept"] is None]
    sentences = [_broken(each.promise, by_segment, latest) for each in broken if each.promise]
    if unknown:
        sentences.append(f"Segments: too few customers to check the promise of {', '.join(unknown)}.")
    return sentences


def _broken(promise: Promise, rows: Mapping[str, Mapping[str, Any]], as_of: date | None) -> str:
    compared = [rows[name] for name in promise.segments]
    shares = ", ".join(
        f"{row['bought_share']:.0%} of {row['customer_count']:,} {_group(row['segment'])}" for row in compared
    )
    return (
        f"Segments: it is not true on your data that {promise.text}. From {compared[0]['cut_off']:%Y-%m-%d} to"
        f" {as_of:%Y-%m-%d}, these customers bought: {shares}."
    )


def _group(segment: str) -> str:
    return "buyers" if segment == ALL_BUYERS else f"in {segment}"
