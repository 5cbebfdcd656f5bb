"""Bronze: rows as received, by landed batch.

Columns of a JSON source are text, those of a SQL source keep the source's types. A value that does not
fit its type is null there and stands, as received, in `_rescued_data`.
"""

from cdp_lib.contracts.table import BronzeContract, Column

LINEAGE_COLUMNS = (
    Column("_rescued_data", "STRING", "JSON object of the values that did not fit their column, as received"),
    Column("_record_hash", "STRING", "SHA-256 of the received values; equal for identical records", required=True),
    Column("_batch_id", "STRING", "landed batch the row came with; sorts by time of extraction", required=True),
    Column("_source_file", "STRING", "data file of the batch, relative to the landing location", required=True),
    Column("_ingested_at", "TIMESTAMP", "start of the run that extracted the batch, UTC", required=True),
)


def _bronze(name: str, source: str, entity: str, grain: str, *columns: Column) -> BronzeContract:
    return BronzeContract(
        name=name,
        layer="bronze",
        comment=grain,
        columns=(*columns, *LINEAGE_COLUMNS),
        partitioned_by=("_batch_id",),
        source=source,
        entity=entity,
    )


CUSTOMERS_BRONZE = _bronze(
    "customers_bronze",
    "customers_api",
    "customers",
    "One row per customer record in a landed answer of the customers API.",
    Column("customer_id", "STRING", "customer's number, as text"),
    Column("full_name", "STRING", "customer's name", pii="name"),
    Column("email", "STRING", "customer's e-mail address", pii="email"),
    Column("country", "STRING", "country the customer lives in, in the API's spelling"),
    Column("registration_date", "STRING", "day of registration, as text"),
)

PRODUCTS_BRONZE = _bronze(
    "products_bronze",
    "database",
    "products",
    "One row per product in a landed snapshot of the database table products.",
    Column("product_id", "INT", "product's number"),
    Column("product_name", "STRING", "product's name"),
    Column("category", "STRING", "product's category"),
    Column("price", "DECIMAL(18,2)", "price of one piece at the time of extraction, in the reporting currency"),
)

STORE_BRONZE = _bronze(
    "store_bronze",
    "database",
    "stores",
    "One row per store in a landed snapshot of the database table stores.",
    Column("store_id", "INT", "store's number"),
    Column("store_name", "STRING", "store's name"),
    Column("location", "STRING", "country the store is in"),
)

TRANSACTIONS_BRONZE = _bronze(
    "transactions_bronze",
    "database",
    "transactions",
    "One row per sale in a landed snapshot of the database table transactions.",
    Column("transaction_id", "INT", "sale's number"),
    Column("customer_id", "INT", "customer who bought"),
    Column("product_id", "INT", "product sold"),
    Column("store_id", "INT", "store that sold it"),
    Column("quantity", "INT", "pieces sold"),
    Column("transaction_date", "DATE", "day of the sale"),
)

BRONZE_TABLES = (CUSTOMERS_BRONZE, PRODUCTS_BRONZE, STORE_BRONZE, TRANSACTIONS_BRONZE)


def entities_of(source: str) -> tuple[str, ...]:
    """The entities that are landed from a source, in the order of their contracts."""
    return tuple(contract.entity for contract in BRONZE_TABLES if contract.source == source)
