"""Gold: aggregates for reports and dashboards.

Revenue is the sum of `revenue` in `retails_silver`, in the reporting currency. Sums of revenue and pieces are less
returns. Counts of transactions, customers, stores and products leave returns out. `country` is the country of the
customer. `location` is the country of the store. Averages are not rounded.
"""

from dataclasses import replace

from cdp_lib.contracts.table import Column, gold_table

REVENUE = "DECIMAL(38,4)"
QUANTITY = "DECIMAL(38,3)"

_COUNTRY = Column(
    "country", "STRING", "country the customers live in; unknown if the source does not say", required=True
)
_CATEGORY = Column("category", "STRING", "product category; unknown if the source does not say", required=True)
_CUSTOMER_ID = Column("customer_id", "BIGINT", "customer's number", required=True)
_FULL_NAME = Column("full_name", "STRING", "customer's name", pii="name")
_PRODUCT_ID = Column("product_id", "BIGINT", "product's number", required=True)
_PRODUCT_NAME = Column("product_name", "STRING", "product's name; unknown if the source does not say")
_STORE_ID = Column("store_id", "BIGINT", "store's number", required=True)
_LINE_COUNT = Column("_line_count", "BIGINT", "number of lines: transactions and returns", required=True)
_STORE_NAME = Column("store_name", "STRING", "store's name; unknown if the source does not say")


SALES_BY_COUNTRY_GOLD = gold_table(
    "sales_by_country_gold",
    "One row per country of customers who bought.",
    ("country",),
    _COUNTRY,
    Column("total_sales", "BIGINT", "number of transactions", required=True),
)

CATEGORY_COUNTRY_PERFORMANCE_GOLD = gold_table(
    "category_country_performance_gold",
    "One row per country of customers and product category that they bought.",
    ("country", "category"),
    _COUNTRY,
    _CATEGORY,
    Column("revenue", REVENUE, "revenue", required=True),
    Column("quantity_sold", QUANTITY, "pieces sold", required=True),
    Column("unique_products", "BIGINT", "number of distinct products sold", required=True),
    _LINE_COUNT,
)

COUNTRY_DETAILED_ANALYSIS_GOLD = gold_table(
    "country_detailed_analysis_gold",
    "One row per country of customers who bought.",
    ("country",),
    _COUNTRY,
    Column("unique_customers", "BIGINT", "customers who bought", required=True),
    Column("unique_stores", "BIGINT", "stores that they bought in", required=True),
    Column("total_transactions", "BIGINT", "number of transactions", required=True),
    Column("total_quantity_sold", QUANTITY, "pieces sold", required=True),
    Column("total_revenue", REVENUE, "revenue", required=True),
    Column("avg_transaction_value", "DOUBLE", "total_revenue / total_transactions; null if there are returns only"),
    Column("unique_products", "BIGINT", "number of distinct products sold", required=True),
    _LINE_COUNT,
)

PRODUCT_PERFORMANCE_GOLD = gold_table(
    "product_performance_gold",
    "One row per product that was sold.",
    ("product_id",),
    _PRODUCT_ID,
    _PRODUCT_NAME,
    _CATEGORY,
    Column("total_quantity_sold", QUANTITY, "pieces sold", required=True),
    Column("total_revenue", REVENUE, "revenue", required=True),
    Column("unique_transactions", "BIGINT", "number of transactions", required=True),
    Column("unique_customers", "BIGINT", "customers who bought the product", required=True),
    _LINE_COUNT,
)

PRICE_SEGMENT_ANALYSIS_GOLD = gold_table(
    "price_segment_analysis_gold",
    "One row per price segment and product category with sales.",
    ("price_segment", "category"),
    Column(
        "price_segment",
        "STRING",
        "Budget, Mid-Range or Premium: the setting price_bands divides them at 500 and 1500 by default",
        required=True,
    ),
    _CATEGORY,
    Column("transaction_count", "BIGINT", "number of transactions", required=True),
    Column("total_quantity", QUANTITY, "pieces sold", required=True),
    Column("total_revenue", REVENUE, "revenue", required=True),
    _LINE_COUNT,
)

CUSTOMER_PRODUCT_AFFINITY_GOLD = gold_table(
    "customer_product_affinity_gold",
    "One row per customer and product the customer bought.",
    ("customer_id", "product_id"),
    _CUSTOMER_ID,
    _FULL_NAME,
    _PRODUCT_ID,
    _PRODUCT_NAME,
    _CATEGORY,
    Column("total_quantity_purchased", QUANTITY, "pieces bought", required=True),
    Column("purchase_frequency", "BIGINT", "number of transactions", required=True),
    _LINE_COUNT,
    clustered_by=("customer_id", "product_id"),
    purpose="analytics",
)

STORE_PRODUCT_PERFORMANCE_GOLD = gold_table(
    "store_product_performance_gold",
    "One row per store and product that the store sold.",
    ("store_id", "product_id"),
    _STORE_ID,
    _STORE_NAME,
    _PRODUCT_ID,
    _PRODUCT_NAME,
    Column("quantity_sold", QUANTITY, "pieces sold", required=True),
    Column("revenue_generated", REVENUE, "revenue", required=True),
    Column("_transaction_count", "BIGINT", "number of transactions", required=True),
    _LINE_COUNT,
)

STORE_CUSTOMER_ANALYSIS_GOLD = gold_table(
    "store_customer_analysis_gold",
    "One row per store that sold something.",
    ("store_id",),
    _STORE_ID,
    _STORE_NAME,
    Column("location", "STRING", "country the store is in; unknown if the source does not say"),
    Column("unique_customers", "BIGINT", "customers who bought in the store", required=True),
    Column("total_transactions", "BIGINT", "number of transactions", required=True),
    Column(
        "avg_transactions_per_customer",
        "DOUBLE",
        "transactions of known customers / unique_customers; null if no known customer bought",
    ),
    _LINE_COUNT,
)

SEASONAL_ANALYSIS_GOLD = gold_table(
    "seasonal_analysis_gold",
    "One row per season and product category sold in that season, over all years.",
    ("season", "category"),
    Column("season", "STRING", "Winter (Dec-Feb), Spring (Mar-May), Summer (Jun-Aug) or Fall (Sep-Nov)", required=True),
    _CATEGORY,
    Column("seasonal_revenue", REVENUE, "revenue", required=True),
    Column("seasonal_quantity", QUANTITY, "pieces sold", required=True),
    _LINE_COUNT,
)

MONTHLY_SALES_GOLD = gold_table(
    "monthly_sales_gold",
    "One row per month with sales.",
    ("transaction_year", "transaction_quarter", "transaction_month"),
    Column("transaction_year", "INT", "calendar year of the sales", required=True),
    Column("transaction_quarter", "INT", "calendar quarter of the sales, 1 to 4", required=True),
    Column("transaction_month", "INT", "calendar month of the sales, 1 to 12", required=True),
    Column("monthly_revenue", REVENUE, "revenue", required=True),
    Column("monthly_quantity", QUANTITY, "pieces sold", required=True),
    Column("monthly_transactions", "BIGINT", "number of transactions", required=True),
    Column("monthly_customers", "BIGINT", "customers who bought", required=True),
    _LINE_COUNT,
)

CATEGORY_MONTHLY_SALES_GOLD = gold_table(
    "category_monthly_sales_gold",
    "One row per month and product category sold in that month.",
    ("sale_month", "category"),
    Column("sale_month", "DATE", "first day of the month of the sales", required=True),
    _CATEGORY,
    Column("revenue", REVENUE, "revenue", required=True),
    Column("quantity", QUANTITY, "pieces sold", required=True),
    Column("transactions", "BIGINT", "number of transactions", required=True),
    Column("customers", "BIGINT", "known customers who bought", required=True),
    _LINE_COUNT,
)

COUNTRY_CATEGORY_MONTHLY_SALES_GOLD = gold_table(
    "country_category_monthly_sales_gold",
    "One row per month, country of customers and product category with lines.",
    ("sale_month", "country", "category"),
    Column("sale_month", "DATE", "first day of the month of the lines", required=True),
    _COUNTRY,
    _CATEGORY,
    Column("sold_revenue", REVENUE, "revenue of transactions, without returns", required=True),
    Column("returned_revenue", REVENUE, "revenue of returns, above 0", required=True),
    Column("anonymous_revenue", REVENUE, "revenue without a customer, less returns", required=True),
    Column("anonymous_transactions", "BIGINT", "number of transactions without a customer", required=True),
    Column("discount", REVENUE, "discounts; null if no line has one"),
    Column(
        "list_revenue", REVENUE, "revenue + discount of the lines with a discount, 0 included; null if there is none"
    ),
    Column("cost", REVENUE, "cost of the lines whose cost is known; null if there is none"),
    Column("costed_revenue", REVENUE, "revenue of the lines whose cost is known; null if there is none"),
    _LINE_COUNT,
)

COUNTRY_MONTHLY_ORDERS_GOLD = gold_table(
    "country_monthly_orders_gold",
    "One row per month and country of customers with orders. Lines without an order number are left out.",
    ("sale_month", "country"),
    Column("sale_month", "DATE", "first day of the month of the lines", required=True),
    _COUNTRY,
    Column("orders", "BIGINT", "distinct orders with a transaction", required=True),
    Column("revenue", REVENUE, "revenue of the orders, less returns", required=True),
    Column("items", QUANTITY, "pieces sold in the orders, without returns", required=True),
    _LINE_COUNT,
)

MONTHLY_GROUPS = {
    "category": CATEGORY_MONTHLY_SALES_GOLD,
    "country and category": COUNTRY_CATEGORY_MONTHLY_SALES_GOLD,
    "country": COUNTRY_MONTHLY_ORDERS_GOLD,
}
"""Marts by month whose figures `sales_by_week_gold` has by week, by the value of its column `grouped_by`."""

_FIGURES_OF_GROUPS = {
    column.name: replace(column, required=False)
    for mart in MONTHLY_GROUPS.values()
    for column in mart.columns
    if column.name not in (*mart.key, _LINE_COUNT.name)
}

SALES_BY_WEEK_GOLD = gold_table(
    "sales_by_week_gold",
    "One row per week and group of lines: the lines of a category, of a country and category, or the lines with an"
    " order number of a country. A figure is null in the groups that do not have it.",
    ("sale_week", "grouped_by", "country", "category"),
    Column("sale_week", "DATE", "Monday of the ISO week of the lines", required=True),
    Column("grouped_by", "STRING", "category; country and category; or country, for orders", required=True),
    replace(_COUNTRY, comment=f"{_COUNTRY.comment}; all if grouped_by has no country"),
    replace(_CATEGORY, comment=f"{_CATEGORY.comment}; all if grouped_by has no category"),
    *_FIGURES_OF_GROUPS.values(),
    _LINE_COUNT,
)

CUSTOMER_REGISTRATION_TRENDS_GOLD = gold_table(
    "customer_registration_trends_gold",
    "One row per month of registration and country of customers, with or without purchases. Customers without a day of"
    " registration are left out.",
    ("reg_year", "reg_month", "country"),
    Column("reg_year", "INT", "calendar year of registration", required=True),
    Column("reg_month", "INT", "calendar month of registration, 1 to 12", required=True),
    _COUNTRY,
    Column("new_customers", "BIGINT", "customers who registered in the month", required=True),
    counts_people="new_customers",
)

GOLD_TABLES = (
    SALES_BY_COUNTRY_GOLD,
    CATEGORY_COUNTRY_PERFORMANCE_GOLD,
    COUNTRY_DETAILED_ANALYSIS_GOLD,
    PRODUCT_PERFORMANCE_GOLD,
    PRICE_SEGMENT_ANALYSIS_GOLD,
    CUSTOMER_PRODUCT_AFFINITY_GOLD,
    STORE_PRODUCT_PERFORMANCE_GOLD,
    STORE_CUSTOMER_ANALYSIS_GOLD,
    SEASONAL_ANALYSIS_GOLD,
    MONTHLY_SALES_GOLD,
    CATEGORY_MONTHLY_SALES_GOLD,
    COUNTRY_CATEGORY_MONTHLY_SALES_GOLD,
    COUNTRY_MONTHLY_ORDERS_GOLD,
    SALES_BY_WEEK_GOLD,
    CUSTOMER_REGISTRATION_TRENDS_GOLD,
)
