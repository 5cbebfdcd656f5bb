-- The expected tables in DuckDB, computed from the valid rows of each source. The table `<name>_received` holds the valid
-- rows of a source as text. The queries follow docs/tables.md and docs/kpis.md, not the code of the library.

-- Silver --------------------------------------------------------------------------------------------------------------

CREATE TABLE all_customers AS
SELECT customer_id::BIGINT AS customer_id, full_name, lower(email) AS email, coalesce(country, 'unknown') AS country,
       registration_date::DATE AS registration_date, household_id
FROM customers_received;

CREATE TABLE customers_silver AS
SELECT customer_id::BIGINT AS customer_id, is_active::BOOLEAN AS is_active, inactive_since::TIMESTAMPTZ AS inactive_since
FROM customers_received;

CREATE TABLE products_silver AS
SELECT product_id::BIGINT AS product_id, coalesce(product_name, 'unknown') AS product_name,
       coalesce(category, 'unknown') AS category, is_active::BOOLEAN AS is_active,
       inactive_since::TIMESTAMPTZ AS inactive_since
FROM products_received;

CREATE TABLE stores_silver AS
SELECT store_id::BIGINT AS store_id, coalesce(store_name, 'unknown') AS store_name,
       coalesce(location, 'unknown') AS location, is_active::BOOLEAN AS is_active,
       inactive_since::TIMESTAMPTZ AS inactive_since
FROM stores_received;

CREATE TABLE transactions_silver AS
SELECT transaction_id::BIGINT AS transaction_id, quantity::DECIMAL(18, 3) AS quantity, transaction_date::DATE AS transaction_date
FROM sales_received;

CREATE TABLE contacts AS
SELECT lower(contactid) AS contact_id, 'contact:' || lower(contactid) AS identity, lower(emailaddress1) AS email,
       birthdate::DATE AS birth_date, CASE gendercode WHEN '1' THEN 'male' WHEN '2' THEN 'female' END AS gender,
       address1_city AS city, address1_country AS country, cdp_householdid AS household_id, cdp_customerid::BIGINT AS customer_id,
       cdp_acquisitionchannel AS channel, cdp_acquisitiondate::DATE AS acquisition_date,
       modifiedon::TIMESTAMP AS modified_at
FROM contacts_received;

-- Current consent of each customer. The latest answer of each contact counts; of different answers, the refusal counts.
CREATE TABLE consents AS
WITH answers AS (
  SELECT lower(contactid) AS contact_id, modifiedon::TIMESTAMP AS modified_at,
         unnest(['email', 'sms', 'phone']) AS channel,
         unnest([cdp_emailconsent, cdp_smsconsent, cdp_phoneconsent]) AS answer
  FROM answers_received),
ranked AS (
  SELECT *, rank() OVER (PARTITION BY contact_id, channel ORDER BY modified_at DESC) AS place
  FROM answers WHERE contact_id IS NOT NULL AND modified_at IS NOT NULL AND answer IS NOT NULL)
SELECT c.customer_id, ranked.channel, bool_and(answer = 'true') AS agrees
FROM ranked JOIN contacts c USING (contact_id) JOIN all_customers a ON c.customer_id = a.customer_id
WHERE place = 1 GROUP BY ALL;

CREATE TABLE events AS
SELECT event_id, event_type, occurred_at::TIMESTAMPTZ::TIMESTAMP::DATE AS day, customer_id::BIGINT AS customer_id,
       lower(email) AS email, session_id, campaign,
       CASE WHEN consent = 'false' THEN NULL
            ELSE coalesce('customer:' || customer_id, 'email:' || lower(email), 'device:' || anonymous_id) END AS identity
FROM events_received;

-- Every line with what is known about it. Revenue, discount and cost are in the reporting currency.
CREATE TABLE lines AS
WITH paid AS (
  SELECT t.*, coalesce(line_amount::DECIMAL(18, 4),
                       round(quantity::DECIMAL(18, 3) * unit_price::DECIMAL(18, 4), 4) - coalesce(discount_amount::DECIMAL(18, 4), 0))
           - CASE WHEN amounts_include_tax = 'true' THEN coalesce(tax_amount::DECIMAL(18, 4), 0) ELSE 0 END AS paid,
         CASE WHEN coalesce(currency, reporting_currency) = reporting_currency THEN 1
              ELSE (SELECT rate::DECIMAL(18, 8) FROM rates_received r
                    WHERE r.currency = t.currency AND r.month = t.transaction_date[1:7]) END::DECIMAL(18, 8) AS rate
  FROM sales_received t, run_received)
SELECT t.transaction_id::BIGINT AS transaction_id, t.customer_id::BIGINT AS customer_id,
       t.product_id::BIGINT AS product_id, t.store_id::BIGINT AS store_id, t.quantity::DECIMAL(18, 3) AS quantity,
       t.transaction_date::DATE AS transaction_date, t.order_id, t.currency, t.channel,
       t.sold_at::TIMESTAMPTZ AS sold_at, t.promotion_code, p.department, p.subcategory, p.brand,
       t.customer_id IS NULL OR c.customer_id IS NOT NULL AS has_customer, p.product_id IS NOT NULL AS has_product,
       s.store_id IS NOT NULL AS has_store, rate IS NOT NULL AS has_rate,
       c.full_name, c.email, CASE WHEN t.customer_id IS NULL THEN 'unknown' ELSE c.country END AS country,
       c.registration_date, coalesce(p.product_name, 'unknown') AS product_name,
       coalesce(p.category, 'unknown') AS category, prices.price::DECIMAL(18, 4) AS price,
       coalesce(s.store_name, 'unknown') AS store_name, coalesce(s.location, 'unknown') AS location,
       CASE WHEN paid IS NULL THEN round(quantity::DECIMAL(18, 3) * prices.price::DECIMAL(18, 4), 4)
            ELSE round(paid::DECIMAL(18, 4) * rate, 4) END::DECIMAL(18, 4) AS revenue,
       round(discount_amount::DECIMAL(18, 4) * rate, 4)::DECIMAL(18, 4) AS discount,
       round(quantity::DECIMAL(18, 3) * prices.unit_cost::DECIMAL(18, 4), 4)::DECIMAL(18, 4) AS cost
FROM paid t
LEFT JOIN all_customers c ON c.customer_id = t.customer_id::BIGINT
LEFT JOIN products_received p USING (product_id)
LEFT JOIN stores_received s USING (store_id)
LEFT JOIN prices_received prices ON prices.product_id = t.product_id
 AND t.transaction_date >= coalesce(prices.valid_from, '') AND t.transaction_date < coalesce(prices.valid_to, '9');

CREATE TABLE retails_silver AS
SELECT * EXCLUDE (has_customer, has_product, has_store, has_rate),
       date_trunc('month', transaction_date)::DATE AS sale_month,
       CASE WHEN transaction_date < registration_date
            THEN ['sale_is_not_before_registration'] ELSE []::VARCHAR[] END AS _warnings
FROM lines WHERE has_customer AND has_product AND has_store AND has_rate;

CREATE TABLE retails_silver_quarantine AS
SELECT transaction_id::VARCHAR AS record_key,
       list_sort(list_filter([
         CASE WHEN NOT has_customer THEN 'customer_is_known' END, CASE WHEN NOT has_product THEN 'product_is_known' END,
         CASE WHEN NOT has_store THEN 'store_is_known' END, CASE WHEN NOT has_rate THEN 'exchange_rate_is_known' END],
         lambda rule: rule IS NOT NULL)) AS broken_rules
FROM lines WHERE NOT (has_customer AND has_product AND has_store AND has_rate);

CREATE TABLE purchases_silver AS
SELECT customer_id, transaction_date AS purchase_date, count_if(quantity > 0) AS transaction_count,
       sum(revenue)::DECIMAL(38, 4) AS revenue, date_trunc('month', transaction_date)::DATE AS sale_month
FROM retails_silver WHERE customer_id IS NOT NULL GROUP BY ALL;

CREATE TABLE customer_acquisitions_silver AS
SELECT customer_id, registration_date, first_purchase_date, least(registration_date, first_purchase_date)
         AS acquisition_date
FROM all_customers
LEFT JOIN (SELECT customer_id, min(transaction_date) AS first_purchase_date FROM retails_silver
           WHERE quantity > 0 GROUP BY ALL)
  USING (customer_id);

-- Identity resolution is off: each customer is a person, and a contact belongs to the customer whose number it names.
CREATE TABLE person_links_silver AS
SELECT 'customer:' || customer_id AS record_key, 'customers' AS source, customer_id, customer_id AS person_id
FROM all_customers
UNION ALL
SELECT identity, 'crm_contacts', NULL, customer_id FROM contacts SEMI JOIN all_customers USING (customer_id);

CREATE TABLE links AS SELECT record_key AS identity, person_id AS customer_id FROM person_links_silver;

-- Data up to `as_of`: the day of the run, or the latest business date in the data --------------------------------------

CREATE TABLE today AS
SELECT coalesce((SELECT as_of::DATE FROM run_received),
                least(greatest((SELECT max(transaction_date) FROM retails_silver),
                               (SELECT max(registration_date) FROM all_customers),
                               (SELECT max(day) FROM events)), (SELECT last_day::DATE FROM run_received))) AS as_of,
       (SELECT gross_margin::DECIMAL(9, 6) FROM run_received) AS gross_margin;

CREATE TABLE sales AS
SELECT *, revenue::DECIMAL(38, 4) AS amount
FROM retails_silver WHERE transaction_date <= (SELECT as_of FROM today);

CREATE TABLE customers AS
SELECT * FROM all_customers WHERE registration_date <= (SELECT as_of FROM today);

-- MARTS

-- Customers -----------------------------------------------------------------------------------------------------------

CREATE MACRO summaries_at(until) AS TABLE
WITH days AS (
  SELECT customer_id, transaction_date AS day, sum(revenue) AS revenue, count_if(quantity > 0) AS sales
  FROM retails_silver WHERE transaction_date <= until AND customer_id IS NOT NULL GROUP BY ALL),
bought AS (
  SELECT customer_id, min(day) FILTER (sales > 0) AS first_purchase_date,
         max(day) FILTER (sales > 0) AS last_purchase_date,
         sum(sales)::BIGINT AS transaction_count, nullif(count_if(sales > 0), 0) AS purchase_day_count,
         sum(revenue)::DECIMAL(38, 4) AS total_revenue, arg_min(revenue, day) FILTER (sales > 0) AS first_revenue
  FROM days GROUP BY customer_id)
SELECT customer_id, least(CASE WHEN registration_date <= until THEN registration_date END, first_purchase_date)
         AS acquisition_date,
       first_purchase_date, last_purchase_date, coalesce(transaction_count, 0) AS transaction_count,
       coalesce(purchase_day_count, 0) AS purchase_day_count, purchase_day_count - 1 AS frequency,
       (until - last_purchase_date)::INT AS recency_days, coalesce(total_revenue, 0)::DECIMAL(38, 4) AS total_revenue,
       total_revenue::DOUBLE / purchase_day_count AS monetary_value,
       CASE WHEN purchase_day_count > 1
            THEN (total_revenue - first_revenue)::DOUBLE / (purchase_day_count - 1) END AS repeat_monetary_value
FROM all_customers LEFT JOIN bought USING (customer_id)
WHERE registration_date <= until OR first_purchase_date IS NOT NULL
   -- A customer without a registration and a purchase counts, although the day of acquisition is unknown.
   OR customer_id IN (SELECT customer_id FROM customer_acquisitions_silver WHERE acquisition_date IS NULL);

-- The buyers are sorted by value and divided into fifths. The score of a value is the number of the fifth, 1 to 5, that
-- the middle buyer with this value is in. With fewer than 5 buyers, every score is 3.
CREATE MACRO score(below, equal, buyers) AS
CASE WHEN buyers < 5 THEN 3 ELSE 1 + ((2 * below + equal) * 5) // (2 * buyers) END::INT;

CREATE MACRO leading_digits(cents) AS
(left(cents::VARCHAR, 3) || repeat('0', greatest(length(cents::VARCHAR) - 3, 0)))::DOUBLE;

CREATE MACRO scored_at(until) AS TABLE
WITH of_buyers AS (
  SELECT customer_id, -recency_days AS r, purchase_day_count AS f, sign(total_revenue) * leading_digits(round(abs(total_revenue) * 100)::BIGINT) AS m
  FROM summaries_at(until) WHERE recency_days IS NOT NULL),
scores AS (
  SELECT customer_id,
         score((SELECT count(*) FROM of_buyers o WHERE o.r < b.r), (SELECT count(*) FROM of_buyers o WHERE o.r = b.r),
               (SELECT count(*) FROM of_buyers)) AS recency_score,
         score((SELECT count(*) FROM of_buyers o WHERE o.f < b.f), (SELECT count(*) FROM of_buyers o WHERE o.f = b.f),
               (SELECT count(*) FROM of_buyers)) AS frequency_score,
         score((SELECT count(*) FROM of_buyers o WHERE o.m < b.m), (SELECT count(*) FROM of_buyers o WHERE o.m = b.m),
               (SELECT count(*) FROM of_buyers)) AS monetary_score
  FROM of_buyers b),
shop AS (
  SELECT coalesce(quantile_disc(greatest((last_purchase_date - first_purchase_date) // frequency, 1), 0.5), 90) AS interval_days
  FROM summaries_at(until) WHERE frequency > 0),
rhythm AS (
  SELECT customer_id, ((last_purchase_date - first_purchase_date) + 2 * interval_days) / (frequency + 2)
           AS purchase_interval_days
  FROM summaries_at(until), shop WHERE recency_days IS NOT NULL)
SELECT *, recency_days / purchase_interval_days AS overdue, CASE
  WHEN recency_days IS NULL THEN 'Never bought'
  WHEN recency_days >= 4 * purchase_interval_days AND recency_days >= 90 THEN 'Lost'
  WHEN frequency = 0 AND recency_days <= 2 * purchase_interval_days THEN 'New'
  WHEN frequency = 0 THEN 'Hibernating'
  WHEN recency_days <= 2 * purchase_interval_days AND frequency >= 2 AND monetary_score >= 4
       AND purchase_interval_days <= 36 THEN 'Champions'
  WHEN recency_days <= 2 * purchase_interval_days AND frequency >= 2 THEN 'Loyal'
  WHEN recency_days <= 2 * purchase_interval_days THEN 'Promising'
  WHEN monetary_score >= 4 THEN 'Cannot lose'
  ELSE 'At risk' END AS segment
FROM summaries_at(until) LEFT JOIN scores USING (customer_id) LEFT JOIN rhythm USING (customer_id);

CREATE TABLE customer_value_gold AS
SELECT s.*, as_of, (as_of - acquisition_date)::INT AS tenure_days,
       (total_revenue * gross_margin)::DECIMAL(38, 4) AS historic_clv
FROM today, scored_at((SELECT as_of FROM today)) s;

CREATE TABLE customer_segments_gold AS
SELECT v.customer_id, v.as_of, v.recency_score, v.frequency_score, v.monetary_score,
       v.purchase_interval_days, v.overdue, v.segment,
       (v.as_of - INTERVAL 1 MONTH)::DATE AS previous_as_of, before.segment AS previous_segment
FROM customer_value_gold v
LEFT JOIN scored_at((SELECT (as_of - INTERVAL 1 MONTH)::DATE FROM today)) before USING (customer_id);

CREATE TABLE segment_movements_gold AS
SELECT previous_as_of, as_of, coalesce(previous_segment, 'Not a customer yet') AS from_segment, segment AS to_segment,
       count(*) AS customer_count
FROM customer_segments_gold GROUP BY ALL;

CREATE TABLE countries AS
SELECT regexp_replace(lower(name), '[.,''’()]', '', 'g') AS key, country_code, country, region, population::BIGINT AS population,
       income_group, currency
FROM (SELECT *, unnest([country_code, alpha3, country] || string_split(coalesce(aliases, ''), ';')) AS name
      FROM read_csv('countries.csv', all_varchar = true, header = true, nullstr = '\N'))
WHERE name <> '';

CREATE MACRO code_of(name) AS
(SELECT country_code FROM countries WHERE key = regexp_replace(lower(name), '[.,''’()]', '', 'g'));

-- One row per customer. The day of birth and the gender come from one contact, as do the city and the country. A contact
-- without any of these values does not count. For each attribute: whether the contacts have different values (for the
-- country, the list of these values).
CREATE TABLE opinions AS
WITH said AS (
  SELECT l.customer_id, c.modified_at, c.contact_id, birth_date, gender, city, country,
         code_of(c.country) AS code, household_id
  FROM contacts c JOIN links l USING (identity)),
ranked AS (
  SELECT *, row_number() OVER (PARTITION BY customer_id ORDER BY modified_at DESC NULLS LAST, contact_id) AS n
  FROM said),
chosen AS (
  SELECT customer_id,
         first({birth_date: birth_date, gender: gender} ORDER BY n)
           FILTER (birth_date IS NOT NULL OR gender IS NOT NULL) AS birth,
         first({city: city, code: code} ORDER BY n) FILTER (city IS NOT NULL OR country IS NOT NULL) AS address,
         first(household_id ORDER BY n) FILTER (household_id IS NOT NULL) AS crm_household_id,
         count(DISTINCT birth_date) > 1 AS birth_date_differs,
         count(DISTINCT gender) > 1 AS gender_differs,
         count(DISTINCT lower(city)) > 1 AS city_differs,
         list(DISTINCT code) FILTER (code IS NOT NULL) AS countries
  FROM ranked GROUP BY customer_id)
SELECT chosen.* EXCLUDE (birth, address),
       CASE WHEN birth.birth_date <= as_of AND birth.birth_date + INTERVAL 121 YEAR > as_of THEN birth.birth_date END
         AS birth_date,
       birth.gender AS gender, address.city AS city, address.code AS country
FROM chosen, today;

CREATE MACRO source_of(value) AS CASE WHEN value IS NOT NULL THEN 'crm_by_id' END;

CREATE MACRO confidence_of(value, differs) AS CASE WHEN value IS NULL THEN NULL WHEN differs THEN 'low' ELSE 'high' END;

CREATE TABLE shopping AS
SELECT customer_id, list(DISTINCT code_of(location)) FILTER (code_of(location) IS NOT NULL) AS codes,
       bool_or(code_of(location) IS NULL) AS is_one_unknown
FROM sales WHERE quantity > 0 GROUP BY customer_id;

CREATE TABLE customer_demographics_gold AS
WITH joined AS (
  SELECT v.customer_id, as_of, tenure_days, nullif(c.country, 'unknown') AS api_country, code_of(c.country) AS api_code,
         o.* EXCLUDE (customer_id), coalesce(code_of(c.country), o.country) AS country_code,
         date_diff('year', birth_date, as_of)
           - (strftime(birth_date, '%m%d') > strftime(as_of, '%m%d'))::INT AS age,
         coalesce(s.codes, []) AS codes, s.is_one_unknown, coalesce(c.household_id, crm_household_id) AS household_id
  FROM customer_value_gold v JOIN all_customers c USING (customer_id)
  LEFT JOIN opinions o USING (customer_id) LEFT JOIN shopping s USING (customer_id))
SELECT customer_id, as_of,
       CASE WHEN age < 18 THEN 'under 18' WHEN age < 25 THEN '18-24' WHEN age < 35 THEN '25-34' WHEN age < 45 THEN '35-44'
            WHEN age < 55 THEN '45-54' WHEN age < 65 THEN '55-64' WHEN age >= 65 THEN '65+' END AS age_band,
       CASE WHEN year(birth_date) <= 1927 THEN 'Greatest' WHEN year(birth_date) <= 1945 THEN 'Silent'
            WHEN year(birth_date) <= 1964 THEN 'Boomer' WHEN year(birth_date) <= 1980 THEN 'X'
            WHEN year(birth_date) <= 1996 THEN 'Millennial' WHEN year(birth_date) <= 2012 THEN 'Z'
            WHEN year(birth_date) > 2012 THEN 'Alpha' END AS generation,
       source_of(birth_date) AS birth_date_source,
       confidence_of(birth_date, birth_date_differs) AS birth_date_confidence,
       gender, source_of(gender) AS gender_source,
       confidence_of(gender, gender_differs) AS gender_confidence,
       city, source_of(city) AS city_source, confidence_of(city, city_differs) AS city_confidence,
       country_code, coalesce(f.country, api_country) AS country,
       CASE WHEN api_code IS NULL AND j.country IS NOT NULL THEN source_of(j.country)
            WHEN api_country IS NOT NULL THEN 'customers_api' END AS country_source,
       CASE WHEN api_code IS NULL AND j.country IS NOT NULL
            THEN confidence_of(j.country, len(countries) > 1)
            WHEN len(list_filter(countries, lambda each: each <> api_code)) > 0 THEN 'low'
            WHEN api_country IS NOT NULL THEN 'high' END AS country_confidence,
       f.region,
       CASE WHEN tenure_days < 30 THEN 'under 30 days' WHEN tenure_days < 90 THEN '30-89 days'
            WHEN tenure_days < 365 THEN '90-364 days' WHEN tenure_days <= 730 THEN '1-2 years'
            WHEN tenure_days > 730 THEN 'over 2 years' END AS tenure_band,
       CASE WHEN country_code IS NULL THEN NULL
            WHEN list_contains(codes, country_code) AND len(codes) > 1 THEN 'both'
            WHEN is_one_unknown THEN NULL
            WHEN list_contains(codes, country_code) THEN 'home'
            WHEN len(codes) > 0 THEN 'foreign' END AS shopper_type,
       f.population AS market_population, f.income_group AS market_income_group, f.currency AS market_currency,
       household_id
FROM joined j
LEFT JOIN (SELECT DISTINCT country_code, country, region, population, income_group, currency FROM countries) f
  USING (country_code);

-- Activity -----------------------------------------------------------------------------------------------------------

CREATE TABLE activities AS
SELECT day, e.session_id, l.customer_id, e.identity AS person,
       CASE event_type WHEN 'product_view' THEN 2 WHEN 'email_click' THEN 3 WHEN 'add_to_cart' THEN 3
                       WHEN 'checkout' THEN 5 ELSE 1 END AS points
FROM events e LEFT JOIN links l USING (identity)
WHERE e.identity IS NOT NULL AND day <= (SELECT as_of FROM today)
  AND event_type NOT IN ('email_sent', 'email_delivered', 'email_bounced', 'unsubscribe');

CREATE TABLE cohort_retention_gold AS
WITH members AS (
  SELECT customer_id, 'acquisition' AS cohort_type, acquisition_date AS day_0 FROM customer_value_gold
  WHERE acquisition_date IS NOT NULL
  UNION ALL
  SELECT customer_id, 'first_purchase', first_purchase_date FROM customer_value_gold
  WHERE first_purchase_date IS NOT NULL),
cohorts AS (
  SELECT cohort_type, date_trunc('month', day_0)::DATE AS cohort_month, count(*) AS cohort_size
  FROM members GROUP BY ALL),
windows AS (
  SELECT unnest(['n_day', 'unbounded']) AS retention_type, day::INT AS window_start, day::INT AS window_end
  FROM unnest([1, 7, 30, 60, 90, 180, 365]) t(day)
  UNION ALL
  SELECT 'bracket', w[1], w[2]
  FROM unnest([[1, 7], [8, 30], [31, 60], [61, 90], [91, 180], [181, 365]]) t(w)
  UNION ALL
  SELECT unnest(['purchase', 'revenue']), m::INT, m::INT FROM range(25) t(m)),
active_days AS (
  SELECT customer_id, day FROM activities WHERE customer_id IS NOT NULL
  UNION SELECT customer_id, transaction_date FROM sales WHERE quantity > 0),
ages AS (
  SELECT DISTINCT customer_id, cohort_type, date_trunc('month', day_0)::DATE AS cohort_month, day - day_0 AS age
  FROM members JOIN active_days USING (customer_id)),
months AS (
  SELECT cohort_type, date_trunc('month', day_0)::DATE AS cohort_month,
         date_diff('month', day_0, transaction_date) AS age, count(DISTINCT customer_id) FILTER (quantity > 0) AS buyers,
         sum(amount) AS revenue
  FROM members JOIN sales USING (customer_id) GROUP BY ALL),
counted AS (
  SELECT cohort_type, cohort_month, cohort_size, retention_type, window_start, window_end,
         CASE retention_type
           WHEN 'purchase' THEN (SELECT coalesce(sum(buyers), 0) FROM months m
             WHERE m.cohort_type = c.cohort_type AND m.cohort_month = c.cohort_month AND m.age = window_start)
           WHEN 'revenue' THEN (SELECT coalesce(sum(revenue), 0) FROM months m
             WHERE m.cohort_type = c.cohort_type AND m.cohort_month = c.cohort_month AND m.age = window_start)
           ELSE (SELECT count(DISTINCT customer_id) FROM ages a
             WHERE a.cohort_type = c.cohort_type AND a.cohort_month = c.cohort_month AND a.age >= window_start
               AND (a.age <= window_end OR retention_type = 'unbounded'))
         END::DECIMAL(38, 4) AS numerator,
         CASE WHEN retention_type = 'revenue' THEN (SELECT coalesce(sum(revenue), 0) FROM months m
             WHERE m.cohort_type = c.cohort_type AND m.cohort_month = c.cohort_month AND m.age = 0)
           ELSE cohort_size END::DECIMAL(38, 4) AS denominator,
         CASE WHEN retention_type IN ('purchase', 'revenue') THEN cohort_month + to_months(window_start)
              ELSE cohort_month + window_start END::DATE AS begins_at,
         CASE WHEN retention_type IN ('purchase', 'revenue') THEN last_day((cohort_month + to_months(window_end))::DATE)
              ELSE last_day(cohort_month) + window_end END::DATE AS over_at
  FROM cohorts c, windows)
SELECT as_of, cohort_type, cohort_month, retention_type, window_start::INT AS window_start,
       CASE WHEN retention_type <> 'unbounded' THEN window_end END::INT AS window_end, cohort_size,
       CASE WHEN over_at <= as_of THEN numerator END AS numerator, denominator,
       CASE WHEN over_at <= as_of THEN numerator::DOUBLE / nullif(denominator::DOUBLE, 0) END AS retention
FROM counted, today WHERE begins_at <= as_of;

-- KPIs ----------------------------------------------------------------------------------------------------------------

-- Each customer has one value of each dimension.
CREATE TABLE places AS
WITH channels AS (
  SELECT l.customer_id, first(channel ORDER BY acquisition_date NULLS LAST, modified_at DESC NULLS LAST, identity) AS channel
  FROM contacts c JOIN links l USING (identity)
  WHERE channel IS NOT NULL GROUP BY ALL)
SELECT v.customer_id, p.dimension, p.value AS dimension_value
FROM customer_value_gold v JOIN all_customers c USING (customer_id) LEFT JOIN channels h USING (customer_id),
     unnest([{dimension: 'all', value: 'all'}, {dimension: 'country', value: c.country},
             {dimension: 'channel', value: coalesce(h.channel, 'unknown')},
             {dimension: 'segment', value: v.segment}]) t(p);

CREATE TABLE money_spent AS
SELECT s.month, channel, s.amount::DECIMAL(18, 2)
         * (SELECT rate::DECIMAL(18, 8) FROM rates_received r
            WHERE r.currency = s.currency AND r.month <= s.month ORDER BY r.month DESC LIMIT 1) AS money
FROM (SELECT *, (month || '-01')::DATE AS day FROM spend_received) s WHERE day <= (SELECT as_of FROM today);

CREATE TABLE kinds AS
SELECT * FROM (VALUES ('month', INTERVAL 1 MONTH), ('week', INTERVAL 7 DAY)) v(kind, step);

CREATE TABLE periods AS
WITH firsts AS (
  SELECT min(transaction_date) AS day FROM sales
  UNION ALL SELECT min(acquisition_date) FROM customer_value_gold
  UNION ALL SELECT min(day) FROM events
  UNION ALL SELECT min((month || '-01')::DATE) FROM spend_received),
first AS (SELECT min(day) AS day FROM firsts WHERE day <= (SELECT as_of FROM today)),
starts AS (
  SELECT kind, step, as_of, unnest(generate_series(date_trunc(kind, coalesce(first.day, as_of)), date_trunc(kind, as_of),
                                                   step))::DATE AS start
  FROM first, today, kinds)
SELECT kind, start, (start - step)::DATE AS start_before, least((start + step)::DATE - 1, as_of) AS last_day,
       (start + step)::DATE - 1 <= as_of AS is_over, start = date_trunc(kind, as_of) AS is_latest
FROM starts;

-- The part of each day in the spend of its month, in millionths: what is spent up to the day, less what is up to the day before.
CREATE TABLE money_of_days AS
WITH days AS (
  SELECT s.channel, money, (money * 1000000)::HUGEINT AS millionths, last_day((month || '-01')::DATE) AS month_end,
         unnest(generate_series((month || '-01')::DATE, last_day((month || '-01')::DATE), INTERVAL 1 DAY))::DATE AS day
  FROM money_spent s)
SELECT channel, day, money IS NULL AS lacks_rate,
       (millionths * day(day) // day(month_end) - millionths * (day(day) - 1) // day(month_end))::DECIMAL(30, 0)
         / 1000000 AS money
FROM days;

-- Activity of each customer in each period. A period with returns only has revenue, but the customer is not active.
CREATE TABLE customer_periods AS
SELECT v.customer_id, kind, start,
       (SELECT sum(amount) FROM sales s WHERE s.customer_id = v.customer_id
          AND s.transaction_date BETWEEN start AND last_day) AS revenue,
       (SELECT count_if(quantity > 0) FROM sales s WHERE s.customer_id = v.customer_id
          AND s.transaction_date BETWEEN start AND last_day) AS transactions,
       (SELECT sum(amount) FROM sales s WHERE s.customer_id = v.customer_id
          AND s.transaction_date >= start_before AND s.transaction_date < start) AS revenue_before,
       EXISTS (FROM sales s WHERE s.customer_id = v.customer_id AND quantity > 0
          AND s.transaction_date >= start_before AND s.transaction_date < start) AS was_active,
       (SELECT coalesce(sum(amount), 0) FROM sales s WHERE s.customer_id = v.customer_id
          AND s.transaction_date <= last_day) AS revenue_to_date,
       (SELECT count(DISTINCT transaction_date) > 1 FROM sales s WHERE s.customer_id = v.customer_id AND quantity > 0
          AND s.transaction_date <= last_day) AS is_repeat_buyer,
       EXISTS (FROM activities a WHERE a.customer_id = v.customer_id AND a.day BETWEEN start AND last_day)
         AS has_activity,
       coalesce(v.first_purchase_date BETWEEN start AND last_day, false) AS is_first,
       v.acquisition_date BETWEEN start AND last_day AS is_new,
       v.acquisition_date <= last_day AS is_customer, coalesce(v.first_purchase_date <= last_day, false) AS is_buyer
FROM customer_value_gold v CROSS JOIN periods;

CREATE TABLE mailings AS
SELECT kind, date_trunc(kind, day)::DATE AS start, coalesce(email, identity) AS address, coalesce(campaign, '') AS campaign,
       bool_or(event_type = 'email_sent') AS is_sent,
       bool_or(event_type IN ('email_open', 'email_click')) AS is_opened,
       bool_or(event_type = 'email_click') AS is_clicked
FROM events, kinds
WHERE day <= (SELECT as_of FROM today)
  AND (event_type = 'email_sent' OR event_type IN ('email_open', 'email_click') AND identity IS NOT NULL)
GROUP BY ALL HAVING is_sent;

-- Every line, by each dimension that a line has. The country, channel and segment of an anonymous line are unknown.
CREATE TABLE of_lines AS
SELECT p.dimension, p.value AS dimension_value, kind, date_trunc(kind, transaction_date)::DATE AS start,
       sum(amount) FILTER (customer_id IS NULL) AS anonymous_revenue,
       count_if(customer_id IS NULL AND quantity > 0) AS anonymous_transactions,
       count(DISTINCT (order_id, country)) FILTER (order_id IS NOT NULL AND quantity > 0) AS orders,
       sum(amount) FILTER (order_id IS NOT NULL) AS order_revenue,
       sum(quantity) FILTER (order_id IS NOT NULL AND quantity > 0) AS order_items,
       sum(amount) FILTER (quantity > 0) AS sold_revenue, -sum(amount) FILTER (quantity < 0) AS returned_revenue,
       sum(discount) AS discount, sum(amount + discount) AS list_revenue, sum(cost) AS cost,
       sum(amount) FILTER (cost IS NOT NULL) AS costed_revenue
FROM sales, kinds, unnest([{dimension: 'all', value: 'all'}, {dimension: 'country', value: country},
                    {dimension: 'category', value: category}]) t(p)
GROUP BY ALL;

CREATE TABLE grid AS
SELECT * FROM (
  -- A customer with neither a day of acquisition nor an activity has no figure in any month.
  SELECT dimension, dimension_value FROM places JOIN customer_value_gold USING (customer_id)
  WHERE acquisition_date IS NOT NULL OR customer_id IN (SELECT customer_id FROM activities)
  UNION SELECT 'all', 'all' WHERE EXISTS (FROM money_spent) OR EXISTS (FROM activities) OR EXISTS (FROM mailings)
  UNION SELECT 'channel', channel FROM money_spent
  UNION SELECT 'category', category FROM sales
  UNION SELECT dimension, dimension_value FROM of_lines WHERE dimension IN ('all', 'country')
  UNION SELECT unnest(['channel', 'segment']), 'unknown' WHERE EXISTS (FROM sales WHERE customer_id IS NULL)
  UNION SELECT 'consent_channel', unnest(['email', 'sms', 'phone']) WHERE EXISTS (FROM all_customers))
CROSS JOIN periods;

CREATE TABLE of_customers AS
SELECT dimension, dimension_value, kind, start, sum(revenue) AS customer_revenue, sum(transactions) AS transactions,
       count_if(transactions > 0) AS active_customers, count_if(is_first) AS first_time_buyers,
       count_if(transactions > 0 AND was_active) AS returning_customers,
       count_if(transactions > 0 AND NOT was_active AND NOT is_first) AS reactivated_customers,
       count_if(was_active) AS active_before, sum(greatest(0, revenue_before)) AS revenue_before,
       sum(greatest(0, greatest(0, revenue_before) - greatest(0, coalesce(revenue, 0)))) AS revenue_lost,
       count_if(transactions > 0 OR has_activity) AS active_users, count_if(is_new) AS new_customers,
       count_if(is_customer) AS customers_to_date, count_if(is_buyer) AS buyers_to_date,
       count_if(is_repeat_buyer) AS repeat_buyers_to_date, sum(revenue_to_date) AS revenue_to_date,
       count_if(is_new AND customer_id IN (SELECT customer_id FROM places
                                           WHERE dimension = 'channel' AND dimension_value LIKE 'paid\_%' ESCAPE '\'))
         AS paid_new_customers,
       count(p.predictive_clv) AS predicted_customers, sum(p.predictive_clv::DOUBLE) AS predicted_clv
FROM places JOIN customer_periods USING (customer_id)
LEFT JOIN (SELECT person_id::BIGINT AS customer_id, predictive_clv FROM predictions_received) p USING (customer_id)
GROUP BY ALL;

CREATE TABLE of_categories AS
SELECT 'category' AS dimension, category AS dimension_value, kind, date_trunc(kind, transaction_date)::DATE AS start,
       sum(amount) AS revenue, count_if(quantity > 0) AS transactions,
       count(DISTINCT customer_id) FILTER (quantity > 0) AS active_customers
FROM sales, kinds GROUP BY ALL;

-- A week has the days up to as_of; a month has all its days, even if it is not over.
CREATE TABLE of_spend AS
SELECT g.dimension, g.dimension_value, kind, start,
       NOT EXISTS (FROM range(start::TIMESTAMP, last_day::TIMESTAMP + INTERVAL 1 DAY, INTERVAL 1 DAY) d(day)
                   WHERE d.day::DATE NOT IN (SELECT day FROM money_of_days)) AS has_spend,
       coalesce(bool_or(lacks_rate), false) AS is_unknown, coalesce(sum(money), 0) AS spend,
       coalesce(sum(money) FILTER (channel LIKE 'paid\_%' ESCAPE '\'), 0) AS paid_spend
FROM grid g LEFT JOIN money_of_days s
  ON s.day >= start AND s.day <= CASE kind WHEN 'week' THEN last_day ELSE last_day(start) END
  AND (g.dimension = 'all' OR g.dimension_value = channel)
WHERE g.dimension IN ('all', 'channel')
GROUP BY ALL;

CREATE TABLE of_spend_so_far AS
SELECT o.*, NOT is_unknown AND has_spend AND dimension_value <> 'unknown' AS is_known,
       bool_or(is_unknown) OVER so_far OR dimension_value = 'unknown' AS was_unknown, sum(spend) OVER so_far AS spend_to_date,
       sum(CASE WHEN has_spend THEN new_customers ELSE 0 END) OVER so_far AS new_customers_with_spend
FROM of_spend o LEFT JOIN of_customers USING (dimension, dimension_value, kind, start)
WINDOW so_far AS (PARTITION BY dimension, dimension_value, kind ORDER BY start);

CREATE TABLE of_engagement AS
SELECT 'all' AS dimension, kind, start,
       (SELECT count(DISTINCT (person, day)) FROM activities a WHERE last_day - a.day BETWEEN 0 AND 29) AS person_days,
       (SELECT count(DISTINCT person) FROM activities a WHERE last_day - a.day BETWEEN 0 AND 6) AS week_people,
       (SELECT count(DISTINCT person) FROM activities a WHERE last_day - a.day BETWEEN 0 AND 29) AS month_people,
       (SELECT count(DISTINCT session_id) FROM activities a WHERE a.day BETWEEN start AND last_day) AS sessions,
       (SELECT count(DISTINCT person) FILTER (session_id IS NOT NULL) FROM activities a
        WHERE a.day BETWEEN start AND last_day) AS session_people,
       (SELECT count(DISTINCT person) FROM activities a WHERE a.day BETWEEN start AND last_day) AS people,
       (SELECT sum(points) FROM activities a WHERE a.day BETWEEN start AND last_day) AS points,
       (SELECT count(*) FROM mailings x WHERE x.kind = m.kind AND x.start = m.start) AS mailings_sent,
       (SELECT count_if(is_opened) FROM mailings x WHERE x.kind = m.kind AND x.start = m.start) AS mailings_opened,
       (SELECT count_if(is_clicked) FROM mailings x WHERE x.kind = m.kind AND x.start = m.start) AS mailings_clicked
FROM periods m;

-- First period in which a source has data of a kind. Before, nobody knows whether nothing happened.
CREATE TABLE known_since AS
SELECT kind, min(start) FILTER (people > 0) AS activities, min(start) FILTER (sessions > 0) AS sessions,
       min(start) FILTER (mailings_sent > 0) AS sent, min(start) FILTER (mailings_opened > 0) AS opened,
       min(start) FILTER (mailings_clicked > 0) AS clicked
FROM of_engagement GROUP BY ALL;

CREATE TABLE lines_known_since AS
SELECT kind, min(start) FILTER (orders > 0 OR order_revenue <> 0) AS orders,
       min(start) FILTER (returned_revenue <> 0) AS returns,
       min(start) FILTER (list_revenue <> 0 OR discount <> 0) AS discounts,
       min(start) FILTER (costed_revenue <> 0 OR cost <> 0) AS costs
FROM of_lines WHERE dimension = 'all' GROUP BY ALL;

CREATE TABLE measures AS
SELECT g.dimension, g.dimension_value, kind, start, is_over, is_latest, as_of, gross_margin::DOUBLE AS gross_margin,
       coalesce(k.revenue, coalesce(customer_revenue, 0) + coalesce(a.anonymous_revenue, 0))::DOUBLE AS revenue,
       coalesce(k.transactions, coalesce(c.transactions, 0) + coalesce(a.anonymous_transactions, 0))::DOUBLE
         AS transactions,
       coalesce(customer_revenue, 0)::DOUBLE AS customer_revenue,
       coalesce(a.anonymous_revenue, 0)::DOUBLE AS anonymous_revenue,
       CASE WHEN start >= y.orders THEN coalesce(o.orders, 0) END::DOUBLE AS orders,
       CASE WHEN start >= y.orders THEN coalesce(o.order_revenue, 0) END::DOUBLE AS order_revenue,
       CASE WHEN start >= y.orders THEN coalesce(o.order_items, 0) END::DOUBLE AS order_items,
       coalesce(o.sold_revenue, 0)::DOUBLE AS sold_revenue,
       CASE WHEN start >= y.returns THEN coalesce(o.returned_revenue, 0) END::DOUBLE AS returned_revenue,
       CASE WHEN start >= y.discounts THEN coalesce(o.discount, 0) END::DOUBLE AS discount,
       CASE WHEN start >= y.discounts THEN coalesce(o.list_revenue, 0) END::DOUBLE AS list_revenue,
       CASE WHEN start >= y.costs THEN coalesce(o.cost, 0) END::DOUBLE AS cost,
       CASE WHEN start >= y.costs THEN coalesce(o.costed_revenue, 0) END::DOUBLE AS costed_revenue,
       coalesce(c.active_customers, k.active_customers, 0)::DOUBLE AS active_customers,
       coalesce(first_time_buyers, 0)::DOUBLE AS first_time_buyers,
       coalesce(returning_customers, 0)::DOUBLE AS returning_customers,
       coalesce(reactivated_customers, 0)::DOUBLE AS reactivated_customers,
       coalesce(active_before, 0)::DOUBLE AS active_before, coalesce(revenue_before, 0)::DOUBLE AS revenue_before,
       coalesce(revenue_lost, 0)::DOUBLE AS revenue_lost, coalesce(active_users, 0)::DOUBLE AS active_users,
       coalesce(new_customers, 0)::DOUBLE AS new_customers, coalesce(customers_to_date, 0)::DOUBLE AS customers_to_date,
       coalesce(buyers_to_date, 0)::DOUBLE AS buyers_to_date,
       coalesce(repeat_buyers_to_date, 0)::DOUBLE AS repeat_buyers_to_date,
       coalesce(revenue_to_date, 0)::DOUBLE AS revenue_to_date,
       coalesce(predicted_customers, 0)::DOUBLE AS predicted_customers, predicted_clv,
       coalesce(paid_new_customers, 0)::DOUBLE AS paid_new_customers,
       CASE WHEN is_known THEN spend END::DOUBLE AS spend, CASE WHEN is_known THEN paid_spend END::DOUBLE AS paid_spend,
       CASE WHEN NOT was_unknown THEN spend_to_date END::DOUBLE AS spend_to_date,
       coalesce(new_customers_with_spend, 0)::DOUBLE AS new_customers_with_spend,
       CASE WHEN start >= x.activities THEN person_days END::DOUBLE AS person_days,
       CASE WHEN start >= x.activities THEN week_people END::DOUBLE AS week_people,
       CASE WHEN start >= x.activities THEN month_people END::DOUBLE AS month_people,
       CASE WHEN start >= x.sessions THEN e.sessions END::DOUBLE AS sessions,
       CASE WHEN start >= x.sessions THEN session_people END::DOUBLE AS session_people,
       CASE WHEN start >= x.activities THEN people END::DOUBLE AS people,
       CASE WHEN start >= x.activities THEN coalesce(points, 0) END::DOUBLE AS points,
       CASE WHEN start >= x.sent THEN mailings_sent END::DOUBLE AS mailings_sent,
       CASE WHEN start >= x.opened THEN mailings_opened END::DOUBLE AS mailings_opened,
       CASE WHEN start >= x.clicked THEN mailings_clicked END::DOUBLE AS mailings_clicked,
       CASE WHEN EXISTS (FROM consents n WHERE n.channel = g.dimension_value)
            THEN (SELECT count(*) FROM all_customers) END::DOUBLE AS known_persons,
       CASE WHEN EXISTS (FROM consents n WHERE n.channel = g.dimension_value)
            THEN (SELECT count_if(agrees) FROM consents n WHERE n.channel = g.dimension_value) END::DOUBLE AS agreeing_persons
FROM today, grid g
LEFT JOIN of_customers c USING (dimension, dimension_value, kind, start)
LEFT JOIN of_categories k USING (dimension, dimension_value, kind, start)
LEFT JOIN of_spend_so_far s USING (dimension, dimension_value, kind, start)
LEFT JOIN of_engagement e USING (dimension, kind, start)
LEFT JOIN of_lines o USING (dimension, dimension_value, kind, start)
LEFT JOIN known_since x USING (kind)
LEFT JOIN lines_known_since y USING (kind)
LEFT JOIN of_lines a
  ON a.dimension = 'all' AND a.kind = g.kind AND a.start = g.start
  AND (g.dimension = 'all' OR g.dimension IN ('country', 'channel', 'segment') AND g.dimension_value = 'unknown');

CREATE MACRO kpi(of, places, part, whole) AS
{name: of, places: places, numerator: part::DOUBLE, denominator: whole::DOUBLE};

CREATE TABLE kpis AS
WITH figures AS (
  SELECT *, unnest([
    kpi('revenue', 'sale', revenue, 1), kpi('transactions', 'sale', transactions, 1),
    kpi('average_transaction_value', 'sale', revenue, transactions),
    kpi('active_customers', 'sale', active_customers, 1),
    kpi('orders', 'order', orders, 1), kpi('average_order_value', 'order', order_revenue, orders),
    kpi('items_per_order', 'order', order_items, orders), kpi('return_rate', 'line', returned_revenue, sold_revenue),
    kpi('discount_rate', 'line', discount, list_revenue),
    kpi('gross_margin_rate', 'line', costed_revenue - cost, costed_revenue),
    kpi('anonymous_revenue_share', 'all', anonymous_revenue, revenue),
    kpi('first_time_buyers', 'customer', first_time_buyers, 1),
    kpi('returning_customers', 'customer', returning_customers, 1),
    kpi('reactivated_customers', 'customer', reactivated_customers, 1),
    kpi('retention_rate', 'customer', returning_customers, active_before),
    kpi('churn_rate', 'customer', active_before - returning_customers, active_before),
    kpi('revenue_churn_rate', 'customer', revenue_lost, revenue_before),
    kpi('arpu', 'customer', customer_revenue, active_users),
    kpi('arppu', 'customer', customer_revenue, active_customers),
    kpi('repeat_purchase_rate', 'customer', repeat_buyers_to_date, buyers_to_date),
    kpi('new_customers', 'customer', new_customers, 1), kpi('customers', 'customer', customers_to_date, 1),
    kpi('marketing_spend', 'channel', spend, 1), kpi('cac', 'channel', spend, new_customers),
    kpi('cac_paid', 'all', paid_spend, paid_new_customers),
    kpi('clv_historic', 'customer', revenue_to_date * gross_margin, customers_to_date),
    kpi('clv_predictive', 'customer', predicted_clv, predicted_customers),
    kpi('clv_to_cac', 'channel', (revenue_to_date * gross_margin + predicted_clv) / nullif(customers_to_date, 0),
        spend_to_date / nullif(new_customers_with_spend, 0)),
    kpi('payback_months', 'channel', spend / nullif(new_customers, 0),
        customer_revenue * gross_margin / nullif(active_users, 0)),
    kpi('dau', 'all', person_days, 30), kpi('wau', 'all', week_people, 1), kpi('mau', 'all', month_people, 1),
    kpi('stickiness', 'all', person_days / 30, month_people), kpi('sessions_per_user', 'all', sessions, session_people),
    kpi('email_open_rate', 'all', mailings_opened, mailings_sent),
    kpi('email_click_rate', 'all', mailings_clicked, mailings_sent), kpi('engagement_score', 'all', points, people),
    kpi('consent_rate', 'consent', agreeing_persons, known_persons)]) AS figure
  FROM measures),
given AS (
  SELECT *, figure.name AS kpi,
         is_over OR figure.name NOT IN ('retention_rate', 'churn_rate', 'revenue_churn_rate', 'cac', 'cac_paid',
                                        'payback_months') AS is_in_time
  FROM figures
  WHERE CASE figure.places WHEN 'sale' THEN dimension <> 'consent_channel'
                         WHEN 'customer' THEN dimension NOT IN ('category', 'consent_channel')
                         WHEN 'channel' THEN dimension IN ('all', 'channel')
                         WHEN 'order' THEN dimension IN ('all', 'country')
                         WHEN 'line' THEN dimension IN ('all', 'country', 'category')
                         WHEN 'consent' THEN dimension = 'consent_channel'
                         ELSE dimension = 'all' END
    AND (is_latest OR figure.name NOT IN ('clv_predictive', 'clv_to_cac', 'consent_rate')))
SELECT kind, start, dimension, dimension_value, kpi, as_of, is_over AS is_complete, CASE WHEN is_in_time THEN figure.numerator END AS numerator,
       CASE WHEN is_in_time THEN figure.denominator END AS denominator,
       CASE WHEN is_in_time THEN figure.numerator / nullif(figure.denominator, 0) END AS value
FROM given;

CREATE VIEW kpi_monthly_gold AS SELECT start AS month, * FROM kpis WHERE kind = 'month';

CREATE VIEW kpi_weekly_gold AS
SELECT start AS week, * FROM kpis
WHERE kind = 'week' AND kpi NOT IN ('clv_predictive', 'clv_to_cac', 'consent_rate', 'payback_months');

-- Each customer is a person. The tables above name the person by the number of the customer.
ALTER TABLE purchases_silver RENAME COLUMN customer_id TO person_id;
ALTER TABLE customer_acquisitions_silver RENAME COLUMN customer_id TO person_id;
ALTER TABLE customer_value_gold RENAME COLUMN customer_id TO person_id;
ALTER TABLE customer_segments_gold RENAME COLUMN customer_id TO person_id;
ALTER TABLE customer_demographics_gold RENAME COLUMN customer_id TO person_id;
