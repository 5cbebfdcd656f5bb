-- Views of customers and KPIs. docs/kpis.md defines the KPIs. No column contains or is derived from personal data.

CREATE OR REPLACE VIEW kpis AS
SELECT month, dimension, dimension_value, kpi, value, numerator, denominator, as_of
FROM kpi_monthly_gold;

CREATE OR REPLACE VIEW country_kpis AS
SELECT
  month,
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
GROUP BY month, dimension, dimension_value;

CREATE OR REPLACE VIEW channel_kpis AS
SELECT
  month,
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
GROUP BY month, dimension_value;

CREATE OR REPLACE VIEW monthly_kpis AS
SELECT
  substring(CAST(month AS STRING), 1, 7) AS month,
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
GROUP BY month
ORDER BY month;

CREATE OR REPLACE VIEW customers AS
SELECT
  c.customer_id,
  coalesce(p.country, 'unknown') AS country,
  d.country_code,
  d.region,
  d.tenure_band,
  d.shopper_type,
  c.acquisition_date,
  c.first_purchase_date,
  c.last_purchase_date,
  c.recency_days,
  c.purchase_day_count,
  c.transaction_count AS sales,
  c.total_revenue AS revenue,
  c.recency_score,
  c.frequency_score,
  c.monetary_score,
  c.segment,
  s.previous_segment,
  c.historic_clv,
  c.predictive_clv,
  c.expected_purchases,
  c.probability_alive,
  c.churn_probability,
  c.prediction_state,
  c.as_of
FROM customer_value_gold AS c
LEFT JOIN customers_silver AS p ON c.customer_id = p.customer_id
LEFT JOIN customer_demographics_gold AS d ON c.customer_id = d.customer_id
LEFT JOIN customer_segments_gold AS s ON c.customer_id = s.customer_id;

CREATE OR REPLACE VIEW customer_segments AS
SELECT
  segment,
  count(*) AS customers,
  sum(total_revenue) AS revenue,
  avg(recency_days) AS days_since_purchase,
  avg(churn_probability) AS churn_probability,
  avg(predictive_clv) AS predictive_clv
FROM customer_value_gold
GROUP BY segment
ORDER BY revenue DESC, segment;

CREATE OR REPLACE VIEW segment_movements AS
SELECT previous_as_of, as_of, from_segment, to_segment, customer_count AS customers
FROM segment_movements_gold;

CREATE OR REPLACE VIEW cohort_retention AS
SELECT cohort_type, cohort_month, retention_type, window_start, window_end, cohort_size, retention, as_of
FROM cohort_retention_gold;

CREATE OR REPLACE VIEW monthly_registrations AS
SELECT concat(reg_year, '-', lpad(reg_month, 2, '0')) AS month, country, new_customers AS customers
FROM customer_registration_trends_gold;
