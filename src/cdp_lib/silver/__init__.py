"""Builders of silver tables, one module per table."""
