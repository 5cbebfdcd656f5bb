"""Silver builders: bronze rows → typed rows, one module per table."""
