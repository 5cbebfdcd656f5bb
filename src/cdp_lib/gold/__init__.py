"""Gold builders: silver rows → aggregates, one module per family of marts."""
