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
  SELECT 'consents_silver' AS table_name, broken_rules, _batch_id FROM consents_silver_quarantine
  UNION ALL SELECT 'crm_contacts_silver' AS table_name, broken_rules, _batch_id FROM crm_contacts_silver_quarantine
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

-- The latest check of the promises of the segments, which docs/kpis.md defines. A ledger keeps the rows of a run for a
-- later day, so both views of quality show no row after the day of the KPIs.
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
WHERE as_of = (
  SELECT max(as_of)
  FROM segment_quality_gold
  WHERE as_of <= (SELECT max(as_of) FROM kpi_monthly_gold)
);

CREATE OR REPLACE VIEW model_quality AS
SELECT model, measure, decile, customer_count AS customers, predicted, actual, value, state, is_chosen, cut_off, as_of
FROM model_quality_gold
WHERE as_of = (
  SELECT max(as_of)
  FROM model_quality_gold
  WHERE as_of <= (SELECT max(as_of) FROM kpi_monthly_gold)
);

-- Why customers have no predictions of purchases or of spend, or why predictions are from an earlier fit. Null: neither.
CREATE OR REPLACE VIEW prediction_notes AS
WITH fits AS (
  SELECT CASE WHEN model = 'gamma_gamma' THEN 'spend' ELSE 'purchases' END AS prediction, *
  FROM model_fits_gold
),
ranked AS (
  SELECT
    *,
    row_number() OVER (PARTITION BY prediction ORDER BY as_of DESC, fitted_at DESC, model_version DESC) AS place,
    max(CASE WHEN state = 'fitted' THEN as_of END) OVER (PARTITION BY prediction) AS last_good
  FROM fits
)
SELECT
  prediction,
  state,
  as_of,
  CASE
    WHEN state = 'fitted' THEN NULL
    WHEN last_good IS NOT NULL THEN concat(
      'The predictions of ', prediction, ' are from the fit of ', CAST(last_good AS STRING), ', because the fit of ',
      CAST(as_of AS STRING), ' failed: ', message, '.'
    )
    WHEN state = 'too_few_customers' THEN concat(
      'There are no predictions of ', prediction, ' yet: ', message, '. They appear when enough customers have bought.'
    )
    ELSE concat('There are no predictions of ', prediction, ': ', message, '. Use the segments, which need no model.')
  END AS note
FROM ranked
WHERE place = 1;
