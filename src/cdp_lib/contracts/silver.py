"""Silver: typed rows that pass their rules, one row per key."""

from cdp_lib.contracts.table import (
    BATCH_ID,
    KEY_IS_UNIQUE,
    VALUES_FIT,
    WARNINGS,
    Column,
    Rule,
    Severity,
    TableContract,
)

_SHARED_RULES = (VALUES_FIT, KEY_IS_UNIQUE)
"""Rules of every table whose rows come from a source."""

_EARLIEST_DAY = "DATE'1990-01-01'"
_DAY_AFTER_INGESTION = "date_add(CAST(_ingested_at AS DATE), 1)"
"""Latest plausible day of a record: the day after ingestion, because clocks and time zones differ by up to a day."""

_EMAIL_SHAPE = "'^[^@ ]+@[^@ ]+[.][^@ .]+$'"

_CUSTOMER_ID = Column("customer_id", "INT", "customer's number", required=True)
_FULL_NAME = Column("full_name", "STRING", "customer's name, outer and repeated blanks removed", pii="name")
_EMAIL = Column("email", "STRING", "customer's e-mail address, trimmed, in lower case", pii="email")
_COUNTRY = Column("country", "STRING", "country the customer lives in")
_REGISTRATION_DATE = Column("registration_date", "DATE", "day the customer registered")
_PRODUCT_ID = Column("product_id", "INT", "product's number", required=True)
_PRODUCT_NAME = Column("product_name", "STRING", "product's name")
_CATEGORY = Column("category", "STRING", "product's category")
_STORE_ID = Column("store_id", "INT", "store's number", required=True)
_STORE_NAME = Column("store_name", "STRING", "store's name")
_LOCATION = Column("location", "STRING", "country the store is in")
_TRANSACTION_ID = Column("transaction_id", "INT", "number of the sale", required=True)
_QUANTITY = Column("quantity", "INT", "pieces sold, at least 1", required=True)
_TRANSACTION_DATE = Column("transaction_date", "DATE", "day of the sale", required=True)
_SALE_MONTH = Column(
    "sale_month",
    "DATE",
    "first day of the month of the sale; partition column on engines without clustering",
    required=True,
)
_ATTRIBUTES = Column(
    "attributes",
    "MAP<STRING,STRING>",
    "the retailer's own attributes that the file of sources names, as text by name; null if it names none",
)
_UPDATED_AT = Column(
    "updated_at", "TIMESTAMP", "time of the last change in the source, UTC; null if the source does not say"
)


def _is_present(column: str, meaning: str) -> Rule:
    return Rule(f"{column}_is_present", f"{column} IS NOT NULL", meaning)


def _is_plausible(column: str, first: str, last: str, meaning: str, severity: Severity = "reject") -> Rule:
    """Return a rule: the column is null, or its value is between two SQL expressions, both bounds included."""
    return Rule(f"{column}_is_plausible", f"{column} IS NULL OR {column} BETWEEN {first} AND {last}", meaning, severity)


def _has_email_format(column: str = "email") -> Rule:
    return Rule(
        f"{column}_looks_like_one",
        f"{column} IS NULL OR {column} RLIKE {_EMAIL_SHAPE}",
        "An e-mail address, if present, has a name, an @ and a domain.",
        severity="warn",
    )


CUSTOMERS_SILVER = TableContract(
    name="customers_silver",
    layer="silver",
    comment="One row per customer of the customers API.",
    columns=(
        _CUSTOMER_ID,
        _FULL_NAME,
        _EMAIL,
        _COUNTRY,
        _REGISTRATION_DATE,
        _ATTRIBUTES,
        _UPDATED_AT,
        WARNINGS,
        BATCH_ID,
    ),
    key=("customer_id",),
    version="updated_at",
    rules=(
        *_SHARED_RULES,
        _is_present("customer_id", "A customer has a number: sales refer to it."),
        _is_present("country", "A customer has a country: marts group by it."),
        _is_present("registration_date", "A customer has a day of registration."),
        _is_plausible(
            "registration_date",
            _EARLIEST_DAY,
            _DAY_AFTER_INGESTION,
            "The day of registration is not before 1990, and at most one day after the record was extracted.",
        ),
        Rule("full_name_is_present", "full_name IS NOT NULL", "A customer has a name.", severity="warn"),
        _has_email_format(),
    ),
)

PRODUCTS_SILVER = TableContract(
    name="products_silver",
    layer="silver",
    comment="One row per product of the transactional database, with its latest price.",
    columns=(
        _PRODUCT_ID,
        _PRODUCT_NAME,
        _CATEGORY,
        Column("price", "DECIMAL(18,2)", "latest known price of one piece, in the reporting currency", required=True),
        _ATTRIBUTES,
        _UPDATED_AT,
        WARNINGS,
        BATCH_ID,
    ),
    key=("product_id",),
    version="updated_at",
    rules=(
        *_SHARED_RULES,
        _is_present("product_id", "A product has a number: sales refer to it."),
        _is_present("product_name", "A product has a name."),
        _is_present("category", "A product has a category: marts group by it."),
        Rule("price_is_not_negative", "price >= 0", "A product has a price, and the price is not below 0."),
    ),
)

PRODUCT_PRICES_SILVER = TableContract(
    name="product_prices_silver",
    layer="silver",
    comment="One row per product and period in which its price did not change.",
    columns=(
        _PRODUCT_ID,
        Column("price", "DECIMAL(18,2)", "price of one piece in the period, in the reporting currency", required=True),
        Column(
            "valid_from",
            "DATE",
            "first day of the period; null for the first known price, which also applies to all earlier days",
        ),
        Column("valid_to", "DATE", "first day of the next period; null for the latest period"),
        BATCH_ID,
    ),
    key=("product_id", "valid_from"),
)

STORES_SILVER = TableContract(
    name="stores_silver",
    layer="silver",
    comment="One row per store of the transactional database.",
    columns=(_STORE_ID, _STORE_NAME, _LOCATION, _ATTRIBUTES, _UPDATED_AT, WARNINGS, BATCH_ID),
    key=("store_id",),
    version="updated_at",
    rules=(
        *_SHARED_RULES,
        _is_present("store_id", "A store has a number: sales refer to it."),
        _is_present("store_name", "A store has a name."),
        _is_present("location", "A store has a country."),
    ),
)

TRANSACTIONS_SILVER = TableContract(
    name="transactions_silver",
    layer="silver",
    comment="One row per sale of the transactional database, including sales of an unknown customer, product or store.",
    columns=(
        _TRANSACTION_ID,
        Column("customer_id", "INT", "customer who bought; may be missing in customers_silver"),
        Column("product_id", "INT", "product sold; may be missing in products_silver"),
        Column("store_id", "INT", "store that sold the product; may be missing in stores_silver"),
        _QUANTITY,
        _TRANSACTION_DATE,
        _SALE_MONTH,
        _UPDATED_AT,
        WARNINGS,
        BATCH_ID,
    ),
    key=("transaction_id",),
    clustered_by=("transaction_date", "customer_id"),
    version="updated_at",
    partitioned_by=("sale_month",),
    rules=(
        *_SHARED_RULES,
        _is_present("transaction_id", "A sale has a number."),
        Rule("quantity_is_positive", "quantity > 0", "A sale has at least one piece."),
        _is_present("transaction_date", "A sale has a date."),
        _is_plausible(
            "transaction_date",
            _EARLIEST_DAY,
            _DAY_AFTER_INGESTION,
            "The day of the sale is not before 1990, and at most one day after the record was extracted.",
        ),
    ),
)

RETAILS_SILVER = TableContract(
    name="retails_silver",
    layer="silver",
    comment="One row per sale whose customer, product and store are known.",
    columns=(
        _TRANSACTION_ID,
        _CUSTOMER_ID,
        _PRODUCT_ID,
        _STORE_ID,
        _QUANTITY,
        _TRANSACTION_DATE,
        _FULL_NAME,
        _EMAIL,
        _COUNTRY,
        _REGISTRATION_DATE,
        _PRODUCT_NAME,
        _CATEGORY,
        Column(
            "price", "DECIMAL(18,2)", "price of one piece on the day of the sale, reporting currency", required=True
        ),
        _STORE_NAME,
        _LOCATION,
        _SALE_MONTH,
        WARNINGS,
        BATCH_ID,
    ),
    key=("transaction_id",),
    clustered_by=("transaction_date", "customer_id", "product_id"),
    rules=(
        Rule(
            "customer_is_known",
            "_customer_is_known",
            "The customer is in customers_silver. Otherwise, the sale waits in quarantine until the"
            " customer is loaded.",
        ),
        Rule(
            "product_is_known",
            "_product_is_known AND price IS NOT NULL",
            "The product is in products_silver and has a price for the day. Otherwise, the sale waits in"
            " quarantine until product and price are loaded.",
        ),
        Rule(
            "store_is_known",
            "_store_is_known",
            "The store is in stores_silver. Otherwise, the sale waits in quarantine until the store is loaded.",
        ),
        Rule(
            "sale_is_not_before_registration",
            "NOT coalesce(transaction_date < registration_date, false)",
            "The customer registered on or before the day of the sale. For customers who buy before they register,"
            " customer_acquisitions_silver has the day of the first purchase.",
            severity="warn",
        ),
    ),
    partitioned_by=("sale_month",),
)


def _consent(channel: str, channel_name: str) -> tuple[Column, Column]:
    """Return two columns: consent to marketing through a channel, and time of the last decision on this consent."""
    return (
        Column(
            f"is_{channel}_allowed",
            "BOOLEAN",
            f"whether the contact agrees to marketing by {channel_name}; null: never asked",
        ),
        Column(f"{channel}_consent_at", "TIMESTAMP", f"time of the last decision on is_{channel}_allowed, UTC"),
    )


CRM_CONTACTS_SILVER = TableContract(
    name="crm_contacts_silver",
    layer="silver",
    comment="One row per contact of the CRM.",
    columns=(
        Column("contact_id", "STRING", "contact's GUID, in lower case", required=True),
        Column("customer_id", "INT", "customer that the CRM assigns to the contact"),
        Column("full_name", "STRING", "contact's name, outer and repeated blanks removed", pii="name"),
        Column("email", "STRING", "contact's e-mail address, trimmed, in lower case", pii="email"),
        Column("phone", "STRING", "contact's phone number, as typed", pii="phone"),
        Column("birth_date", "DATE", "day of birth", pii="birth_date"),
        Column("gender", "STRING", "male, female or the code of another choice of the CRM", pii="gender"),
        Column("city", "STRING", "city the contact lives in", pii="address"),
        Column("postal_code", "STRING", "postal code of the contact's address", pii="address"),
        Column("country", "STRING", "country the contact lives in, in the CRM's spelling"),
        Column("acquisition_channel", "STRING", "marketing channel that acquired the contact"),
        Column("acquisition_date", "DATE", "day the contact was acquired, from the CRM"),
        Column("loyalty_tier", "STRING", "tier of the loyalty programme"),
        *_consent("email", "e-mail"),
        *_consent("sms", "text message"),
        *_consent("phone", "phone"),
        _ATTRIBUTES,
        Column("created_at", "TIMESTAMP", "time the contact was created, UTC"),
        Column("modified_at", "TIMESTAMP", "time the contact was last changed, by the clock of the CRM, UTC"),
        WARNINGS,
        BATCH_ID,
    ),
    key=("contact_id",),
    version="modified_at",
    rules=(
        *_SHARED_RULES,
        _is_present("contact_id", "A contact has a GUID."),
        _is_plausible(
            "birth_date",
            "DATE'1900-01-01'",
            "CAST(_ingested_at AS DATE)",
            "A day of birth, if present, is not before 1900, and not after the day the record was extracted.",
            severity="warn",
        ),
        _has_email_format(),
    ),
)

EVENTS_SILVER = TableContract(
    name="events_silver",
    layer="silver",
    comment="One row per event on the web, in the app or in an e-mail.",
    columns=(
        Column("event_id", "STRING", "event's identifier", required=True),
        Column("event_type", "STRING", "kind of event: page_view, add_to_cart, checkout, email_open …", required=True),
        Column("occurred_at", "TIMESTAMP", "time of the event, UTC", required=True),
        Column("channel", "STRING", "channel of the event: web, app or email"),
        Column("customer_id", "INT", "customer who was logged in"),
        Column("anonymous_id", "STRING", "identifier of the device or browser", pii="device"),
        Column("email", "STRING", "e-mail address that the message was sent to, trimmed, in lower case", pii="email"),
        Column("session_id", "STRING", "session (visit) that the event belongs to"),
        Column("campaign", "STRING", "campaign that led to the event"),
        Column("product_id", "INT", "product that the event is about"),
        Column("is_tracking_allowed", "BOOLEAN", "whether the visitor agreed to be tracked; null: not asked"),
        Column("identity", "STRING", "identity that the event belongs to, as in customer_links_silver", pii="email"),
        WARNINGS,
        BATCH_ID,
    ),
    key=("event_id",),
    clustered_by=("occurred_at", "customer_id"),
    rules=(
        *_SHARED_RULES,
        _is_present("event_id", "An event has an identifier."),
        _is_present("event_type", "An event has a type."),
        _is_present("occurred_at", "An event has a time."),
        _is_plausible(
            "occurred_at",
            _EARLIEST_DAY,
            "date_add(CAST(_ingested_at AS DATE), 2)",
            "The event is not before 1990, and at most one day after the day the file was extracted.",
        ),
        Rule(
            "identity_is_present",
            "identity IS NOT NULL",
            "An event names a customer, an e-mail address or a device.",
            severity="warn",
        ),
        _has_email_format(),
    ),
)

MARKETING_SPEND_SILVER = TableContract(
    name="marketing_spend_silver",
    layer="silver",
    comment="One row per month, channel and campaign with marketing spend.",
    columns=(
        Column("month", "DATE", "first day of the month the money was spent in", required=True),
        Column("channel", "STRING", "marketing channel", required=True),
        Column("campaign", "STRING", "campaign", required=True),
        Column("amount", "DECIMAL(18,2)", "money spent, in the currency", required=True),
        Column("currency", "STRING", "ISO 4217 code of the currency", required=True),
        WARNINGS,
        BATCH_ID,
    ),
    key=("month", "channel", "campaign"),
    rules=(
        *_SHARED_RULES,
        _is_present("month", "Spend has a month."),
        _is_present("channel", "Spend has a channel: acquisition cost is computed per channel."),
        _is_present("campaign", "Spend has a campaign."),
        Rule("amount_is_not_negative", "amount >= 0", "Spend has an amount, and the amount is not below 0."),
        Rule("currency_is_a_code", "currency RLIKE '^[A-Z]{3}$'", "The currency is a code of three letters."),
    ),
)

EXCHANGE_RATES_SILVER = TableContract(
    name="exchange_rates_silver",
    layer="silver",
    comment="One row per month and currency, with the exchange rate.",
    columns=(
        Column("month", "DATE", "first day of the month whose average the rate is", required=True),
        Column("currency", "STRING", "ISO 4217 code of the currency", required=True),
        Column("rate", "DECIMAL(18,8)", "units of the reporting currency per unit of the currency", required=True),
        WARNINGS,
        BATCH_ID,
    ),
    key=("month", "currency"),
    rules=(
        *_SHARED_RULES,
        _is_present("month", "A rate has a month."),
        Rule("currency_is_a_code", "currency RLIKE '^[A-Z]{3}$'", "The currency is a code of three letters."),
        Rule("rate_is_positive", "rate > 0", "A rate is above 0."),
    ),
)

CUSTOMER_LINKS_SILVER = TableContract(
    name="customer_links_silver",
    layer="silver",
    comment="One row per contact of the CRM and per identity in events. Only this table links identities to customers.",
    columns=(
        Column(
            "identity",
            "STRING",
            "contact:<contact_id>, customer:<customer_id>, email:<address> or device:<anonymous_id>",
            required=True,
            pii="email",
        ),
        Column("customer_id", "INT", "customer that the identity belongs to; null if uncertain"),
        Column(
            "reason",
            "STRING",
            "customer_id or email if the identity is linked; otherwise unknown_customer_id, unknown_email,"
            " ambiguous_email or no_id_or_email",
            required=True,
        ),
    ),
    key=("identity",),
    clustered_by=("identity",),
)

PURCHASES_SILVER = TableContract(
    name="purchases_silver",
    layer="silver",
    comment="One row per customer and day with purchases. Models of repeat purchases count days: the source has no"
    " basket number.",
    columns=(
        _CUSTOMER_ID,
        Column("purchase_date", "DATE", "day of the sales", required=True),
        Column("transaction_count", "BIGINT", "number of sales", required=True),
        Column("revenue", "DECIMAL(38,2)", "revenue of the sales, in the reporting currency", required=True),
        _SALE_MONTH,
    ),
    key=("customer_id", "purchase_date"),
    partitioned_by=("sale_month",),
    clustered_by=("purchase_date", "customer_id"),
)

CUSTOMER_ACQUISITIONS_SILVER = TableContract(
    name="customer_acquisitions_silver",
    layer="silver",
    comment="One row per customer, with the day of acquisition.",
    columns=(
        _CUSTOMER_ID,
        _REGISTRATION_DATE,
        Column("first_purchase_date", "DATE", "day of the first purchase; null without a purchase"),
        Column("acquisition_date", "DATE", "the earlier of registration and first purchase", required=True),
    ),
    key=("customer_id",),
)

BUSINESS_DATE_SILVER = TableContract(
    name="business_date_silver",
    layer="silver",
    comment="One row: the latest day with a sale, a registration or an event.",
    columns=(Column("latest_date", "DATE", "day of the latest sale, registration or event; null if there is none"),),
)

SILVER_TABLES = (
    CUSTOMERS_SILVER,
    PRODUCTS_SILVER,
    PRODUCT_PRICES_SILVER,
    STORES_SILVER,
    TRANSACTIONS_SILVER,
    RETAILS_SILVER,
    CRM_CONTACTS_SILVER,
    EVENTS_SILVER,
    MARKETING_SPEND_SILVER,
    EXCHANGE_RATES_SILVER,
    CUSTOMER_LINKS_SILVER,
    PURCHASES_SILVER,
    CUSTOMER_ACQUISITIONS_SILVER,
    BUSINESS_DATE_SILVER,
)
