"""docs/kpis.md: the KPIs, the segments and the models, from the definitions that the code uses."""

from cdp_lib.contracts.kpis import DIMENSIONS, ENGAGEMENT_POINTS, KPIS, MEASURES, NOT_AN_ACTIVITY, Kpi
from cdp_lib.contracts.segments import SEGMENTS
from cdp_local.markdown import table
from cdp_local.semantic_model import KPI_VALUES, MARTS, kpi_measure, one_at_a_time


def kpi_page() -> str:
    """The page, as Markdown."""
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
        "What the formulas are made of, by month and dimension. A person is a customer, or an address or device that",
        "is not linked to one.",
        "",
        *table(("measure", "meaning"), ((f"`{name}`", meaning) for name, meaning in MEASURES.items())),
        "",
        f"Points of an activity: {points}, any other 1. No activity: {', '.join(f'`{x}`' for x in NOT_AN_ACTIVITY)}.",
        "",
        _SEGMENTS.strip(),
        "",
        *table(("segment", "rule", "who"), ((each.name, f"`{each.holds}`", each.meaning) for each in SEGMENTS)),
        "",
        _PREDICTIONS.strip(),
        "",
        _POWER_BI.strip().format(table=KPI_VALUES),
        "",
        *_other_measures(),
    ]
    return "\n".join(lines) + "\n"


def formula(kpi: Kpi) -> str:
    """How a KPI is worked out from measures."""
    if kpi.denominator == "1":
        return kpi.numerator
    return " / ".join(f"({part})" if " " in part else part for part in (kpi.numerator, kpi.denominator))


def _section(kpi: Kpi) -> list[str]:
    months = "the month of `as_of` alone" if kpi.is_of_latest_month else "every month"
    facts = {
        "formula": f"`{formula(kpi)}`",
        "unit": kpi.unit,
        "grain": f"{months}, by {', '.join(f'`{name}`' for name in kpi.dimensions)}",
        "adds up": "over country, channel and segment" if kpi.is_additive else "no",
        "of several months": "what they count, summed up" if kpi.adds_over_months else "that of the latest month",
        "Power BI": _in_power_bi(kpi),
        "source": kpi.source,
        "owner": kpi.owner,
        "example": kpi.example,
    }
    if kpi.needs_whole_month:
        facts["grain"] += "; null for a month that is not over"
    return ["", f"### {kpi.name}", "", f"**{kpi.title}.** {kpi.definition}", "", *table(("", ""), facts.items())]


def _in_power_bi(kpi: Kpi) -> str:
    single = one_at_a_time(kpi)
    blank = f"; blank for several values of {' or '.join(f'`{name}`' for name in single)}" if single else ""
    return f"measure `{kpi_measure(kpi).name}`{blank}"


def _other_measures() -> list[str]:
    kpis = {kpi_measure(kpi).name for kpi in KPIS}
    rows = [
        (f"`{measure.name}`", mart.name, measure.description)
        for mart in MARTS
        for measure in mart.measures
        if measure.name not in kpis
    ]
    return table(("measure", "table", "meaning"), rows)


_KPIS = """
# KPIs, segments and predictions

What each figure is, how it is worked out, and who answers for it. Written by `make docs` from
`src/cdp_lib/contracts/kpis.py` and `segments.py`, which are what the code works by; a test keeps it fresh. The figures
are in [`kpi_monthly_gold`](tables.md#kpi_monthly_gold) and, customer by customer, in
[`customer_value_gold`](tables.md#customer_value_gold).

**What counts** is everything up to the end of `as_of`: the day a run is told, else the latest on which anything
happened; days are days of UTC. A figure is null where it is not defined (nothing to divide by) or not known (spend in a
currency without a rate); a zero is a zero. Months have no gaps. An owner is the role that decides what a figure means.
Opening an e-mail is an activity, though mail programs open some by themselves; events of people who refused to be
tracked count, too, as far as a source sends them.

**Dimensions.** Each KPI is given for everything and, where its table says so, by others:
"""

_SEGMENTS = """
## Segments

RFM: recency (days since the latest purchase), frequency (days with a purchase) and monetary value (revenue so far),
each scored from 1 to 5 by fifths of the buyers. Equal values have equal scores, that of their middle: where six of ten
have bought once, all six score 2 in frequency; where all bought on one day, all score 3 in recency. Revenue is compared
by its first three digits. With fewer than five buyers, all score 3. A customer is in the first segment whose rule
holds, and so in exactly one.
"""

_PREDICTIONS = """
## Predictions

**Purchases** are predicted by Pareto/NBD (Schmittlein, Morrison and Colombo 1987): customers buy at random, each at a
rate of their own, until they drop out, unseen, at a random moment. It is fitted by maximum likelihood on all who ever
bought, one-time buyers too, by their histories: repeat purchase days, week of the latest one, weeks since the first.
Customers of the same history are fitted and predicted once. **Spend** on a purchase day is predicted by Gamma-Gamma
(Fader and Hardie 2013), fitted on those who came back.

**`churn_probability` is the probability of no purchase within the churn horizon** (job parameter `churn_horizon_days`),
and not 1 − `probability_alive`. Who is alive may well buy nothing for a quarter, and that is what a campaign wants to
know. BG/NBD, kept for comparison, takes every one-time buyer to be alive for certain: 1 − P(alive) would say that none
of them churns.

**`predictive_clv`** = margin × expected spend × Σ over the months of the CLV horizon of the purchases expected in the
month / (1 + discount rate) ^ years until then (Fader, Hardie and Lee 2005). Margin, discount rate and horizon are job
parameters (`gross_margin`, `annual_discount_rate`, `clv_horizon_months`). At a margin of 1, the default, CLV is in
revenue: set yours.

**A model that can't be fitted gives no figures.** With too few customers, or without convergence, `prediction_state`
says so and predictions are null. [`model_fits_gold`](tables.md#model_fits_gold) keeps every fit with its parameters,
and names the last good one.

**Every refresh tests itself.** [`model_quality_gold`](tables.md#model_quality_gold) has a forecast of the time of the
churn horizon before `as_of`, by models that knew nothing of it, compared with what came; and beside it two that need no
model: the time before goes on (everybody buys as often, as many buy nothing), and who bought lately buys again.
"""

_POWER_BI = """
## Power BI

The semantic model in [`powerbi/`](../powerbi/README.md) has a measure for each KPI, named by its title, in the table
`{table}`. It reads the rows of the dimension that is filtered – country, channel, segment, category or consent
channel – and those of everything where none is. Where two are, there is no figure, and it is blank. Several values of
one dimension are put together, Σ numerator / Σ denominator, unless the KPI's section says otherwise. The other
measures:
"""
