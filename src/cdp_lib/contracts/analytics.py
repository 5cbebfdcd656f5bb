"""Gold: what is known of customers, one by one and together – value, segments, demographics, retention and KPIs.

Every table holds what was known at the end of `as_of`. Money is in the reporting currency. What is not known is null.
"""

from cdp_lib.contracts.table import Column, gold_table

_AS_OF = Column("as_of", "DATE", "last day that counts", required=True)
_CUSTOMER_ID = Column("customer_id", "INT", "customer's number", required=True)


def _score(of: str, best: str) -> Column:
    return Column(f"{of}_score", "INT", f"fifth of the buyers by {of}, 1 to 5; 5: {best}; null for who never bought")


_SCORES = (_score("recency", "latest"), _score("frequency", "most often"), _score("monetary", "most spent"))
_SEGMENT = Column("segment", "STRING", "RFM segment, as docs/kpis.md names them", required=True)

CUSTOMER_VALUE_GOLD = gold_table(
    "customer_value_gold",
    "One row per customer of the platform, whether or not they ever bought.",
    ("customer_id",),
    _CUSTOMER_ID,
    _AS_OF,
    Column("acquisition_date", "DATE", "the earlier of registration and first purchase", required=True),
    Column("first_purchase_date", "DATE", "day of the first purchase; null for who never bought"),
    Column("last_purchase_date", "DATE", "day of the latest purchase"),
    Column("transaction_count", "BIGINT", "sales; 0 for who never bought", required=True),
    Column("purchase_day_count", "BIGINT", "different days with a sale", required=True),
    Column("frequency", "BIGINT", "repeat purchases: days with a sale after the first one; null for who never bought"),
    Column("recency_days", "INT", "days from the latest purchase to as_of"),
    Column("tenure_days", "INT", "days from acquisition to as_of", required=True),
    Column("total_revenue", "DECIMAL(38,2)", "revenue of all sales", required=True),
    Column("monetary_value", "DOUBLE", "total_revenue / purchase_day_count; null for who never bought"),
    Column(
        "repeat_monetary_value", "DOUBLE", "revenue a repeat purchase day, the first day left out; null without one"
    ),
    Column("historic_clv", "DECIMAL(38,2)", "total_revenue × margin: what the customer has brought in", required=True),
    *_SCORES,
    _SEGMENT,
    Column("probability_alive", "DOUBLE", "probability that the customer has not dropped out for good, 0 to 1"),
    Column("purchase_probability", "DOUBLE", "probability of a purchase within the churn horizon, 0 to 1"),
    Column(
        "churn_probability", "DOUBLE", "probability of no purchase within the churn horizon: 1 − purchase_probability"
    ),
    Column("expected_purchases", "DOUBLE", "purchase days to expect within the CLV horizon"),
    Column("expected_spend", "DOUBLE", "revenue to expect within the CLV horizon, not discounted"),
    Column("predictive_clv", "DOUBLE", "margin to expect within the CLV horizon, discounted to as_of"),
    Column(
        "prediction_state",
        "STRING",
        "predicted; purchases_only: spend is not; never_bought; or why nothing is: too_few_customers, not_converged",
        required=True,
    ),
    Column("purchase_model_version", "STRING", "fit in model_fits_gold that purchases are predicted by"),
    Column("spend_model_version", "STRING", "fit in model_fits_gold that spend is predicted by"),
)

CUSTOMER_SEGMENTS_GOLD = gold_table(
    "customer_segments_gold",
    "One row per customer, with the RFM segment at as_of and a month before.",
    ("customer_id",),
    _CUSTOMER_ID,
    _AS_OF,
    *_SCORES,
    _SEGMENT,
    Column("previous_as_of", "DATE", "the same day a month before", required=True),
    Column("previous_segment", "STRING", "segment at previous_as_of; null for who was no customer yet"),
)

SEGMENT_MOVEMENTS_GOLD = gold_table(
    "segment_movements_gold",
    "One row per pair of segments that customers moved between, or stayed in, from previous_as_of to as_of.",
    ("from_segment", "to_segment"),
    Column("previous_as_of", "DATE", "day of the earlier segment", required=True),
    _AS_OF,
    Column("from_segment", "STRING", "segment at previous_as_of; Not a customer yet: acquired since", required=True),
    Column("to_segment", "STRING", "segment at as_of", required=True),
    Column("customer_count", "BIGINT", "customers who made the move", required=True),
)

MODEL_FITS_GOLD = gold_table(
    "model_fits_gold",
    "One row per fit of a model, kept for ever: with its parameters every prediction can be made again.",
    ("model_version",),
    Column(
        "model_version", "STRING", "name of the fit: model, as_of and a hash of window and parameters", required=True
    ),
    Column("model", "STRING", "pareto_nbd, mbg_nbd, bg_nbd or gamma_gamma", required=True),
    _AS_OF,
    Column("fitted_at", "TIMESTAMP", "start of the run that made the fit, UTC", required=True),
    Column(
        "state", "STRING", "fitted; too_few_customers or not_converged: nothing is predicted by this one", required=True
    ),
    Column("message", "STRING", "why it is not fitted, for people; null where it is"),
    Column(
        "parameters", "STRING", "JSON object of the maximum likelihood estimates, time in weeks; null if not fitted"
    ),
    Column("log_likelihood", "DOUBLE", "log-likelihood of the data at the parameters; null if not fitted"),
    Column("customer_count", "BIGINT", "customers fitted on", required=True),
    Column("repeat_customer_count", "BIGINT", "of those, customers who bought on more than one day", required=True),
    Column("history_count", "BIGINT", "different histories among them: what the fit costs", required=True),
    Column("observed_weeks", "INT", "the data's window: weeks from the first purchase in it to as_of", required=True),
    Column(
        "last_good_version", "STRING", "the latest fit of the model, up to this one, that is fitted; null: none yet"
    ),
    Column("code_version", "STRING", "version of this library", required=True),
)

MODEL_QUALITY_GOLD = gold_table(
    "model_quality_gold",
    "One row per model or baseline, measure and decile, of a forecast from cut_off to as_of compared with what came.",
    ("model", "measure", "decile"),
    _AS_OF,
    Column("cut_off", "DATE", "last day the models knew", required=True),
    Column(
        "model",
        "STRING",
        "pareto_nbd, mbg_nbd, bg_nbd; baselines last_period_rate and active_if_recent",
        required=True,
    ),
    Column(
        "measure",
        "STRING",
        "total_error, mae, purchases_by_decile, churn_by_decile, brier_score, auc or state",
        required=True,
    ),
    Column("decile", "INT", "tenth of the customers by prediction, 1 lowest; 0: all customers", required=True),
    Column("customer_count", "BIGINT", "customers compared", required=True),
    Column("predicted", "DOUBLE", "mean or total predicted"),
    Column("actual", "DOUBLE", "mean or total that came"),
    Column("value", "DOUBLE", "the measure; null where it is not defined, or the model gives no figures"),
    Column("state", "STRING", "fitted, too_few_customers or not_converged", required=True),
)

_CRM = "crm_by_id or crm_by_email, how the contact is linked"


def _from(attribute: str, what: str, sources: str = _CRM) -> tuple[Column, Column]:
    return (
        Column(f"{attribute}_source", "STRING", f"where {what} comes from: {sources}; null: unknown"),
        Column(
            f"{attribute}_confidence",
            "STRING",
            f"high: {what} is named by the customer's own number; medium: by e-mail address; low: sources disagree;"
            " null: unknown",
        ),
    )


CUSTOMER_DEMOGRAPHICS_GOLD = gold_table(
    "customer_demographics_gold",
    "One row per customer, enriched from the CRM and a reference table of countries; unknown is null, never a guess.",
    ("customer_id",),
    _CUSTOMER_ID,
    _AS_OF,
    Column("age_band", "STRING", "under 18, 18-24, 25-34, 35-44, 45-54, 55-64 or 65+ years at as_of", pii="birth_date"),
    Column(
        "generation",
        "STRING",
        "Greatest (born up to 1927), Silent (to 1945), Boomer (to 1964), X (to 1980), Millennial (to 1996), Z (to 2012)"
        " or Alpha",
        pii="birth_date",
    ),
    *_from("birth_date", "the day of birth"),
    Column("gender", "STRING", "male or female", pii="gender"),
    *_from("gender", "gender"),
    Column("city", "STRING", "city, as the CRM writes it", pii="address"),
    *_from("city", "the city"),
    Column(
        "country_code", "STRING", "ISO 3166-1 alpha-2 code of the customer's country; null: not in the reference table"
    ),
    Column(
        "country", "STRING", "English short name of that country; without a code, the name that the customers API gives"
    ),
    *_from("country", "the country", f"customers_api; where its name is not in the reference table, {_CRM}"),
    Column("region", "STRING", "UN geoscheme (M49) subregion of the country"),
    Column(
        "tenure_band",
        "STRING",
        "under 30 days, 30-89 days, 90-364 days, 1-2 years (365-730 days) or over 2 years, from acquisition to as_of",
        required=True,
    ),
    Column(
        "shopper_type",
        "STRING",
        "home, foreign or both: where the stores are that the customer bought in; null for who never bought, or if a"
        " country that decides it is not in the reference table",
    ),
    Column("market_population", "BIGINT", "people living in the country in 2023, to 10,000"),
    Column("market_income_group", "STRING", "World Bank income group of the country, fiscal year 2025"),
    Column("market_currency", "STRING", "ISO 4217 code of the country's currency"),
)

COHORT_RETENTION_GOLD = gold_table(
    "cohort_retention_gold",
    "One row per cohort of customers, kind of retention and window; null where the window is not over yet.",
    ("cohort_type", "cohort_month", "retention_type", "window_start"),
    _AS_OF,
    Column(
        "cohort_type", "STRING", "acquisition or first_purchase: which day puts a customer in a cohort", required=True
    ),
    Column("cohort_month", "DATE", "first day of the month of that day", required=True),
    Column(
        "retention_type",
        "STRING",
        "n_day, unbounded or bracket: activity, windows in days; purchase or revenue: windows in calendar months",
        required=True,
    ),
    Column("window_start", "INT", "first day or month of the window, counted from 0", required=True),
    Column("window_end", "INT", "last day or month of the window; null: open end"),
    Column("cohort_size", "BIGINT", "customers in the cohort", required=True),
    Column("numerator", "DECIMAL(38,2)", "customers active in the window, or revenue in it"),
    Column("denominator", "DECIMAL(38,2)", "customers in the cohort, or revenue in the first month", required=True),
    Column("retention", "DOUBLE", "numerator / denominator; null if the window is not over or nothing is divided by"),
)

KPI_MONTHLY_GOLD = gold_table(
    "kpi_monthly_gold",
    "One row per month, dimension, value of it and KPI; what each KPI is stands in docs/kpis.md.",
    ("month", "dimension", "dimension_value", "kpi"),
    Column("month", "DATE", "first day of the month; the latest one ends at as_of", required=True),
    Column("dimension", "STRING", "all, country, channel, segment, category or consent_channel", required=True),
    Column("dimension_value", "STRING", "value of the dimension; all, or unknown where there is none", required=True),
    Column("kpi", "STRING", "name of the KPI", required=True),
    Column("value", "DOUBLE", "numerator / denominator; null where that is not defined or not known yet"),
    Column("numerator", "DOUBLE", "what is divided, or the figure itself"),
    Column("denominator", "DOUBLE", "what it is divided by; 1 for a plain figure"),
    _AS_OF,
)

ANALYTICS_TABLES = (
    CUSTOMER_VALUE_GOLD,
    CUSTOMER_SEGMENTS_GOLD,
    SEGMENT_MOVEMENTS_GOLD,
    MODEL_FITS_GOLD,
    MODEL_QUALITY_GOLD,
    CUSTOMER_DEMOGRAPHICS_GOLD,
    COHORT_RETENTION_GOLD,
    KPI_MONTHLY_GOLD,
)
