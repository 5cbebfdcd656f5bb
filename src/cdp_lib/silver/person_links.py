"""person_links_silver: the person of each record.

Only this table links records to persons.
"""

from cdp_lib.contracts.identity import PERSON_LINKS_SILVER
from cdp_lib.contracts.silver import CRM_CONTACTS_SILVER, CUSTOMERS_SILVER
from cdp_lib.identity.off import links_of_customers
from cdp_lib.pipeline.table import Replace, Table

PERSON_LINKS = Table(
    PERSON_LINKS_SILVER,
    links_of_customers,
    reads=(CUSTOMERS_SILVER, CRM_CONTACTS_SILVER),
    materialization=Replace(),
)
