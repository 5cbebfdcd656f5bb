"""Generates docs/kpis.md, the page about KPIs, segments and predictions, from the definitions that the code uses."""

from cdp_lib.contracts.kpis import DIMENSIONS, ENGAGEMENT_POINTS, KPIS, MEASURES, NOT_AN_ACTIVITY, Kpi
from cdp_lib.contracts.segments import SEGMENTS
from cdp_local.markdown import table
from cdp_local.semantic_model import KPI_TABLES, MODEL_TABLES, kpi_measure, single_value_dimensions


def kpi_page() -> str:
    """Return the page about KPIs, segments and predictions, as Markdown."""
    points = ", ".join(f"`{kind}` {points}" for kind, points in ENGAGEMENT_POINTS.items())
    lines = [
        _KPIS.strip(),
        "",
        *table(("dimension", "values"), ((f"`{name}`", meaning) for name, meaning in DIMENSIONS.items())),
        "",
        "## KPIs",
        "",
        *table(
            ("KPI", "name", "formula", "unit"),
            ((f"[{kpi.title}](#{kpi.name})", f"`{kpi.name}`", f"`{formula(kpi)}`", kpi.unit) for kpi in KPIS),
        ),
        *(line for kpi in KPIS for line in _section(kpi)),
        "",
        "## Measures",
        "",
        "The formulas of KPIs use these measures, computed by month and dimension. A person is a customer, or an",
        "address or device that is not linked to a customer.",
        "",
        *table(("measure", "meaning"), ((f"`{name}`", meaning) for name, meaning in MEASURES.items())),
        "",
        f"Points per activity: {points}, any other event 1. Not an activity:"
        f" {', '.join(f'`{kind}`' for kind in NOT_AN_ACTIVITY)}.",
        "",
        _SEGMENTS.strip(),
        "",
        *table(
            ("segment", "rule", "customers", "what to do"),
            ((each.name, f"`{each.holds}`", each.meaning, each.action) for each in SEGMENTS),
        ),
        "",
        _PROMISES.strip(),
        "",
        *table(("segment", "promise"), ((each.name, each.promise.text) for each in SEGMENTS if each.promise)),
        "",
        _PREDICTIONS.strip(),
        "",
        _POWER_BI.strip().format(**KPI_TABLES),
        "",
        *_other_measures(),
    ]
    return "\n".join(lines) + "\n"


def formula(kpi: Kpi) -> str:
    """Return the formula that computes a KPI from measures."""
    if kpi.denominator == "1":
        return kpi.numerator
    return " / ".join(f"({part})" if " " in part else part for part in (kpi.numerator, kpi.denominator))


def _section(kpi: Kpi) -> list[str]:
    months = "only the month of `as_of`" if kpi.is_of_latest_month else "every month"
    facts = {
        "formula": f"`{formula(kpi)}`",
        "unit": kpi.unit,
        "grain": f"{months}, by {', '.join(f'`{name}`' for name in kpi.dimensions)}",
        "in weeks": _in_weeks(kpi),
        "additive": "over country, channel and segment" if kpi.is_additive else "no",
        "several months": "computed from the sums of the months"
        if kpi.adds_over_months
        else "value of the latest month",
        "Power BI": _in_power_bi(kpi),
        "source": kpi.source,
        "owner": kpi.owner,
        "example": kpi.example,
    }
    if kpi.needs_whole_period:
        facts["grain"] += "; null for a month or week that is not over"
    return ["", f"### {kpi.name}", "", f"**{kpi.title}.** {kpi.definition}", "", *table(("", ""), facts.items())]


def _in_weeks(kpi: Kpi) -> str:
    return kpi.in_weeks or "the same definition, for the week"


def _in_power_bi(kpi: Kpi) -> str:
    single = single_value_dimensions(kpi)
    blank = f"; blank for several values of {' or '.join(f'`{name}`' for name in single)}" if single else ""
    names = [kpi_measure(kpi).name, *([kpi_measure(kpi, "week").name] if kpi.has_weeks else [])]
    return f"{' and '.join(f'measure `{name}`' for name in names)}{blank}"


def _other_measures() -> list[str]:
    kpis = {measure.name for kpi in KPIS for measure in (kpi_measure(kpi), kpi_measure(kpi, "week"))}
    rows = [
        (f"`{measure.name}`", model_table.name, measure.description)
        for model_table in MODEL_TABLES
        for measure in model_table.measures
        if measure.name not in kpis
    ]
    return table(("measure", "table", "meaning"), rows)


_KPIS = """
# KPIs, segments and predictions

This page defines each figure: its formula, its unit and the department that owns it. `make docs` generates the page
from `src/cdp_lib/contracts/kpis.py` and `segments.py`, which the code uses too; a test keeps it up to date. The figures
are in [`kpi_monthly_gold`](tables.md#kpi_monthly_gold), [`kpi_weekly_gold`](tables.md#kpi_weekly_gold) and, per
customer, in [`customer_value_gold`](tables.md#customer_value_gold).

**Period.** Figures include all data up to the end of the day `as_of`. If a run does not set `as_of`, it is the latest
business date in the data. Days are UTC days. A figure is null if it is undefined (division by zero) or unknown (spend
in a currency without an exchange rate); 0 is always a known value. There are rows for every month and week, even
without sales; `is_complete` marks the periods that are over at `as_of`.
The owner is the department that decides on the definition of a figure. Opening an e-mail is an activity, although mail
clients open some e-mails automatically. Events of people who refused tracking are included, if a source sends them.

**Weeks.** Weeks are ISO weeks: they begin on Monday, and the Monday is their key, also at the turn of the year. The
definitions speak of months; a week has the same definition, unless the row *in weeks* of a KPI says otherwise.

**Unknown figures.** A source may lack events, openings, clicks, order numbers, returns, discounts or costs. A measure
of such data is known from the first month or week in which the source has any. Before, and if the source never has any,
the figure is null, and reports show no data. From then on, it is 0 if nothing happened. Marketing spend is different:
a month without any spend has no known spend.

**Small groups.** Serving views, copies and Power BI leave out figures of fewer people than the variable
`minimum_cell_size`: [serving](serving.md#small-groups). The column `people` has the number of people that is compared.

**Dimensions.** Each KPI is computed for the values of the dimensions that its section lists:
"""

_SEGMENTS = """
## Segments

Segments follow the behaviour of customers: how overdue a customer is, whether the customer spent much, and whether the
customer is new. A customer belongs to the first segment whose rule is true, and therefore to exactly one segment.

**Overdue.** `overdue` = `recency_days` / `purchase_interval_days`: 1 means that the next purchase is due, and 2 that
the customer has been silent for twice the usual interval. The usual interval mixes the customer's own rhythm with the
shop's: (days from the first to the latest purchase + 2 × the shop's interval) / (repeat purchases + 2). A customer with
one purchase has the shop's interval, and a regular customer nearly their own. The shop's interval is the median of the
intervals of customers who bought again, in whole days. If nobody did, it is the churn horizon.

**Scores** use RFM: recency (days since the latest purchase), frequency (days with a purchase) and monetary value
(revenue so far). To get a score from 1 to 5 for one of these figures, all buyers are sorted by the figure and divided
into fifths. The score is the number of the fifth. Customers with equal values form a group and have the same score: the
fifth in which the middle of the group lies. For example, if six of ten buyers have bought once, all six score 2 in
frequency. If all buyers bought on the same day, all score 3 in recency. Before revenues are compared, all digits after
the third are set to 0: 1,234.56 counts as 1,230.00. With fewer buyers than the setting `minimum_scored_buyers`, all
score 3.

`churn_horizon_days` is a [setting](settings.md). No segment depends on a fitted model.
"""

_PROMISES = """
**Promises.** Some segments promise something about the next purchases. Each refresh that fits models checks the
promises on past data: customers are segmented as they were one churn horizon before `as_of`, and compared with what
they bought since. The result is in [`segment_quality_gold`](tables.md#segment_quality_gold). `cdp run` says so if a
promise does not hold on your data. A segment with fewer customers than the setting `minimum_segment_size` has no
result. [Segments](segments.md) has the results for three shops.
"""

_PREDICTIONS = """
## Predictions

**Purchases** are predicted with Pareto/NBD (Schmittlein, Morrison and Colombo 1987), or with the next of four other
models if it has no fit or another model is clearly better: [Predictions](predictions.md). Pareto/NBD assumes that each
customer buys at random times, at an individual rate, and drops out at a random time. The drop-out cannot be observed.
The model is fitted by maximum likelihood to the histories of all buyers, including one-time buyers. A history consists
of the number of repeat purchase days, the week of the latest purchase, and the number of weeks since the first
purchase. The fit uses each different history once, weighted by the number of customers who have it. Customers with the
same history have the same prediction. **Spend** per purchase day is predicted with Gamma-Gamma (Fader and Hardie 2013),
fitted to the customers who bought again.

**`churn_probability` is the probability of no purchase within the churn horizon** (job parameter `churn_horizon_days`),
not 1 − `probability_alive`. A customer who is alive may still buy nothing for a quarter, and campaigns need to find
such customers. The model BG/NBD, which is fitted for comparison, even assumes that every one-time buyer is certainly
alive. If churn were 1 − `probability_alive`, this model would predict that no one-time buyer churns.

**`predictive_clv`** = margin × expected spend × Σ (expected purchases in a month / (1 + discount rate) ^ years until
that month). The sum is over the months of the CLV horizon (Fader, Hardie and Lee 2005). Margin, discount rate and
horizon are job parameters (`gross_margin`, `annual_discount_rate`, `clv_horizon_months`). The default margin is 1, so
that CLV is in revenue; set your own margin.

**The last good fit stands in for a fit that failed.** Without a good fit, as with fewer than 100 buyers,
`prediction_state` names the reason and predictions are null. [`model_fits_gold`](tables.md#model_fits_gold) keeps every
fit with its parameters, its message, and the version of the last good fit.

**Every refresh tests the models.** [`model_quality_gold`](tables.md#model_quality_gold) compares forecasts with the
actual purchases in a holdout. The holdout is as long as the churn horizon, and ends with `as_of`. The models are fitted
without the holdout. Rows of earlier days stay, so that a drift shows; `is_chosen` marks the model that predicts. The
table also has three baselines. `active_if_recent` predicts that exactly the customers who bought in the last churn
horizon buy again. `own_rhythm` compares the time since the latest purchase with the customer's own mean interval.
`logistic` is a logistic regression on the time since the latest purchase and the number of purchases.
"""

_POWER_BI = """
## Power BI

The semantic model in [`powerbi/`](../powerbi/README.md) has a measure for each KPI, named by its title, in the table
`{month}`. The table `{week}` has the measures of weeks, such as `Revenue by week`. A measure reads the rows of the
filtered dimension: country, channel, segment, category or consent channel. Without a filter, it reads the rows of the
dimension `all`. If two dimensions are filtered, no figure exists, and the
measure is blank. Several values of one dimension are combined as Σ numerator / Σ denominator, unless the section of the
KPI says otherwise. The other measures:
"""
