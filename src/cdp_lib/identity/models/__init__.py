"""Trained models of the library, as JSON files."""
