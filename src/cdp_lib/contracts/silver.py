"""Silver: typed rows that pass their rules, one row per key."""

from collections.abc import Iterable

from cdp_lib.contracts.consent import GIVEN, MARKETING_CHANNELS, PURPOSES, REFUSED, WITHDRAWN
from cdp_lib.contracts.table import (
    BATCH_ID,
    INACTIVE_SINCE,
    IS_ACTIVE,
    KEY_IS_UNIQUE,
    UNKNOWN,
    VALUES_FIT,
    WARNINGS,
    Column,
    Rule,
    TableContract,
)

_SHARED_RULES = (VALUES_FIT, KEY_IS_UNIQUE)
"""Rules of every table whose rows come from a source."""

_PRESENCE = (IS_ACTIVE, INACTIVE_SINCE)
"""Columns of a table that keeps the records that its source no longer has."""

_EARLIEST_DAY = "DATE'1990-01-01'"
_DAY_AFTER_INGESTION = "date_add(CAST(_ingested_at AS DATE), 1)"
"""Latest plausible day of a record: the day after ingestion, because clocks and time zones differ by up to a day."""

REGISTRATION_DAYS = (_EARLIEST_DAY, _DAY_AFTER_INGESTION)
"""First and last plausible day of a registration, as SQL expressions."""

BIRTH_DAYS = ("DATE'1900-01-01'", "CAST(_ingested_at AS DATE)")
"""First and last plausible day of birth, as SQL expressions."""

_EMAIL_SHAPE = "'^[^@ ]+@[^@ ]+[.][^@ .]+$'"

_CUSTOMER_ID = Column("customer_id", "BIGINT", "customer's number", required=True)
_PERSON_ID = Column("person_id", "BIGINT", "number of the person, as in person_links_silver", required=True)
_FULL_NAME = Column("full_name", "STRING", "customer's name, outer and repeated blanks removed", pii="name")
_EMAIL = Column("email", "STRING", "customer's e-mail address, trimmed, in lower case", pii="email")
_COUNTRY = Column("country", "STRING", "country the customer lives in; unknown if the source does not say")
_REGISTRATION_DATE = Column("registration_date", "DATE", "day the customer registered; null if the source does not say")
_PRODUCT_ID = Column("product_id", "BIGINT", "product's number", required=True)
_PRODUCT_NAME = Column("product_name", "STRING", "product's name; unknown if the source does not say")
_CATEGORY = Column("category", "STRING", "product's category; unknown if the source does not say")
_STORE_ID = Column("store_id", "BIGINT", "store's number", required=True)
_STORE_NAME = Column("store_name", "STRING", "store's name; unknown if the source does not say")
_LOCATION = Column("location", "STRING", "country the store is in; unknown if the source does not say")
_TRANSACTION_ID = Column("transaction_id", "BIGINT", "number of the sale", required=True)
_QUANTITY = Column("quantity", "DECIMAL(18,3)", "pieces sold; negative for a return, never 0", required=True)
_TRANSACTION_DATE = Column("transaction_date", "DATE", "day of the sale", required=True)
_ORDER_ID = Column("order_id", "STRING", "receipt or order of the line; null if the source does not say")
_SOLD_AT = Column("sold_at", "TIMESTAMP", "time of the sale, UTC; null if the source does not say")
_CURRENCY = Column("currency", "STRING", "ISO 4217 code of the source's amounts; null for the reporting currency")
_SALES_CHANNEL = Column(
    "channel", "STRING", "where the line was sold: web, app, store …; null if the source does not say"
)
_PROMOTION_CODE = Column("promotion_code", "STRING", "promotion of the line; null without one")
_DEPARTMENT = Column("department", "STRING", "department of the category; null if the source does not say")
_SUBCATEGORY = Column("subcategory", "STRING", "part of the category; null if the source does not say")
_BRAND = Column("brand", "STRING", "product's brand; null if the source does not say")
_HOUSEHOLD_ID = Column("household_id", "STRING", "household of the customer; null if the source does not say")
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
    pii="attributes",
)
_UPDATED_AT = Column(
    "updated_at", "TIMESTAMP", "time of the last change in the source, UTC; null if the source does not say"
)


def _is_present(column: str, meaning: str) -> Rule:
    return Rule(f"{column}_is_present", f"{column} IS NOT NULL", meaning)


def _is_given(column: str, meaning: str, *, or_unknown: bool = True) -> Rule:
    """Return a warning rule for an optional column: the source sent a value.

    Args:
        column: Name of the column.
        meaning: Meaning of the rule.
        or_unknown: Whether the builder replaces a missing value by `UNKNOWN`. If false, a missing value is null.
    """
    holds = f"{column} <> '{UNKNOWN}'" if or_unknown else f"{column} IS NOT NULL"
    return Rule(f"{column}_is_present", holds, meaning, severity="warn")


def _fits(column: str, meaning: str, name: str = "is_readable") -> Rule:
    """Return a warning rule for an optional column: the builder accepts the received value.

    A value that does not parse or is implausible breaks the rule. A missing value does not. The builder stores the
    result in the flag `_<column>_fits` (see `typed_rows`).
    """
    sentence = f"{meaning} Otherwise, it is null here, and bronze has it as received."
    return Rule(f"{column}_{name}", f"_{column}_fits", sentence, severity="warn")


_UPDATED_AT_IS_READABLE = _fits(
    "updated_at", "The time of the last change, if present, is an ISO 8601 timestamp or date."
)


def _amount(name: str, meaning: str) -> Column:
    return Column(name, "DECIMAL(18,4)", f"{meaning}, in the currency; null if the source does not say")


def _amount_fits(column: str) -> Rule:
    """Return a rejecting rule for an optional amount: the received value, if there is one, is a number that fits."""
    meaning = f"The value of `{column}`, if present, is a number below 100,000,000,000,000."
    return Rule(f"{column}_fits", f"_{column}_fits", meaning)


_AMOUNTS = {
    "unit_price": "price asked for one piece",
    "line_amount": "amount paid for the line, after discounts",
    "discount_amount": "discount on the line; above 0 for a sale",
    "tax_amount": "tax on the line",
}
"""Optional amounts of a line, in the line's currency."""


def _is_plausible(column: str, first: str, last: str, meaning: str) -> Rule:
    """Return a rule: the column is null, or its value is between two SQL expressions, both bounds included."""
    return Rule(f"{column}_is_plausible", f"{column} IS NULL OR {column} BETWEEN {first} AND {last}", meaning)


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
        _HOUSEHOLD_ID,
        _ATTRIBUTES,
        _UPDATED_AT,
        *_PRESENCE,
        WARNINGS,
        BATCH_ID,
    ),
    key=("customer_id",),
    version="updated_at",
    rules=(
        *_SHARED_RULES,
        _is_present("customer_id", "A customer has a number: sales refer to it."),
        _is_given("country", "A customer has a country. Otherwise, the country is `unknown`."),
        _is_given(
            "registration_date",
            "A customer has a day of registration. Otherwise, the day of acquisition is the first purchase.",
            or_unknown=False,
        ),
        _fits(
            "registration_date",
            "The day of registration, if present, is an ISO 8601 date, not before 1990, and at most one day after the"
            " record was extracted.",
            "is_plausible",
        ),
        _is_given("full_name", "A customer has a name.", or_unknown=False),
        _has_email_format(),
        _UPDATED_AT_IS_READABLE,
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
        Column("price", "DECIMAL(18,4)", "latest known price of one piece, in the reporting currency", required=True),
        _DEPARTMENT,
        _SUBCATEGORY,
        _BRAND,
        Column(
            "unit_cost", "DECIMAL(18,4)", "latest known cost of one piece, in the reporting currency; null if unknown"
        ),
        _ATTRIBUTES,
        _UPDATED_AT,
        *_PRESENCE,
        WARNINGS,
        BATCH_ID,
    ),
    key=("product_id",),
    version="updated_at",
    rules=(
        *_SHARED_RULES,
        _is_present("product_id", "A product has a number: sales refer to it."),
        Rule("price_is_not_negative", "price >= 0", "A product has a price, and the price is not below 0."),
        _is_given("product_name", "A product has a name. Otherwise, the name is `unknown`."),
        _is_given("category", "A product has a category. Otherwise, the category is `unknown`."),
        _fits("unit_cost", "The cost, if present, is a number."),
        _UPDATED_AT_IS_READABLE,
    ),
)

PRODUCT_PRICES_SILVER = TableContract(
    name="product_prices_silver",
    layer="silver",
    comment="One row per product and period in which neither its price nor its cost changed.",
    columns=(
        _PRODUCT_ID,
        Column("price", "DECIMAL(18,4)", "price of one piece in the period, in the reporting currency", required=True),
        Column("unit_cost", "DECIMAL(18,4)", "cost of one piece in the period; null if unknown"),
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
    columns=(_STORE_ID, _STORE_NAME, _LOCATION, _ATTRIBUTES, _UPDATED_AT, *_PRESENCE, WARNINGS, BATCH_ID),
    key=("store_id",),
    version="updated_at",
    rules=(
        *_SHARED_RULES,
        _is_present("store_id", "A store has a number: sales refer to it."),
        _is_given("store_name", "A store has a name. Otherwise, the name is `unknown`."),
        _is_given("location", "A store has a country. Otherwise, the country is `unknown`."),
        _UPDATED_AT_IS_READABLE,
    ),
)

TRANSACTIONS_SILVER = TableContract(
    name="transactions_silver",
    layer="silver",
    comment="One row per sale of the transactional database, including sales of an unknown customer, product or store.",
    columns=(
        _TRANSACTION_ID,
        Column("customer_id", "BIGINT", "customer who bought; may be missing in customers_silver"),
        Column("product_id", "BIGINT", "product sold; may be missing in products_silver"),
        Column("store_id", "BIGINT", "store that sold the product; may be missing in stores_silver"),
        _QUANTITY,
        _TRANSACTION_DATE,
        _SALE_MONTH,
        _ORDER_ID,
        _SOLD_AT,
        *(_amount(name, meaning) for name, meaning in _AMOUNTS.items()),
        _CURRENCY,
        _SALES_CHANNEL,
        _PROMOTION_CODE,
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
        Rule("quantity_is_not_zero", "quantity <> 0", "A line has a quantity, and the quantity is not 0."),
        _is_present("transaction_date", "A sale has a date, or a time in `sold_at`."),
        Rule(
            "sold_at_is_readable",
            "_sold_at_fits",
            "The time of the sale, if present, is an ISO 8601 timestamp.",
        ),
        *map(_amount_fits, _AMOUNTS),
        _is_plausible(
            "transaction_date",
            _EARLIEST_DAY,
            _DAY_AFTER_INGESTION,
            "The day of the sale is not before 1990, and at most one day after the record was extracted.",
        ),
        _UPDATED_AT_IS_READABLE,
    ),
)

RETAILS_SILVER = TableContract(
    name="retails_silver",
    layer="silver",
    comment="One row per accepted line: a sale or a return whose product and store are known. If the line names a"
    " customer, the customer is known, too.",
    columns=(
        _TRANSACTION_ID,
        Column("customer_id", "BIGINT", "customer's number; null for an anonymous sale"),
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
            "price", "DECIMAL(18,4)", "price of one piece on the day of the sale, reporting currency", required=True
        ),
        _STORE_NAME,
        _LOCATION,
        Column(
            "revenue",
            "DECIMAL(18,4)",
            "amount paid for the line, in the reporting currency: line_amount; without it, unit_price × quantity −"
            " discount_amount; without both, price × quantity",
            required=True,
        ),
        Column("discount", "DECIMAL(18,4)", "discount_amount in the reporting currency; null if not in the source"),
        Column("cost", "DECIMAL(18,4)", "cost of the day × quantity, in the reporting currency; null if unknown"),
        _ORDER_ID,
        _SOLD_AT,
        _CURRENCY,
        _SALES_CHANNEL,
        _PROMOTION_CODE,
        _DEPARTMENT,
        _SUBCATEGORY,
        _BRAND,
        _SALE_MONTH,
        WARNINGS,
        BATCH_ID,
    ),
    key=("transaction_id",),
    clustered_by=("transaction_date", "customer_id", "product_id"),
    rules=(
        Rule(
            "customer_is_known",
            "customer_id IS NULL OR _customer_is_known",
            "The customer, if the sale has one, is in customers_silver. Otherwise, the sale waits in quarantine until"
            " the customer is loaded.",
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
            "exchange_rate_is_known",
            "_rate_is_known",
            "The amounts are in the reporting currency, or their currency has an exchange rate for the month."
            " Otherwise, the sale waits in quarantine until the rate is loaded.",
        ),
        Rule(
            "revenue_fits",
            "revenue IS NOT NULL OR price IS NULL OR NOT _rate_is_known",
            "The revenue is below 100,000,000,000,000. Otherwise, an amount or the quantity is wrong.",
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
        Column("customer_id", "BIGINT", "customer that the CRM assigns to the contact"),
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
        *(column for channel in MARKETING_CHANNELS.items() for column in _consent(*channel)),
        Column("household_id", "STRING", "household that the contact belongs to"),
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
        _fits(
            "birth_date",
            "A day of birth, if present, is an ISO 8601 date, not before 1900, and not after the day the record was"
            " extracted.",
            "is_plausible",
        ),
        _has_email_format(),
        _fits("customer_id", "The customer's number, if present, is an integer."),
        _fits("acquisition_date", "The day of acquisition, if present, is an ISO 8601 date."),
        *(
            rule
            for channel, channel_name in MARKETING_CHANNELS.items()
            for rule in (
                _fits(f"is_{channel}_allowed", f"Consent to {channel_name}, if present, is true or false."),
                _fits(f"{channel}_consent_at", f"The time of consent to {channel_name}, if present, is ISO 8601."),
            )
        ),
        _fits("created_at", "The time of creation, if present, is an ISO 8601 timestamp or date."),
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
        Column("customer_id", "BIGINT", "customer who was logged in"),
        Column("anonymous_id", "STRING", "identifier of the device or browser", pii="device"),
        Column("email", "STRING", "e-mail address that the message was sent to, trimmed, in lower case", pii="email"),
        Column("session_id", "STRING", "session (visit) that the event belongs to"),
        Column("campaign", "STRING", "campaign that led to the event"),
        Column("product_id", "BIGINT", "product that the event is about"),
        Column("is_tracking_allowed", "BOOLEAN", "whether the visitor agreed to be tracked; null: not asked"),
        Column(
            "consent_signal",
            "STRING",
            "beginning of the IAB TCF v2 string, or state of Google consent mode; null for true and false",
        ),
        Column(
            "identity",
            "STRING",
            "identity that the event belongs to, as in person_links_silver; null if the visitor refused tracking",
            pii="email",
        ),
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
            "identity IS NOT NULL OR NOT is_tracking_allowed",
            "An event names a customer, an e-mail address or a device, unless the visitor has refused tracking.",
            severity="warn",
        ),
        _has_email_format(),
        _fits("customer_id", "The customer's number, if present, is an integer."),
        _fits("product_id", "The product's number, if present, is an integer."),
        _fits(
            "is_tracking_allowed",
            "The answer of the visitor, if present, is true, false, an IAB TCF v2 string or a"
            " state of Google consent mode.",
        ),
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


def _is_one_of(column: str, values: Iterable[str]) -> str:
    """Return an SQL condition: the column has one of the values."""
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


_CHANNEL_FITS = " OR ".join(
    f"{_is_one_of('purpose', [purpose.name])} AND {_is_one_of('channel', purpose.channels)}"
    for purpose in PURPOSES.values()
)
"""Condition of a decision: the purpose has the channel."""

CONSENTS_SILVER = TableContract(
    name="consents_silver",
    layer="silver",
    comment="One row per decision on consent in files of another system. consent_events_silver has the decisions of all"
    " sources.",
    columns=(
        Column("record_id", "STRING", "identifier of the record in the system that exports it", required=True),
        Column("customer_id", "BIGINT", "customer who decided"),
        Column("contact_id", "STRING", "GUID of the contact who decided, in lower case"),
        Column("email", "STRING", "e-mail address of the person who decided, trimmed, in lower case", pii="email"),
        Column("purpose", "STRING", "purpose of the use, in lower case", required=True),
        Column("channel", "STRING", "channel of the purpose, in lower case", required=True),
        Column("state", "STRING", f"{GIVEN}, {REFUSED} or {WITHDRAWN}", required=True),
        Column("decided_at", "TIMESTAMP", "time of the decision, UTC", required=True),
        Column("method", "STRING", "how the decision was expressed; null if the file does not say"),
        Column("notice", "STRING", "text that the person was shown; null if the file does not say"),
        Column("notice_version", "STRING", "version of the notice; null if the file does not say"),
        Column("jurisdiction", "STRING", "ISO 3166-1 alpha-2 code of the country; null if the file does not say"),
        Column(
            "identity",
            "STRING",
            "record whose person decided, as in person_links_silver: the customer, else the contact, else the e-mail"
            " address",
            required=True,
            pii="email",
        ),
        WARNINGS,
        BATCH_ID,
    ),
    key=("record_id", "purpose", "channel", "state", "decided_at"),
    rules=(
        *_SHARED_RULES,
        _is_present("record_id", "A decision has the identifier of its record."),
        _is_present("identity", "A decision names a customer, a contact or an e-mail address."),
        Rule("purpose_is_known", _is_one_of("purpose", PURPOSES), "The platform has the purpose."),
        Rule("channel_is_known", _CHANNEL_FITS, "The purpose has the channel."),
        Rule(
            "state_is_known",
            _is_one_of("state", (GIVEN, REFUSED, WITHDRAWN)),
            f"The state is {GIVEN}, {REFUSED} or {WITHDRAWN}.",
        ),
        _is_present("decided_at", "A decision has a time: the latest decision counts."),
        _is_plausible(
            "decided_at",
            _EARLIEST_DAY,
            "date_add(CAST(_ingested_at AS DATE), 2)",
            "The decision is not before 1990, and at most one day after the day the file was extracted. A later time"
            " would outrank all later decisions.",
        ),
        _has_email_format(),
        _fits("customer_id", "The customer's number, if present, is an integer."),
    ),
)

ACTIVITIES_SILVER = TableContract(
    name="activities_silver",
    layer="silver",
    comment="One row per identity in events and day with an activity. Persons of identities: person_links_silver.",
    columns=(
        Column(
            "identity",
            "STRING",
            "customer:<customer_id>, email:<address> or device:<anonymous_id>: a record_key in person_links_silver",
            required=True,
            pii="email",
        ),
        Column("activity_date", "DATE", "day of the activities, in the time zone of business days", required=True),
        Column("activity_count", "BIGINT", "events that are activities; docs/kpis.md says which are", required=True),
        Column("has_session", "BOOLEAN", "whether an activity belongs to a session", required=True),
        Column("points", "BIGINT", "engagement points of the activities", required=True),
    ),
    key=("identity", "activity_date"),
    clustered_by=("activity_date",),
)

PURCHASES_SILVER = TableContract(
    name="purchases_silver",
    layer="silver",
    comment="One row per person and day with purchases. Models of repeat purchases count days: the source has no"
    " basket number.",
    columns=(
        _PERSON_ID,
        Column("purchase_date", "DATE", "day of the sales or returns", required=True),
        Column("transaction_count", "BIGINT", "number of sales; 0 on a day with returns only", required=True),
        Column("revenue", "DECIMAL(38,4)", "revenue of sales and returns, in the reporting currency", required=True),
        _SALE_MONTH,
    ),
    key=("person_id", "purchase_date"),
    partitioned_by=("sale_month",),
    clustered_by=("purchase_date", "person_id"),
)

CUSTOMER_ACQUISITIONS_SILVER = TableContract(
    name="customer_acquisitions_silver",
    layer="silver",
    comment="One row per person with a customer, with the day of acquisition.",
    columns=(
        _PERSON_ID,
        Column(
            "registration_date",
            "DATE",
            "earliest day that one of the person's customers registered; null if the source does not say",
        ),
        Column("first_purchase_date", "DATE", "day of the first purchase; null without a purchase"),
        Column(
            "acquisition_date",
            "DATE",
            "the earlier of registration and first purchase; null for a person without both",
        ),
    ),
    key=("person_id",),
)

BUSINESS_DATE_SILVER = TableContract(
    name="business_date_silver",
    layer="silver",
    comment="One row: the latest day with a sale, a registration or an event.",
    columns=(Column("latest_date", "DATE", "day of the latest sale, registration or event; null if there is none"),),
)

ID_KEYS_SILVER = TableContract(
    name="id_keys_silver",
    layer="silver",
    comment="One row per entity and text identifier of a source. Rows are never changed or deleted.",
    columns=(
        Column("entity", "STRING", "customers, products, stores or transactions", required=True),
        Column("source_id", "STRING", "identifier in the source; parts of a key are joined by |", required=True),
        Column("id", "BIGINT", "number of the identifier in all other tables, from 1", required=True),
    ),
    key=("entity", "source_id"),
    clustered_by=("entity", "source_id"),
)

SILVER_TABLES = (
    ID_KEYS_SILVER,
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
    CONSENTS_SILVER,
    ACTIVITIES_SILVER,
    PURCHASES_SILVER,
    CUSTOMER_ACQUISITIONS_SILVER,
    BUSINESS_DATE_SILVER,
)
