-- One view per gold table with a row per customer: pseudonymised, not anonymous. Run this script only if
-- synapse_customers is true, and give the role only to people who may see single customers.
-- Generated from the contracts in src/cdp_lib/contracts/ by `make docs`; a test keeps it up to date.
USE [$(database)];
GO

IF SCHEMA_ID('customers') IS NULL
    EXEC ('CREATE SCHEMA [customers]');
GO

IF DATABASE_PRINCIPAL_ID('cdp_customer_readers') IS NULL
    CREATE ROLE [cdp_customer_readers];
GO

GRANT SELECT ON SCHEMA::[customers] TO [cdp_customer_readers];
GRANT REFERENCES ON DATABASE SCOPED CREDENTIAL::[workspace_identity] TO [cdp_customer_readers];
DENY ADMINISTER DATABASE BULK OPERATIONS TO [cdp_customer_readers];
GRANT CONTROL ON SCHEMA::[customers] TO [cdp_admins];
GRANT ALTER ON ROLE::[cdp_customer_readers] TO [cdp_admins];
GO

-- One row per customer and product the customer bought.
CREATE OR ALTER VIEW [customers].[customer_product_affinity] AS
SELECT
    [customer_id],
    [product_id],
    [product_name],
    [category],
    [total_quantity_purchased],
    [purchase_frequency],
    [_line_count]
FROM OPENROWSET(BULK 'customer_product_affinity_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [customer_id] BIGINT,
    [product_id] BIGINT,
    [product_name] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [category] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [total_quantity_purchased] DECIMAL(38,3),
    [purchase_frequency] BIGINT,
    [_line_count] BIGINT
) AS [rows];
GO

-- One row per person with a customer, with or without purchases.
CREATE OR ALTER VIEW [customers].[customer_value] AS
SELECT
    [person_id],
    [as_of],
    [acquisition_date],
    [first_purchase_date],
    [last_purchase_date],
    [transaction_count],
    [purchase_day_count],
    [frequency],
    [recency_days],
    [tenure_days],
    [total_revenue],
    [monetary_value],
    [repeat_monetary_value],
    [historic_clv],
    [recency_score],
    [frequency_score],
    [monetary_score],
    [purchase_interval_days],
    [overdue],
    [segment],
    [probability_alive],
    [purchase_probability],
    [churn_probability],
    [expected_purchases],
    [expected_spend],
    [predictive_clv],
    [prediction_state],
    [purchase_model_version],
    [spend_model_version]
FROM OPENROWSET(BULK 'customer_value_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [person_id] BIGINT,
    [as_of] DATE,
    [acquisition_date] DATE,
    [first_purchase_date] DATE,
    [last_purchase_date] DATE,
    [transaction_count] BIGINT,
    [purchase_day_count] BIGINT,
    [frequency] BIGINT,
    [recency_days] INT,
    [tenure_days] INT,
    [total_revenue] DECIMAL(38,4),
    [monetary_value] FLOAT,
    [repeat_monetary_value] FLOAT,
    [historic_clv] DECIMAL(38,4),
    [recency_score] INT,
    [frequency_score] INT,
    [monetary_score] INT,
    [purchase_interval_days] FLOAT,
    [overdue] FLOAT,
    [segment] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [probability_alive] FLOAT,
    [purchase_probability] FLOAT,
    [churn_probability] FLOAT,
    [expected_purchases] FLOAT,
    [expected_spend] FLOAT,
    [predictive_clv] FLOAT,
    [prediction_state] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [purchase_model_version] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [spend_model_version] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8
) AS [rows];
GO

-- One row per person with a customer, with the segment at as_of and one month earlier.
CREATE OR ALTER VIEW [customers].[customer_segments] AS
SELECT
    [person_id],
    [as_of],
    [recency_score],
    [frequency_score],
    [monetary_score],
    [purchase_interval_days],
    [overdue],
    [segment],
    [previous_as_of],
    [previous_segment]
FROM OPENROWSET(BULK 'customer_segments_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [person_id] BIGINT,
    [as_of] DATE,
    [recency_score] INT,
    [frequency_score] INT,
    [monetary_score] INT,
    [purchase_interval_days] FLOAT,
    [overdue] FLOAT,
    [segment] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [previous_as_of] DATE,
    [previous_segment] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8
) AS [rows];
GO

-- One row per person with a customer, with data of the CRM and of a reference table of countries. Unknown is null.
CREATE OR ALTER VIEW [customers].[customer_demographics] AS
SELECT
    [person_id],
    [as_of],
    [birth_date_source],
    [birth_date_confidence],
    [gender_source],
    [gender_confidence],
    [city_source],
    [city_confidence],
    [country_code],
    [country],
    [country_source],
    [country_confidence],
    [region],
    [tenure_band],
    [shopper_type],
    [market_population],
    [market_income_group],
    [market_currency],
    [household_id]
FROM OPENROWSET(BULK 'customer_demographics_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [person_id] BIGINT,
    [as_of] DATE,
    [birth_date_source] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [birth_date_confidence] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [gender_source] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [gender_confidence] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [city_source] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [city_confidence] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [country_code] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [country] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [country_source] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [country_confidence] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [region] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [tenure_band] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [shopper_type] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [market_population] BIGINT,
    [market_income_group] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [market_currency] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [household_id] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8
) AS [rows];
GO
