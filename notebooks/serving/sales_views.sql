-- Databricks notebook source
-- MAGIC %md
-- MAGIC # Serving views of sales
-- MAGIC Stable names for people and BI tools outside the team; no personal data.
-- MAGIC
-- MAGIC Reads `country_detailed_analysis_gold`, `monthly_sales_gold` · writes the views `country_sales`, `monthly_sales`

-- COMMAND ----------

USE CATALOG IDENTIFIER(:catalog);
USE SCHEMA IDENTIFIER(:schema);

-- COMMAND ----------

CREATE OR REPLACE VIEW IDENTIFIER(:serving_schema || '.country_sales') AS
SELECT
  country,
  total_transactions AS sales,
  total_revenue AS revenue,
  unique_customers AS customers,
  total_quantity_sold AS pieces
FROM country_detailed_analysis_gold
ORDER BY revenue DESC;

-- COMMAND ----------

CREATE OR REPLACE VIEW IDENTIFIER(:serving_schema || '.monthly_sales') AS
SELECT
  concat(transaction_year, '-', lpad(transaction_month, 2, '0')) AS month,
  monthly_transactions AS sales,
  monthly_revenue AS revenue,
  monthly_customers AS customers,
  monthly_quantity AS pieces
FROM monthly_sales_gold
ORDER BY month;
