"""The library of the Customer Data Platform. The notebooks take all their logic from this package."""

__version__ = "0.1.0"
