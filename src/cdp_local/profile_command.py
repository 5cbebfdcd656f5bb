"""The command `cdp profile`: one person's whole story, with the source of every value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from cdp_lib.errors import CdpError
from cdp_lib.identity.rules_file import read_identity_rules
from cdp_local.bundle import PROJECT, Bundle
from cdp_local.identifiers import email_text, phone_text
from cdp_local.options import Home, Variables, pairs
from cdp_local.printing import print_table
from cdp_local.profile import Profiles, Story
from cdp_local.sources import read_configuration
from cdp_local.terminal import console

_CONSENT = {True: "yes", False: "no", None: "never asked"}


def profile(
    email: Annotated[str, typer.Option(help="E-mail address of the person.")] = "",
    phone: Annotated[str, typer.Option(help="Phone number of the person.")] = "",
    customer_id: Annotated[str, typer.Option(help="Identifier of a customer, as in the source.")] = "",
    person: Annotated[int | None, typer.Option(help="Number of the person.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    home: Home = None,
    var: Variables = None,
) -> None:
    """Show one person's profile, records, history, purchases and events, and where every value comes from."""
    bundle, profiles = open_profiles(home, var)
    person_id = find_person(bundle, profiles, email, phone, customer_id, person)
    story = profiles.story_of(person_id)
    if story is None:
        raise CdpError(f"There is no person {person_id}.")
    if as_json:
        console.print(story_json(story), soft_wrap=True)
    else:
        print_story(story)


def open_profiles(home: Path | None, var: list[str] | None) -> tuple[Bundle, Profiles]:
    """Return the bundle with the given variables, and the profiles of a home folder.

    Args:
        home: Folder of the local workspace. None for the default.
        var: Values of bundle variables, as NAME=VALUE.
    """
    variables = pairs("--var", var)
    bundle = Bundle(PROJECT, variables)
    folder = (home or read_configuration(variables).default_home) / "warehouse" / bundle.variable("schema")
    return bundle, Profiles(folder)


def find_person(
    bundle: Bundle, profiles: Profiles, email: str, phone: str, customer_id: str, person: int | None
) -> int:
    """Return the number of the person that one of the arguments names.

    Raises:
        CdpError: Not exactly one argument is given, or it names no person or several persons.
    """
    if [bool(email), bool(phone), bool(customer_id), person is not None].count(True) != 1:
        raise CdpError("Name one person: write one of --email, --phone, --customer-id and --person.")
    if person is not None:
        return person
    customer = f"customer:{profiles.number_of_customer(customer_id)}" if customer_id else ""
    return _person_with(profiles, customer or _identifier(bundle, email, phone))


def _identifier(bundle: Bundle, email: str, phone: str) -> str:
    """Return what a person typed as an identifier of the look-up table."""
    if email:
        kind, typed, value = "e-mail address", email, email_text(email)
    else:
        country = read_identity_rules(bundle.variable("identity_rules")).country
        kind, typed, value = "phone number", phone, phone_text(phone, country)
    if value is None:
        advice = "" if email else ": write it with its calling code, such as +43 664 1234567"
        raise CdpError(f"{typed} is not a possible {kind}{advice}.")
    return f"{'email' if email else 'phone'}:{value}"


def _person_with(profiles: Profiles, identifier: str) -> int:
    """Return the only person with an identifier."""
    found = profiles.persons_with(identifier)
    if not found:
        raise CdpError(f"No person has {identifier}.")
    if len(found) > 1:
        raise CdpError(
            f"{len(found)} persons have {identifier}: choose one of them by --person {', '.join(map(str, found))}."
        )
    return found[0]


def story_json(story: Story) -> str:
    """Return a story as a JSON object."""
    content = {
        "person_id": story.person_id,
        "groups": {group.name: {**group.values, "origin": group.origin} for group in story.groups},
        "consent": story.consent,
        "figures": story.figures,
        "records": story.records,
        "history": story.history,
        "purchases": story.purchases,
        "events": story.events,
    }
    return json.dumps(content, ensure_ascii=False, default=_json_value)


def _json_value(value: Any) -> Any:
    """Return a value of a table as a JSON value. Money stays exact, as text."""
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else dict(value)


def print_story(story: Story) -> None:
    """Print a story for a person who reads it in a terminal."""
    rows = [
        (name, _shown(value), group.origin["source"], group.origin["record"], group.origin["at"], group.origin["rule"])
        for group in story.groups
        for name, value in group.values.items()
    ]
    columns = ("attribute", "value", "source", "record", "changed at", "chosen by")
    print_table(console, f"Person {story.person_id}", columns, rows)
    consent = [(channel, _CONSENT[answer]) for channel, answer in story.consent.items()]
    print_table(console, "Consent to marketing", ("channel", "allowed"), consent)
    print_table(console, "Segment, value and activity", ("figure", "value"), _figures(story.figures))
    links = ("record_key", "reason", "linked_to", "weight", "linked_at")
    _print_rows(f"Records ({len(story.records)}), and why they belong to the person", links, story.records)
    events = ("happened_at", "event", "other_person_id", "record_count")
    _print_rows("History", events, story.history)
    _print_rows("Latest purchases", None, story.purchases)
    _print_rows("Latest events", None, story.events)


def _print_rows(title: str, columns: tuple[str, ...] | None, rows: Any) -> None:
    """Print the rows of a table, with the given columns or all columns."""
    names = columns or (tuple(rows[0]) if rows else ())
    print_table(console, title, names, [[row.get(name) for name in names] for row in rows])


def _figures(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, _shown(value)) for name, value in figures.items()]


def _shown(value: Any) -> str:
    """Return a value as text for people."""
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, Decimal):
        return f"{value:,.2f}"
    if isinstance(value, list):
        return ", ".join(": ".join(map(str, each)) if isinstance(each, tuple) else str(each) for each in value)
    return str(value)
