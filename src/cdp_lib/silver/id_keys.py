"""id_keys_silver: numbers of identifiers that are text."""

from cdp_lib.contracts.bronze import (
    CONSENTS_BRONZE,
    CRM_CONTACTS_BRONZE,
    CUSTOMERS_BRONZE,
    EVENTS_BRONZE,
    PRODUCTS_BRONZE,
    STORE_BRONZE,
    TRANSACTIONS_BRONZE,
)
from cdp_lib.contracts.silver import ID_KEYS_SILVER
from cdp_lib.mapped_rows import received_ids
from cdp_lib.pipeline.number_ids import NumberIds
from cdp_lib.pipeline.table import Table

ID_KEYS = Table(
    ID_KEYS_SILVER,
    received_ids,
    reads=(
        CUSTOMERS_BRONZE,
        PRODUCTS_BRONZE,
        STORE_BRONZE,
        TRANSACTIONS_BRONZE,
        CRM_CONTACTS_BRONZE,
        EVENTS_BRONZE,
        CONSENTS_BRONZE,
    ),
    materialization=NumberIds(),
)
