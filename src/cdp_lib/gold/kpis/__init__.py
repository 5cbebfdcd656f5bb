"""kpi_monthly_gold: measures by month and dimension, one module per kind of them, and the KPIs that divide them."""
