"""Bronze: rows as received, by landed batch.

Columns of a JSON source are text; columns of a SQL source keep the types of the source. A value that does not fit the
type of its column is null in the column, and `_rescued_data` holds the value as received.
"""

from cdp_lib.contracts.table import BronzeContract, Column

LINEAGE_COLUMNS = (
    Column("_load", "STRING", "kind of batch: snapshot, all records; increment, changed records; files, whole files"),
    Column(
        "_is_deleted",
        "BOOLEAN",
        "whether the row is a tombstone: the source deleted the record, and only its key is known",
    ),
    Column(
        "_rescued_data",
        "STRING",
        "JSON object of the values that did not fit their column, as received",
        pii="record",
    ),
    Column(
        "_batch_id",
        "STRING",
        "landed batch that contained the row; batch names sort by time of extraction",
        required=True,
    ),
    Column("_source_file", "STRING", "data file of the batch, relative to the landing location", required=True),
    Column("_ingested_at", "TIMESTAMP", "start of the run that extracted the batch, UTC", required=True),
    Column("_version", "BIGINT", "version of the table that the row was loaded in"),
    Column("_extra", "STRING", "JSON object of the received fields that have no column of their own"),
)

_UPDATED_AT = Column(
    "updated_at",
    "STRING",
    "time of the last change in the source, UTC, as text; null if the source does not say",
    optional=True,
    holds="time",
)


def _amount(name: str, meaning: str) -> Column:
    return Column(name, "STRING", f"{meaning}, in the currency, as text", optional=True, holds="number")


def _bronze(
    name: str,
    source: str,
    entity: str,
    record_key: tuple[str, ...],
    grain: str,
    *columns: Column,
) -> BronzeContract:
    return BronzeContract(
        name=name,
        layer="bronze",
        comment=grain,
        columns=(*columns, *LINEAGE_COLUMNS),
        clustered_by=("_version",),
        source=source,
        entity=entity,
        record_key=record_key,
    )


CUSTOMERS_BRONZE = _bronze(
    "customers_bronze",
    "customers_api",
    "customers",
    ("customer_id",),
    "One row per customer record in a landed response of the customers API.",
    Column("customer_id", "STRING", "customer's number, as text", holds="number", refers_to="customers"),
    Column("full_name", "STRING", "customer's name", pii="name", optional=True),
    Column("email", "STRING", "customer's e-mail address", pii="email", optional=True),
    Column("country", "STRING", "country the customer lives in, in the API's spelling", optional=True),
    Column("registration_date", "STRING", "day of registration, as text", optional=True, holds="date"),
    Column("household_id", "STRING", "household that the customer belongs to", optional=True),
    _UPDATED_AT,
)

PRODUCTS_BRONZE = _bronze(
    "products_bronze",
    "database",
    "products",
    ("product_id",),
    "One row per product in a landed batch of the database table products.",
    Column("product_id", "BIGINT", "product's number", refers_to="products"),
    Column("product_name", "STRING", "product's name", optional=True),
    Column("category", "STRING", "product's category", optional=True),
    Column("price", "DECIMAL(18,4)", "price of one piece at the time of extraction, in the reporting currency"),
    Column("department", "STRING", "department that the category belongs to", optional=True),
    Column("subcategory", "STRING", "part of the category", optional=True),
    Column("brand", "STRING", "product's brand", optional=True),
    Column(
        "unit_cost",
        "STRING",
        "cost of one piece at the time of extraction, in the reporting currency, as text",
        optional=True,
        holds="number",
    ),
    _UPDATED_AT,
)

STORE_BRONZE = _bronze(
    "store_bronze",
    "database",
    "stores",
    ("store_id",),
    "One row per store in a landed batch of the database table stores.",
    Column("store_id", "BIGINT", "store's number", refers_to="stores"),
    Column("store_name", "STRING", "store's name", optional=True),
    Column("location", "STRING", "country the store is in", optional=True),
    _UPDATED_AT,
)

TRANSACTIONS_BRONZE = _bronze(
    "transactions_bronze",
    "database",
    "transactions",
    ("transaction_id",),
    "One row per sale in a landed batch of the database table transactions.",
    Column("transaction_id", "BIGINT", "number of the sale", refers_to="transactions"),
    Column(
        "customer_id", "BIGINT", "customer who bought; null for a sale without a known customer", refers_to="customers"
    ),
    Column("product_id", "BIGINT", "product sold", refers_to="products"),
    Column("store_id", "BIGINT", "store that sold the product", refers_to="stores"),
    Column("quantity", "DECIMAL(18,3)", "pieces sold; negative for a return"),
    Column(
        "transaction_date",
        "DATE",
        "day of the sale; optional if the source has sold_at",
        optional=True,
        default_from="sold_at",
    ),
    Column("order_id", "STRING", "receipt or order that the line belongs to", optional=True),
    Column("sold_at", "STRING", "time of the sale, as text; UTC without a time zone", optional=True, holds="time"),
    _amount("unit_price", "price asked for one piece"),
    _amount("line_amount", "amount paid for the line, after discounts"),
    _amount("discount_amount", "discount on the line; above 0 for a sale"),
    _amount("tax_amount", "tax on the line"),
    Column("currency", "STRING", "ISO 4217 code of the amounts; null for the reporting currency", optional=True),
    Column("channel", "STRING", "where the line was sold: web, app, store …", optional=True),
    Column("promotion_code", "STRING", "promotion that the discount belongs to", optional=True),
    _UPDATED_AT,
)

CRM_CONTACTS_BRONZE = _bronze(
    "crm_contacts_bronze",
    "crm",
    "contacts",
    ("contactid",),
    "One row per version or tombstone of a contact in a landed batch of the CRM.",
    Column("contactid", "STRING", "contact's GUID"),
    Column("fullname", "STRING", "contact's name", pii="name", optional=True),
    Column("emailaddress1", "STRING", "contact's e-mail address", pii="email", optional=True),
    Column("mobilephone", "STRING", "contact's phone number, as typed", pii="phone", optional=True),
    Column("birthdate", "STRING", "day of birth, as text", pii="birth_date", optional=True, holds="date"),
    Column("gendercode", "STRING", "gender code of the CRM: 1 male, 2 female", pii="gender", optional=True),
    Column("address1_city", "STRING", "city the contact lives in", pii="address", optional=True),
    Column("address1_postalcode", "STRING", "postal code of the contact's address", pii="address", optional=True),
    Column("address1_country", "STRING", "country the contact lives in, in the CRM's spelling", optional=True),
    Column(
        "cdp_customerid",
        "STRING",
        "number of the customer that the CRM assigns to the contact, as text",
        optional=True,
        holds="number",
        refers_to="customers",
    ),
    Column("cdp_acquisitionchannel", "STRING", "marketing channel that acquired the contact", optional=True),
    Column("cdp_acquisitiondate", "STRING", "day the contact was acquired, as text", optional=True, holds="date"),
    Column("cdp_loyaltytier", "STRING", "tier of the loyalty programme", optional=True),
    Column(
        "cdp_emailconsent", "STRING", "whether the contact agrees to marketing by e-mail: true or false", optional=True
    ),
    Column(
        "cdp_emailconsenton",
        "STRING",
        "time of the last decision on cdp_emailconsent, UTC, as text",
        optional=True,
        holds="time",
    ),
    Column(
        "cdp_smsconsent",
        "STRING",
        "whether the contact agrees to marketing by text message: true or false",
        optional=True,
    ),
    Column(
        "cdp_smsconsenton",
        "STRING",
        "time of the last decision on cdp_smsconsent, UTC, as text",
        optional=True,
        holds="time",
    ),
    Column(
        "cdp_phoneconsent", "STRING", "whether the contact agrees to marketing by phone: true or false", optional=True
    ),
    Column(
        "cdp_phoneconsenton",
        "STRING",
        "time of the last decision on cdp_phoneconsent, UTC, as text",
        optional=True,
        holds="time",
    ),
    Column("cdp_householdid", "STRING", "household that the contact belongs to", optional=True, on_request=True),
    Column("createdon", "STRING", "time the contact was created, UTC, as text", optional=True, holds="time"),
    Column(
        "modifiedon", "STRING", "time the contact was last changed, by the clock of the CRM, UTC, as text", holds="time"
    ),
)

EVENTS_BRONZE = _bronze(
    "events_bronze",
    "events",
    "events",
    ("event_id",),
    "One row per line of a landed event file.",
    Column("event_id", "STRING", "event's identifier"),
    Column("event_type", "STRING", "kind of event: page_view, add_to_cart, checkout, email_open, app_open …"),
    Column("occurred_at", "STRING", "time of the event, UTC, as text", holds="time"),
    Column("channel", "STRING", "channel of the event: web, app or email", optional=True),
    Column(
        "customer_id",
        "STRING",
        "customer who was logged in, as text",
        optional=True,
        holds="number",
        refers_to="customers",
    ),
    Column("anonymous_id", "STRING", "identifier of the device or browser", pii="device", optional=True),
    Column("email", "STRING", "e-mail address that the message was sent to", pii="email", optional=True),
    Column("session_id", "STRING", "session (visit) that the event belongs to", optional=True),
    Column("campaign", "STRING", "campaign that led to the event", optional=True),
    Column(
        "product_id",
        "STRING",
        "product that the event is about, as text",
        optional=True,
        holds="number",
        refers_to="products",
    ),
    Column(
        "consent",
        "STRING",
        "whether the visitor agreed to be tracked: true, false, an IAB TCF v2 string, or the state of Google consent"
        " mode as a JSON object or as the value of gcs",
        optional=True,
    ),
)

MARKETING_SPEND_BRONZE = _bronze(
    "marketing_spend_bronze",
    "marketing",
    "marketing_spend",
    ("month", "channel", "campaign"),
    "One row per line of a landed marketing spend file.",
    Column("month", "STRING", "month the money was spent in, as 2026-01"),
    Column("channel", "STRING", "marketing channel"),
    Column("campaign", "STRING", "campaign"),
    Column("amount", "STRING", "money spent, in the currency, as text", holds="number"),
    Column("currency", "STRING", "ISO 4217 code of the currency"),
)

EXCHANGE_RATES_BRONZE = _bronze(
    "exchange_rates_bronze",
    "finance",
    "exchange_rates",
    ("month", "currency"),
    "One row per line of a landed exchange rate file.",
    Column("month", "STRING", "month whose average the rate is, as 2026-01"),
    Column("currency", "STRING", "ISO 4217 code of the currency"),
    Column("rate", "STRING", "units of the reporting currency per unit of the currency, as text", holds="number"),
)

CONSENTS_BRONZE = _bronze(
    "consents_bronze",
    "consents",
    "consents",
    ("record_id", "purpose", "channel", "state", "decided_at"),
    "One row per line of a landed file of decisions on consent.",
    Column("record_id", "STRING", "identifier of the record in the system that exports it, without personal data"),
    Column(
        "customer_id",
        "STRING",
        "customer who decided, as text",
        optional=True,
        holds="number",
        refers_to="customers",
    ),
    Column("contact_id", "STRING", "GUID of the contact who decided", optional=True),
    Column("email", "STRING", "e-mail address of the person who decided", pii="email", optional=True),
    Column("purpose", "STRING", "purpose of the use: marketing, advertising, personalisation …"),
    Column("channel", "STRING", "channel of the purpose: email, sms, phone, online or all"),
    Column("state", "STRING", "given, refused or withdrawn"),
    Column("decided_at", "STRING", "time of the decision, UTC, as text", holds="time"),
    Column("method", "STRING", "how the decision was expressed, such as a form", optional=True),
    Column("notice", "STRING", "text that the person was shown", optional=True),
    Column("notice_version", "STRING", "version of the notice", optional=True),
    Column("jurisdiction", "STRING", "ISO 3166-1 alpha-2 code of the country", optional=True),
)

BRONZE_TABLES = (
    CUSTOMERS_BRONZE,
    PRODUCTS_BRONZE,
    STORE_BRONZE,
    TRANSACTIONS_BRONZE,
    CRM_CONTACTS_BRONZE,
    EVENTS_BRONZE,
    MARKETING_SPEND_BRONZE,
    EXCHANGE_RATES_BRONZE,
    CONSENTS_BRONZE,
)


def tables_of(source: str) -> tuple[BronzeContract, ...]:
    """Return the bronze tables of a source, in the order of their contracts."""
    return tuple(contract for contract in BRONZE_TABLES if contract.source == source)
