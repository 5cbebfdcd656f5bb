"""Which persons a dataset may include: the rule of its purpose, applied to consent_current_silver.

Each dataset with a row per person that leaves the team passes through this module.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame

from cdp_lib.contracts.consent import ALL, CONSENT_CURRENT_SILVER, PURPOSES, LegalBasis
from cdp_lib.contracts.identity import PERSON_LINKS_SILVER
from cdp_lib.errors import CdpError
from cdp_lib.storage import DeltaStore


@dataclass(frozen=True)
class Rule:
    """Which persons a use of data may include.

    Attributes:
        purpose: Name of the purpose.
        channel: Channel of the purpose.
        legal_basis: Why the use is lawful. With `consent`, a person without a decision is left out.
    """

    purpose: str
    channel: str
    legal_basis: LegalBasis

    @property
    def join(self) -> str:
        """Return how rows of persons are joined with `decided`: only these persons, or all persons but these."""
        return "left_semi" if self.legal_basis == "consent" else "left_anti"

    @property
    def decided(self) -> str:
        """Return an SQL condition on `consent_current_silver`: true for the persons who allow or refuse the use."""
        if self.legal_basis == "contract":
            return "false"
        is_allowed = "is_allowed" if self.legal_basis == "consent" else "NOT is_allowed"
        return f"purpose = '{self.purpose}' AND channel = '{self.channel}' AND {is_allowed}"

    def restrict(self, query: str) -> str:
        """Return a query with short table names that leaves out the persons whom the rule excludes.

        Args:
            query: SQL query with the column `person_id`.
        """
        join = self.join.replace("_", " ").upper()
        persons = f"SELECT person_id FROM {CONSENT_CURRENT_SILVER.name} WHERE {self.decided}"
        return f"SELECT rows.* FROM (\n{query}\n) AS rows {join} JOIN ({persons}) AS c ON rows.person_id = c.person_id"


def rule_of(purpose: str, channel: str = ALL, *, analytics_needs_consent: bool = False) -> Rule:
    """Return the rule of a purpose and channel.

    Args:
        purpose: Name of a purpose in `PURPOSES`.
        channel: Channel of the purpose.
        analytics_needs_consent: Whether the legal basis of analytics is consent.

    Raises:
        CdpError: The purpose does not exist, or has no such channel.
    """
    declared = PURPOSES.get(purpose)
    if declared is None:
        raise CdpError(f"Unknown purpose '{purpose}': the purposes are {', '.join(PURPOSES)}.")
    if channel not in declared.channels:
        raise CdpError(f"Unknown channel '{channel}' of {purpose}: the channels are {', '.join(declared.channels)}.")
    needs_consent = analytics_needs_consent and purpose == "analytics"
    return Rule(purpose, channel, "consent" if needs_consent else declared.legal_basis)


def permitted_rows(store: DeltaStore, rows: DataFrame, rule: Rule) -> DataFrame:
    """Return the rows of the persons who may be included.

    Args:
        store: Tables of the platform.
        rows: Rows with the column `person_id`, or else with `customer_id`.
        rule: Rule of the purpose.
    """
    persons = store.read(CONSENT_CURRENT_SILVER).where(rule.decided).select("person_id")
    if "person_id" in rows.columns:
        return rows.join(persons, "person_id", how=rule.join)
    links = store.read(PERSON_LINKS_SILVER).where("customer_id IS NOT NULL").select("person_id", "customer_id")
    return rows.join(links.join(persons, "person_id", how="left_semi"), "customer_id", how=rule.join)
