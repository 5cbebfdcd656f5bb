"""Gold: customer figures – value, segments, demographics, retention and KPIs.

Every table holds the figures at the end of `as_of`. Money is in the reporting currency. Unknown values are null.
"""

from cdp_lib.contracts.table import Column, TableContract, gold_table

_AS_OF = Column("as_of", "DATE", "day that the figures refer to; later data is not included", required=True)
_PERSON_ID = Column("person_id", "BIGINT", "number of the person, as in persons_silver", required=True)


def _score(figure: str, best: str) -> Column:
    return Column(
        f"{figure}_score", "INT", f"quintile of the buyers by {figure}, 1 to 5; 5: {best}; null without a purchase"
    )


_SCORES = (
    _score("recency", "bought most recently"),
    _score("frequency", "bought most often"),
    _score("monetary", "spent most"),
)
_RHYTHM = (
    Column(
        "purchase_interval_days",
        "DOUBLE",
        "usual days between purchase days: the customer's own intervals and two of the shop; null without a purchase",
    ),
    Column(
        "overdue",
        "DOUBLE",
        "recency_days / purchase_interval_days: a customer above 2 is overdue; null without a purchase",
    ),
)
_SEGMENT = Column("segment", "STRING", "segment at as_of; docs/kpis.md defines the segments", required=True)

CUSTOMER_VALUE_GOLD = gold_table(
    "customer_value_gold",
    "One row per person with a customer, with or without purchases.",
    ("person_id",),
    _PERSON_ID,
    _AS_OF,
    Column(
        "acquisition_date",
        "DATE",
        "the earlier of registration and first purchase; null for a customer without both",
    ),
    Column("first_purchase_date", "DATE", "day of the first purchase; null without a purchase"),
    Column("last_purchase_date", "DATE", "day of the latest purchase; null without a purchase"),
    Column("transaction_count", "BIGINT", "number of sales; 0 without a purchase", required=True),
    Column("purchase_day_count", "BIGINT", "number of distinct days with a sale", required=True),
    Column(
        "frequency", "BIGINT", "number of repeat purchases: purchase days after the first one; null without a purchase"
    ),
    Column("recency_days", "INT", "days from the latest purchase to as_of; null without a purchase"),
    Column("tenure_days", "INT", "days from acquisition to as_of; null if the acquisition is unknown"),
    Column("total_revenue", "DECIMAL(38,4)", "revenue of all sales", required=True),
    Column("monetary_value", "DOUBLE", "total_revenue / purchase_day_count; null without a purchase"),
    Column(
        "repeat_monetary_value",
        "DOUBLE",
        "revenue per repeat purchase day, the first purchase day excluded; null without a repeat purchase",
    ),
    Column(
        "historic_clv",
        "DECIMAL(38,4)",
        "margin earned from the customer so far: total_revenue × gross margin",
        required=True,
    ),
    *_SCORES,
    *_RHYTHM,
    _SEGMENT,
    Column("probability_alive", "DOUBLE", "probability that the customer has not permanently stopped buying, 0 to 1"),
    Column("purchase_probability", "DOUBLE", "probability of a purchase within the churn horizon, 0 to 1"),
    Column(
        "churn_probability", "DOUBLE", "probability of no purchase within the churn horizon: 1 − purchase_probability"
    ),
    Column("expected_purchases", "DOUBLE", "expected number of purchase days within the CLV horizon"),
    Column("expected_spend", "DOUBLE", "expected revenue within the CLV horizon, not discounted"),
    Column("predictive_clv", "DOUBLE", "expected margin within the CLV horizon, discounted to as_of"),
    Column(
        "prediction_state",
        "STRING",
        "predicted; purchases_only: spend is not predicted; never_bought; too_few_customers or not_converged: without a"
        " fit, nothing is predicted",
        required=True,
    ),
    Column("purchase_model_version", "STRING", "model_version in model_fits_gold of the fit that predicts purchases"),
    Column("spend_model_version", "STRING", "model_version in model_fits_gold of the fit that predicts spend"),
    purpose="analytics",
)

CUSTOMER_SEGMENTS_GOLD = gold_table(
    "customer_segments_gold",
    "One row per person with a customer, with the segment at as_of and one month earlier.",
    ("person_id",),
    _PERSON_ID,
    _AS_OF,
    *_SCORES,
    *_RHYTHM,
    _SEGMENT,
    Column("previous_as_of", "DATE", "the same day one month before as_of", required=True),
    Column("previous_segment", "STRING", "segment at previous_as_of; null for a customer acquired later"),
    purpose="analytics",
)

SEGMENT_MOVEMENTS_GOLD = gold_table(
    "segment_movements_gold",
    "One row per pair of segments, at previous_as_of and at as_of, that at least one customer has.",
    ("from_segment", "to_segment"),
    Column("previous_as_of", "DATE", "day of the earlier segment", required=True),
    _AS_OF,
    Column("from_segment", "STRING", "segment at previous_as_of; Not a customer yet: acquired later", required=True),
    Column("to_segment", "STRING", "segment at as_of", required=True),
    Column("customer_count", "BIGINT", "customers with this pair of segments", required=True),
    counts_people="customer_count",
)

SEGMENT_QUALITY_GOLD = gold_table(
    "segment_quality_gold",
    "One row per as_of and segment at cut_off, one churn horizon earlier: what its customers bought up to as_of.",
    ("as_of", "segment"),
    _AS_OF,
    Column("cut_off", "DATE", "day of the segments: churn_horizon_days before as_of", required=True),
    Column("segment", "STRING", "segment at cut_off; All buyers: all customers with a purchase", required=True),
    Column("customer_count", "BIGINT", "customers in the segment at cut_off", required=True),
    Column("bought_share", "DOUBLE", "share who bought after cut_off, up to as_of; null without customers"),
    Column("revenue_after", "DECIMAL(38,4)", "revenue after cut_off, up to as_of", required=True),
    Column("promise", "STRING", "what the segment promises, as text for people; null if nothing"),
    Column(
        "is_kept",
        "BOOLEAN",
        "whether the promise was kept; null without a promise, or if a compared segment is too small",
    ),
    Column(
        "checkable_from",
        "DATE",
        "day on which the churn horizon of the first purchase ends; null if somebody had bought by cut_off",
    ),
    counts_people="customer_count",
)

MODEL_FITS_GOLD = gold_table(
    "model_fits_gold",
    "One row per fit of a model. Fits are never deleted, so that every prediction can be reproduced from its fit.",
    ("model_version",),
    Column(
        "model_version", "STRING", "name of the fit: model, as_of and a hash of window and parameters", required=True
    ),
    Column(
        "model",
        "STRING",
        "pareto_nbd, common_drop_out_nbd, mbg_nbd, bg_nbd, shrunken_rate or gamma_gamma",
        required=True,
    ),
    _AS_OF,
    Column("fitted_at", "TIMESTAMP", "start of the run that fitted the model, UTC", required=True),
    Column("state", "STRING", "fitted; too_few_customers or not_converged: this fit predicts nothing", required=True),
    Column("message", "STRING", "why the fit failed, as text for people; null for state fitted"),
    Column(
        "parameters", "STRING", "JSON object of the maximum likelihood estimates, time in weeks; null if not fitted"
    ),
    Column("log_likelihood", "DOUBLE", "log-likelihood of the data at the parameters; null if not fitted"),
    Column("customer_count", "BIGINT", "customers in the data of the fit", required=True),
    Column(
        "repeat_customer_count",
        "BIGINT",
        "customers in the data of the fit who bought on more than one day",
        required=True,
    ),
    Column(
        "history_count",
        "BIGINT",
        "distinct purchase histories in the data of the fit; the time of a fit depends on it",
        required=True,
    ),
    Column("observed_weeks", "INT", "length of the data window: weeks from its first purchase to as_of", required=True),
    Column(
        "last_good_version",
        "STRING",
        "model_version of the latest fit of the model with state fitted, up to this fit; null: none yet",
    ),
    Column("code_version", "STRING", "version of this library", required=True),
)

MODEL_QUALITY_GOLD = gold_table(
    "model_quality_gold",
    "One row per model or baseline, measure and decile: forecast from cut_off to as_of, and the actual figures.",
    ("as_of", "model", "measure", "decile"),
    _AS_OF,
    Column("cut_off", "DATE", "last day of the data that the models saw", required=True),
    Column(
        "model",
        "STRING",
        "pareto_nbd, common_drop_out_nbd, mbg_nbd, bg_nbd, shrunken_rate; baselines active_if_recent,"
        " own_rhythm and logistic",
        required=True,
    ),
    Column(
        "measure",
        "STRING",
        "total_error, spend_error, mae, purchases_by_decile, churn_by_decile, brier_score, auc or state",
        required=True,
    ),
    Column("decile", "INT", "decile of the customers by prediction, 1 lowest; 0: all customers", required=True),
    Column("customer_count", "BIGINT", "customers compared", required=True),
    Column("predicted", "DOUBLE", "predicted mean or total"),
    Column("actual", "DOUBLE", "actual mean or total"),
    Column("value", "DOUBLE", "value of the measure; null where it is not defined or the model has no figures"),
    Column("state", "STRING", "fitted, too_few_customers or not_converged", required=True),
    Column("is_chosen", "BOOLEAN", "whether the model predicts purchases at as_of", required=True),
    counts_people="customer_count",
)

_CRM = "crm_by_id: the contact names the customer's number; crm_by_link: other identifiers link the contact"


def _origin_columns(attribute: str, noun: str, sources: str = _CRM) -> tuple[Column, Column]:
    return (
        Column(f"{attribute}_source", "STRING", f"source of {noun}: {sources}; null: unknown"),
        Column(
            f"{attribute}_confidence",
            "STRING",
            f"high: {noun} is from a customer or from a contact with the customer's number; medium: from a record that"
            " other identifiers link; low: the person's records disagree; null: unknown",
        ),
    )


CUSTOMER_DEMOGRAPHICS_GOLD = gold_table(
    "customer_demographics_gold",
    "One row per person with a customer, with data of the CRM and of a reference table of countries. Unknown is null.",
    ("person_id",),
    _PERSON_ID,
    _AS_OF,
    Column("age_band", "STRING", "under 18, 18-24, 25-34, 35-44, 45-54, 55-64 or 65+ years at as_of", pii="birth_date"),
    Column(
        "generation",
        "STRING",
        "Greatest (born up to 1927), Silent (to 1945), Boomer (to 1964), X (to 1980), Millennial (to 1996), Z (to 2012)"
        " or Alpha",
        pii="birth_date",
    ),
    *_origin_columns("birth_date", "the day of birth"),
    Column("gender", "STRING", "male or female", pii="gender"),
    *_origin_columns("gender", "gender"),
    Column("city", "STRING", "city, in the CRM's spelling", pii="address"),
    *_origin_columns("city", "the city"),
    Column(
        "country_code", "STRING", "ISO 3166-1 alpha-2 code of the customer's country; null: not in the reference table"
    ),
    Column(
        "country",
        "STRING",
        "English short name of the country; without a code, the name from the customers API; null if it has none",
    ),
    *_origin_columns("country", "the country", f"customers_api; if its name is not in the reference table, {_CRM}"),
    Column("region", "STRING", "UN geoscheme (M49) subregion of the country"),
    Column(
        "tenure_band",
        "STRING",
        "under 30 days, 30-89 days, 90-364 days, 1-2 years (365-730 days) or over 2 years, from acquisition to as_of;"
        " null if the acquisition is unknown",
    ),
    Column(
        "shopper_type",
        "STRING",
        "home, foreign or both: whether the customer bought in the customer's country, in other countries or in both;"
        " null without a purchase, or if a needed country is not in the reference table",
    ),
    Column("market_population", "BIGINT", "population of the country in 2023, rounded to 10,000"),
    Column("market_income_group", "STRING", "World Bank income group of the country, fiscal year 2025"),
    Column("market_currency", "STRING", "ISO 4217 code of the country's currency"),
    Column("household_id", "STRING", "household of the person; null if no source says"),
    Column(
        "attributes",
        "MAP<STRING,STRING>",
        "the retailer's own attributes of the person, as text by name; null if there are none",
        pii="attributes",
    ),
    purpose="analytics",
)

COHORT_RETENTION_GOLD = gold_table(
    "cohort_retention_gold",
    "One row per cohort of customers, kind of retention and window; figures are null until the window ends.",
    ("cohort_type", "cohort_month", "retention_type", "window_start"),
    _AS_OF,
    Column(
        "cohort_type",
        "STRING",
        "acquisition or first_purchase: the day that assigns a customer to a cohort",
        required=True,
    ),
    Column(
        "cohort_month",
        "DATE",
        "first day of the month in which that day is; a customer without the day is in no cohort",
        required=True,
    ),
    Column(
        "retention_type",
        "STRING",
        "n_day, unbounded or bracket: activity in windows of days; purchase or revenue: windows of calendar months",
        required=True,
    ),
    Column("window_start", "INT", "first day or month of the window, counted from 0", required=True),
    Column("window_end", "INT", "last day or month of the window; null: open end"),
    Column("cohort_size", "BIGINT", "customers in the cohort", required=True),
    Column("numerator", "DECIMAL(38,4)", "customers active in the window, or revenue in the window"),
    Column("denominator", "DECIMAL(38,4)", "customers in the cohort, or revenue in the first month", required=True),
    Column("retention", "DOUBLE", "numerator / denominator; null if the window is not over or the denominator is 0"),
    counts_people="cohort_size",
)


def _kpi_table(name: str, first_day: Column) -> TableContract:
    period = first_day.name
    return gold_table(
        name,
        f"One row per {period}, dimension, dimension value and KPI; docs/kpis.md defines the KPIs.",
        (period, "dimension", "dimension_value", "kpi"),
        first_day,
        Column("dimension", "STRING", "all, country, channel, segment, category or consent_channel", required=True),
        Column(
            "dimension_value",
            "STRING",
            "value of the dimension; unknown if it is missing; all for the dimension all. A country may also be called"
            " all: only the dimension tells a total",
            required=True,
        ),
        Column("kpi", "STRING", "name of the KPI", required=True),
        Column("value", "DOUBLE", "numerator / denominator; null if it is not defined or not known"),
        Column("numerator", "DOUBLE", "numerator of the KPI; the value itself for a plain figure"),
        Column("denominator", "DOUBLE", "denominator of the KPI; 1 for a plain figure"),
        _AS_OF,
        Column(
            "people",
            "BIGINT",
            "smallest number of people above 0 in the figures; null if the KPI counts nobody, or describes sales or"
            " spend",
        ),
        Column("is_complete", "BOOLEAN", f"whether the {period} is over at as_of", required=True),
        counts_people="people",
    )


KPI_MONTHLY_GOLD = _kpi_table(
    "kpi_monthly_gold",
    Column("month", "DATE", "first day of the month; the latest month ends at as_of", required=True),
)
KPI_WEEKLY_GOLD = _kpi_table(
    "kpi_weekly_gold",
    Column("week", "DATE", "Monday of the ISO week; the latest week ends at as_of", required=True),
)

ANALYTICS_TABLES = (
    CUSTOMER_VALUE_GOLD,
    CUSTOMER_SEGMENTS_GOLD,
    SEGMENT_MOVEMENTS_GOLD,
    SEGMENT_QUALITY_GOLD,
    MODEL_FITS_GOLD,
    MODEL_QUALITY_GOLD,
    CUSTOMER_DEMOGRAPHICS_GOLD,
    COHORT_RETENTION_GOLD,
    KPI_MONTHLY_GOLD,
    KPI_WEEKLY_GOLD,
)
