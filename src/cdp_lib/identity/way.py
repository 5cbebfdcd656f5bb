"""The way between two records: the edges that connect them, cut edges included."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Step:
    """One edge on the way between two records.

    Attributes:
        record_a: Record where the step begins.
        record_b: Record where the step ends.
        evidence: Kinds of identifiers joined by +, `model` or `always`.
        weight: Evidence in bits; None for a decision of a person.
        cut: Reason why the edge joins nothing; empty if it joins.
    """

    record_a: str
    record_b: str
    evidence: str
    weight: float | None
    cut: str = ""


def steps_of(edges: pa.Table, decisions: pa.Table, cuts: pa.Table) -> list[Step]:
    """Return the edges and the decisions to join of a component, with the reason of each cut."""
    reasons = {(row["record_a"], row["record_b"]): row["reason"] for row in cuts.to_pylist()}
    steps = [
        Step(
            row["record_a"],
            row["record_b"],
            evidence_of(row["identifiers"]),
            row["weight"],
            # A contradiction joins nothing; the resolution reports it only between records that others connect.
            reasons.get((row["record_a"], row["record_b"]), "contradiction" if row["is_contradiction"] else ""),
        )
        for row in edges.to_pylist()
    ]
    always = decisions.filter(pc.equal(decisions["decision"], "always")).to_pylist()
    decided = {
        (row["record_a"], row["record_b"]): Step(
            row["record_a"], row["record_b"], "always", None, reasons.get((row["record_a"], row["record_b"]), "")
        )
        for row in always
    }
    return [*decided.values(), *(step for step in steps if (step.record_a, step.record_b) not in decided)]


def evidence_of(identifiers: Sequence[str]) -> str:
    """Return the kinds of identifiers, joined by +; `model` without one.

    >>> evidence_of(["email:nour@example.com", "phone:+43664123456"])
    'email+phone'
    """
    return "+".join(sorted({each.partition(":")[0] for each in identifiers})) or "model"


def strongest_way(steps: Sequence[Step], a: str, b: str) -> tuple[Step, ...]:
    """Return the edges of the shortest way between two records. Edges that join come first, then cut edges.

    The way is empty if no edges connect the records.
    """
    for with_cut in (False, True):
        way = _way([step for step in steps if with_cut or not step.cut], a, b)
        if way:
            return way
    return ()


def _way(steps: Sequence[Step], a: str, b: str) -> tuple[Step, ...]:
    """Return the way with the fewest edges, the strongest edge of each record first."""
    next_to: dict[str, list[tuple[str, Step]]] = {}
    for step in sorted(steps, key=lambda step: -(step.weight if step.weight is not None else float("inf"))):
        next_to.setdefault(step.record_a, []).append((step.record_b, step))
        next_to.setdefault(step.record_b, []).append((step.record_a, step))
    came_by: dict[str, tuple[str, Step] | None] = {a: None}
    waiting = deque([a])
    while waiting and b not in came_by:
        here = waiting.popleft()
        for there, step in next_to.get(here, ()):
            if there not in came_by:
                came_by[there] = (here, step)
                waiting.append(there)
    way: list[Step] = []
    place = came_by.get(b)
    while place:
        here, step = place
        way.insert(
            0, step if step.record_a == here else Step(here, step.record_a, step.evidence, step.weight, step.cut)
        )
        place = came_by[here]
    return tuple(way)


_CUTS = {
    "never": "a person decided that they are two persons",
    "contradiction": "their names or birth dates clearly differ",
    "two_persons": "a record of events would tie two persons",
    "limit records_per_person": "the person would have more records than records_per_person",
}


def cut_in_words(reason: str) -> str:
    """Return the reason of a cut edge in words.

    >>> cut_in_words("limit values_per_person:email")
    'the person would have more values of email than values_per_person'
    """
    if reason in _CUTS:
        return _CUTS[reason]
    kind, _, value = reason.partition(":")
    if kind == "shared_value":
        return f"more persons than persons_per_value share {value}"
    return f"the person would have more values of {value} than values_per_person"
