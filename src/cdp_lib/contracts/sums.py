"""Sums that must agree: what the rows of a table add up to, compared with the rows of its inputs.

A wrong or lost write of a mart changes no number of rows in silver. It changes the sums of the mart.
"""

_LINES = {"lines": "_line_count"}

SUMS: dict[str, dict[str, str]] = {
    "retails_silver": {
        "lines": "1",
        "sales": "CASE WHEN quantity > 0 THEN 1 ELSE 0 END",
        "quantity": "quantity",
        "revenue": "revenue",
        "customer_lines": "CASE WHEN customer_id IS NOT NULL THEN 1 ELSE 0 END",
        "customer_sales": "CASE WHEN customer_id IS NOT NULL AND quantity > 0 THEN 1 ELSE 0 END",
        "customer_quantity": "CASE WHEN customer_id IS NOT NULL THEN quantity END",
        "customer_revenue": "CASE WHEN customer_id IS NOT NULL THEN revenue END",
        "order_lines": "CASE WHEN order_id IS NOT NULL THEN 1 ELSE 0 END",
        "order_revenue": "CASE WHEN order_id IS NOT NULL THEN revenue END",
    },
    "customers_silver": {"registrations": "CASE WHEN registration_date IS NOT NULL THEN 1 ELSE 0 END"},
    "purchases_silver": {"customer_sales": "transaction_count", "customer_revenue": "revenue"},
    "category_country_performance_gold": {"revenue": "revenue", "quantity": "quantity_sold"} | _LINES,
    "category_monthly_sales_gold": {"revenue": "revenue", "quantity": "quantity", "sales": "transactions"} | _LINES,
    "country_category_monthly_sales_gold": {"revenue": "sold_revenue - returned_revenue"} | _LINES,
    "country_detailed_analysis_gold": {
        "revenue": "total_revenue",
        "quantity": "total_quantity_sold",
        "sales": "total_transactions",
    }
    | _LINES,
    "country_monthly_orders_gold": {"order_revenue": "revenue", "order_lines": "_line_count"},
    "customer_product_affinity_gold": {
        "customer_quantity": "total_quantity_purchased",
        "customer_sales": "purchase_frequency",
        "customer_lines": "_line_count",
    },
    "customer_registration_trends_gold": {"registrations": "new_customers"},
    "monthly_sales_gold": {
        "revenue": "monthly_revenue",
        "quantity": "monthly_quantity",
        "sales": "monthly_transactions",
    }
    | _LINES,
    "price_segment_analysis_gold": {
        "revenue": "total_revenue",
        "quantity": "total_quantity",
        "sales": "transaction_count",
    }
    | _LINES,
    "product_performance_gold": {
        "revenue": "total_revenue",
        "quantity": "total_quantity_sold",
        "sales": "unique_transactions",
    }
    | _LINES,
    "sales_by_country_gold": {"sales": "total_sales"},
    "sales_by_week_gold": {
        "revenue": "CASE WHEN grouped_by = 'category' THEN revenue END",
        "quantity": "quantity",
        "sales": "transactions",
        "lines": "CASE WHEN grouped_by = 'country and category' THEN _line_count END",
        "order_revenue": "CASE WHEN grouped_by = 'country' THEN revenue END",
        "order_lines": "CASE WHEN grouped_by = 'country' THEN _line_count END",
    },
    "seasonal_analysis_gold": {"revenue": "seasonal_revenue", "quantity": "seasonal_quantity"} | _LINES,
    "store_customer_analysis_gold": {"sales": "total_transactions"} | _LINES,
    "store_product_performance_gold": {
        "revenue": "revenue_generated",
        "quantity": "quantity_sold",
        "sales": "_transaction_count",
    }
    | _LINES,
}
"""For each table: an SQL expression over its columns for each measure. The measure is the sum over all rows.

A measure of a table must equal the same measure of the first of its inputs that has it. Give a measure a new name if
the meaning of its expression changes, because states of tables keep the sums by name.
"""

DAY_COLUMNS = {"retails_silver": "transaction_date", "customers_silver": "registration_date"}
"""Column with the day of a row. If a run has a setting `as_of`, marts include only the rows up to that day."""
