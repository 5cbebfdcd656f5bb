"""Resolved records for tests of what people read: explanations, plans and the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from pyspark.sql import DataFrame

from cdp_lib.contracts.identity import IDENTITY_OVERRIDES_SILVER, IDENTITY_RECORDS_SILVER, PERSON_LINKS_SILVER
from cdp_lib.frames import frame_from_arrow
from cdp_lib.identity.explain import IdentityTables
from cdp_lib.identity.resolution import resolve
from cdp_lib.identity.rules import IdentifierKind, IdentityRules
from cdp_lib.silver.identity_edges import build_identity_edges_silver
from cdp_lib.silver.person_links import latest_decisions

NOW = datetime(2026, 7, 1, tzinfo=UTC)
RULES = IdentityRules(
    kinds=(IdentifierKind("email", 16.0), IdentifierKind("phone", 12.0), IdentifierKind("weak", 3.0)),
)
_SOURCES = {"customer": "customers", "contact": "crm_contacts", "email": "events"}


def resolved_tables(
    frame_of: Callable[..., DataFrame],
    people: Mapping[str, tuple[str | None, ...]],
    decisions: Sequence[tuple[str, str, str]] = (),
    rules: IdentityRules = RULES,
) -> IdentityTables:
    """Return the tables of identity resolution for a few records.

    Args:
        frame_of: The fixture.
        people: First name and identifiers of each record, by record key.
        decisions: Decisions of people: two record keys and the decision.
        rules: Rules of identity resolution.
    """
    records = frame_of(
        IDENTITY_RECORDS_SILVER.columns,
        *(
            {
                "record_key": key,
                "source": _SOURCES[key.split(":")[0]],
                "customer_id": int(key.split(":")[1]) if key.startswith("customer:") else None,
                "first_name": name,
                "identifiers": sorted(identifiers),
                "blocks": [],
            }
            for key, (name, *identifiers) in people.items()
        ),
    )
    made = {"author": "Ana", "reason": "two sisters", "decided_at": NOW}
    overrides = frame_of(
        IDENTITY_OVERRIDES_SILVER.columns,
        *({"record_a": a, "record_b": b, "decision": decision} | made for a, b, decision in decisions),
    )
    edges = build_identity_edges_silver(records, rules)
    nobody = frame_of(PERSON_LINKS_SILVER.columns).toArrow()
    decided = latest_decisions(overrides.toArrow())
    links = resolve(records.toArrow(), edges.toArrow(), decided, nobody, rules, 1, NOW).links
    return IdentityTables(records, edges, overrides, frame_from_arrow(links, records))
