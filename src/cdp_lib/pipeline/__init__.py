"""Declarations of tables, the graph they make, and the runner that brings them up to date."""
