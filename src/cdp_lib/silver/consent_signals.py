"""Consent signals of web and app: IAB TCF v2 strings and states of Google consent mode, decoded with SQL expressions.

Python libraries can't be used here: the expressions run on the engine, without user-defined functions.

A TCF string is a sequence of bits. Each character stands for 6 bits. Only the core segment is read; its layout is in
the specification "Transparency and Consent String with Global Vendor & CMP List Formats" of IAB Tech Lab.
"""

from __future__ import annotations

from functools import reduce
from operator import and_

from pyspark.sql import Column
from pyspark.sql import functions as sf

from cdp_lib.columns import clean_text, to_flag

SIGNAL_PURPOSES = ("tracking", "personalisation", "advertising")
"""Purposes that a signal may decide on."""

TCF, GOOGLE, FLAG = "IAB TCF v2", "Google consent mode", "flag"

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_CORE_CHARACTERS = 36
"""Characters of a core segment up to the country of the publisher, which ends at bit 212."""

_IS_TCF = f"^C[A-Za-z0-9_-]{{{_CORE_CHARACTERS - 1},}}([.].*)?$"
_IS_GCS = "^G1[01][01]$"
"""Value of the parameter `gcs` of Google's tags: G1, then 1 or 0 for ad_storage, then 1 or 0 for analytics_storage."""

_FIRST_PURPOSE_BIT = 152
_TCF_PURPOSES = {"tracking": (1, 8), "personalisation": (1, 5, 6), "advertising": (1, 3, 4)}
"""Purposes of TCF that our purposes need: 1 store information on a device, 8 measure content, 5 and 6 personalised
content, 3 and 4 personalised advertising."""

_GOOGLE_TYPES = {
    "tracking": ("analytics_storage",),
    "personalisation": ("personalization_storage",),
    "advertising": ("ad_storage", "ad_user_data", "ad_personalization"),
}
"""Consent types of Google that our purposes need. A type that the signal lacks is denied, if it has another type of the
purpose."""


def to_signal(received: Column) -> Column:
    """Return a signal of the two standards, shortened to what this module reads; null for any other text.

    >>> received = [("G110",), ("true",), ("CLcVDxRMWfGmWAVAHCENAXCkAKDAADnAABRgA5mdfCKZuYJez",)]
    >>> texts = spark.createDataFrame(received, "text string")
    >>> [row.signal for row in texts.select(to_signal(texts.text).alias("signal")).collect()]
    ['G110', None, 'CLcVDxRMWfGmWAVAHCENAXCkAKDAADnAABRg']
    """
    text = clean_text(received)
    is_json = text.startswith("{") & (sf.coalesce(*_google_states(text)).isNotNull())
    return sf.when(text.rlike(_IS_TCF), sf.substring(text, 1, _CORE_CHARACTERS)).when(
        text.rlike(_IS_GCS) | is_json, text
    )


def to_tracking(received: Column) -> Column:
    """Return whether tracking is allowed, from `true` or `false` or from a signal; null for any other text."""
    return sf.coalesce(to_flag(received), is_granted("tracking", to_signal(received)))


def is_granted(purpose: str, signal: Column) -> Column:
    """Return whether a signal grants a purpose. Null if the signal is null or says nothing about the purpose.

    Args:
        purpose: One of `SIGNAL_PURPOSES`.
        signal: Result of `to_signal`.
    """
    of_tcf = reduce(and_, (_tcf_bit(signal, _FIRST_PURPOSE_BIT + number - 1) == 1 for number in _TCF_PURPOSES[purpose]))
    states = [_google_state(signal, name) for name in _GOOGLE_TYPES[purpose]]
    all_granted = reduce(and_, (sf.coalesce(state, sf.lit("denied")) == "granted" for state in states))
    of_json = sf.when(sf.coalesce(*states).isNotNull(), all_granted)
    position = {"tracking": 4, "advertising": 3}.get(purpose)
    of_gcs = sf.substring(signal, position, 1) == "1" if position else sf.lit(None).cast("boolean")
    return sf.when(_is_tcf(signal), of_tcf).when(signal.startswith("{"), of_json).when(signal.startswith("G"), of_gcs)


def method_of(signal: Column) -> Column:
    """Return how a decision was expressed: `TCF`, `GOOGLE` or, without a signal, `FLAG`."""
    return sf.when(signal.isNull(), FLAG).when(_is_tcf(signal), TCF).otherwise(GOOGLE)


def notice_version_of(signal: Column) -> Column:
    """Return the versions of vendor list and policy that the person was shown; null without a TCF string."""
    vendors = _tcf_value(signal, 20) * 64 + _tcf_value(signal, 21)
    text = sf.concat(
        sf.lit("vendor list "), vendors.cast("string"), sf.lit(", policy "), _tcf_value(signal, 22).cast("string")
    )
    return sf.when(_is_tcf(signal), text)


def jurisdiction_of(signal: Column) -> Column:
    """Return the country of the publisher; null without a TCF string, or if the string names no country."""
    # The two letters are the 12 bits from bit 201: they begin 3 bits after the beginning of a character.
    values = [_tcf_value(signal, position) for position in (33, 34, 35)]
    letters = [(values[each] % 8) * 8 + sf.floor(values[each + 1] / 8) + 1 for each in (0, 1)]
    country = sf.concat(*(sf.substring(sf.lit(_ALPHABET[:26]), letter.cast("int"), 1) for letter in letters))
    # AA is 12 bits that are not set.
    return sf.when(_is_tcf(signal) & country.rlike("^[A-Z]{2}$") & (country != "AA"), country)


def _is_tcf(signal: Column) -> Column:
    return signal.startswith("C")


def _tcf_value(signal: Column, position: int) -> Column:
    """Return the 6 bits of a character as a number. Positions begin at 0."""
    return sf.instr(sf.lit(_ALPHABET), sf.substring(signal, position + 1, 1)) - 1


def _tcf_bit(signal: Column, bit: int) -> Column:
    position, offset = divmod(bit, 6)
    return sf.floor(_tcf_value(signal, position) / 2 ** (5 - offset)) % 2


def _google_state(signal: Column, name: str) -> Column:
    return sf.lower(sf.get_json_object(signal, f"$.{name}"))


def _google_states(signal: Column) -> list[Column]:
    return [_google_state(signal, name) for names in _GOOGLE_TYPES.values() for name in names]
