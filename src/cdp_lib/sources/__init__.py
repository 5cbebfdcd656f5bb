"""Source system → landed batch, one module per kind of source."""
