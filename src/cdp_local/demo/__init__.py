"""The demo: an invented shop, its sources, and its home folder. No file of the project depends on its figures."""

from pathlib import Path

DEMO = "demo"
"""Name of the demo as a source of data, as the landing of a home folder remembers it."""

DEMO_HOME = Path(".cdp-demo")
DEMO_VARIABLES = {
    "sources_file": str(Path(__file__).with_name("sources.yml")),
    "secret_scope": DEMO,
    "reporting_currency": "EUR",
    "amounts_include_tax": "true",
    "gross_margin": "0.35",
    "price_bands": "auto",
}
"""Bundle variables of the demo. It has a scope of its own, so that it never sees the secrets of own sources."""
