"""Erasure of persons: from landed batches, from all tables, and from what their sources still send."""
