-- Views of groups of customers, and of KPIs. docs/kpis.md defines the KPIs. No column contains or is derived from personal
-- data. A row of fewer people than minimum_cell_size() is left out. Tables that count people are filtered by the contract.
-- A country may be called “All countries”: only dimension, is_all_countries and is_all_segments tell a total.

CREATE OR REPLACE VIEW kpis AS
SELECT month, dimension, dimension_value, kpi, value, numerator, denominator, as_of, is_complete
FROM kpi_monthly_gold;

CREATE OR REPLACE VIEW kpis_by_week AS
SELECT week, dimension, dimension_value, kpi, value, numerator, denominator, as_of, is_complete
FROM kpi_weekly_gold;

CREATE OR REPLACE VIEW country_kpis AS
SELECT
  month,
  is_complete,
  dimension = 'all' AS is_all_countries,
  CASE WHEN dimension = 'all' THEN 'All countries' ELSE dimension_value END AS country,
  max(CASE WHEN kpi = 'revenue' THEN value END) AS revenue,
  max(CASE WHEN kpi = 'transactions' THEN CAST(value AS BIGINT) END) AS transactions,
  max(CASE WHEN kpi = 'average_transaction_value' THEN value END) AS average_transaction_value,
  max(CASE WHEN kpi = 'orders' THEN CAST(value AS BIGINT) END) AS orders,
  max(CASE WHEN kpi = 'average_order_value' THEN value END) AS average_order_value,
  max(CASE WHEN kpi = 'items_per_order' THEN value END) AS items_per_order,
  max(CASE WHEN kpi = 'return_rate' THEN value END) AS return_rate,
  max(CASE WHEN kpi = 'discount_rate' THEN value END) AS discount_rate,
  max(CASE WHEN kpi = 'gross_margin_rate' THEN value END) AS gross_margin_rate,
  max(CASE WHEN kpi = 'anonymous_revenue_share' THEN value END) AS anonymous_revenue_share,
  max(CASE WHEN kpi = 'active_customers' THEN CAST(value AS BIGINT) END) AS active_customers,
  max(CASE WHEN kpi = 'first_time_buyers' THEN CAST(value AS BIGINT) END) AS first_time_buyers,
  max(CASE WHEN kpi = 'returning_customers' THEN CAST(value AS BIGINT) END) AS returning_customers,
  max(CASE WHEN kpi = 'reactivated_customers' THEN CAST(value AS BIGINT) END) AS reactivated_customers,
  max(CASE WHEN kpi = 'retention_rate' THEN value END) AS retention_rate,
  max(CASE WHEN kpi = 'churn_rate' THEN value END) AS churn_rate,
  max(CASE WHEN kpi = 'revenue_churn_rate' THEN value END) AS revenue_churn_rate,
  max(CASE WHEN kpi = 'arpu' THEN value END) AS arpu,
  max(CASE WHEN kpi = 'arppu' THEN value END) AS arppu,
  max(CASE WHEN kpi = 'repeat_purchase_rate' THEN value END) AS repeat_purchase_rate,
  max(CASE WHEN kpi = 'new_customers' THEN CAST(value AS BIGINT) END) AS new_customers,
  max(CASE WHEN kpi = 'customers' THEN CAST(value AS BIGINT) END) AS customers,
  max(CASE WHEN kpi = 'marketing_spend' THEN value END) AS marketing_spend,
  max(CASE WHEN kpi = 'cac' THEN value END) AS cac,
  max(CASE WHEN kpi = 'cac_paid' THEN value END) AS cac_paid,
  max(CASE WHEN kpi = 'clv_historic' THEN value END) AS clv_historic,
  max(CASE WHEN kpi = 'clv_predictive' THEN value END) AS clv_predictive,
  max(CASE WHEN kpi = 'clv_to_cac' THEN value END) AS clv_to_cac,
  max(CASE WHEN kpi = 'payback_months' THEN value END) AS payback_months,
  max(CASE WHEN kpi = 'dau' THEN value END) AS dau,
  max(CASE WHEN kpi = 'wau' THEN CAST(value AS BIGINT) END) AS wau,
  max(CASE WHEN kpi = 'mau' THEN CAST(value AS BIGINT) END) AS mau,
  max(CASE WHEN kpi = 'stickiness' THEN value END) AS stickiness,
  max(CASE WHEN kpi = 'sessions_per_user' THEN value END) AS sessions_per_user,
  max(CASE WHEN kpi = 'email_open_rate' THEN value END) AS email_open_rate,
  max(CASE WHEN kpi = 'email_click_rate' THEN value END) AS email_click_rate,
  max(CASE WHEN kpi = 'engagement_score' THEN value END) AS engagement_score
FROM kpi_monthly_gold
WHERE dimension IN ('all', 'country')
GROUP BY month, is_complete, dimension, dimension_value;

CREATE OR REPLACE VIEW channel_kpis AS
SELECT
  month,
  is_complete,
  dimension_value AS channel,
  max(CASE WHEN kpi = 'marketing_spend' THEN value END) AS marketing_spend,
  max(CASE WHEN kpi = 'new_customers' THEN CAST(value AS BIGINT) END) AS new_customers,
  max(CASE WHEN kpi = 'cac' THEN value END) AS cac,
  max(CASE WHEN kpi = 'clv_to_cac' THEN value END) AS clv_to_cac,
  max(CASE WHEN kpi = 'payback_months' THEN value END) AS payback_months,
  max(CASE WHEN kpi = 'active_customers' THEN CAST(value AS BIGINT) END) AS active_customers,
  max(CASE WHEN kpi = 'revenue' THEN value END) AS revenue,
  max(CASE WHEN kpi = 'arpu' THEN value END) AS arpu,
  max(CASE WHEN kpi = 'churn_rate' THEN value END) AS churn_rate
FROM kpi_monthly_gold
WHERE dimension = 'channel'
GROUP BY month, is_complete, dimension_value;

CREATE OR REPLACE VIEW monthly_kpis AS
SELECT
  substring(CAST(month AS STRING), 1, 7) AS month,
  is_complete,
  max(CASE WHEN kpi = 'new_customers' THEN CAST(value AS BIGINT) END) AS new_customers,
  max(CASE WHEN kpi = 'active_customers' THEN CAST(value AS BIGINT) END) AS active_customers,
  max(CASE WHEN kpi = 'retention_rate' THEN value END) AS retention_rate,
  max(CASE WHEN kpi = 'arpu' THEN value END) AS arpu,
  max(CASE WHEN kpi = 'cac' THEN value END) AS cac,
  max(CASE WHEN kpi = 'clv_historic' THEN value END) AS clv_historic,
  max(CASE WHEN kpi = 'mau' THEN CAST(value AS BIGINT) END) AS mau,
  max(CASE WHEN kpi = 'email_open_rate' THEN value END) AS email_open_rate
FROM kpi_monthly_gold
WHERE dimension = 'all'
GROUP BY month, is_complete
ORDER BY month;

-- An average is of the customers with a value. It is withheld if fewer customers than minimum_cell_size() have one.
CREATE OR REPLACE VIEW customer_segments AS
SELECT
  segment,
  count(*) AS customers,
  CASE WHEN count(recency_days) >= minimum_cell_size() OR sum(total_revenue) = 0 THEN sum(total_revenue) END AS revenue,
  CASE WHEN count(recency_days) >= minimum_cell_size() THEN avg(recency_days) END AS days_since_purchase,
  CASE WHEN count(churn_probability) >= minimum_cell_size() THEN avg(churn_probability) END AS churn_probability,
  CASE WHEN count(predictive_clv) >= minimum_cell_size() THEN avg(predictive_clv) END AS predictive_clv
FROM customer_value_gold
GROUP BY segment
HAVING count(*) >= minimum_cell_size()
ORDER BY revenue DESC, segment;

CREATE OR REPLACE VIEW customer_totals AS
SELECT
  country,
  segment,
  is_all_countries,
  is_all_segments,
  customers,
  CASE WHEN buyers = 0 OR buyers >= minimum_cell_size() THEN buyers END AS buyers,
  CASE WHEN revenue = 0 OR buyers >= minimum_cell_size() THEN revenue END AS revenue,
  CASE WHEN historic_clv = 0 OR buyers >= minimum_cell_size() THEN historic_clv END AS historic_clv,
  CASE WHEN customers_with_purchase >= minimum_cell_size() THEN days_since_purchase END AS days_since_purchase,
  CASE WHEN predicted_customers >= minimum_cell_size() THEN churn_probability END AS churn_probability,
  CASE WHEN valued_customers >= minimum_cell_size() THEN predictive_clv END AS predictive_clv
FROM (
  SELECT
    CASE WHEN grouping(country) = 1 THEN 'All countries' ELSE country END AS country,
    CASE WHEN grouping(segment) = 1 THEN 'All segments' ELSE segment END AS segment,
    grouping(country) = 1 AS is_all_countries,
    grouping(segment) = 1 AS is_all_segments,
    count(*) AS customers,
    sum(CASE WHEN transaction_count > 0 THEN 1 ELSE 0 END) AS buyers,
    sum(total_revenue) AS revenue,
    avg(historic_clv) AS historic_clv,
    count(recency_days) AS customers_with_purchase,
    avg(recency_days) AS days_since_purchase,
    count(churn_probability) AS predicted_customers,
    avg(churn_probability) AS churn_probability,
    count(predictive_clv) AS valued_customers,
    avg(predictive_clv) AS predictive_clv
  FROM (
    SELECT
      coalesce(p.country, 'unknown') AS country,
      c.segment,
      c.transaction_count,
      c.total_revenue,
      c.historic_clv,
      c.recency_days,
      c.churn_probability,
      c.predictive_clv
    FROM customer_value_gold AS c
    LEFT JOIN persons_silver AS p ON c.person_id = p.person_id
  )
  GROUP BY CUBE (country, segment)
)
WHERE customers >= minimum_cell_size();

CREATE OR REPLACE VIEW clv_bands AS
SELECT
  CASE WHEN grouping(country) = 1 THEN 'All countries' ELSE country END AS country,
  CASE WHEN grouping(segment) = 1 THEN 'All segments' ELSE segment END AS segment,
  grouping(country) = 1 AS is_all_countries,
  grouping(segment) = 1 AS is_all_segments,
  kind,
  clv,
  count(*) AS customers
FROM (
  SELECT country, segment, kind, CASE
    WHEN clv <= 0 THEN 'nothing'
    WHEN clv < 10 THEN 'under 10'
    WHEN clv < 100 THEN '10 to 100'
    WHEN clv < 1000 THEN '100 to 1,000'
    WHEN clv < 10000 THEN '1,000 to 10,000'
    ELSE '10,000 and more'
  END AS clv
  FROM (
    SELECT coalesce(p.country, 'unknown') AS country, c.segment, 'so far' AS kind, CAST(c.historic_clv AS DOUBLE) AS clv
    FROM customer_value_gold AS c
    LEFT JOIN persons_silver AS p ON c.person_id = p.person_id
    UNION ALL
    SELECT coalesce(p.country, 'unknown') AS country, c.segment, 'expected' AS kind, c.predictive_clv AS clv
    FROM customer_value_gold AS c
    LEFT JOIN persons_silver AS p ON c.person_id = p.person_id
    WHERE c.predictive_clv IS NOT NULL
  )
)
GROUP BY GROUPING SETS ((country, segment, kind, clv), (country, kind, clv), (segment, kind, clv), (kind, clv))
HAVING count(*) >= minimum_cell_size();

CREATE OR REPLACE VIEW churn_bands AS
SELECT
  CASE WHEN grouping(country) = 1 THEN 'All countries' ELSE country END AS country,
  CASE WHEN grouping(segment) = 1 THEN 'All segments' ELSE segment END AS segment,
  grouping(country) = 1 AS is_all_countries,
  grouping(segment) = 1 AS is_all_segments,
  churn,
  count(*) AS customers
FROM (
  SELECT coalesce(p.country, 'unknown') AS country, c.segment, CASE
    WHEN c.churn_probability < 0.2 THEN 'under 20 %'
    WHEN c.churn_probability < 0.4 THEN '20 to 40 %'
    WHEN c.churn_probability < 0.6 THEN '40 to 60 %'
    WHEN c.churn_probability < 0.8 THEN '60 to 80 %'
    WHEN c.churn_probability >= 0.8 THEN '80 % and more'
    ELSE 'no prediction'
  END AS churn
  FROM customer_value_gold AS c
  LEFT JOIN persons_silver AS p ON c.person_id = p.person_id
)
GROUP BY GROUPING SETS ((country, segment, churn), (country, churn), (segment, churn), (churn))
HAVING count(*) >= minimum_cell_size();

CREATE OR REPLACE VIEW segment_movements AS
SELECT previous_as_of, as_of, from_segment, to_segment, customer_count AS customers
FROM segment_movements_gold;

CREATE OR REPLACE VIEW cohort_retention AS
SELECT cohort_type, cohort_month, retention_type, window_start, window_end, cohort_size, retention, as_of
FROM cohort_retention_gold;

CREATE OR REPLACE VIEW monthly_registrations AS
SELECT concat(reg_year, '-', lpad(reg_month, 2, '0')) AS month, country, new_customers AS customers
FROM customer_registration_trends_gold;

CREATE OR REPLACE VIEW household_sizes AS
SELECT
  CASE WHEN members >= 5 THEN '5 and more' ELSE CAST(members AS STRING) END AS size,
  count(*) AS households,
  sum(members) AS customers,
  avg(revenue) AS average_revenue
FROM (
  SELECT d.household_id, count(*) AS members, CAST(sum(c.total_revenue) AS DOUBLE) AS revenue
  FROM customer_demographics_gold AS d
  INNER JOIN customer_value_gold AS c ON d.person_id = c.person_id
  WHERE d.household_id IS NOT NULL
  GROUP BY d.household_id
)
GROUP BY CASE WHEN members >= 5 THEN '5 and more' ELSE CAST(members AS STRING) END
HAVING sum(members) >= minimum_cell_size();
