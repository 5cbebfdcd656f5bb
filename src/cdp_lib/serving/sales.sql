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

-- A promotion begins again if nothing was sold with its code for 14 days. Its products are those that were sold with the
-- code. `share` is the part of their sales in these days that has the code, before returns. `uplift` compares their revenue
-- per day with the 28 days before; it is null if sales do not reach back so far, or if nothing was sold before.
CREATE OR REPLACE VIEW promotion_sales AS
WITH days AS (
  SELECT DISTINCT promotion_code, transaction_date AS day
  FROM retails_silver
  WHERE promotion_code IS NOT NULL AND quantity > 0
),
gaps AS (
  SELECT
    promotion_code,
    day,
    datediff(day, lag(day) OVER (PARTITION BY promotion_code ORDER BY day)) AS days_since_sale
  FROM days
),
runs AS (
  SELECT
    promotion_code,
    day,
    sum(CASE WHEN days_since_sale <= 14 THEN 0 ELSE 1 END) OVER (PARTITION BY promotion_code ORDER BY day) AS run
  FROM gaps
),
promotions AS (
  SELECT promotion_code, min(day) AS first_day, max(day) AS last_day
  FROM runs
  GROUP BY promotion_code, run
),
promoted AS (
  SELECT
    promotions.promotion_code,
    promotions.first_day,
    promotions.last_day,
    lines.product_id,
    sum(CASE WHEN lines.quantity > 0 THEN 1 ELSE 0 END) AS sales,
    sum(lines.revenue) AS revenue,
    sum(CASE WHEN lines.quantity > 0 THEN lines.revenue END) AS sold,
    sum(lines.discount) AS discount
  FROM promotions
  INNER JOIN retails_silver AS lines
    ON promotions.promotion_code = lines.promotion_code
    AND lines.transaction_date BETWEEN promotions.first_day AND promotions.last_day
  GROUP BY promotions.promotion_code, promotions.first_day, promotions.last_day, lines.product_id
),
daily AS (
  SELECT
    product_id,
    transaction_date AS day,
    sum(revenue) AS revenue,
    sum(CASE WHEN quantity > 0 THEN revenue END) AS sold
  FROM retails_silver
  WHERE product_id IN (SELECT product_id FROM promoted)
  GROUP BY product_id, transaction_date
),
compared AS (
  SELECT
    promoted.promotion_code,
    promoted.first_day,
    sum(CASE WHEN daily.day >= promoted.first_day THEN daily.revenue END) AS revenue,
    sum(CASE WHEN daily.day >= promoted.first_day THEN daily.sold END) AS sold,
    sum(CASE WHEN daily.day < promoted.first_day THEN daily.revenue END) AS revenue_before
  FROM promoted
  INNER JOIN daily
    ON promoted.product_id = daily.product_id
    AND daily.day BETWEEN date_sub(promoted.first_day, 28) AND promoted.last_day
  GROUP BY promoted.promotion_code, promoted.first_day
),
totals AS (
  SELECT
    promotion_code,
    first_day,
    last_day,
    sum(sales) AS sales,
    sum(revenue) AS revenue,
    sum(sold) AS sold,
    sum(discount) AS discount
  FROM promoted
  GROUP BY promotion_code, first_day, last_day
),
history AS (
  SELECT min(transaction_date) AS first_day FROM retails_silver
)
SELECT
  totals.promotion_code,
  totals.first_day,
  totals.last_day,
  totals.sales,
  totals.revenue,
  totals.discount,
  CASE WHEN compared.sold > 0 THEN CAST(totals.sold AS DOUBLE) / CAST(compared.sold AS DOUBLE) END AS share,
  CASE
    WHEN history.first_day <= date_sub(totals.first_day, 28) AND compared.revenue_before > 0
      THEN CAST(compared.revenue AS DOUBLE) * 28
        / (CAST(compared.revenue_before AS DOUBLE) * (datediff(totals.last_day, totals.first_day) + 1)) - 1
  END AS uplift
FROM totals
INNER JOIN compared ON totals.promotion_code = compared.promotion_code AND totals.first_day = compared.first_day
CROSS JOIN history;
