"""consent_events_silver and consent_current_silver: the decisions of people, and what is allowed now.

Only this module decides what the records of a person allow.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.columns import clean_text, identity_of, to_flag, to_instant
from cdp_lib.contracts.bronze import CRM_CONTACTS_BRONZE
from cdp_lib.contracts.consent import (
    CONSENT_CURRENT_SILVER,
    CONSENT_EVENTS_SILVER,
    GIVEN,
    MARKETING_CHANNELS,
    ONLINE,
    REFUSED,
    WITHDRAWN,
)
from cdp_lib.contracts.identity import PERSON_LINKS_SILVER
from cdp_lib.contracts.silver import CONSENTS_SILVER, EVENTS_SILVER, ID_KEYS_SILVER
from cdp_lib.frames import union, with_missing
from cdp_lib.pipeline.follow_groups import FollowGroups, Reference
from cdp_lib.pipeline.table import Table
from cdp_lib.pipeline.union_touched import UnionTouched
from cdp_lib.quality import record_hash
from cdp_lib.silver.consent_signals import (
    SIGNAL_PURPOSES,
    is_granted,
    jurisdiction_of,
    method_of,
    notice_version_of,
)
from cdp_lib.silver.events import visitor_of_event

_DECISION = ("record_key", "purpose", "channel", "source")
"""Columns with what a decision is about."""


def build_consent_events_silver(
    crm_contacts_bronze: DataFrame, events_silver: DataFrame, consents_silver: DataFrame
) -> DataFrame:
    """Return one row per decision of a person.

    A decision is a change of the answer, or an answer with a time of its own. The ledger is computed from all versions
    of a contact and all events, so it loses no decision: compaction keeps the versions that it needs.

    Args:
        crm_contacts_bronze: All bronze rows of the contacts to compute.
        events_silver: All events of the identities to compute. Events of visitors who refused tracking count, too.
        consents_silver: All decisions in files of the identities to compute.

    Returns:
        Columns of `consent_events_silver`.
    """
    answers = (
        _answers_of_contacts(crm_contacts_bronze),
        _answers_of_events(events_silver),
        _answers_of_files(consents_silver),
    )
    return _decisions(union(answers))


def _answers_of_contacts(crm_contacts_bronze: DataFrame) -> DataFrame:
    """Return one row per version of a contact and channel with an answer.

    A time of decision after the last change of the contact is a mistake: it would outrank all later decisions. The time
    of the change counts then.
    """
    texts = {name: sf.lit(None).cast("string") for name in _RECEIVED}
    rows = with_missing(crm_contacts_bronze, texts).where(~sf.coalesce("_is_deleted", sf.lit(False)))
    changed_at = to_instant(sf.col("modifiedon"))
    answers = [
        sf.struct(
            sf.lit(channel).alias("channel"),
            to_flag(sf.col(f"cdp_{channel}consent")).alias("agrees"),
            to_instant(sf.col(f"cdp_{channel}consenton")).alias("said_at"),
        )
        for channel in MARKETING_CHANNELS
    ]
    contact_id = _contact_id()
    versions = rows.select(
        contact_id.alias("source_record"),
        changed_at.alias("changed_at"),
        "_batch_id",
        sf.explode(sf.array(*answers)).alias("answer"),
    )
    at = sf.coalesce(sf.least("answer.said_at", "changed_at"), "changed_at")
    return _answers(
        versions.where("source_record IS NOT NULL AND changed_at IS NOT NULL AND answer.agrees IS NOT NULL"),
        record_key=identity_of("contact", sf.col("source_record")),
        purpose=sf.lit("marketing"),
        channel=sf.col("answer.channel"),
        source=sf.lit("crm_contacts"),
        agrees=sf.col("answer.agrees"),
        decided_at=at,
        has_own_time=sf.col("answer.said_at").isNotNull(),
        method=sf.lit("CRM"),
        source_record=sf.col("source_record"),
    )


_RECEIVED = tuple(f"cdp_{channel}consent{part}" for channel in MARKETING_CHANNELS for part in ("", "on"))
"""Columns of consent that the rows of bronze may lack."""


def _answers_of_events(events_silver: DataFrame) -> DataFrame:
    """Return one row per event and purpose with an answer."""
    signal = sf.col("consent_signal")
    granted = [
        sf.struct(sf.lit(purpose).alias("purpose"), is_granted(purpose, signal).alias("agrees"))
        for purpose in SIGNAL_PURPOSES
    ]
    flag = sf.struct(sf.lit("tracking").alias("purpose"), sf.col("is_tracking_allowed").alias("agrees"))
    answers = sf.when(signal.isNull(), sf.array(flag)).otherwise(sf.array(*granted))
    told = events_silver.withColumn("record_key", _event_key()).where("record_key IS NOT NULL")
    exploded = told.select(
        "record_key",
        "occurred_at",
        "event_id",
        "_batch_id",
        method_of(signal).alias("method"),
        notice_version_of(signal).alias("notice_version"),
        jurisdiction_of(signal).alias("jurisdiction"),
        sf.explode(answers).alias("answer"),
    )
    return _answers(
        exploded.where("answer.agrees IS NOT NULL"),
        record_key=sf.col("record_key"),
        purpose=sf.col("answer.purpose"),
        channel=sf.lit(ONLINE),
        source=sf.lit("events"),
        agrees=sf.col("answer.agrees"),
        decided_at=sf.col("occurred_at"),
        has_own_time=sf.lit(False),
        method=sf.col("method"),
        notice_version=sf.col("notice_version"),
        jurisdiction=sf.col("jurisdiction"),
        source_record=sf.col("event_id"),
    )


def _answers_of_files(consents_silver: DataFrame) -> DataFrame:
    """Return one row per decision in the files. A file says itself whether a refusal withdraws an earlier consent."""
    return _answers(
        consents_silver,
        record_key=sf.col("identity"),
        source=sf.lit("consents"),
        agrees=sf.col("state") == GIVEN,
        has_own_time=sf.lit(True),
        source_record=sf.col("record_id"),
        **{name: sf.col(name) for name in _SAME_IN_FILES},
    )


_SAME_IN_FILES = (
    *("purpose", "channel", "state", "decided_at"),
    *("method", "notice", "notice_version", "jurisdiction"),
)
"""Columns of the ledger that `consents_silver` has as well."""


def _answers(rows: DataFrame, **columns: Column) -> DataFrame:
    """Return answers with the columns of the ledger. A column that is not given is null."""
    names = (*CONSENT_EVENTS_SILVER.column_names, "agrees", "has_own_time")
    values = {"_batch_id": sf.col("_batch_id"), **columns}
    return rows.select(*(values.get(name, sf.lit(None).cast("string")).alias(name) for name in names))


def _decisions(answers: DataFrame) -> DataFrame:
    """Return the answers that are decisions. Of equal answers at one time, the one that arrived first remains.

    If there are different answers at one time, the refusal counts as the later one.
    """
    first_told = Window.partitionBy(*_DECISION, "decided_at", "agrees").orderBy(
        sf.desc("has_own_time"), "_batch_id", "source_record"
    )
    single = answers.withColumn("_rank", sf.row_number().over(first_told)).where("_rank = 1").drop("_rank")
    in_time = Window.partitionBy(*_DECISION).orderBy("decided_at", sf.desc("agrees"))
    so_far = in_time.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    compared = single.select(
        "*", sf.lag("agrees").over(in_time).alias("_before"), sf.max("agrees").over(so_far).alias("_was_given")
    )
    by_history = sf.when(sf.col("agrees"), GIVEN).when(sf.col("_was_given"), WITHDRAWN).otherwise(REFUSED)
    state = sf.coalesce("state", by_history)
    is_decision = sf.col("has_own_time") | sf.col("_before").isNull() | (sf.col("_before") != sf.col("agrees"))
    return compared.where(is_decision).withColumn("state", state).selectExpr(*CONSENT_EVENTS_SILVER.select_list)


def build_consent_current_silver(person_links_silver: DataFrame, consent_events_silver: DataFrame) -> DataFrame:
    """Return one row per person, purpose and channel with a decision.

    The latest decision of each record counts. If the records of a person differ, the most restrictive one counts. After
    a split, each person has the decisions of the records that remain.

    Args:
        person_links_silver: One row per record.
        consent_events_silver: One row per decision. Leave out later decisions to compute the consent on an earlier day.

    Returns:
        Columns of `consent_current_silver`.
    """
    about = ("purpose", "channel")
    is_allowed = sf.col("state") == GIVEN
    latest_first = Window.partitionBy("record_key", *about).orderBy(
        sf.desc("decided_at"), sf.asc(is_allowed), "state", "source"
    )
    latest = consent_events_silver.select(
        "record_key", *about, "state", "decided_at", "source", sf.row_number().over(latest_first).alias("_age")
    ).where("_age = 1")
    linked = latest.join(person_links_silver.select("record_key", "person_id"), "record_key", how="inner")
    same = Window.partitionBy("person_id", *about)
    strictest_first = same.orderBy(sf.asc(is_allowed), sf.desc("decided_at"), "record_key")
    ranked = linked.select(
        "*",
        is_allowed.alias("is_allowed"),
        sf.row_number().over(strictest_first).alias("_rank"),
        sf.count("*").over(same).alias("record_count"),
        sf.max(is_allowed).over(same).alias("_any"),
        sf.min(is_allowed).over(same).alias("_all"),
    )
    reason = (
        sf.when(sf.col("record_count") == 1, "only_record")
        .when(sf.col("_any") == sf.col("_all"), "agreed")
        .otherwise("most_restrictive")
    )
    return ranked.where("_rank = 1").withColumn("reason", reason).selectExpr(*CONSENT_CURRENT_SILVER.select_list)


def _contact_id() -> Column:
    return sf.lower(clean_text(sf.col("contactid")))


def _contact_key() -> Column:
    return identity_of("contact", _contact_id())


def _event_key() -> Column:
    """Return the identity of an event with an answer, even if the visitor refused tracking: the refusal must count."""
    has_answer = sf.col("is_tracking_allowed").isNotNull() | sf.col("consent_signal").isNotNull()
    return sf.when(has_answer, visitor_of_event())


def _file_key() -> Column:
    return sf.col("identity")


def _versions_with_decisions(crm_contacts_bronze: DataFrame) -> DataFrame:
    """Return the bronze rows that the ledger needs."""
    decisions = _decisions(_answers_of_contacts(crm_contacts_bronze))
    needed = decisions.select(sf.col("source_record").alias("_contact"), "_batch_id").distinct()
    rows = crm_contacts_bronze.withColumn("_contact", _contact_id())
    kept = rows.join(needed, ["_contact", "_batch_id"], how="left_semi")
    return kept.withColumn("_record_hash", record_hash(CRM_CONTACTS_BRONZE))


CONSENT_EVENTS = Table(
    CONSENT_EVENTS_SILVER,
    build_consent_events_silver,
    reads=(CRM_CONTACTS_BRONZE, EVENTS_SILVER, CONSENTS_SILVER),
    follows=(ID_KEYS_SILVER,),
    materialization=UnionTouched(
        key_of=(_contact_key, _event_key, _file_key), by="record_key", keep_rows=_versions_with_decisions
    ),
)

CONSENT_CURRENT = Table(
    CONSENT_CURRENT_SILVER,
    build_consent_current_silver,
    reads=(PERSON_LINKS_SILVER, CONSENT_EVENTS_SILVER),
    materialization=FollowGroups(
        "person_id",
        PERSON_LINKS_SILVER,
        (
            Reference("person_id", lambda: sf.col("person_id")),
            Reference("record_key", lambda: sf.col("record_key")),
        ),
        is_followed=True,
    ),
)
