"""Contracts of all tables: one module per layer, and the catalogue of every table."""

from cdp_lib.contracts.analytics import ANALYTICS_TABLES
from cdp_lib.contracts.bronze import BRONZE_TABLES
from cdp_lib.contracts.consent import CONSENT_CURRENT_SILVER, CONSENT_EVENTS_SILVER, CONSENT_TABLES
from cdp_lib.contracts.gold import GOLD_TABLES
from cdp_lib.contracts.identity import (
    IDENTITY_EDGES_SILVER,
    IDENTITY_RECORDS_SILVER,
    IDENTITY_TABLES,
    PERSON_LINKS_SILVER,
    PERSONS_SILVER,
)
from cdp_lib.contracts.ops import OPS_TABLES
from cdp_lib.contracts.profile import PROFILE_TABLES
from cdp_lib.contracts.silver import ACTIVITIES_SILVER, PRODUCT_PRICES_SILVER, SILVER_TABLES
from cdp_lib.contracts.table import TableContract

_FOLLOWED = (
    ACTIVITIES_SILVER,
    CONSENT_CURRENT_SILVER,
    CONSENT_EVENTS_SILVER,
    IDENTITY_EDGES_SILVER,
    IDENTITY_RECORDS_SILVER,
    PERSON_LINKS_SILVER,
    PERSONS_SILVER,
    PRODUCT_PRICES_SILVER,
)
"""Tables without rules whose change sets downstream tables read."""

TABLES: dict[str, TableContract] = {
    table.name: table
    for contract in (
        *BRONZE_TABLES,
        *SILVER_TABLES,
        *IDENTITY_TABLES,
        *CONSENT_TABLES,
        *GOLD_TABLES,
        *ANALYTICS_TABLES,
        *PROFILE_TABLES,
        *OPS_TABLES,
    )
    for table in (
        *contract.with_quarantine,
        *([contract.changes] if contract.rules or contract in _FOLLOWED else []),
    )
}
"""All tables of the platform, by name. The quarantine and the change sets of a table come directly after the table."""
