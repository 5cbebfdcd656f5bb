"""Silver: the ledger of consent, and the current consent of each person; and the purposes that consent is given for.

The terms are those of ISO/IEC TS 27560. This module does not depend on Spark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cdp_lib.contracts.table import BATCH_ID, Column, TableContract

LegalBasis = Literal["consent", "contract", "legitimate interest"]
PurposeName = Literal["marketing", "advertising", "personalisation", "tracking", "analytics", "service"]


@dataclass(frozen=True)
class Purpose:
    """A purpose that personal data is used for.

    Attributes:
        name: Name of the purpose.
        legal_basis: Why the use is lawful (GDPR, article 6). `consent`: only for persons who gave it. `legitimate
            interest`: for all persons who did not object. `contract`: for all persons.
        meaning: What the data is used for.
        channels: Channels that a person decides on separately.
    """

    name: PurposeName
    legal_basis: LegalBasis
    meaning: str
    channels: tuple[str, ...]


MARKETING_CHANNELS = {"email": "e-mail", "sms": "text message", "phone": "phone"}
"""Channels of marketing that a person may agree to, each with its name in a sentence."""

ONLINE, ALL = "online", "all"

PURPOSES: dict[str, Purpose] = {
    each.name: each
    for each in (
        Purpose("marketing", "consent", "advertising messages to a person", (*MARKETING_CHANNELS,)),
        Purpose("advertising", "consent", "advertisements on web and app that are chosen for a person", (ONLINE,)),
        Purpose("personalisation", "consent", "content on web and app that is chosen for a person", (ONLINE,)),
        Purpose("tracking", "consent", "events on web, app and in e-mails are linked to a person", (ONLINE,)),
        Purpose("analytics", "legitimate interest", "figures, segments and predictions for decisions", (ALL,)),
        Purpose("service", "contract", "messages that a purchase needs, such as a receipt", (*MARKETING_CHANNELS,)),
    )
}
"""All purposes, by name."""

GIVEN, REFUSED, WITHDRAWN = "given", "refused", "withdrawn"

_PURPOSE = Column("purpose", "STRING", f"purpose of the use: {', '.join(PURPOSES)}", required=True)
_CHANNEL = Column(
    "channel",
    "STRING",
    f"channel of the purpose: {', '.join(MARKETING_CHANNELS)}; {ONLINE} for web and app; {ALL} without channels",
    required=True,
)
_STATE = Column(
    "state",
    "STRING",
    f"{GIVEN}, {REFUSED} (never given before) or {WITHDRAWN} (given before); an objection is {REFUSED}. No row means"
    " that nobody asked",
    required=True,
)
_DECIDED_AT = Column(
    "decided_at",
    "TIMESTAMP",
    "time of the decision, UTC; if the source does not say, time of the first record or event that has it",
    required=True,
)
_RECORD_KEY = Column(
    "record_key",
    "STRING",
    "record whose person decided, as in person_links_silver: customer:<customer_id>, contact:<contact_id>,"
    " email:<address> or device:<anonymous_id>",
    required=True,
    pii="email",
)
_SOURCE = Column("source", "STRING", "crm_contacts, events or consents", required=True)

CONSENT_EVENTS_SILVER = TableContract(
    name="consent_events_silver",
    layer="silver",
    comment="One row per decision of a person on a purpose and channel: the ledger of consent. A new decision adds a"
    " row and changes no earlier decision.",
    columns=(
        _RECORD_KEY,
        _PURPOSE,
        _CHANNEL,
        _STATE,
        _DECIDED_AT,
        Column(
            "method",
            "STRING",
            "how the decision was expressed: CRM, flag, IAB TCF v2, Google consent mode, or what a file says",
        ),
        Column("notice", "STRING", "text that the person was shown; null if the source does not say"),
        Column("notice_version", "STRING", "version of the notice; null if the source does not say"),
        Column("jurisdiction", "STRING", "ISO 3166-1 alpha-2 code of the country; null if the source does not say"),
        _SOURCE,
        Column("source_record", "STRING", "identifier of the record or event in the source", required=True),
        BATCH_ID,
    ),
    key=("record_key", "purpose", "channel", "source", "decided_at", "state"),
)

CONSENT_CURRENT_SILVER = TableContract(
    name="consent_current_silver",
    layer="silver",
    comment="One row per person, purpose and channel with a decision. The most restrictive record of the person counts."
    " Without a row, nothing is allowed that needs consent.",
    columns=(
        Column("person_id", "BIGINT", "number of the person, as in person_links_silver", required=True),
        _PURPOSE,
        _CHANNEL,
        _STATE,
        Column("is_allowed", "BOOLEAN", "whether the state is given", required=True),
        _DECIDED_AT,
        _RECORD_KEY,
        _SOURCE,
        Column(
            "reason",
            "STRING",
            "only_record: one record of the person has a decision; agreed: all of them say the same; most_restrictive:"
            " they differ, and the record that allows least counts",
            required=True,
        ),
        Column("record_count", "BIGINT", "records of the person with a decision", required=True),
    ),
    key=("person_id", "purpose", "channel"),
    clustered_by=("person_id",),
)

CONSENT_TABLES = (CONSENT_EVENTS_SILVER, CONSENT_CURRENT_SILVER)
