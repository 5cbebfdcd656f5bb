"""The demo: an invented shop of 2,000 customers, its sources, and its home."""
