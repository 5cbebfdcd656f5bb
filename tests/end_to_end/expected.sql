-- The expected gold tables in DuckDB, computed independently from the tables of the sources.

CREATE VIEW retails AS
SELECT t.transaction_id, t.customer_id, t.product_id, t.store_id, t.quantity, t.transaction_date,
       c.full_name, c.email, coalesce(c.country, 'unknown') AS country, CAST(c.registration_date AS DATE) AS registration_date,
       CASE WHEN t.transaction_date < CAST(c.registration_date AS DATE)
            THEN ['sale_is_not_before_registration'] ELSE [] END AS _warnings,
       coalesce(p.product_name, 'unknown') AS product_name, coalesce(p.category, 'unknown') AS category,
       CAST(p.price AS DECIMAL(18, 4)) AS price, coalesce(s.store_name, 'unknown') AS store_name,
       coalesce(s.location, 'unknown') AS location,
       CAST(t.quantity * p.price AS DECIMAL(18, 4)) AS revenue, NULL AS discount, NULL AS cost, NULL AS order_id,
       NULL AS sold_at, NULL AS currency, NULL AS channel, NULL AS promotion_code, NULL AS department,
       NULL AS subcategory, NULL AS brand, CAST(date_trunc('month', t.transaction_date) AS DATE) AS sale_month
FROM transactions t, customers c, products p, stores s
WHERE t.customer_id = c.customer_id AND t.product_id = p.product_id AND t.store_id = s.store_id;

CREATE VIEW sales AS
SELECT * EXCLUDE (discount, cost), CAST(revenue AS DECIMAL(38, 4)) AS amount,
       CAST(NULL AS DECIMAL(38, 4)) AS discount, CAST(NULL AS DECIMAL(38, 4)) AS cost
FROM retails;

CREATE VIEW sales_by_country_gold AS
SELECT country, count_if(quantity > 0) AS total_sales FROM sales GROUP BY ALL;

CREATE VIEW category_country_performance_gold AS
SELECT country, category, sum(amount) AS revenue, sum(quantity) AS quantity_sold,
       count(DISTINCT product_id) FILTER (quantity > 0) AS unique_products, count(*) AS _line_count
FROM sales GROUP BY ALL;

CREATE VIEW country_detailed_analysis_gold AS
SELECT country, count(DISTINCT customer_id) FILTER (quantity > 0) AS unique_customers,
       count(DISTINCT store_id) FILTER (quantity > 0) AS unique_stores, count_if(quantity > 0) AS total_transactions,
       sum(quantity) AS total_quantity_sold, sum(amount) AS total_revenue,
       CAST(sum(amount) AS DOUBLE) / nullif(count_if(quantity > 0), 0) AS avg_transaction_value,
       count(DISTINCT product_id) FILTER (quantity > 0) AS unique_products, count(*) AS _line_count
FROM sales GROUP BY ALL;

CREATE VIEW product_performance_gold AS
SELECT product_id, product_name, category, sum(quantity) AS total_quantity_sold, sum(amount) AS total_revenue,
       count(DISTINCT transaction_id) FILTER (quantity > 0) AS unique_transactions,
       count(DISTINCT customer_id) FILTER (quantity > 0) AS unique_customers, count(*) AS _line_count
FROM sales GROUP BY ALL;

CREATE VIEW price_segment_analysis_gold AS
SELECT CASE WHEN price < 500 THEN 'Budget' WHEN price < 1500 THEN 'Mid-Range' ELSE 'Premium' END AS price_segment,
       category, count_if(quantity > 0) AS transaction_count, sum(quantity) AS total_quantity, sum(amount) AS total_revenue,
       count(*) AS _line_count
FROM sales GROUP BY ALL;

CREATE VIEW customer_product_affinity_gold AS
SELECT customer_id, full_name, product_id, product_name, category, sum(quantity) AS total_quantity_purchased,
       count_if(quantity > 0) AS purchase_frequency, count(*) AS _line_count
FROM sales WHERE customer_id IS NOT NULL GROUP BY ALL;

CREATE VIEW store_product_performance_gold AS
SELECT store_id, store_name, product_id, product_name, sum(quantity) AS quantity_sold, sum(amount) AS revenue_generated,
       count_if(quantity > 0) AS _transaction_count, count(*) AS _line_count
FROM sales GROUP BY ALL;

CREATE VIEW store_customer_analysis_gold AS
SELECT store_id, store_name, location, count(DISTINCT customer_id) FILTER (quantity > 0) AS unique_customers,
       count_if(quantity > 0) AS total_transactions,
       count(customer_id) FILTER (quantity > 0) / nullif(count(DISTINCT customer_id) FILTER (quantity > 0), 0)
         AS avg_transactions_per_customer, count(*) AS _line_count
FROM sales GROUP BY ALL;

CREATE VIEW seasonal_analysis_gold AS
SELECT CASE WHEN month(transaction_date) IN (12, 1, 2) THEN 'Winter' WHEN month(transaction_date) <= 5 THEN 'Spring'
            WHEN month(transaction_date) <= 8 THEN 'Summer' ELSE 'Fall' END AS season,
       category, sum(amount) AS seasonal_revenue, sum(quantity) AS seasonal_quantity, count(*) AS _line_count
FROM sales GROUP BY ALL;

CREATE VIEW monthly_sales_gold AS
SELECT year(transaction_date) AS transaction_year, quarter(transaction_date) AS transaction_quarter,
       month(transaction_date) AS transaction_month, sum(amount) AS monthly_revenue, sum(quantity) AS monthly_quantity,
       count_if(quantity > 0) AS monthly_transactions,
       count(DISTINCT customer_id) FILTER (quantity > 0) AS monthly_customers, count(*) AS _line_count
FROM sales GROUP BY ALL;

CREATE VIEW category_monthly_sales_gold AS
SELECT date_trunc('month', transaction_date)::DATE AS sale_month, category, sum(amount) AS revenue,
       sum(quantity) AS quantity, count_if(quantity > 0) AS transactions,
       count(DISTINCT customer_id) FILTER (quantity > 0) AS customers, count(*) AS _line_count
FROM sales GROUP BY ALL;

CREATE VIEW country_category_monthly_sales_gold AS
SELECT date_trunc('month', transaction_date)::DATE AS sale_month, country, category,
       coalesce(sum(amount) FILTER (quantity > 0), 0) AS sold_revenue,
       coalesce(-sum(amount) FILTER (quantity < 0), 0) AS returned_revenue,
       coalesce(sum(amount) FILTER (customer_id IS NULL), 0) AS anonymous_revenue,
       count_if(customer_id IS NULL AND quantity > 0) AS anonymous_transactions,
       sum(discount) AS discount, sum(amount + discount) AS list_revenue, sum(cost) AS cost,
       sum(amount) FILTER (cost IS NOT NULL) AS costed_revenue, count(*) AS _line_count
FROM sales GROUP BY ALL;

CREATE VIEW country_monthly_orders_gold AS
SELECT date_trunc('month', transaction_date)::DATE AS sale_month, country,
       count(DISTINCT order_id) FILTER (quantity > 0) AS orders, sum(amount) AS revenue,
       coalesce(sum(quantity) FILTER (quantity > 0), 0) AS items, count(*) AS _line_count
FROM sales WHERE order_id IS NOT NULL GROUP BY ALL;

CREATE VIEW sales_by_week_gold AS
WITH lines AS (SELECT date_trunc('week', transaction_date)::DATE AS sale_week, * FROM sales)
SELECT sale_week, 'category' AS grouped_by, 'all' AS country, category, sum(amount) AS revenue,
       sum(quantity) AS quantity, count_if(quantity > 0) AS transactions,
       count(DISTINCT customer_id) FILTER (quantity > 0) AS customers, count(*) AS _line_count
FROM lines GROUP BY ALL
UNION ALL BY NAME
SELECT sale_week, 'country and category' AS grouped_by, country, category,
       coalesce(sum(amount) FILTER (quantity > 0), 0) AS sold_revenue,
       coalesce(-sum(amount) FILTER (quantity < 0), 0) AS returned_revenue,
       coalesce(sum(amount) FILTER (customer_id IS NULL), 0) AS anonymous_revenue,
       count_if(customer_id IS NULL AND quantity > 0) AS anonymous_transactions,
       sum(discount) AS discount, sum(amount + discount) AS list_revenue, sum(cost) AS cost,
       sum(amount) FILTER (cost IS NOT NULL) AS costed_revenue, count(*) AS _line_count
FROM lines GROUP BY ALL
UNION ALL BY NAME
SELECT sale_week, 'country' AS grouped_by, country, 'all' AS category,
       count(DISTINCT order_id) FILTER (quantity > 0) AS orders, sum(amount) AS revenue,
       coalesce(sum(quantity) FILTER (quantity > 0), 0) AS items, count(*) AS _line_count
FROM lines WHERE order_id IS NOT NULL GROUP BY ALL;

CREATE VIEW customer_registration_trends_gold AS
SELECT year(CAST(registration_date AS DATE)) AS reg_year, month(CAST(registration_date AS DATE)) AS reg_month,
       coalesce(country, 'unknown') AS country, count(*) AS new_customers
FROM customers WHERE registration_date IS NOT NULL GROUP BY ALL;
