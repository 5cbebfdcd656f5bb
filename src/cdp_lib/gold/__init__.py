"""Gold builders: silver rows → aggregates. Each module builds one table or a few related tables."""
