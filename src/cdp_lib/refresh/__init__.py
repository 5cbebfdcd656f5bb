"""Brings silver tables up to date by what is new: one module per way a table can be."""
