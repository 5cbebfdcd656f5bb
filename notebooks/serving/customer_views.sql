-- Databricks notebook source
-- MAGIC %md
-- MAGIC # Serving views of customers
-- MAGIC Stable names for people and BI tools outside the team; no personal data.
-- MAGIC
-- MAGIC Reads `kpi_monthly_gold`, `customer_value_gold` · writes the views `monthly_kpis`, `customer_segments`

-- COMMAND ----------

USE CATALOG IDENTIFIER(:catalog);
USE SCHEMA IDENTIFIER(:schema);

-- COMMAND ----------

CREATE OR REPLACE VIEW IDENTIFIER(:serving_schema || '.monthly_kpis') AS
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

-- COMMAND ----------

CREATE OR REPLACE VIEW IDENTIFIER(:serving_schema || '.customer_segments') AS
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
