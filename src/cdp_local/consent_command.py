"""The command `cdp consent`: what a person allows, or allowed on an earlier day, and why. It starts no engine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cdp_lib.contracts.consent import GIVEN, PURPOSES, Purpose
from cdp_lib.errors import CdpError
from cdp_local.options import Home, Variables
from cdp_local.printing import print_table
from cdp_local.profile import Decision
from cdp_local.profile_command import find_person, open_profiles
from cdp_local.terminal import console

_COLUMNS = ("purpose", "channel", "allowed", "why", "decided at", "record", "method", "source record")


def consent(
    email: Annotated[str, typer.Option(help="E-mail address of the person.")] = "",
    phone: Annotated[str, typer.Option(help="Phone number of the person.")] = "",
    customer_id: Annotated[str, typer.Option(help="Identifier of a customer, as in the source.")] = "",
    person: Annotated[int | None, typer.Option(help="Number of the person.", show_default=False)] = None,
    at: Annotated[str, typer.Option(help="Day up to whose end decisions count, UTC: 2026-05-03.")] = "",
    home: Home = None,
    var: Variables = None,
) -> None:
    """Show what a person allows, or allowed on an earlier day, and why."""
    until = _end_of(at)
    bundle, profiles = open_profiles(home, var)
    person_id = find_person(bundle, profiles, email, phone, customer_id, person)
    decisions = {(each.purpose, each.channel): each for each in profiles.decisions_of(person_id, until)}
    rows = [
        _row(purpose, channel, decisions.get((purpose.name, channel)))
        for purpose in PURPOSES.values()
        for channel in purpose.channels
    ]
    print_table(console, f"Consent of person {person_id}" + (f" on {at}" if at else ""), _COLUMNS, rows)


def _end_of(day: str) -> datetime | None:
    """Return the last moment of a day. None without a day."""
    if not day:
        return None
    try:
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1, microseconds=-1)
    except ValueError:
        raise CdpError(f"'{day}' is not a day: write --at as 2026-05-03.") from None


def _row(purpose: Purpose, channel: str, decision: Decision | None) -> tuple[object, ...]:
    """Return the row of a purpose and channel."""
    if purpose.legal_basis == "contract":
        return (purpose.name, channel, "yes", "needed for the contract", *[None] * 4)
    if decision is None:
        allowed, why = ("no", "no record") if purpose.legal_basis == "consent" else ("yes", "no objection")
        return (purpose.name, channel, allowed, why, *[None] * 4)
    counts = decision.counts
    why = counts["state"]
    if any((other["state"] == GIVEN) != (counts["state"] == GIVEN) for other in decision.others):
        why += f"; the strictest of {len(decision.others) + 1} records counts"
    details = (counts[name] for name in ("decided_at", "record_key", "method", "source_record"))
    return (purpose.name, channel, "yes" if counts["state"] == GIVEN else "no", why, *details)
