"""The SQL queries that compute the tables of both baselines, and the list of landed files that the queries read.

Spark, Sail and DuckDB run the same queries.
"""

from __future__ import annotations

from pathlib import Path

SOURCES = {
    "transactions": ("transactions_bronze", "database/transactions"),
    "products": ("products_bronze", "database/products"),
    "stores": ("store_bronze", "database/stores"),
    "customers": ("customers_bronze", "customers_api/customers"),
}
"""Name of the bronze table and folder in the landing, by source."""

SALES = """
    SELECT t.transaction_id, t.customer_id, t.product_id, t.store_id, t.quantity, t.transaction_date,
        c.full_name, c.email, c.country, CAST(c.registration_date AS DATE) AS registration_date,
        p.product_name, p.category, p.price, s.store_name, s.location
    FROM transactions t
    JOIN customers c ON t.customer_id = c.customer_id
    JOIN products p ON t.product_id = p.product_id
    JOIN stores s ON t.store_id = s.store_id
"""
"""Query that computes `retails_silver`. The queries of the marts read this table under the name `sales`."""

MARTS = {
    "sales_by_country_gold": "SELECT country, count(*) AS total_sales FROM sales GROUP BY country",
    "customer_product_affinity_gold": """
        SELECT customer_id, full_name, product_id, product_name, category,
            CAST(sum(quantity) AS BIGINT) AS total_quantity_purchased, count(*) AS purchase_frequency
        FROM sales GROUP BY customer_id, full_name, product_id, product_name, category
    """,
    "store_product_performance_gold": """
        SELECT store_id, store_name, product_id, product_name, CAST(sum(quantity) AS BIGINT) AS quantity_sold,
            sum(quantity * price) AS revenue_generated
        FROM sales GROUP BY store_id, store_name, product_id, product_name
    """,
    "price_segment_analysis_gold": """
        SELECT CASE WHEN price < 500 THEN 'Budget' WHEN price < 1500 THEN 'Mid-Range' ELSE 'Premium' END
                AS price_segment,
            category, count(*) AS transaction_count, CAST(sum(quantity) AS BIGINT) AS total_quantity,
            sum(quantity * price) AS total_revenue
        FROM sales GROUP BY 1, 2
    """,
    "seasonal_analysis_gold": """
        SELECT CASE WHEN month(transaction_date) IN (12, 1, 2) THEN 'Winter'
                WHEN month(transaction_date) IN (3, 4, 5) THEN 'Spring'
                WHEN month(transaction_date) IN (6, 7, 8) THEN 'Summer' ELSE 'Fall' END AS season,
            category, sum(quantity * price) AS seasonal_revenue, CAST(sum(quantity) AS BIGINT) AS seasonal_quantity
        FROM sales GROUP BY 1, 2
    """,
    "category_country_performance_gold": """
        SELECT country, category, sum(quantity * price) AS revenue, CAST(sum(quantity) AS BIGINT) AS quantity_sold,
            count(DISTINCT product_id) AS unique_products
        FROM sales GROUP BY country, category
    """,
    "country_detailed_analysis_gold": """
        SELECT country, count(DISTINCT customer_id) AS unique_customers, count(DISTINCT store_id) AS unique_stores,
            count(*) AS total_transactions, CAST(sum(quantity) AS BIGINT) AS total_quantity_sold,
            sum(quantity * price) AS total_revenue,
            CAST(sum(quantity * price) AS DOUBLE) / count(*) AS avg_transaction_value,
            count(DISTINCT product_id) AS unique_products
        FROM sales GROUP BY country
    """,
    "store_customer_analysis_gold": """
        SELECT store_id, store_name, location, count(DISTINCT customer_id) AS unique_customers,
            count(*) AS total_transactions,
            CAST(count(*) AS DOUBLE) / count(DISTINCT customer_id) AS avg_transactions_per_customer
        FROM sales GROUP BY store_id, store_name, location
    """,
    "monthly_sales_gold": """
        SELECT year(transaction_date) AS transaction_year, quarter(transaction_date) AS transaction_quarter,
            month(transaction_date) AS transaction_month, sum(quantity * price) AS monthly_revenue,
            CAST(sum(quantity) AS BIGINT) AS monthly_quantity, count(*) AS monthly_transactions,
            count(DISTINCT customer_id) AS monthly_customers
        FROM sales GROUP BY 1, 2, 3
    """,
    "product_performance_gold": """
        SELECT product_id, product_name, category, CAST(sum(quantity) AS BIGINT) AS total_quantity_sold,
            sum(quantity * price) AS total_revenue, count(*) AS unique_transactions,
            count(DISTINCT customer_id) AS unique_customers
        FROM sales GROUP BY product_id, product_name, category
    """,
    "customer_registration_trends_gold": """
        SELECT year(CAST(registration_date AS DATE)) AS reg_year, month(CAST(registration_date AS DATE)) AS reg_month,
            country, count(*) AS new_customers
        FROM customers GROUP BY 1, 2, 3
    """,
}
"""Query of each mart, by name of the mart. All queries read `sales`, except the last one, which reads `customers`."""


def landed_files(landing: Path, source: str) -> list[str]:
    """Return the data files of all batches of a source.

    Args:
        landing: Landing folder.
        source: A key of `SOURCES`.
    """
    return sorted(str(path) for path in (landing / SOURCES[source][1]).glob("*/*/data/*"))
