"""KPIs by month and by week: measures by period and dimension, one module per kind, and KPIs computed from them."""
