"""The product: everything a notebook of the Customer Data Platform imports."""

__version__ = "0.1.0"
