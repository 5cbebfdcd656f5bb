-- One view per gold table without single customers. docs/tables.md describes the columns.
-- Copies have no rows of fewer people than the variable minimum_cell_size.
-- Generated from the contracts in src/cdp_lib/contracts/ by `make docs`; a test keeps it up to date.
USE [$(database)];
GO

DROP VIEW IF EXISTS [sales].[customer_product_affinity];
DROP VIEW IF EXISTS [sales].[customer_value];
DROP VIEW IF EXISTS [sales].[customer_segments];
DROP VIEW IF EXISTS [sales].[customer_demographics];
GO

-- One row per country of customers who bought.
CREATE OR ALTER VIEW [sales].[sales_by_country] AS
SELECT
    [country],
    [total_sales]
FROM OPENROWSET(BULK 'sales_by_country_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [country] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [total_sales] BIGINT
) AS [rows];
GO

-- One row per country of customers and product category that they bought.
CREATE OR ALTER VIEW [sales].[category_country_performance] AS
SELECT
    [country],
    [category],
    [revenue],
    [quantity_sold],
    [unique_products],
    [_line_count]
FROM OPENROWSET(BULK 'category_country_performance_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [country] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [category] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [revenue] DECIMAL(38,4),
    [quantity_sold] DECIMAL(38,3),
    [unique_products] BIGINT,
    [_line_count] BIGINT
) AS [rows];
GO

-- One row per country of customers who bought.
CREATE OR ALTER VIEW [sales].[country_detailed_analysis] AS
SELECT
    [country],
    [unique_customers],
    [unique_stores],
    [total_transactions],
    [total_quantity_sold],
    [total_revenue],
    [avg_transaction_value],
    [unique_products],
    [_line_count]
FROM OPENROWSET(BULK 'country_detailed_analysis_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [country] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [unique_customers] BIGINT,
    [unique_stores] BIGINT,
    [total_transactions] BIGINT,
    [total_quantity_sold] DECIMAL(38,3),
    [total_revenue] DECIMAL(38,4),
    [avg_transaction_value] FLOAT,
    [unique_products] BIGINT,
    [_line_count] BIGINT
) AS [rows];
GO

-- One row per product that was sold.
CREATE OR ALTER VIEW [sales].[product_performance] AS
SELECT
    [product_id],
    [product_name],
    [category],
    [total_quantity_sold],
    [total_revenue],
    [unique_transactions],
    [unique_customers],
    [_line_count]
FROM OPENROWSET(BULK 'product_performance_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [product_id] BIGINT,
    [product_name] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [category] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [total_quantity_sold] DECIMAL(38,3),
    [total_revenue] DECIMAL(38,4),
    [unique_transactions] BIGINT,
    [unique_customers] BIGINT,
    [_line_count] BIGINT
) AS [rows];
GO

-- One row per price segment and product category with sales.
CREATE OR ALTER VIEW [sales].[price_segment_analysis] AS
SELECT
    [price_segment],
    [category],
    [transaction_count],
    [total_quantity],
    [total_revenue],
    [_line_count]
FROM OPENROWSET(BULK 'price_segment_analysis_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [price_segment] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [category] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [transaction_count] BIGINT,
    [total_quantity] DECIMAL(38,3),
    [total_revenue] DECIMAL(38,4),
    [_line_count] BIGINT
) AS [rows];
GO

-- One row per store and product that the store sold.
CREATE OR ALTER VIEW [sales].[store_product_performance] AS
SELECT
    [store_id],
    [store_name],
    [product_id],
    [product_name],
    [quantity_sold],
    [revenue_generated],
    [_transaction_count],
    [_line_count]
FROM OPENROWSET(BULK 'store_product_performance_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [store_id] BIGINT,
    [store_name] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [product_id] BIGINT,
    [product_name] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [quantity_sold] DECIMAL(38,3),
    [revenue_generated] DECIMAL(38,4),
    [_transaction_count] BIGINT,
    [_line_count] BIGINT
) AS [rows];
GO

-- One row per store that sold something.
CREATE OR ALTER VIEW [sales].[store_customer_analysis] AS
SELECT
    [store_id],
    [store_name],
    [location],
    [unique_customers],
    [total_transactions],
    [avg_transactions_per_customer],
    [_line_count]
FROM OPENROWSET(BULK 'store_customer_analysis_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [store_id] BIGINT,
    [store_name] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [location] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [unique_customers] BIGINT,
    [total_transactions] BIGINT,
    [avg_transactions_per_customer] FLOAT,
    [_line_count] BIGINT
) AS [rows];
GO

-- One row per season and product category sold in that season, over all years.
CREATE OR ALTER VIEW [sales].[seasonal_analysis] AS
SELECT
    [season],
    [category],
    [seasonal_revenue],
    [seasonal_quantity],
    [_line_count]
FROM OPENROWSET(BULK 'seasonal_analysis_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [season] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [category] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [seasonal_revenue] DECIMAL(38,4),
    [seasonal_quantity] DECIMAL(38,3),
    [_line_count] BIGINT
) AS [rows];
GO

-- One row per month with sales.
CREATE OR ALTER VIEW [sales].[monthly_sales] AS
SELECT
    [transaction_year],
    [transaction_quarter],
    [transaction_month],
    [monthly_revenue],
    [monthly_quantity],
    [monthly_transactions],
    [monthly_customers],
    [_line_count]
FROM OPENROWSET(BULK 'monthly_sales_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [transaction_year] INT,
    [transaction_quarter] INT,
    [transaction_month] INT,
    [monthly_revenue] DECIMAL(38,4),
    [monthly_quantity] DECIMAL(38,3),
    [monthly_transactions] BIGINT,
    [monthly_customers] BIGINT,
    [_line_count] BIGINT
) AS [rows];
GO

-- One row per month and product category sold in that month.
CREATE OR ALTER VIEW [sales].[category_monthly_sales] AS
SELECT
    [sale_month],
    [category],
    [revenue],
    [quantity],
    [transactions],
    [customers],
    [_line_count]
FROM OPENROWSET(BULK 'category_monthly_sales_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [sale_month] DATE,
    [category] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [revenue] DECIMAL(38,4),
    [quantity] DECIMAL(38,3),
    [transactions] BIGINT,
    [customers] BIGINT,
    [_line_count] BIGINT
) AS [rows];
GO

-- One row per month, country of customers and product category with lines.
CREATE OR ALTER VIEW [sales].[country_category_monthly_sales] AS
SELECT
    [sale_month],
    [country],
    [category],
    [sold_revenue],
    [returned_revenue],
    [anonymous_revenue],
    [anonymous_transactions],
    [discount],
    [list_revenue],
    [cost],
    [costed_revenue],
    [_line_count]
FROM OPENROWSET(BULK 'country_category_monthly_sales_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [sale_month] DATE,
    [country] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [category] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [sold_revenue] DECIMAL(38,4),
    [returned_revenue] DECIMAL(38,4),
    [anonymous_revenue] DECIMAL(38,4),
    [anonymous_transactions] BIGINT,
    [discount] DECIMAL(38,4),
    [list_revenue] DECIMAL(38,4),
    [cost] DECIMAL(38,4),
    [costed_revenue] DECIMAL(38,4),
    [_line_count] BIGINT
) AS [rows];
GO

-- One row per month and country of customers with orders. Lines without an order number are left out.
CREATE OR ALTER VIEW [sales].[country_monthly_orders] AS
SELECT
    [sale_month],
    [country],
    [orders],
    [revenue],
    [items],
    [_line_count]
FROM OPENROWSET(BULK 'country_monthly_orders_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [sale_month] DATE,
    [country] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [orders] BIGINT,
    [revenue] DECIMAL(38,4),
    [items] DECIMAL(38,3),
    [_line_count] BIGINT
) AS [rows];
GO

-- One row per week and group of lines: the lines of a category, of a country and category, or the lines with an order number of a country. A figure is null in the groups that do not have it.
CREATE OR ALTER VIEW [sales].[sales_by_week] AS
SELECT
    [sale_week],
    [grouped_by],
    [country],
    [category],
    [revenue],
    [quantity],
    [transactions],
    [customers],
    [sold_revenue],
    [returned_revenue],
    [anonymous_revenue],
    [anonymous_transactions],
    [discount],
    [list_revenue],
    [cost],
    [costed_revenue],
    [orders],
    [items],
    [_line_count]
FROM OPENROWSET(BULK 'sales_by_week_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [sale_week] DATE,
    [grouped_by] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [country] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [category] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [revenue] DECIMAL(38,4),
    [quantity] DECIMAL(38,3),
    [transactions] BIGINT,
    [customers] BIGINT,
    [sold_revenue] DECIMAL(38,4),
    [returned_revenue] DECIMAL(38,4),
    [anonymous_revenue] DECIMAL(38,4),
    [anonymous_transactions] BIGINT,
    [discount] DECIMAL(38,4),
    [list_revenue] DECIMAL(38,4),
    [cost] DECIMAL(38,4),
    [costed_revenue] DECIMAL(38,4),
    [orders] BIGINT,
    [items] DECIMAL(38,3),
    [_line_count] BIGINT
) AS [rows];
GO

-- One row per month of registration and country of customers, with or without purchases. Customers without a day of registration are left out.
CREATE OR ALTER VIEW [sales].[customer_registration_trends] AS
SELECT
    [reg_year],
    [reg_month],
    [country],
    [new_customers]
FROM OPENROWSET(BULK 'customer_registration_trends_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [reg_year] INT,
    [reg_month] INT,
    [country] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [new_customers] BIGINT
) AS [rows];
GO

-- One row per pair of segments, at previous_as_of and at as_of, that at least one customer has.
CREATE OR ALTER VIEW [sales].[segment_movements] AS
SELECT
    [previous_as_of],
    [as_of],
    [from_segment],
    [to_segment],
    [customer_count]
FROM OPENROWSET(BULK 'segment_movements_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [previous_as_of] DATE,
    [as_of] DATE,
    [from_segment] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [to_segment] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [customer_count] BIGINT
) AS [rows];
GO

-- One row per as_of and segment at cut_off, one churn horizon earlier: what its customers bought up to as_of.
CREATE OR ALTER VIEW [sales].[segment_quality] AS
SELECT
    [as_of],
    [cut_off],
    [segment],
    [customer_count],
    [bought_share],
    [revenue_after],
    [promise],
    [is_kept],
    [checkable_from]
FROM OPENROWSET(BULK 'segment_quality_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [as_of] DATE,
    [cut_off] DATE,
    [segment] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [customer_count] BIGINT,
    [bought_share] FLOAT,
    [revenue_after] DECIMAL(38,4),
    [promise] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [is_kept] BIT,
    [checkable_from] DATE
) AS [rows];
GO

-- One row per fit of a model. Fits are never deleted, so that every prediction can be reproduced from its fit.
CREATE OR ALTER VIEW [sales].[model_fits] AS
SELECT
    [model_version],
    [model],
    [as_of],
    [fitted_at],
    [state],
    [message],
    [parameters],
    [log_likelihood],
    [customer_count],
    [repeat_customer_count],
    [history_count],
    [observed_weeks],
    [last_good_version],
    [code_version]
FROM OPENROWSET(BULK 'model_fits_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [model_version] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [model] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [as_of] DATE,
    [fitted_at] DATETIME2(6),
    [state] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [message] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [parameters] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [log_likelihood] FLOAT,
    [customer_count] BIGINT,
    [repeat_customer_count] BIGINT,
    [history_count] BIGINT,
    [observed_weeks] INT,
    [last_good_version] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [code_version] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8
) AS [rows];
GO

-- One row per model or baseline, measure and decile: forecast from cut_off to as_of, and the actual figures.
CREATE OR ALTER VIEW [sales].[model_quality] AS
SELECT
    [as_of],
    [cut_off],
    [model],
    [measure],
    [decile],
    [customer_count],
    [predicted],
    [actual],
    [value],
    [state],
    [is_chosen]
FROM OPENROWSET(BULK 'model_quality_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [as_of] DATE,
    [cut_off] DATE,
    [model] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [measure] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [decile] INT,
    [customer_count] BIGINT,
    [predicted] FLOAT,
    [actual] FLOAT,
    [value] FLOAT,
    [state] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [is_chosen] BIT
) AS [rows];
GO

-- One row per cohort of customers, kind of retention and window; figures are null until the window ends.
CREATE OR ALTER VIEW [sales].[cohort_retention] AS
SELECT
    [as_of],
    [cohort_type],
    [cohort_month],
    [retention_type],
    [window_start],
    [window_end],
    [cohort_size],
    [numerator],
    [denominator],
    [retention]
FROM OPENROWSET(BULK 'cohort_retention_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [as_of] DATE,
    [cohort_type] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [cohort_month] DATE,
    [retention_type] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [window_start] INT,
    [window_end] INT,
    [cohort_size] BIGINT,
    [numerator] DECIMAL(38,4),
    [denominator] DECIMAL(38,4),
    [retention] FLOAT
) AS [rows];
GO

-- One row per month, dimension, dimension value and KPI; docs/kpis.md defines the KPIs.
CREATE OR ALTER VIEW [sales].[kpi_monthly] AS
SELECT
    [month],
    [dimension],
    [dimension_value],
    [kpi],
    [value],
    [numerator],
    [denominator],
    [as_of],
    [people],
    [is_complete]
FROM OPENROWSET(BULK 'kpi_monthly_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [month] DATE,
    [dimension] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [dimension_value] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [kpi] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [value] FLOAT,
    [numerator] FLOAT,
    [denominator] FLOAT,
    [as_of] DATE,
    [people] BIGINT,
    [is_complete] BIT
) AS [rows];
GO

-- One row per week, dimension, dimension value and KPI; docs/kpis.md defines the KPIs.
CREATE OR ALTER VIEW [sales].[kpi_weekly] AS
SELECT
    [week],
    [dimension],
    [dimension_value],
    [kpi],
    [value],
    [numerator],
    [denominator],
    [as_of],
    [people],
    [is_complete]
FROM OPENROWSET(BULK 'kpi_weekly_gold', DATA_SOURCE = 'gold', FORMAT = 'DELTA') WITH (
    [week] DATE,
    [dimension] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [dimension_value] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [kpi] VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8,
    [value] FLOAT,
    [numerator] FLOAT,
    [denominator] FLOAT,
    [as_of] DATE,
    [people] BIGINT,
    [is_complete] BIT
) AS [rows];
GO
