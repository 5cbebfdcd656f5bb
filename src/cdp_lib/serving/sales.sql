-- Sales views. No column contains or is derived from personal data.

CREATE OR REPLACE VIEW country_sales AS
SELECT
  country,
  total_transactions AS sales,
  total_revenue AS revenue,
  unique_customers AS customers,
  total_quantity_sold AS pieces
FROM country_detailed_analysis_gold
ORDER BY revenue DESC;

CREATE OR REPLACE VIEW monthly_sales AS
SELECT
  concat(transaction_year, '-', lpad(transaction_month, 2, '0')) AS month,
  monthly_transactions AS sales,
  monthly_revenue AS revenue,
  monthly_customers AS customers,
  monthly_quantity AS pieces
FROM monthly_sales_gold
ORDER BY month;

CREATE OR REPLACE VIEW category_sales AS
SELECT country, category, revenue, quantity_sold AS pieces, unique_products AS products
FROM category_country_performance_gold;

CREATE OR REPLACE VIEW department_sales AS
SELECT
  coalesce(products.department, 'unknown') AS department,
  coalesce(performance.category, 'unknown') AS category,
  sum(performance.total_revenue) AS revenue,
  sum(performance.total_quantity_sold) AS pieces,
  count(*) AS products
FROM product_performance_gold AS performance
LEFT JOIN products_silver AS products ON performance.product_id = products.product_id
GROUP BY coalesce(products.department, 'unknown'), coalesce(performance.category, 'unknown');

CREATE OR REPLACE VIEW product_sales AS
SELECT
  product_id,
  product_name,
  category,
  unique_transactions AS sales,
  total_revenue AS revenue,
  unique_customers AS customers,
  total_quantity_sold AS pieces
FROM product_performance_gold;

CREATE OR REPLACE VIEW price_segment_sales AS
SELECT price_segment, category, transaction_count AS sales, total_revenue AS revenue, total_quantity AS pieces
FROM price_segment_analysis_gold;

CREATE OR REPLACE VIEW season_sales AS
SELECT season, category, seasonal_revenue AS revenue, seasonal_quantity AS pieces
FROM seasonal_analysis_gold;

CREATE OR REPLACE VIEW store_sales AS
SELECT
  stores.store_id,
  stores.store_name,
  stores.location,
  stores.total_transactions AS sales,
  products.revenue,
  stores.unique_customers AS customers,
  products.pieces
FROM store_customer_analysis_gold AS stores
INNER JOIN (
  SELECT store_id, sum(revenue_generated) AS revenue, sum(quantity_sold) AS pieces
  FROM store_product_performance_gold
  GROUP BY store_id
) AS products ON stores.store_id = products.store_id;
