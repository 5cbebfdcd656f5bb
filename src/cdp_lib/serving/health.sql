-- Views of the health of the platform: freshness, quarantine, reconciliation, models, segments.
-- No column contains or is derived from personal data.

CREATE OR REPLACE VIEW table_freshness AS
SELECT
  table_name,
  CASE
    WHEN table_name LIKE '%_bronze' THEN 'bronze'
    WHEN table_name LIKE '%_silver' THEN 'silver'
    ELSE 'gold'
  END AS layer,
  max(started_at) AS changed_at,
  max(latest_batch) AS latest_batch,
  count(DISTINCT run_id) AS changes
FROM pipeline_runs_ops
WHERE state = 'refreshed'
GROUP BY table_name;

CREATE OR REPLACE VIEW quarantined_rows AS
SELECT table_name, rule, count(*) AS rows, min(_batch_id) AS since_batch
FROM (
  SELECT table_name, _batch_id, explode(broken_rules) AS rule
  FROM (
  SELECT 'crm_contacts_silver' AS table_name, broken_rules, _batch_id FROM crm_contacts_silver_quarantine
  UNION ALL SELECT 'customers_silver' AS table_name, broken_rules, _batch_id FROM customers_silver_quarantine
  UNION ALL SELECT 'events_silver' AS table_name, broken_rules, _batch_id FROM events_silver_quarantine
  UNION ALL SELECT 'exchange_rates_silver' AS table_name, broken_rules, _batch_id FROM exchange_rates_silver_quarantine
  UNION ALL SELECT 'marketing_spend_silver' AS table_name, broken_rules, _batch_id FROM marketing_spend_silver_quarantine
  UNION ALL SELECT 'products_silver' AS table_name, broken_rules, _batch_id FROM products_silver_quarantine
  UNION ALL SELECT 'retails_silver' AS table_name, broken_rules, _batch_id FROM retails_silver_quarantine
  UNION ALL SELECT 'stores_silver' AS table_name, broken_rules, _batch_id FROM stores_silver_quarantine
  UNION ALL SELECT 'transactions_silver' AS table_name, broken_rules, _batch_id FROM transactions_silver_quarantine
  )
)
GROUP BY table_name, rule;

CREATE OR REPLACE VIEW reconciliation AS
SELECT table_name, batch_id, rows_in, rows_out, rows_quarantined, rows_superseded, is_balanced
FROM reconciliation_ops;

-- The latest check of the promises of the segments, which docs/kpis.md defines.
CREATE OR REPLACE VIEW segment_quality AS
SELECT
  segment,
  customer_count AS customers,
  bought_share,
  revenue_after,
  promise,
  is_kept,
  checkable_from,
  cut_off,
  as_of
FROM segment_quality_gold
WHERE as_of = (SELECT max(as_of) FROM segment_quality_gold);

CREATE OR REPLACE VIEW model_quality AS
SELECT model, measure, decile, customer_count AS customers, predicted, actual, value, state, cut_off, as_of
FROM model_quality_gold;
