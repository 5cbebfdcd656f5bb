"""Silver: typed rows that keep their rules, one per key."""

from cdp_lib.contracts.table import Column, Rule, TableContract

_CUSTOMER_ID = Column("customer_id", "INT", "customer's number", required=True)
_FULL_NAME = Column("full_name", "STRING", "customer's name, outer and repeated blanks removed", pii="name")
_EMAIL = Column("email", "STRING", "customer's e-mail address, trimmed, in lower case", pii="email")
_COUNTRY = Column("country", "STRING", "country the customer lives in")
_REGISTRATION_DATE = Column("registration_date", "DATE", "day the customer registered")
_PRODUCT_ID = Column("product_id", "INT", "product's number", required=True)
_PRODUCT_NAME = Column("product_name", "STRING", "product's name")
_CATEGORY = Column("category", "STRING", "product's category")
_PRICE = Column("price", "DECIMAL(18,2)", "price of one piece, in the reporting currency", required=True)
_STORE_ID = Column("store_id", "INT", "store's number", required=True)
_STORE_NAME = Column("store_name", "STRING", "store's name")
_LOCATION = Column("location", "STRING", "country the store is in")
_TRANSACTION_ID = Column("transaction_id", "INT", "sale's number", required=True)
_QUANTITY = Column("quantity", "INT", "pieces sold, at least 1", required=True)
_TRANSACTION_DATE = Column("transaction_date", "DATE", "day of the sale", required=True)

CUSTOMERS_SILVER = TableContract(
    name="customers_silver",
    layer="silver",
    comment="One row per customer in the latest landed answer of the customers API.",
    columns=(_CUSTOMER_ID, _FULL_NAME, _EMAIL, _COUNTRY, _REGISTRATION_DATE),
    key=("customer_id",),
    rules=(
        Rule("customer_id_is_present", "customer_id IS NOT NULL"),
        Rule("country_is_present", "country IS NOT NULL"),
        Rule("registration_date_is_present", "registration_date IS NOT NULL"),
    ),
)

PRODUCTS_SILVER = TableContract(
    name="products_silver",
    layer="silver",
    comment="One row per product in the latest landed snapshot.",
    columns=(_PRODUCT_ID, _PRODUCT_NAME, _CATEGORY, _PRICE),
    key=("product_id",),
    rules=(
        Rule("product_id_is_present", "product_id IS NOT NULL"),
        Rule("product_name_is_present", "product_name IS NOT NULL"),
        Rule("category_is_present", "category IS NOT NULL"),
        Rule("price_is_not_negative", "price >= 0"),
    ),
)

STORES_SILVER = TableContract(
    name="stores_silver",
    layer="silver",
    comment="One row per store in the latest landed snapshot.",
    columns=(_STORE_ID, _STORE_NAME, _LOCATION),
    key=("store_id",),
    rules=(
        Rule("store_id_is_present", "store_id IS NOT NULL"),
        Rule("store_name_is_present", "store_name IS NOT NULL"),
        Rule("location_is_present", "location IS NOT NULL"),
    ),
)

TRANSACTIONS_SILVER = TableContract(
    name="transactions_silver",
    layer="silver",
    comment="One row per sale in the latest landed snapshot, whether or not its customer, product and store are known.",
    columns=(
        _TRANSACTION_ID,
        Column("customer_id", "INT", "customer who bought; may be unknown to customers_silver"),
        Column("product_id", "INT", "product sold; may be unknown to products_silver"),
        Column("store_id", "INT", "store that sold it; may be unknown to stores_silver"),
        _QUANTITY,
        _TRANSACTION_DATE,
        Column("_batch_id", "STRING", "landed batch the row came with", required=True),
    ),
    key=("transaction_id",),
    rules=(
        Rule("transaction_id_is_present", "transaction_id IS NOT NULL"),
        Rule("quantity_is_positive", "quantity > 0"),
        Rule("transaction_date_is_present", "transaction_date IS NOT NULL"),
    ),
)

RETAILS_SILVER = TableContract(
    name="retails_silver",
    layer="silver",
    comment="One row per sale that names a known customer, product and store.",
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
        _PRICE,
        _STORE_NAME,
        _LOCATION,
    ),
    key=("transaction_id",),
    rules=(
        Rule("customer_is_known", "_customer_is_known"),
        Rule("product_is_known", "_product_is_known"),
        Rule("store_is_known", "_store_is_known"),
    ),
)

SILVER_TABLES = (CUSTOMERS_SILVER, PRODUCTS_SILVER, STORES_SILVER, TRANSACTIONS_SILVER, RETAILS_SILVER)
