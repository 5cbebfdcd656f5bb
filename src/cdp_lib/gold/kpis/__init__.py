"""kpi_monthly_gold: measures by month and dimension, one module per kind, and KPIs computed from them."""
