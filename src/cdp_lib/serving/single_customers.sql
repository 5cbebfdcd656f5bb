-- Views with a row per customer, in the schema of the variable customers_schema. They are pseudonymised: no column is
-- personal data or derived from it, but person_id identifies a person to everybody who has another source with it.

CREATE OR REPLACE VIEW customers AS
SELECT
  c.person_id,
  coalesce(p.country, 'unknown') AS country,
  d.country_code,
  d.region,
  d.tenure_band,
  d.shopper_type,
  c.acquisition_date,
  c.first_purchase_date,
  c.last_purchase_date,
  c.recency_days,
  c.overdue,
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
LEFT JOIN persons_silver AS p ON c.person_id = p.person_id
LEFT JOIN customer_demographics_gold AS d ON c.person_id = d.person_id
LEFT JOIN customer_segments_gold AS s ON c.person_id = s.person_id;
