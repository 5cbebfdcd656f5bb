"""Tests of consent signals. The TCF strings are examples of published decoders, with the values that these show."""

from __future__ import annotations

import json

import pytest

from cdp_lib.contracts.bronze import EVENTS_BRONZE
from cdp_lib.silver.consent_signals import (
    SIGNAL_PURPOSES,
    is_granted,
    jurisdiction_of,
    method_of,
    notice_version_of,
    to_signal,
    to_tracking,
)
from cdp_lib.silver.events import build_events_silver

FOUR_PURPOSES = "CLcVDxRMWfGmWAVAHCENAXCkAKDAADnAABRgA5mdfCKZuYJez-NQm0TBMYA4oCAAGQYIAAAAAAEAIAEgAA.argAC0gAAAAAAAAAAAA"
"""Example of GDPR::IAB::TCFv2: purposes 1, 3, 9 and 10, vendor list 23, country KM."""

FIRST_THREE_PURPOSES = (
    "COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA.IFoEUQQgAIQwgIwQABAEAAAAOIAACAIAAAAQAIAgEAACEAAAAAgAQBAAAA"
)
"""Example of iabtcf-java: purposes 1 to 3, vendor list 15."""

TEN_PURPOSES = "COw4XqLOw4XqLAAAAAENAXCf-v-gAAAfwIAAACngAI8AEFABgACAA4A"
"""Example of iabconsent: purposes 1 to 9 and 11, vendor list 23."""

GOOGLE_DENIED = json.dumps({"ad_storage": "granted", "ad_user_data": "denied", "analytics_storage": "granted"})


GRANTED = {
    FOUR_PURPOSES: (False, False, False),
    FIRST_THREE_PURPOSES: (False, False, False),
    TEN_PURPOSES: (True, True, True),
    "G111": (True, None, True),
    "G110": (False, None, True),
    "G101": (True, None, False),
    GOOGLE_DENIED: (True, None, False),
    '{"personalization_storage": "GRANTED"}': (None, True, None),
    '{"security_storage": "granted"}': (None, None, None),
    "G1--": (None, None, None),
    "true": (None, None, None),
    None: (None, None, None),
}
"""Whether each text grants each of `SIGNAL_PURPOSES`."""


def test_signal_grants_a_purpose_only_if_it_grants_every_part(spark) -> None:
    rows = spark.createDataFrame([(text,) for text in GRANTED], "consent string")
    signals = rows.select("consent", to_signal(rows.consent).alias("signal"))
    answers = signals.select("consent", *(is_granted(purpose, signals.signal) for purpose in SIGNAL_PURPOSES))
    assert {row[0]: tuple(row[1:]) for row in answers.collect()} == GRANTED


def test_tcf_string_says_which_notice_was_shown_and_in_which_country(spark) -> None:
    texts = [(1, FOUR_PURPOSES), (2, TEN_PURPOSES), (3, "G111"), (4, "true")]
    rows = spark.createDataFrame(texts, "id int, consent string")
    signals = rows.select("id", to_signal(rows.consent).alias("signal"), to_tracking(rows.consent).alias("tracking"))
    told = signals.select(
        "id",
        method_of(signals.signal),
        notice_version_of(signals.signal),
        jurisdiction_of(signals.signal),
        "tracking",
    )
    assert {row[0]: tuple(row[1:]) for row in told.collect()} == {
        1: ("IAB TCF v2", "vendor list 23, policy 2", "KM", False),
        2: ("IAB TCF v2", "vendor list 23, policy 2", None, True),
        3: ("Google consent mode", None, None, True),
        4: ("flag", None, None, True),
    }


@pytest.mark.parametrize(
    ("consent", "identity"),
    [
        *((TEN_PURPOSES, "device:d1"), (FOUR_PURPOSES, None), ("G110", None)),
        ('{"personalization_storage": "denied"}', "device:d1"),
    ],
)
def test_event_with_a_signal_that_refuses_tracking_has_no_identity(bronze_rows, consent, identity) -> None:
    event = {"event_id": "e1", "event_type": "page_view", "occurred_at": "2026-01-30T08:00:00Z", "anonymous_id": "d1"}
    [row] = build_events_silver(bronze_rows(EVENTS_BRONZE, event | {"consent": consent})).collect()
    assert (row.identity, row._is_tracking_allowed_fits) == (identity, True)
